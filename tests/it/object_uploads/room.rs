//! Room for parts on their way to the store: who finds none is told to come back, and no tenant keeps the others out.

use cifra::config::{Backend, ByteSize};
use serde_json::json;

use crate::harness::process::until;
use crate::harness::{Raw, TestApp, TestUpload};

/// The largest part of the smallest room; a tenant has half of it, which is two of these.
const PART: usize = 5 << 20;

async fn begin(app: &TestApp, chunks: usize) -> TestUpload {
    let bytes = vec![7; chunks * PART];
    let wanted = json!({ "filename": "a", "total_size": bytes.len(), "chunk_size": PART });
    let upload = app.upload_from(&wanted, bytes).await;
    assert_eq!(upload.chunk_size, PART);
    upload
}

/// Begins to send a chunk: the next answer is 100 once it has room.
async fn begin_chunk(app: &TestApp, key: &str, upload: &TestUpload, index: usize) -> Raw {
    let mut raw = Raw::to(app).await;
    let (length, key) = (format!("Content-Length: {PART}"), format!("Authorization: Bearer {key}"));
    let line = format!("PUT {}", upload.chunk_path(index));
    raw.head(&line, &[&length, &key, "Expect: 100-continue"]).await;
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_no_room_comes_back_and_another_tenant_is_served() {
    let app = TestApp::builder().keys().with(|config| {
        config.file_upload.storage.backend = Backend::Memory;
        config.file_upload.parts_in_flight = ByteSize(4 * PART as u64);
    });
    let app = app.start().await;
    for tenant in ["slow", "other"] {
        app.tenant(tenant).await;
    }
    let (slow, other) = (app.key("slow", "write").await, app.key("other", "write").await);
    app.act_as(&slow);
    let upload = begin(&app, 3).await;
    let mut bodies = Vec::new();
    for index in [0, 1] {
        let mut body = begin_chunk(&app, &slow, &upload, index).await;
        assert_eq!(body.answer().await.unwrap().status, 100);
        body.send(&[7; 1000]).await;
        bodies.push(body);
    }
    let refused = begin_chunk(&app, &slow, &upload, 2).await.answer().await.unwrap();
    refused.problem(503, "overloaded");
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);

    app.act_as(&other);
    let others = begin(&app, 1).await;
    app.put_chunk(&others, 0).await.expect(200);

    drop(bodies);
    app.act_as(&slow);
    for index in [2, 1, 0] {
        until("the chunk is taken", async || {
            (app.put_chunk(&upload, index).await.status == 200).then_some(())
        })
        .await;
    }
}
