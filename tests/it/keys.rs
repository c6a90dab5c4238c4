//! Who may call: mode keys over HTTP.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use cifra::base::{ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::harness::process::until;
use crate::harness::{OPERATOR, TestApp};

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_valid_key_nothing_is_told_but_that() {
    let app = TestApp::builder().keys().start().await;
    let key = app.key("default", "read").await;
    let (id, secret) = key.strip_prefix("cifra_").unwrap().split_once('_').unwrap();
    let unknown = format!("cifra_{}_{secret}", id.chars().rev().collect::<String>());
    let wrong = format!("cifra_{id}_{}", secret.chars().rev().collect::<String>());
    let first = format!("cifra_{}_{secret}", "0".repeat(32));
    let (huge, basic, lower) = ("x".repeat(20_000), format!("Basic {key}"), key.to_uppercase());
    let mut told = Vec::new();
    for headers in [
        vec![],
        vec![String::new()],
        vec!["Bearer".to_owned()],
        vec!["Bearer ".to_owned()],
        vec![basic],
        vec![key.clone()],
        vec![bearer(&unknown)],
        vec![bearer(&wrong)],
        vec![bearer(&first)],
        vec![bearer(&huge)],
        vec![bearer(&lower)],
        vec![bearer(&key[..key.len() - 1])],
        vec![bearer(&format!("{key}0"))],
        vec![bearer(&format!("{key},{key}"))],
        vec![bearer(&key), bearer(&key)],
        vec![bearer(&key), bearer(OPERATOR)],
    ] {
        let headers: Vec<_> = headers.iter().map(|value| ("authorization", value.as_str())).collect();
        let answer = app.get_with("/api/uploads", &headers).await;
        let mut problem = answer.problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        problem.as_object_mut().unwrap().remove("request_id");
        told.push(problem);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    for right in [bearer(&key), format!("bearer {key}"), bearer(OPERATOR)] {
        app.get_with("/api/uploads", &[("authorization", &right)]).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_reaches_its_own_tenant_and_no_further_than_its_scopes() {
    let app = TestApp::builder().keys().start().await;
    for tenant in ["acme", "other"] {
        app.tenant(tenant).await;
    }
    let [writer, reader, foreign] =
        [app.key("acme", "write").await, app.key("acme", "read").await, app.key("other", "admin").await];
    app.act_as(&writer);
    let file = app.file(vec![1, 2, 3]).await;
    app.act_as(&reader);
    app.get(&file.file_path()).await.expect(200);
    assert_eq!(app.get(&file.content_path()).await.expect(200).body, [1, 2, 3]);
    let refused = app.delete(&file.file_path()).await.problem(403, "forbidden");
    assert_eq!(refused["scope"], "write");
    assert!(refused["detail"].as_str().unwrap().contains("`write`"), "{refused}");
    app.act_as(&foreign);
    for (method, path) in [
        (Method::GET, file.file_path()),
        (Method::GET, file.content_path()),
        (Method::DELETE, file.file_path()),
    ] {
        app.send(method, &path, &[], "").await.problem(404, "file-not-found");
    }
    app.get(&file.path).await.problem(404, "upload-not-found");
    app.act_as(&writer);
    app.get(&file.file_path()).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_for_everybody_need_no_key_and_metrics_an_operators() {
    let app = TestApp::builder().keys().start().await;
    let admin = app.key("default", "admin").await;
    for path in ["/healthz", "/readyz"] {
        app.get(path).await.expect(200);
    }
    app.get("/nowhere").await.problem(404, "not-found");
    app.get("/metrics").await.problem(401, "unauthenticated");
    app.act_as(&admin);
    app.get("/metrics").await.problem(403, "forbidden");
    app.act_as(OPERATOR);
    app.get("/metrics").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_acts_in_the_tenant_that_it_names() {
    for app in [TestApp::builder().keys().start().await, TestApp::start().await] {
        app.act_as(OPERATOR);
        let file = app.file(vec![1]).await;
        app.get_with(&file.file_path(), &[("x-cifra-tenant", "default")]).await.expect(200);
        let acme = [("x-cifra-tenant", "acme")];
        app.get_with(&file.file_path(), &acme).await.problem(404, "tenant-not-found");
        app.tenant("acme").await;
        app.get_with(&file.file_path(), &acme).await.problem(404, "file-not-found");
        for wrong in ["global", "ACME", "-", "", "a b"] {
            let answer = app.get_with(&file.file_path(), &[("x-cifra-tenant", wrong)]).await;
            answer.problem(400, "invalid-request");
        }
        let twice = [("x-cifra-tenant", "acme"), ("x-cifra-tenant", "acme")];
        app.get_with(&file.file_path(), &twice).await.problem(400, "invalid-request");
    }
    let app = TestApp::builder().keys().start().await;
    app.tenant("acme").await;
    app.act_as(&app.key("acme", "admin").await);
    app.get_with("/api/uploads", &[("x-cifra-tenant", "acme")]).await.expect(200);
    app.get_with("/api/uploads", &[("x-cifra-tenant", "default")]).await.problem(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_operator_key_is_in_a_file_for_its_owner_only() {
    let app = TestApp::builder().keys().with(|config| config.auth.admin_key = None).start().await;
    let path = app.folder().join("admin.key");
    let key = std::fs::read_to_string(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(key.trim().len() >= 32 && key.starts_with("cifra_admin_"), "not a key");
    app.get("/metrics").await.problem(401, "unauthenticated");
    app.act_as(key.trim());
    app.get("/metrics").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_listed_and_revoked_over_http() {
    let app = TestApp::builder().keys().start().await;
    app.tenant("acme").await;
    let admin = app.key("acme", "admin").await;
    app.act_as(&admin);
    let asked = json!({ "name": "site", "scopes": ["read"], "expires_in_seconds": 3600 });
    let made = app.post("/api/keys", &asked).await.expect(201);
    let made = made.json();
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!((&made["tenant"], &made["operator"]), (&json!("acme"), &json!(false)), "{made}");
    assert_eq!((&made["scopes"], &made["revoked_at"]), (&json!(["read"]), &Value::Null), "{made}");
    assert!(made["expires_at"].as_str().unwrap() > made["created_at"].as_str().unwrap(), "{made}");
    let listed = app.get("/api/keys").await.expect(200);
    assert!(!listed.text().contains(&key[39..]), "the list shows a key");
    assert_eq!(listed.json()["items"][0]["id"], made["id"]);
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 2, "{}", listed.text());
    app.act_as(&key);
    app.get("/api/uploads").await.expect(200);
    app.get("/api/keys").await.problem(403, "forbidden");
    app.act_as(&admin);
    let path = format!("/api/keys/{}", made["id"].as_str().unwrap());
    app.delete(&path).await.expect(204);
    app.act_as(&key);
    app.get("/api/uploads").await.problem(401, "unauthenticated");
    app.act_as(&admin);
    app.delete(&path).await.expect(204);
    assert!(app.get("/api/keys").await.json()["items"][0]["revoked_at"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_manages_its_own_tenant_and_nothing_else() {
    let app = TestApp::builder().keys().start().await;
    for tenant in ["acme", "other"] {
        app.tenant(tenant).await;
    }
    let (admin, _foreign) = (app.key("acme", "admin").await, app.key("other", "read").await);
    app.act_as(OPERATOR);
    let all = app.get("/api/keys").await.expect(200).json();
    let foreign = all["items"].as_array().unwrap().iter().find(|key| key["tenant"] == "other").unwrap();
    let first = all["items"].as_array().unwrap().iter().find(|key| key["operator"] == true).unwrap();
    app.act_as(&admin);
    for key in [foreign, first] {
        let path = format!("/api/keys/{}", key["id"].as_str().unwrap());
        app.delete(&path).await.problem(404, "key-not-found");
    }
    app.post("/api/keys", &json!({ "name": "x", "operator": true })).await.problem(403, "forbidden");
    app.post("/api/tenants", &json!({ "id": "mine" })).await.problem(403, "forbidden");
    app.get("/api/tenants").await.problem(403, "forbidden");
    let elsewhere = [("x-cifra-tenant", "other"), ("content-type", "application/json")];
    app.send(Method::POST, "/api/keys", &elsewhere, r#"{"name":"x"}"#).await.problem(403, "forbidden");
    app.act_as(OPERATOR);
    let operator = app.post("/api/keys", &json!({ "name": "x", "operator": true })).await.expect(201).json();
    assert_eq!((&operator["tenant"], &operator["operator"]), (&Value::Null, &json!(true)), "{operator}");
    let tenants = app.get("/api/tenants").await.expect(200).json();
    let ids: Vec<_> = tenants["items"].as_array().unwrap().iter().map(|tenant| &tenant["id"]).collect();
    assert_eq!(ids, ["acme", "default", "other"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_makes_no_sense_is_not_made() {
    let app = TestApp::start().await;
    for wrong in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "x".repeat(101) }),
        json!({ "name": "a\u{7}b" }),
        json!({ "name": "x", "scopes": [] }),
        json!({ "name": "x", "scopes": ["root"] }),
        json!({ "name": "x", "scopes": [1] }),
        json!({ "name": "x", "scopes": ["read"], "operator": true }),
        json!({ "name": "x", "expires_in_seconds": 0 }),
        json!({ "name": "x", "expires_in_seconds": u64::MAX }),
        json!({ "name": "x", "tenant": "acme" }),
    ] {
        app.post("/api/keys", &wrong).await.problem(400, "invalid-request");
    }
    for wrong in ["global", "ACME", "-a", "a-", "", &"a".repeat(64)] {
        app.post("/api/tenants", &json!({ "id": wrong })).await.problem(400, "invalid-request");
    }
    assert_eq!(app.get("/api/keys").await.json()["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_refused_from_its_end_on_and_its_use_is_noted() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000)));
    let app = TestApp::builder().keys().clock(&clock).start().await;
    app.act_as(OPERATOR);
    let made = app.post("/api/keys", &json!({ "name": "x", "expires_in_seconds": 60 })).await.expect(201);
    app.act_as(made.json()["key"].as_str().unwrap());
    clock.advance(Duration::from_secs(59));
    app.get("/api/uploads").await.expect(200);
    clock.advance(Duration::from_secs(1));
    app.get("/api/uploads").await.problem(401, "unauthenticated");
    app.act_as(OPERATOR);
    let used = until("the use is noted", async || {
        let keys = app.get("/api/keys").await.json();
        let key = keys["items"].as_array().unwrap().iter().find(|key| key["name"] == "x").unwrap().clone();
        key["last_used_at"].as_str().map(str::to_owned)
    });
    assert!(used.await.as_str() > made.json()["created_at"].as_str().unwrap());
}
