//! `GET /api/uploads/{id}` and the list with its filters and cursors.

use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::{NOBODY, TestApp};

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["upload_id"].as_str().unwrap().to_owned()).collect()
}

/// Begins an upload and tells its id.
async fn begin(app: &TestApp, fields: Value) -> String {
    let mut body = json!({ "filename": "a", "total_size": 10 });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    app.upload_from(&body, vec![1; 10]).await.id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_id_is_not_found_and_a_malformed_one_is_refused() {
    let app = TestApp::start().await;
    for method in [Method::GET, Method::DELETE] {
        let ask = async |id: &str| app.send(method.clone(), &format!("/api/uploads/{id}"), &[], "").await;
        ask(NOBODY).await.problem(404, "upload-not-found");
        let long = "0".repeat(10_000);
        for wrong in [
            "x",
            "..%2f..%2fetc%2fpasswd",
            "%00",
            "%ff",
            "0198c5f07c1e7d2a9b3f2f1d0e5a6b7c",
            "%7B0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c%7D",
            &NOBODY.to_uppercase(),
            &long,
        ] {
            ask(wrong).await.problem(400, "invalid-request");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_answers_as_get_without_the_body() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(2).await;
    let got = app.get(&upload.path).await.expect(200);
    let head = app.send(Method::HEAD, &upload.path, &[], "").await.expect(200);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), got.body.len().to_string());
    assert_eq!(head.header("content-type"), "application/json");
    let missing = app.send(Method::HEAD, &format!("/api/uploads/{NOBODY}"), &[], "").await.expect(404);
    assert!(missing.body.is_empty());
    assert_eq!(missing.header("content-type"), "application/problem+json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_newest_first_and_without_what_is_missing() {
    let app = TestApp::start().await;
    let (first, second) = (begin(&app, json!({})).await, begin(&app, json!({})).await);
    let list = app.get("/api/uploads").await.expect(200).json();
    assert_eq!(ids(&list), [second, first.clone()]);
    assert_eq!(list["next_cursor"], Value::Null);
    let item = &list["items"][1];
    assert_eq!(item.get("missing"), None);
    let status = app.get(&format!("/api/uploads/{first}")).await.expect(200).json();
    for member in
        status.as_object().unwrap().keys().filter(|key| !["missing", "offset"].contains(&key.as_str()))
    {
        assert_eq!(item[member], status[member], "{member}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_read_page_by_page() {
    let app = TestApp::start().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.insert(0, begin(&app, json!({})).await);
    }
    for limit in [1, 2, 3, 5, 500] {
        let (mut read, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.get(&format!("/api/uploads?limit={limit}{cursor}")).await.expect(200).json();
            let page_ids = ids(&page);
            assert!(page_ids.len() <= limit, "{page}");
            read.extend(page_ids);
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
            if read.len() == limit && limit < 5 {
                begin(&app, json!({})).await; // newer ones do not shift what comes
            }
        }
        let known: Vec<_> = read.iter().filter(|id| all.contains(id)).cloned().collect();
        assert_eq!(known, all, "limit {limit}");
        read.dedup();
        all = ids(&app.get("/api/uploads?limit=500").await.json());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_belongs_to_its_list() {
    let app = TestApp::start().await;
    for _ in 0..3 {
        begin(&app, json!({ "metadata": { "a": "1" } })).await;
    }
    let page = app.get("/api/uploads?limit=1&metadata.a=1").await.expect(200).json();
    let cursor = page["next_cursor"].as_str().unwrap();
    app.get(&format!("/api/uploads?limit=2&metadata.a=1&cursor={cursor}")).await.expect(200);
    for other in ["", "metadata.a=2&", "metadata.b=1&", "metadata.a=1&state=receiving&"] {
        app.get(&format!("/api/uploads?{other}cursor={cursor}")).await.problem(400, "invalid-request");
    }
    for wrong in ["", "x", "AAAA", "%00", &cursor[1..], &cursor[..cursor.len() - 2]] {
        let path = format!("/api/uploads?metadata.a=1&cursor={wrong}");
        app.get(&path).await.problem(400, "invalid-request");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_by_state() {
    let app = TestApp::start().await;
    let receiving = begin(&app, json!({})).await;
    let aborted = begin(&app, json!({})).await;
    app.delete(&format!("/api/uploads/{aborted}")).await.expect(204);
    let completed = app.file(vec![1; 10]).await.id;
    for (state, expected) in [
        ("receiving", vec![&receiving]),
        ("aborted", vec![&aborted]),
        ("completed", vec![&completed]),
        ("expired", vec![]),
        ("finalizing", vec![]),
        ("sealed", vec![]),
    ] {
        let list = app.get(&format!("/api/uploads?state={state}")).await.expect(200).json();
        assert_eq!(ids(&list).iter().collect::<Vec<_>>(), expected, "{state}");
        assert!(list["items"].as_array().unwrap().iter().all(|item| item["state"] == state), "{list}");
    }
    assert_eq!(ids(&app.get("/api/uploads").await.json()).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_by_metadata() {
    let app = TestApp::start().await;
    let long = "x".repeat(4000);
    let one = begin(&app, json!({ "metadata": { "a": "1", "b": "2", "ä.ö": "& =" } })).await;
    let two = begin(&app, json!({ "metadata": { "a": "1", "long": long } })).await;
    let cases: [(String, Vec<&String>); 8] = [
        ("metadata.a=1".to_owned(), vec![&two, &one]),
        ("metadata.a=1&metadata.b=2".to_owned(), vec![&one]),
        ("metadata.a=2".to_owned(), vec![]),
        ("metadata.a=1&metadata.a=2".to_owned(), vec![]),
        ("metadata.a=".to_owned(), vec![]),
        ("metadata.%C3%A4.%C3%B6=%26+%3D".to_owned(), vec![&one]),
        (format!("metadata.long={long}"), vec![&two]),
        ("metadata.a=1&state=aborted".to_owned(), vec![]),
    ];
    for (query, expected) in cases {
        let list = app.get(&format!("/api/uploads?{query}")).await.expect(200).json();
        assert_eq!(ids(&list).iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_parameters_of_a_list_are_refused_and_named() {
    let app = TestApp::start().await;
    for (query, pointer) in [
        ("state=done", "?state"),
        ("limit=x", "?limit"),
        ("limit=-1", "?limit"),
        ("limit=5&limit=6", "?limit"),
        ("sort=name", "?sort"),
        ("metadata=1", "?metadata"),
        ("limit=0", "?limit"),
        ("limit=501", "?limit"),
        ("limit=4294967296", "?limit"),
    ] {
        assert_eq!(app.get(&format!("/api/uploads?{query}")).await.pointers(), [pointer], "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_metadata_filters_than_there_can_be_pairs_are_refused() {
    let app = TestApp::start().await;
    let filters = |count: usize| {
        let pairs: Vec<_> = (0..count).map(|n| format!("metadata.k{n}=v")).collect();
        format!("/api/uploads?{}", pairs.join("&"))
    };
    app.get(&filters(64)).await.expect(200);
    for count in [65, 2_000] {
        app.get(&filters(count)).await.problem(400, "invalid-request");
    }
}
