//! `cifra doctor`: each thing that can be wrong is found, and told with what to do about it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::client::cifra;
use crate::harness::nginx::Nginx;
use crate::harness::process::{Server, until};
use crate::harness::redis::RedisServer;
use crate::harness::{TestApp, bytes};

/// What doctor says of a service with its data in `folder`: the exit code, and its JSON.
fn examine(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> (i32, Value) {
    let mut command = cifra();
    command.current_dir(folder).args(["doctor", "--json"]).args(arguments);
    command.env("CIFRA__SERVER__DATA_DIR", folder.join("data")).env("CIFRA__FILE_UPLOAD__MIN_FREE", "0");
    command.env("CIFRA__SERVER__LISTEN", "127.0.0.1:0").envs(settings.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let told = serde_json::from_str(&text).unwrap_or_else(|_| {
        panic!("no JSON: {text}{}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code().unwrap(), told)
}

/// What it says of one check.
#[track_caller]
fn finding<'a>(told: &'a Value, check: &str) -> &'a Value {
    let checks = told["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|finding| finding["check"] == check)
        .unwrap_or_else(|| panic!("no {check} in {told:#}"))
}

#[track_caller]
fn is(told: &Value, check: &str, status: &str, about: &str) {
    let finding = finding(told, check);
    assert_eq!(finding["status"], status, "{finding:#}");
    assert!(finding["detail"].as_str().unwrap().contains(about), "{finding:#}");
    let advised = finding["advice"].as_str().is_some_and(|advice| advice.len() > 5);
    assert_eq!(advised, matches!(status, "warn" | "fail"), "{finding:#}");
}

/// In the background of a runtime that a server of this process needs.
async fn examine_beside(folder: &Path, settings: &[(&str, &str)], arguments: &[&str]) -> (i32, Value) {
    let folder = folder.to_owned();
    let own = |text: &&str| (*text).to_owned();
    let settings: Vec<_> = settings.iter().map(|(key, value)| (own(key), own(value))).collect();
    let arguments: Vec<_> = arguments.iter().map(own).collect();
    tokio::task::spawn_blocking(move || {
        let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        examine(&folder, &settings, &arguments)
    })
    .await
    .unwrap()
}

#[test]
fn a_machine_that_was_never_used_is_in_order_and_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (code, told) = examine(folder.path(), &[], &[]);
    assert_eq!(code, 0, "{told:#}");
    for (check, about) in [
        ("configuration", "right"),
        ("disk.data_dir", "will be made"),
        ("disk.storage_root", "will be made"),
        ("disk.room", "for uploads"),
        ("database", "will be made"),
        ("clock", "runs evenly"),
        ("access", "fits"),
    ] {
        is(&told, check, "ok", about);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "it made something");
}

#[test]
fn all_faults_of_the_configuration_are_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("CIFRA__LIMITS__OPEN_UPLOADS", "0"), ("CIFRA__LOG__FORMAT", "xml")];
    let (code, told) = examine(folder.path(), &settings, &[]);
    assert_eq!((code, &told["status"]), (1, &json!("fail")));
    is(&told, "configuration", "fail", "limits.open_uploads");
    is(&told, "configuration", "fail", "log.format");
}

#[test]
fn what_is_wrong_with_the_disk_is_found() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), "a file").unwrap();
    let (code, told) = examine(folder.path(), &[("CIFRA__FILE_UPLOAD__MIN_FREE", "1PiB")], &[]);
    assert_eq!(code, 1);
    is(&told, "disk.data_dir", "fail", "is not a folder");
    is(&told, "disk.room", "fail", "beyond the 1024 TiB");
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (code, told) = examine(memory.path(), &[], &[]);
    assert_eq!(code, 0, "{told:#}");
    is(&told, "disk.storage_filesystem", "warn", "in memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_may_look_beside_a_server_that_runs() {
    let app = TestApp::start().await;
    app.file(bytes(1_000)).await;
    let data = app.folder().to_str().unwrap().to_owned();
    let listen = app.address.to_string();
    let settings = [("CIFRA__SERVER__DATA_DIR", data.as_str()), ("CIFRA__SERVER__LISTEN", listen.as_str())];
    let elsewhere = tempfile::tempdir().unwrap();
    let (code, told) = examine_beside(elsewhere.path(), &settings, &[]).await;
    assert_eq!(code, 0, "{told:#}");
    is(&told, "database.schema", "ok", "applied");
    is(&told, "database.integrity", "ok", "sound");
    is(&told, "database.usage", "ok", "add up");
    is(&told, "disk.flush", "ok", "a flush takes");
    is(&told, "server", "ok", "answers");
    is(&told, "server.clock", "ok", "agree");
    app.file(bytes(1_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_database_is_found_and_usage_is_counted_again_at_a_start() {
    let mut server = Server::start().await;
    server.api.create(1_000).await;
    let data = server.data().to_str().unwrap().to_owned();
    let settings = [("CIFRA__SERVER__DATA_DIR", data.as_str())];
    let elsewhere = tempfile::tempdir().unwrap();
    server.kill9();
    server.sql("UPDATE cifra_tenant_usage SET reserved_bytes = 7").await;
    let (code, told) = examine_beside(elsewhere.path(), &settings, &[]).await;
    assert_eq!(code, 0, "{told:#}");
    is(&told, "database.usage", "warn", "default");
    server.restart().await;
    until("the usage is right", async || {
        let usage = server.api.get("/api/usage").await.unwrap().json;
        (usage["reserved_bytes"] == 1_000).then_some(())
    })
    .await;

    server.kill9();
    server.sql("UPDATE cifra_migrations SET version = 9999 WHERE version = 4").await;
    fs::set_permissions(server.database(), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, told) = examine_beside(elsewhere.path(), &settings, &[]).await;
    assert_eq!(code, 1);
    is(&told, "database.schema", "fail", "9999");
    is(&told, "disk.rights", "fail", "cifra.db");
    fs::write(server.database(), vec![7; 8192]).unwrap();
    let (code, told) = examine_beside(elsewhere.path(), &settings, &[]).await;
    assert_eq!(code, 1);
    assert!(told["checks"].as_array().unwrap().iter().any(|finding| {
        finding["check"].as_str().unwrap().starts_with("database") && finding["status"] == "fail"
    }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_keeps_bodies_back_or_refuses_them_is_found() {
    let app = TestApp::start().await;
    app.file(bytes(1_000)).await;
    let folder = tempfile::tempdir().unwrap();
    let usual = Nginx::before(app.address, "");
    let (code, told) = examine_beside(folder.path(), &[], &["--url", &usual.url()]).await;
    assert_eq!(code, 1, "{told:#}");
    is(&told, "server", "ok", "answers");
    is(&told, "proxy.body_size", "fail", "refuses bodies of");
    is(&told, "proxy.request_buffering", "warn", "keeps a body");

    let open =
        "client_max_body_size 0; proxy_request_buffering off; proxy_http_version 1.1; proxy_buffering off;";
    let open = Nginx::before(app.address, open);
    let (code, told) = examine_beside(folder.path(), &[], &["--url", &open.url()]).await;
    assert_eq!(code, 0, "{told:#}");
    is(&told, "proxy.body_size", "ok", "not refused");
    is(&told, "proxy.request_buffering", "ok", "as they are sent");
    assert!(
        app.get("/api/uploads").await.json()["items"].as_array().unwrap().len() == 1,
        "it began an upload"
    );

    let zealous = "client_max_body_size 0; gzip on; gzip_types *; gzip_proxied any;";
    let zealous = Nginx::before(app.address, zealous);
    let (code, told) = examine_beside(folder.path(), &[], &["--url", &zealous.url()]).await;
    assert_eq!(code, 1, "{told:#}");
    is(&told, "proxy.ranges", "fail", "made weak");

    // Without a proxy all is well, too.
    let (code, told) =
        examine_beside(folder.path(), &[], &["--url", &format!("http://{}", app.address)]).await;
    assert_eq!(code, 0, "{told:#}");
    is(&told, "proxy.request_buffering", "ok", "as they are sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_keeps_events_back_is_found() {
    let app = TestApp::start().await;
    app.post("/api/uploads", &json!({ "filename": "a", "total_size": 10 })).await.expect(201);
    let folder = tempfile::tempdir().unwrap();
    // nginx passes on the chunks of HTTP/1.1 as they come; what has no chunks waits until its buffer is full.
    let deaf = "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;";
    for (directives, status, about) in [("", "ok", "as they happen"), (deaf, "warn", "held back")] {
        let nginx = Nginx::before(app.address, &format!("client_max_body_size 0; {directives}"));
        let (code, told) = examine_beside(folder.path(), &[], &["--url", &nginx.url()]).await;
        assert_eq!(code, 0, "{told:#}");
        is(&told, "proxy.events", status, about);
    }
}

#[test]
fn a_key_that_others_may_read_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("admin.key"), "a key").unwrap();
    for (mode, code, status, about) in [(0o640, 1, "fail", "admin.key"), (0o600, 0, "ok", "only the service")]
    {
        fs::set_permissions(data.join("admin.key"), fs::Permissions::from_mode(mode)).unwrap();
        let (told_by_code, told) = examine(folder.path(), &[], &[]);
        assert_eq!(told_by_code, code, "{told:#}");
        is(&told, "disk.rights", status, about);
    }
}

#[test]
fn settings_that_do_not_go_together_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("CIFRA__SERVER__PUBLIC_URL", "http://127.0.0.1:1"),
        ("CIFRA__SERVER__MAX_CONNECTIONS", "4000000000"),
    ];
    let (code, told) = examine(folder.path(), &settings, &[]);
    assert_eq!(code, 1);
    is(&told, "access", "warn", "nobody needs a key");
    is(&told, "trusted_proxies", "warn", "all clients look like one");
    is(&told, "open_files", "warn", "too few");
    is(&told, "server", "fail", "does not answer");
}

#[test]
fn who_answers_in_place_of_the_service_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = other.local_addr().unwrap().to_string();
    drop(other);
    let url = format!("http://{listen}");
    let (code, told) = examine(folder.path(), &[("CIFRA__SERVER__LISTEN", &listen)], &["--url", &url]);
    assert_eq!(code, 1);
    is(&told, "listen", "ok", "free");
    is(&told, "server", "fail", "does not answer");
}

#[test]
fn what_is_wrong_with_redis_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start();
    let look = |url: &str| examine(folder.path(), &[("REDIS_URL", url)], &[]);
    let (_, told) = look(&redis.url());
    is(&told, "redis.latency", "ok", "answers in");
    is(&told, "redis.version", "ok", "is Redis");
    is(&told, "redis.role", "ok", "takes writes");
    is(&told, "redis.eviction", "ok", "noeviction");
    for policy in ["allkeys-lru", "volatile-ttl"] {
        redis.command(&["CONFIG", "SET", "maxmemory", "10mb", "maxmemory-policy", policy]);
        is(&look(&redis.url()).1, "redis.eviction", "warn", policy);
    }
    redis.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    is(&look(&redis.url()).1, "redis.eviction", "ok", "volatile-lru");
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    is(&look(&redis.url()).1, "redis.role", "fail", "is a replica");
    redis.kill();
    let (code, told) = look(&redis.url());
    is(&told, "redis", "fail", &redis.address());
    assert_ne!(code, 0);
    let limited = RedisServer::with_account();
    let (_, told) = look(&limited.url());
    is(&told, "redis.latency", "ok", "answers in");
    is(&told, "redis.eviction", "skip", "does not tell");
    let (_, told) = look(&format!("redis://alice:wonderland@{}", limited.address()));
    is(&told, "redis", "fail", "does not accept");
    assert!(!told.to_string().contains("wonderland"), "{told:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_server_is_looked_at_as_the_service_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let url = crate::harness::postgres::server().new_database().await;
    let (code, told) = examine_beside(folder.path(), &[("DATABASE_URL", &url)], &[]).await;
    assert_eq!(code, 0, "{told:#}");
    for (check, about) in [
        ("database", "UTF8"),
        ("database.rights", "may write"),
        ("database.settings", "time-outs"),
        ("database.connections", "nodes"),
        ("database.clock", "differ by"),
        ("database.schema", "come with the next start"),
    ] {
        is(&told, check, "ok", about);
    }
    let many = [("DATABASE_URL", url.as_str()), ("CIFRA__DATABASE__MAX_CONNECTIONS", "900")];
    let (code, told) = examine_beside(folder.path(), &many, &[]).await;
    assert_eq!(code, 1, "{told:#}");
    is(&told, "database.connections", "fail", "enough for 0 nodes");
    let replica = format!("{url}?options[default_transaction_read_only]=on");
    let (code, told) = examine_beside(folder.path(), &[("DATABASE_URL", &replica)], &[]).await;
    assert_eq!(code, 1, "{told:#}");
    is(&told, "database.rights", "fail", "only reads");
    let away = [("DATABASE_URL", "postgres://me:hidden@127.0.0.1:1/x")];
    let (code, told) = examine_beside(folder.path(), &away, &[]).await;
    assert_eq!(code, 1, "{told:#}");
    is(&told, "database", "fail", "cannot be reached");
    assert!(!told.to_string().contains("hidden"), "{told:#}");
}
