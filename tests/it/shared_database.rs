//! Several nodes on one PostgreSQL: what only one of them may do, one does; what all know, all know.
//!
//! Each node here has a local store of its own, so each upload stays on the node that began it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::http::Method;
use cifra::base::clock::Correction;
use cifra::base::{Clock, SystemClock, Timestamp};
use cifra::config::{AuthMode, Config, DatabaseUrl};
use cifra::db::usage::Limits;
use cifra::session::Sessions;
use serde_json::json;

use crate::db::an_upload;
use crate::harness::databases::both_engines;
use crate::harness::process::until;
use crate::harness::{Answer, TestApp, config, postgres};

/// Makes a configuration that of the node `name` on the database in `url`.
fn node(url: &str, name: &str) -> impl FnOnce(&mut Config) {
    let store = config::loaded(&format!("file_upload: {{ storage: {{ name: {name} }} }}"));
    let url = DatabaseUrl::Postgres(url.to_owned());
    move |config| {
        config.database.url = url;
        config.database.max_connections = 4;
        config.file_upload.storage.name = store.file_upload.storage.name;
    }
}

/// Two nodes that ask for keys.
async fn two() -> [TestApp; 2] {
    two_with(|_| {}).await
}

async fn two_with(change: impl Fn(&mut Config)) -> [TestApp; 2] {
    let url = postgres::server().new_service_database().await;
    let start = async |name| TestApp::builder().keys().with(node(&url, name)).with(&change).start().await;
    let (a, b) = tokio::join!(Box::pin(start("a")), Box::pin(start("b")));
    [a, b]
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_and_tenants_of_one_node_are_those_of_the_other() {
    let [a, b] = two().await;
    a.tenant("acme").await;
    let key = a.key("acme", "read").await;
    b.act_as(&key);
    b.get("/api/files").await.expect(200);
    a.revoke(&key).await;
    let revoked = std::time::Instant::now();
    until("the key is refused", async || (b.get("/api/files").await.status == 401).then_some(())).await;
    assert!(revoked.elapsed() < Duration::from_secs(1), "{:?}", revoked.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_over_both() {
    let [a, b] = two_with(|config| config.limits.open_uploads = 5).await;
    a.tenant("acme").await;
    let key = a.key("acme", "admin").await;
    for app in [&a, &b] {
        app.act_as(&key);
    }
    let body = json!({ "filename": "a", "total_size": 10 });
    let creates = (0..12).map(|n| [&a, &b][n % 2].post("/api/uploads", &body));
    let answers = futures_util::future::join_all(creates).await;
    assert_eq!((count(&answers, 201), count(&answers, 429)), (5, 7));

    let token = json!({ "max_files": 3, "max_size": 100, "expires_in_seconds": 600 });
    let token = a.post("/api/upload-tokens", &token).await.expect(201).json();
    let token = format!("Bearer {}", token["token"].as_str().unwrap());
    let headers = [("authorization", token.as_str())];
    let files =
        (0..8).map(|n| [&a, &b][n % 2].send(Method::POST, "/api/files?filename=a", &headers, "hello"));
    let answers = futures_util::future::join_all(files).await;
    assert_eq!((count(&answers, 201), count(&answers, 403)), (3, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_one_idempotency_key_has_one_effect_whichever_nodes_it_is_sent_to() {
    let [a, b] = two().await;
    a.tenant("acme").await;
    let key = a.key("acme", "admin").await;
    for app in [&a, &b] {
        app.act_as(&key);
    }
    let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
    let body = json!({ "filename": "a", "total_size": 10 }).to_string();
    let sends = (0..8).map(|n| [&a, &b][n % 2].send(Method::POST, "/api/uploads", &headers, body.clone()));
    let answers = futures_util::future::join_all(sends).await;
    assert_eq!(count(&answers, 201) + count(&answers, 409), 8);
    assert!(count(&answers, 201) > 0);
    assert_eq!(a.number_in_database("SELECT COUNT(*) FROM cifra_uploads").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_first_operator_keys_one_counts_on_both() {
    let url = postgres::server().new_service_database().await;
    let start = async |name| {
        let keys = |config: &mut Config| config.auth.mode = AuthMode::Keys;
        TestApp::builder().with(node(&url, name)).with(keys).start().await
    };
    let (a, b) = tokio::join!(start("a"), start("b"));
    let key_of = |app: &TestApp| std::fs::read_to_string(app.folder().join("admin.key")).ok();
    let good = async |app: &TestApp, key: &str| {
        app.act_as(key.trim());
        app.get("/metrics").await.status == 200
    };
    let mut counting = 0;
    for key in [key_of(&a), key_of(&b)].into_iter().flatten() {
        let (on_a, on_b) = (good(&a, &key).await, good(&b, &key).await);
        assert_eq!(on_a, on_b);
        counting += usize::from(on_a);
    }
    assert_eq!(counting, 1);
    // Who comes later makes none.
    let c = start("c").await;
    assert_eq!(key_of(&c), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_sweep_at_once_do_everything_once() {
    const OVER: &str = "WITH changed AS (UPDATE cifra_uploads SET expires_at = 1 RETURNING 1)
        SELECT COUNT(*) FROM changed";
    let [a, b] = two().await;
    a.tenant("acme").await;
    let key = a.key("acme", "admin").await;
    for app in [&a, &b] {
        app.act_as(&key);
    }
    let body = json!({ "filename": "a", "total_size": 10 });
    let creates = (0..20).map(|n| [&a, &b][n % 2].post("/api/uploads", &body));
    futures_util::future::join_all(creates).await.into_iter().for_each(|answer| drop(answer.expect(201)));
    assert_eq!(a.number_in_database(OVER).await, 20);
    tokio::join!(a.sweep(), b.sweep(), a.sweep(), b.sweep());
    let counts = "SELECT COUNT(*) FROM cifra_audit WHERE action = 'upload-expired'";
    assert_eq!(a.number_in_database(counts).await, 20);
    let open = "SELECT open_uploads + reserved_bytes FROM cifra_tenant_usage WHERE tenant_id = 'acme'";
    assert_eq!(a.number_in_database(open).await, 0);
}

/// A machine whose clock is wrong.
#[derive(Debug)]
struct Wrong {
    machine: SystemClock,
    behind_micros: AtomicI64,
}

impl Wrong {
    fn by(behind: Duration) -> Arc<Self> {
        let micros = i64::try_from(behind.as_micros()).unwrap();
        Arc::new(Self { machine: SystemClock::default(), behind_micros: AtomicI64::new(micros) })
    }
}

impl Clock for Wrong {
    fn now(&self) -> Timestamp {
        let right = self.machine.now().as_micros();
        Timestamp::from_micros(right - self.behind_micros.load(Ordering::Relaxed))
    }

    fn uptime(&self) -> Duration {
        self.machine.uptime()
    }

    fn correction(&self) -> Option<&Correction> {
        self.machine.correction()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clock_of_the_database_counts_and_a_node_that_is_far_off_ends_nothing() {
    for (behind, believed) in [(Duration::from_secs(40), true), (Duration::from_mins(2), false)] {
        let url = postgres::server().new_service_database().await;
        let clock = Wrong::by(behind);
        let app = TestApp::builder().with(node(&url, "a")).clock(&clock).start().await;
        let off = SystemClock::default().now().as_micros() - clock.now().as_micros();
        assert!(off.abs() < 500_000, "{off}");
        assert_eq!(clock.correction().unwrap().is_certain(), believed);

        let upload = app.upload_of_chunks(1).await;
        let created: Timestamp = app.status(&upload).await["created_at"].as_str().unwrap().parse().unwrap();
        assert!(SystemClock::default().now().since(created) < Duration::from_secs(20), "{created}");
        app.number_in_database("UPDATE cifra_uploads SET expires_at = 1 RETURNING CAST(1 AS BIGINT)").await;
        app.sweep().await;
        let expired = "SELECT COUNT(*) FROM cifra_uploads WHERE state = 'expired'";
        assert_eq!(app.number_in_database(expired).await, i64::from(believed));
        // Set right.
        clock.behind_micros.store(0, Ordering::Relaxed);
        clock.correction().unwrap().set(0);
        app.sweep().await;
        assert_eq!(app.number_in_database(expired).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_begun_at_once_do_not_share_one_room() {
    for test in both_engines().await {
        let sessions = {
            let db = test.db.clone();
            db.write(cifra::db::Urgency::Normal, |c| {
                Box::pin(cifra::db::stores::remember(
                    c,
                    "default",
                    uuid::Uuid::nil(),
                    "local",
                    Timestamp::from_micros(0),
                ))
            })
            .await
            .unwrap();
            Sessions::new(db, uuid::Uuid::nil())
        };
        // Each has 1000 bytes; there is room for four.
        let creates = (0..12).map(|n| sessions.create(an_upload(n), None, Some(4_500), Limits::NONE, None));
        let begun = futures_util::future::join_all(creates).await;
        assert_eq!(begun.iter().filter(|outcome| outcome.is_ok()).count(), 4, "{}", test.engine);
    }
}
