//! The document at `/openapi.json`: it has every route with every method, and it says what the service does.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::Value;

use crate::harness::{NOBODY, TestApp};

/// Every operation of the document: its path, its method in capitals, itself.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            all.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    all
}

/// A path that somebody could ask for.
fn filled(path: &str) -> String {
    path.replace("{id}", NOBODY).replace("{index}", "0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_path_is_documented_with_exactly_the_methods_that_it_allows() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200).json();
    let operations = operations(&document);
    assert!(operations.len() > 15, "{}", operations.len());
    let paths: BTreeSet<&String> = operations.iter().map(|(path, _, _)| path).collect();
    for path in paths {
        let answer = app.send(Method::from_bytes(b"BREW").unwrap(), &filled(path), &[], "").await;
        answer.problem(405, "method-not-allowed");
        let allowed: BTreeSet<&str> = answer.header("allow").split(',').map(str::trim).collect();
        let documented = operations.iter().filter(|(other, _, _)| other == path);
        let documented: BTreeSet<&str> = documented.map(|(_, method, _)| method.as_str()).collect();
        assert_eq!(allowed, documented, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_has_a_name_of_its_own_a_tag_and_a_summary() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200).json();
    let tags: BTreeSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name), "{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 5), "{method} {path}");
        assert!(operation["tags"].as_array().unwrap().iter().all(|tag| tags.contains(tag.as_str().unwrap())));
        for (status, response) in operation["responses"].as_object().unwrap() {
            let description = response["description"].as_str();
            assert!(description.is_some_and(|text| text.len() > 5), "{method} {path} {status}");
        }
    }
}
