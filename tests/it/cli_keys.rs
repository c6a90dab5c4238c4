//! `cifra tenant` and `cifra key` with the real program, beside a server that runs on the same database.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::cifra;
use crate::harness::process::{Server, until};

const ADMIN_KEY: &str = "an-operator-of-the-tests-0123456789";

/// A local command on the data in `data`.
fn local(data: &Path, arguments: &[&str]) -> Output {
    let mut command: Command = cifra();
    command.current_dir(data.parent().unwrap()).env("CIFRA__SERVER__DATA_DIR", data).args(arguments);
    command.output().unwrap()
}

fn done(data: &Path, arguments: &[&str]) -> String {
    let output = local(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(data: &Path, arguments: &[&str]) -> Vec<Value> {
    let printed = done(data, arguments);
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The status of a request with this key.
async fn status(server: &Server, key: &str, path: &str) -> u16 {
    let url = format!("{}{path}", server.api.url());
    let request = reqwest::Client::builder().no_proxy().build().unwrap().get(url).bearer_auth(key);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_made_beside_a_server_are_good_at_once_and_refused_within_a_second() {
    let server = Server::start_with(&[("auth.mode", "keys")]).await;
    let data = server.data();
    let first = std::fs::read_to_string(data.join("admin.key")).unwrap();
    assert_eq!(data.join("admin.key").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!server.log().contains(first.trim()), "the key is in the log");
    assert!(server.log().contains("admin.key"), "the log does not say where the key is: {}", server.log());
    assert_eq!(status(&server, first.trim(), "/metrics").await, 200);

    done(data, &["tenant", "create", "acme"]);
    assert_eq!(local(data, &["tenant", "create", "acme"]).status.code(), Some(5));
    assert_eq!(local(data, &["tenant", "create", "global"]).status.code(), Some(2));
    assert_eq!(done(data, &["tenant", "list"]), "acme\ndefault\n");
    let key = done(data, &["key", "create", "--name", "site", "--tenant", "acme", "--scopes", "read"]);
    let key = key.trim();
    assert_eq!(status(&server, key, "/api/uploads").await, 200);
    assert_eq!(status(&server, key, "/metrics").await, 403);

    let [listed] = &json(data, &["key", "list", "--tenant", "acme", "--json"])[..] else { panic!() };
    assert_eq!((&listed["name"], &listed["scopes"][0]), (&"site".into(), &"read".into()), "{listed}");
    done(data, &["key", "revoke", listed["id"].as_str().unwrap()]);
    let revoked = Instant::now();
    until("the key is refused", async || (status(&server, key, "/api/uploads").await == 401).then_some(()))
        .await;
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
    let unknown = "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c";
    assert_eq!(local(data, &["key", "revoke", unknown]).status.code(), Some(3));
    let nowhere = ["key", "create", "--name", "x", "--tenant", "nowhere"];
    assert_eq!(local(data, &nowhere).status.code(), Some(3));
    assert_eq!(local(data, &["key", "create", "--name", ""]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_ends_when_its_time_is_over_and_the_first_one_is_replaced_at_each_start() {
    let mut server = Server::new();
    // Before the first start: the database is made by the command.
    let made = json(server.data(), &["key", "create", "--name", "short", "--expires-in", "1s", "--json"]);
    let short = made[0]["key"].as_str().unwrap();
    let forever = done(server.data(), &["key", "create", "--name", "op", "--operator"]);
    server.set("auth.mode", "keys");
    server.begin(None).await;
    let first = std::fs::read_to_string(server.data().join("admin.key")).unwrap();
    until("the key ends", async || (status(&server, short, "/api/uploads").await == 401).then_some(())).await;
    assert_eq!(status(&server, forever.trim(), "/metrics").await, 200);
    assert_eq!(status(&server, first.trim(), "/metrics").await, 200);
    server.stop().await;

    std::fs::write(server.data().join("admin.key"), format!("{ADMIN_KEY}\n")).unwrap();
    server.begin(None).await;
    assert_eq!(status(&server, ADMIN_KEY, "/metrics").await, 200);
    assert_eq!(status(&server, first.trim(), "/metrics").await, 401);
    done(server.data(), &["key", "revoke", "00000000-0000-0000-0000-000000000000"]);
    server.stop().await;
    server.begin(None).await;
    assert_eq!(status(&server, ADMIN_KEY, "/metrics").await, 401, "a revoked key is good again");
    assert_eq!(status(&server, forever.trim(), "/metrics").await, 200);
}

#[test]
fn a_first_key_that_could_be_guessed_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, short) = (folder.path().join("empty"), folder.path().join("short"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&short, "x".repeat(31)).unwrap();
    for (variable, value) in [
        ("CIFRA_ADMIN_KEY", "x".repeat(31)),
        ("CIFRA_ADMIN_KEY", format!("{} with spaces", "x".repeat(32))),
        ("CIFRA_ADMIN_KEY_FILE", short.to_str().unwrap().to_owned()),
        ("CIFRA_ADMIN_KEY_FILE", empty.to_str().unwrap().to_owned()),
        ("CIFRA_ADMIN_KEY_FILE", "/no/such/file".to_owned()),
    ] {
        let mut serve = cifra();
        serve.current_dir(folder.path()).env(variable, &value).env("CIFRA__AUTH__MODE", "keys").arg("serve");
        let output = serve.output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(variable), "{told}");
        assert!(told.contains("at least 32") || told.contains("No such file"), "{told}");
        assert!(!told.contains(&"x".repeat(20)), "it shows the key: {told}");
    }
}

/// A remote command with `key`.
fn remote(server: &Server, key: &str, arguments: &[&str]) -> Output {
    let mut command = cifra();
    command.current_dir(server.data()).env("CIFRA_SERVER", server.api.url()).env("CIFRA_API_KEY", key);
    command.args(arguments).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn remote_commands_show_their_key_to_the_named_server_and_say_what_to_do_without_one() {
    // Were the key sent to the public URL's host, the download would fail: nobody is there.
    let public = ("server.public_url", "http://files.example.invalid");
    let server = Server::start_with(&[("auth.mode", "keys"), public]).await;
    let writer = done(server.data(), &["key", "create", "--name", "w"]);
    let reader = done(server.data(), &["key", "create", "--name", "r", "--scopes", "read"]);
    let (writer, reader) = (writer.trim(), reader.trim());
    let path = server.beside("a.bin");
    std::fs::write(&path, "abc").unwrap();
    let path = path.to_str().unwrap();
    let uploaded = remote(&server, writer, &["upload", "--json", path]);
    assert!(uploaded.status.success(), "{}", String::from_utf8_lossy(&uploaded.stderr));
    let file: Value = serde_json::from_slice(&uploaded.stdout).unwrap();
    let id = file["file"]["id"].as_str().or(file["id"].as_str()).unwrap();
    let downloaded = remote(&server, reader, &["download", id, "-o", "-"]);
    assert_eq!(downloaded.stdout, b"abc", "{}", String::from_utf8_lossy(&downloaded.stderr));
    for (key, told) in [("", "CIFRA_API_KEY"), ("wrong", "CIFRA_API_KEY"), (reader, "`write`")] {
        let refused = remote(&server, key, &["upload", "--fresh", "--retry-for", "0", path]);
        let complaint = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(4), "{complaint}");
        assert!(complaint.contains(told), "{complaint}");
    }
}
