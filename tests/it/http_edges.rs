//! HTTP itself: ids of requests, paths and methods that are nobody's, encodings, hostile names.
//! What takes bytes on the wire that no client library sends is in `http_wire`.

use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::{NOBODY, TestApp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_the_id_of_its_request() {
    let app = TestApp::start().await;
    let given = [("x-request-id", "client/7:a=b")];
    for path in ["/healthz", "/metrics", "/api/uploads", "/nowhere", "/api/uploads/x"] {
        assert_eq!(app.get_with(path, &given).await.header("x-request-id"), "client/7:a=b");
        let (one, two) = (app.get(path).await, app.get(path).await);
        assert_eq!(one.header("x-request-id").len(), 32);
        assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
    }
    let problem = app.get_with("/nowhere", &given).await.problem(404, "not-found");
    assert_eq!(problem["request_id"], "client/7:a=b");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_no_log_line_could_hold_is_replaced() {
    let app = TestApp::start().await;
    let long = "x".repeat(129);
    for id in ["", "two words", "tab\tbed", &long] {
        let answer = app.get_with("/healthz", &[("x-request-id", id)]).await.expect(200);
        assert_ne!(answer.header("x-request-id"), id);
    }
    let longest = "x".repeat(128);
    let answer = app.get_with("/healthz", &[("x-request-id", &longest)]).await;
    assert_eq!(answer.header("x-request-id"), longest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_nobodys_is_a_problem() {
    let app = TestApp::start().await;
    let chunks = format!("/api/uploads/{NOBODY}/chunks");
    for path in ["/", "/api", "/api/", "/api/uploads/", "/API/uploads", "//healthz", "/etc/passwd", &chunks] {
        app.get(path).await.problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_method_is_a_problem_that_says_which_are_allowed() {
    let app = TestApp::start().await;
    let upload = format!("/api/uploads/{NOBODY}");
    let chunk = format!("{upload}/chunks/0");
    let finalize = format!("{upload}/finalize");
    let content = format!("/api/files/{NOBODY}/content");
    for (method, path, allowed) in [
        (Method::PUT, "/api/uploads", vec!["POST", "GET", "HEAD"]),
        (Method::PATCH, upload.as_str(), vec!["GET", "HEAD", "DELETE"]),
        (Method::POST, chunk.as_str(), vec!["PUT"]),
        (Method::GET, finalize.as_str(), vec!["POST"]),
        (Method::DELETE, content.as_str(), vec!["GET", "HEAD"]),
        (Method::POST, "/healthz", vec!["GET", "HEAD"]),
    ] {
        let answer = app.send(method.clone(), path, &[], "").await;
        answer.problem(405, "method-not-allowed");
        let mut told: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
        let mut allowed = allowed;
        told.sort_unstable();
        allowed.sort_unstable();
        assert_eq!(told, allowed, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_body_is_refused_not_unpacked() {
    let app = TestApp::start().await;
    let upload = app.upload_of_chunks(1).await;
    for encoding in ["gzip", "br", "identity, gzip", "aws-chunked", "x"] {
        let headers = [("content-encoding", encoding), ("content-type", "application/json")];
        let chunk = app.put_with(&upload.chunk_path(0), &headers, upload.chunk(0)).await;
        chunk.problem(415, "unsupported-media-type");
        let create = app.send(Method::POST, "/api/uploads", &headers, "{}").await;
        create.problem(415, "unsupported-media-type");
        let finalize = app.send(Method::POST, &format!("{}/finalize", upload.path), &headers, "{}").await;
        finalize.problem(415, "unsupported-media-type");
    }
    assert_eq!(app.status(&upload).await["received_chunks"], 0);
    let identity = [("content-encoding", "Identity")];
    app.put_with(&upload.chunk_path(0), &identity, upload.chunk(0)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_from_clients_never_becomes_a_header_or_a_path() {
    let app = TestApp::start().await;
    let metadata = json!({ "x\r\nSet-Cookie: a=b": "y\r\n\r\n<script>", "../..": "\u{202e}" });
    let upload = app.upload_with(1, json!({ "metadata": metadata, "content_type": "image/png" })).await;
    app.put_all(&upload).await;
    let file = app.finalize(&upload).await.expect(201);
    assert_eq!(file.json()["metadata"], metadata);
    for answer in [file, app.get(&upload.content_path()).await, app.get(&upload.path).await] {
        assert_eq!(answer.find("set-cookie"), None);
    }
    let path = "/api/uploads/%0d%0aSet-Cookie:%20a=b";
    let refused = app.get(path).await;
    refused.problem(400, "invalid-request");
    assert_eq!(refused.find("set-cookie"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_problems_do_not_depend_on_what_was_asked() {
    let app = TestApp::start().await;
    let title =
        async |path: &str, code: &str| -> Value { app.get(path).await.problem(404, code)["title"].clone() };
    let upload = format!("/api/uploads/{NOBODY}");
    let other = format!("/api/uploads/{}", NOBODY.replace('0', "1"));
    assert_eq!(title(&upload, "upload-not-found").await, title(&other, "upload-not-found").await);
    let answer = app.get(&upload).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_nobody_documented_is_refused_on_every_route() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200).json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().filter(|method| *method != "head") {
            let path = path.replace("{index}", "0").replace("{code}", "not-found");
            let path = path.replace("{size}", "small").replace("{entity}", "File").replace("{id}", NOBODY);
            let method: Method = method.to_uppercase().parse().unwrap();
            let json = [("content-type", "application/json")];
            let told = app.send(method.clone(), &format!("{path}?filename=a&surplus=1"), &json, "").await;
            let pointers = told.pointers();
            let surplus = pointers.iter().any(|pointer| pointer == "?surplus" || pointer == "?filename");
            assert!(surplus, "{method} {path}: {pointers:?}");
            asked += 1;
        }
    }
    assert!(asked > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_no_list_comes_once() {
    let app = TestApp::start().await;
    for name in ["range", "content-type", "if-range", "if-modified-since"] {
        let twice = [(name, "a"), (name, "b")];
        app.get_with("/healthz", &twice).await.problem(400, "invalid-request");
    }
    app.get_with("/healthz", &[("if-none-match", "\"a\""), ("if-none-match", "\"b\"")]).await.expect(200);
}
