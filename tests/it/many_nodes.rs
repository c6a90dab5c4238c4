//! What docs/many-nodes.md tells to type, typed: two real nodes behind nginx, one of them and Redis killed in the middle.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{postgres, tools};

fn in_clone(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The shell blocks (`sh`) of the section about two nodes, one after the other.
fn typed() -> String {
    let page = fs::read_to_string(in_clone("docs/many-nodes.md")).unwrap();
    let (_, section) = page.split_once("## Two nodes on this machine").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    section.split("```sh\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// Puts others in the place of words that the page has for certain.
fn replaced(script: String, words: &[(&str, &str)]) -> String {
    words.iter().fold(script, |script, (word, other)| {
        assert!(script.contains(word), "the page says `{word}`");
        script.replace(word, other)
    })
}

/// Whoever reads the page has its ports for themselves; tests share a machine.
fn with_free_ports(script: String) -> String {
    let ports: [u16; 6] = tools::free_ports();
    let ports = ports.map(|port| port.to_string());
    let node = format!("127.0.0.1:$([ \"$1\" = 1 ] && echo {} || echo {})", ports[0], ports[1]);
    let addresses: BTreeMap<&str, &String> =
        ["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8080", "7379", "7900", "7901"]
            .into_iter()
            .zip(&ports)
            .collect();
    let script = replaced(script, &[("127.0.0.1:808$1", &node)]);
    addresses.into_iter().fold(script, |script, (address, port)| {
        let free = address.rsplit_once(':').map_or(port.clone(), |(host, _)| format!("{host}:{port}"));
        replaced(script, &[(address, &free)])
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_lose_nothing_when_one_of_them_and_redis_are_killed_as_the_page_says() {
    let clone = tempfile::tempdir().unwrap();
    fs::create_dir_all(clone.path().join("docs/examples/nodes")).unwrap();
    let block = "docs/examples/nodes/nginx.conf";
    fs::copy(in_clone(block), clone.path().join(block)).unwrap();
    let database = postgres::server().new_service_database().await;
    let script = replaced(
        with_free_ports(typed()),
        &[("postgres://cifra:cifra@127.0.0.1/cifra", database.as_str()), ("daemon off;", NGINX_OF_TESTS)],
    );
    // Whatever happens, nothing goes on running.
    let script = format!("trap 'kill -9 $(cat ../demo/*.pid) 2>/dev/null || true' EXIT\n{script}");
    let programs = [Path::new(env!("CARGO_BIN_EXE_cifra")), &tools::folder().join("bin/garage")];
    let programs = programs.map(|program| program.parent().unwrap().to_owned());
    let given = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths(programs.into_iter().chain(std::env::split_paths(&given))).unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-euo", "pipefail", "-c", &script])
        .current_dir(clone.path())
        .env("PATH", path)
        .process_group(0);
    let output = tokio::task::spawn_blocking(move || bash.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let logs = || {
        ["node-1.log", "node-2.log", "nginx.log", "garage.log"]
            .map(|log| fs::read_to_string(clone.path().join("demo").join(log)).unwrap_or_default())
            .join("\n---\n")
    };
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "it broke off: {complaints}\n{said}\n{}", logs());
    assert!(said.contains("every byte is there"), "{said}");
    assert!(!said.contains("✗"), "the doctor finds nothing broken: {said}");
}

/// As root its workers would become `nobody`, who may not write into a test's folder.
const NGINX_OF_TESTS: &str = "daemon off; master_process off;";

#[test]
fn the_configuration_for_earnest_is_accepted() {
    let secrets = [
        ("DATABASE_URL", "postgres://cifra:secret@db.internal/cifra"),
        ("REDIS_URL", "redis://redis.internal"),
        ("AWS_ACCESS_KEY_ID", "an id"),
        ("AWS_SECRET_ACCESS_KEY", "a secret"),
        ("CIFRA_ADMIN_KEY", "an-operator-key-of-32-characters-at-least"),
    ];
    let mut cifra = crate::client::cifra();
    cifra.args(["config", "check", "--config"]).arg(in_clone("config/production.yaml")).envs(secrets);
    let output = cifra.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
