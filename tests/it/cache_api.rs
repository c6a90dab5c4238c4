//! `/api/cache` over HTTP: its shapes, who may, what a switch does, what an invalidation may name.

use axum::http::Method;
use cifra::base::Timestamp;
use serde_json::{Value, json};

use crate::harness::process::until;
use crate::harness::{OPERATOR, TestApp, TestUpload};

/// The names of a JSON object's members.
fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect()
}

async fn stats(app: &TestApp) -> Value {
    app.get("/api/cache/stats").await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_and_health_have_the_shapes_that_people_rely_on() {
    let app = TestApp::start().await;
    app.get("/api/entities/Tenant/default").await.expect(200);
    let stats = stats(&app).await;
    let wanted = [
        "auto_invalidate",
        "cache_size",
        "cache_type",
        "enabled",
        "entities",
        "global_enabled",
        "hit_rate",
        "last_cleanup",
        "queries_saved",
        "response_times",
        "tiers",
        "total_hits",
        "total_misses",
        "user_enabled",
    ];
    assert_eq!(names(&stats), wanted);
    assert_eq!(names(&stats["queries_saved"]), ["today", "total", "week"]);
    assert_eq!(names(&stats["cache_size"]), ["l1", "l2"]);
    assert_eq!(names(&stats["tiers"]), ["l1", "l2", "l3"]);
    for tier in ["l1", "l2", "l3"] {
        assert_eq!(names(&stats["tiers"][tier]), ["bytes", "entries", "hits", "misses", "p50_us", "p99_us"]);
    }
    assert_eq!(names(&stats["entities"]["Tenant"]), ["hits", "misses"]);
    for on in ["enabled", "global_enabled", "user_enabled", "auto_invalidate"] {
        assert_eq!(stats[on], true, "{on}");
    }
    let health = app.get("/api/cache/health").await.expect(200).json();
    let wanted =
        ["auto_invalidate", "cache_type", "enabled", "l1_entries", "l2_entries", "status", "uptime_s"];
    assert_eq!(names(&health), wanted);
    assert_eq!(health["cache_type"], stats["cache_type"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_can_be_set_twice_and_only_a_change_is_noted() {
    let app = TestApp::start().await;
    let toggle = async |what: &str, enabled: bool| {
        app.post(&format!("/api/cache/{what}"), &json!({ "enabled": enabled })).await.expect(200).json()
    };
    for (what, shown) in [("toggle-global", "global_enabled"), ("toggle-auto-invalidate", "auto_invalidate")]
    {
        for enabled in [false, false, true, true] {
            let answer = toggle(what, enabled).await;
            assert_eq!(names(&answer), ["enabled", "message", "success"]);
            assert_eq!((&answer["success"], &answer["enabled"]), (&json!(true), &json!(enabled)), "{what}");
            assert_eq!(stats(&app).await[shown], enabled, "{what}");
        }
    }
    for enabled in [false, false, true] {
        let answer = toggle("toggle-user", enabled).await;
        assert_eq!(names(&answer), ["cache_enabled", "message", "success", "username"]);
        assert_eq!((&answer["username"], &answer["cache_enabled"]), (&json!("everybody"), &json!(enabled)));
        let stats = stats(&app).await;
        let shown = (&stats["user_enabled"], &stats["enabled"], &stats["global_enabled"]);
        assert_eq!(shown, (&json!(enabled), &json!(enabled), &json!(true)));
    }
    let log = app.get("/api/audit").await.expect(200).json();
    let noted: Vec<_> = log["items"].as_array().unwrap().iter().rev().collect();
    let noted = noted.iter().filter(|entry| entry["action"] == "cache-switched");
    let noted: Vec<_> = noted.map(|entry| (&entry["target"], &entry["details"]["enabled"])).collect();
    let wanted = ["global", "auto-invalidate", "subject:everybody"].map(|name| [(name, false), (name, true)]);
    let wanted: Vec<_> = wanted.concat().into_iter().map(|(name, on)| (json!(name), json!(on))).collect();
    assert_eq!(noted, wanted.iter().map(|(name, on)| (name, on)).collect::<Vec<_>>());
    app.post("/api/cache/toggle-global", &json!({})).await.problem(400, "invalid-request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_beats_the_switch() {
    let app = TestApp::builder().with(|config| config.cache.enabled = false).start().await;
    let answer = app.post("/api/cache/toggle-global", &json!({ "enabled": true })).await.expect(200).json();
    assert_eq!((&answer["success"], &answer["enabled"]), (&json!(true), &json!(false)));
    assert!(answer["message"].as_str().unwrap().contains("cache.enabled: false"), "{answer}");
    let stats = stats(&app).await;
    assert_eq!((&stats["enabled"], &stats["global_enabled"]), (&json!(false), &json!(false)));
    assert_eq!(app.get("/api/cache/health").await.expect(200).json()["status"], "off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_switches_the_cache_for_itself_and_for_nobody_else() {
    let app = TestApp::builder().keys().start().await;
    app.tenant("acme").await;
    let (reader, other) = (app.key("acme", "read").await, app.key("acme", "write").await);
    app.act_as(&reader);
    let answer = app.post("/api/cache/toggle-user", &json!({ "enabled": false })).await.expect(200).json();
    assert_eq!((&answer["username"], &answer["cache_enabled"]), (&json!("a key of acme"), &json!(false)));
    for (key, enabled) in [(&reader, false), (&other, true), (&OPERATOR.to_owned(), true)] {
        app.act_as(key);
        assert_eq!(stats(&app).await["user_enabled"], enabled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_for_readers_and_the_service_is_switched_by_operators() {
    let app = TestApp::builder().keys().start().await;
    app.tenant("acme").await;
    let (reader, writer) = (app.key("acme", "read").await, app.key("acme", "admin").await);
    app.act_as_nobody();
    app.get("/api/cache/health").await.expect(200);
    app.get("/api/cache/stats").await.problem(401, "unauthenticated");
    app.act_as(&reader);
    app.get("/api/cache/stats").await.expect(200);
    app.post("/api/cache/invalidate", &json!({})).await.problem(403, "forbidden");
    app.act_as(&writer);
    for (path, body) in [
        ("clear", Value::Null),
        ("benchmark", json!({})),
        ("toggle-global", json!({ "enabled": false })),
        ("toggle-auto-invalidate", json!({ "enabled": false })),
    ] {
        let path = format!("/api/cache/{path}");
        let refused = match body {
            Value::Null => app.send(Method::POST, &path, &[], "").await,
            body => app.post(&path, &body).await,
        };
        refused.problem(403, "forbidden");
    }
    app.act_as(OPERATOR);
    let cleared = app.send(Method::POST, "/api/cache/clear", &[], "").await.expect(200).json();
    assert_eq!(names(&cleared), ["cleared_at", "message", "success"]);
    let log = app.get("/api/audit").await.expect(200).json();
    assert_eq!(log["items"][0]["action"], "cache-cleared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_invalidates_its_own_and_an_operator_everybodys() {
    let app = TestApp::builder().keys().start().await;
    for tenant in ["acme", "other"] {
        app.tenant(tenant).await;
    }
    let writer = app.key("acme", "write").await;
    let invalidate = async |body: Value| app.post("/api/cache/invalidate", &body).await;
    app.act_as(OPERATOR);
    app.post("/api/cache/benchmark", &json!({ "iterations": 1 })).await.expect(200);
    app.act_as(&writer);
    for (body, what) in [
        (json!({}), json!(["cifra:acme:*"])),
        (json!({ "tenant": "acme" }), json!(["cifra:acme:*"])),
        (json!({ "entity": "Benchmark" }), json!(["cifra:acme:Benchmark:*"])),
        (
            json!({ "entity": "Benchmark", "id": "a" }),
            json!(["cifra:acme:Benchmark:a:*", "cifra:acme:Benchmark:list:*", "cifra:acme:Benchmark:by:*"]),
        ),
        (json!({ "pattern": "cifra:acme:*won*" }), json!(["cifra:acme:*won*"])),
    ] {
        for _ in 0..2 {
            let done = invalidate(body.clone()).await.expect(200).json();
            assert_eq!(names(&done), ["invalidated", "invalidated_at", "message", "success"]);
            assert_eq!((&done["success"], &done["invalidated"]), (&json!(true), &what));
            done["invalidated_at"].as_str().unwrap().parse::<Timestamp>().unwrap();
        }
    }
    for body in [
        json!({ "tenant": "other" }),
        json!({ "tenant": "global" }),
        json!({ "pattern": "*" }),
        json!({ "pattern": "cifra:*" }),
        json!({ "pattern": "cifra:acme*" }),
        json!({ "pattern": "cifra:other:*" }),
    ] {
        invalidate(body).await.problem(403, "forbidden");
    }
    for body in [
        json!({ "id": "a" }),
        json!({ "entity": "Benchmark", "pattern": "cifra:acme:*" }),
        json!({ "entity": "Nothing" }),
        json!({ "entity": "no name" }),
        json!({ "tenant": "NO" }),
        json!({ "pattern": "" }),
        json!({ "entity": "Benchmark", "id": "" }),
    ] {
        invalidate(body).await.problem(400, "invalid-request");
    }
    app.act_as(OPERATOR);
    for (body, what) in [
        (json!({}), json!(["cifra:default:*", "cifra:global:*"])),
        (json!({ "tenant": "other" }), json!(["cifra:other:*"])),
        (json!({ "tenant": "global", "entity": "Benchmark" }), json!(["cifra:global:Benchmark:*"])),
        (json!({ "pattern": "*" }), json!(["*"])),
    ] {
        assert_eq!(invalidate(body).await.expect(200).json()["invalidated"], what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_invalidated_by_pattern_or_cleared_is_read_from_the_database_again() {
    let app = TestApp::start().await;
    let [one, other] = [app.file(vec![1]).await, app.file(vec![2]).await];
    let source = async |file: &TestUpload| {
        app.get(&format!("/api/files/{}", file.id)).await.expect(200).header("x-cache").to_owned()
    };
    for (call, body, others) in [
        ("invalidate", json!({ "pattern": format!("cifra:default:File:{}:*", one.id) }), "L1"),
        ("clear", json!({}), "DB"),
    ] {
        // The feed hears of the files' creation a moment later, and they are misses once more: then it is tried again.
        until(call, async || {
            until("both in memory", async || {
                (source(&one).await == "L1" && source(&other).await == "L1").then_some(())
            })
            .await;
            app.post(&format!("/api/cache/{call}"), &body).await.expect(200);
            assert_eq!(source(&one).await, "DB", "{call}");
            (source(&other).await == others).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_benchmark_reads_as_often_as_it_was_told_to() {
    let app = TestApp::start().await;
    let counted = async || {
        let stats = stats(&app).await;
        ["queries_saved", "total_hits", "total_misses", "entities"].map(|name| stats[name].clone())
    };
    let before = counted().await;
    let measure = async |body: Value| app.post("/api/cache/benchmark", &body).await;
    let done = measure(json!({ "iterations": 20 })).await.expect(200).json();
    let wanted = ["cached", "database", "entity", "improvement_percent", "message", "success"];
    assert_eq!(names(&done), wanted);
    assert_eq!(done["entity"], "Tenant");
    for kind in ["cached", "database"] {
        assert_eq!(done[kind]["iterations"], 20);
        let time = |name: &str| done[kind][name].as_f64().unwrap();
        assert!(time("p50_ms") > 0.0 && time("p99_ms") >= time("p50_ms"), "{done}");
    }
    assert_eq!(counted().await, before, "nobody asked for these");
    measure(json!({ "entity": "File" })).await.problem(404, "record-not-found");
    measure(json!({ "entity": "Nothing" })).await.problem(404, "entity-not-found");
    app.file(vec![1, 2, 3]).await;
    measure(json!({ "entity": "File", "iterations": 1 })).await.expect(200);
    for wrong in [json!({ "iterations": 0 }), json!({ "iterations": 10_001 }), json!({ "entity": "Upload" })]
    {
        measure(wrong).await.problem(400, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_figures_are_what_the_answers_said_and_who_switched_it_off_is_in_none_of_them() {
    let app = TestApp::builder().keys().start().await;
    let (reader, other) = (app.key("default", "read").await, app.key("default", "write").await);
    app.act_as(&other);
    let path = app.file(vec![1, 2, 3]).await.file_path();
    let files = async || {
        let stats = stats(&app).await;
        let count = |name: &str| stats["entities"]["File"][name].as_u64().unwrap_or(0);
        (count("hits"), count("misses"))
    };
    let read = async |times: usize| {
        let (mut hits, mut misses) = (0, 0);
        for _ in 0..times {
            let answer = app.get(&path).await.expect(200);
            let source = answer.header("x-cache").to_owned();
            let timing = answer.header("server-timing");
            assert!(timing.starts_with(&format!("cache;desc=\"{source}\";dur=")), "{timing}");
            match source.as_str() {
                "L1" | "L2" | "STALE" => hits += 1,
                "DB" => misses += 1,
                other => assert_eq!(other, "BYPASS"),
            }
        }
        (hits, misses)
    };
    let before = files().await;
    let seen = read(30).await;
    assert!(seen.0 > 20 && seen.0 + seen.1 == 30, "{seen:?}");
    let after = (before.0 + seen.0, before.1 + seen.1);
    assert_eq!(files().await, after);

    app.act_as(&reader);
    app.post("/api/cache/toggle-user", &json!({ "enabled": false })).await.expect(200);
    assert_eq!(read(5).await, (0, 0), "all of it past the cache");
    assert_eq!(files().await, after);
    let times = &stats(&app).await["response_times"]["File"];
    assert!(times["database_ms"].as_f64() > times["cached_ms"].as_f64(), "{times}");
    app.act_as(&other);
    // The feed may just hear of the file's own creation: then one of these is a miss.
    let cached = async || {
        let (hits, misses) = read(5).await;
        hits + misses
    };
    assert_eq!(cached().await, 5, "who did not switch it off has it still");
    app.act_as(&reader);
    app.post("/api/cache/toggle-user", &json!({ "enabled": true })).await.expect(200);
    assert_eq!(cached().await, 5);
}
