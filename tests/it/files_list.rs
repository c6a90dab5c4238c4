//! `GET /api/files`: filters, orders, pages, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use cifra::base::{ManualClock, Timestamp};
use serde_json::{Value, json};

use crate::harness::{TestApp, bytes};

/// 2026-01-02T03:04:05Z.
const START: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);

/// A service, and the ids of the files in it: made a second apart, with these names, types and metadata.
async fn with_files(files: &[(&str, &str, Value)]) -> (TestApp, Vec<String>) {
    let clock = Arc::new(ManualClock::at(START));
    // Nothing changes a record meanwhile.
    let app = TestApp::builder().clock(&clock).with(|config| config.thumbnails.eager = false).start().await;
    let mut ids = Vec::new();
    for (number, (filename, content_type, metadata)) in files.iter().enumerate() {
        let fields = json!({ "filename": filename, "content_type": content_type, "metadata": metadata });
        ids.push(app.file_with(bytes(100 - number), fields).await.id);
        clock.advance(Duration::from_secs(1));
    }
    (app, ids)
}

async fn listed(app: &TestApp, query: &str) -> Vec<String> {
    let list = app.get(&format!("/api/files?{query}")).await.expect(200).json();
    list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_listed_newest_first_each_as_it_is() {
    let none = json!({});
    let (app, ids) = with_files(&[("a", "text/plain", none.clone()), ("b", "image/png", none)]).await;
    let list = app.get("/api/files").await.expect(200).json();
    assert_eq!(list["next_cursor"], Value::Null);
    for (item, id) in list["items"].as_array().unwrap().iter().zip(ids.iter().rev()) {
        assert_eq!(*item, app.get(&format!("/api/files/{id}")).await.json());
    }
    app.delete(&format!("/api/files/{}", ids[1])).await.expect(204);
    assert_eq!(listed(&app, "").await, ids[..1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_listed_in_each_order() {
    let none = || json!({});
    let (app, ids) = with_files(&[
        ("b.txt", "text/plain", none()),
        ("A.txt", "text/plain", none()),
        ("é.txt", "text/plain", none()),
        ("a.TXT", "text/plain", none()),
        ("f.txt", "text/plain", none()),
    ])
    .await;
    for (sort, expected) in [
        ("created_at", [0, 1, 2, 3, 4]),
        ("-created_at", [4, 3, 2, 1, 0]),
        ("filename", [1, 3, 0, 2, 4]), // alike: the older id first
        ("-filename", [4, 2, 0, 3, 1]),
        ("size", [4, 3, 2, 1, 0]),
        ("-size", [0, 1, 2, 3, 4]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|number: usize| ids[number].clone()).collect();
        assert_eq!(listed(&app, &format!("sort={sort}")).await, expected, "{sort}");
        let mut paged = Vec::new();
        let mut query = format!("sort={sort}&limit=2");
        loop {
            let page = app.get(&format!("/api/files?{query}")).await.expect(200).json();
            paged.extend(page["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            query = format!("sort={sort}&limit=2&cursor={cursor}");
        }
        assert_eq!(paged, expected, "{sort} in pages");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_narrow_the_list_together() {
    let (app, ids) = with_files(&[
        ("Report 1%.pdf", "application/pdf", json!({ "a": "1", "b": "x" })),
        ("report_2.PDF", "application/pdf; v=2", json!({ "a": "1" })),
        ("Élan.png", "image/png", json!({ "a": "2", "b": "x" })),
        ("E\u{301}lan 2.png", "Image/JPEG", json!({})),
    ])
    .await;
    for (query, expected) in [
        ("content_type=application/pdf", vec![1, 0]),
        ("content_type=Application/PDF", vec![1, 0]),
        ("content_type=image/*", vec![3, 2]),
        ("content_type=image/png", vec![2]),
        ("content_type=imag/*", vec![]),
        ("q=REPORT", vec![1, 0]),
        ("q=report%201%25", vec![0]),
        ("q=report_", vec![1]),
        ("q=%25", vec![]),
        ("q=_", vec![]),
        ("q=", vec![3, 2, 1, 0]),
        ("q=%C3%A9lan", vec![3, 2]),
        ("q=e%CC%81lan%20", vec![3]),
        ("q=port", vec![]),
        ("metadata.a=1", vec![1, 0]),
        ("metadata.a=1&metadata.b=x", vec![0]),
        ("metadata.a=1&metadata.a=2", vec![]),
        ("created_after=2026-01-02T03:04:06Z", vec![3, 2]),
        ("created_before=2026-01-02T03:04:06Z", vec![0]),
        ("created_after=2026-01-02T04:04:05%2B01:00&created_before=2026-01-02T03:04:08Z", vec![2, 1]),
        ("created_after=2026-01-02T03:04:05.999999Z&q=r&content_type=application/*&metadata.a=1", vec![1]),
    ] {
        let expected: Vec<_> = expected.into_iter().map(|number: usize| ids[number].clone()).collect();
        assert_eq!(listed(&app, query).await, expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_neither_skip_nor_repeat_while_files_come_and_go() {
    let none = || json!({});
    let names = ["a", "b", "c", "d", "e", "f"];
    let files: Vec<_> = names.iter().map(|name| (*name, "text/plain", none())).collect();
    let (app, ids) = with_files(&files).await;
    for sort in ["filename", "-created_at"] {
        let first = app.get(&format!("/api/files?sort={sort}&limit=2")).await.expect(200).json();
        let cursor = first["next_cursor"].as_str().unwrap();
        // The file at the cursor goes, and others come on both sides of it.
        let last = first["items"][1]["id"].as_str().unwrap();
        app.delete(&format!("/api/files/{last}")).await.expect(204);
        let before = app.file_with(bytes(1), json!({ "filename": "a0" })).await.id;
        let rest = listed(&app, &format!("sort={sort}&cursor={cursor}")).await;
        let known: Vec<_> = ids.iter().filter(|id| rest.contains(id)).collect();
        assert!(!rest.contains(&before), "{sort}: it belongs before the cursor");
        assert!(!rest.contains(&last.to_owned()));
        let shown = |id: &String| first["items"].as_array().unwrap().iter().any(|item| item["id"] == **id);
        assert!(!known.iter().any(|id| shown(id)), "{sort}: shown twice");
        app.delete(&format!("/api/files/{before}")).await.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_belongs_to_its_filter_and_order() {
    let pair = || json!({ "a": "1" });
    let (app, _) = with_files(&[("a", "text/plain", pair()), ("b", "text/plain", pair())]).await;
    for sort in ["created_at", "filename", "size"] {
        let list = format!("/api/files?metadata.a=1&sort={sort}");
        let page = app.get(&format!("{list}&limit=1")).await.expect(200).json();
        let cursor = page["next_cursor"].as_str().unwrap();
        app.get(&format!("{list}&limit=500&cursor={cursor}")).await.expect(200);
        for other in [
            "",
            "metadata.a=1",
            "metadata.a=2",
            "metadata.a=1&sort=-size",
            "metadata.a=1&sort=size&q=a",
            "sort=size",
        ] {
            app.get(&format!("/api/files?{other}&cursor={cursor}")).await.problem(400, "invalid-request");
        }
        for wrong in ["", "x", "AAAA", "%00", &cursor[1..], &cursor[..cursor.len() - 2]] {
            app.get(&format!("{list}&cursor={wrong}")).await.problem(400, "invalid-request");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_parameters_are_refused_and_named() {
    let app = TestApp::start().await;
    for (query, pointer) in [
        ("sort=name", "?sort"),
        ("sort=--size", "?sort"),
        ("sort=", "?sort"),
        ("sort=size&sort=size", "?sort"),
        ("limit=0", "?limit"),
        ("limit=501", "?limit"),
        ("limit=x", "?limit"),
        ("created_after=yesterday", "?created_after"),
        ("created_before=2026-01-02", "?created_before"),
        ("created_before=2026-01-02T03:04:05+01:00", "?created_before"),
        ("content_type=image", "?content_type"),
        ("content_type=*/*", "?content_type"),
        ("content_type=image/png;q=1", "?content_type"),
        ("state=done", "?state"),
        ("metadata=1", "?metadata"),
    ] {
        assert_eq!(app.get(&format!("/api/files?{query}")).await.pointers(), [pointer], "{query}");
    }
    let long = format!("q={}", "x".repeat(1025));
    for query in ["q=%00", "metadata.a=%00", "metadata.%00=a", &long] {
        app.get(&format!("/api/files?{query}")).await.problem(400, "invalid-request");
    }
    let filters = |count: usize| (0..count).map(|n| format!("metadata.k{n}=v")).collect::<Vec<_>>().join("&");
    app.get(&format!("/api/files?{}", filters(64))).await.expect(200);
    app.get(&format!("/api/files?{}", filters(65))).await.problem(400, "invalid-request");
}
