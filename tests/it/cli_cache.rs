//! `cifra cache` against the real service.

use std::process::Output;

use serde_json::{Value, json};

use crate::client::cifra;
use crate::harness::{OPERATOR, TestApp};

async fn run(app: &TestApp, key: &str, arguments: &[&str]) -> Output {
    let mut command = cifra();
    command.env("CIFRA_SERVER", format!("http://{}", app.address)).env("CIFRA_API_KEY", key);
    command.arg("cache").args(arguments);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// Runs what must succeed; what it printed.
async fn printed(app: &TestApp, key: &str, arguments: &[&str]) -> String {
    let output = run(app, key, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_are_shown_to_people_and_to_programs() {
    let app = TestApp::builder().keys().start().await;
    let reader = app.key("default", "read").await;
    app.act_as(OPERATOR);
    app.get("/api/entities/Tenant/default").await.expect(200);
    let text = printed(&app, &reader, &["stats"]).await;
    for name in ["cache ", "hit rate ", "queries saved ", "l1 ", "l2 ", "l3 ", "Tenant "] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name}: {text}");
    }
    let json: Value = serde_json::from_str(&printed(&app, &reader, &["stats", "--json"]).await).unwrap();
    let shown = app.get("/api/cache/stats").await.expect(200).json();
    assert_eq!(json["entities"], shown["entities"]);
    app.post("/api/cache/toggle-global", &json!({ "enabled": false })).await.expect(200);
    assert!(printed(&app, &reader, &["stats"]).await.contains("off, memory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_be_forgotten_is_named_and_refusals_have_their_exit_codes() {
    let app = TestApp::builder().keys().start().await;
    let (reader, writer) = (app.key("default", "read").await, app.key("default", "write").await);
    let text = printed(&app, &writer, &["invalidate", "--entity", "File", "--id", "7"]).await;
    assert!(text.contains("cifra:default:File:7:*"), "{text}");
    let json = printed(&app, &writer, &["invalidate", "--pattern", "cifra:default:*", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["invalidated"], json!(["cifra:default:*"]));
    assert_eq!(printed(&app, OPERATOR, &["clear"]).await, "the cache is empty\n");
    let warmed = printed(&app, OPERATOR, &["warm"]).await;
    assert!(warmed.contains("1 tenant"), "{warmed}");
    for (key, arguments, code) in [
        (&reader, &["invalidate"][..], 4),
        (&writer, &["clear"], 4),
        (&writer, &["warm"], 4),
        (&writer, &["invalidate", "--tenant", "other"], 4),
        (&writer, &["invalidate", "--id", "7"], 2),
        (&writer, &["invalidate", "--entity", "File", "--pattern", "*"], 2),
    ] {
        assert_eq!(run(&app, key, arguments).await.status.code(), Some(code), "{arguments:?}");
    }
}
