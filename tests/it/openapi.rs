//! The document at `/openapi.json`: it has every route with every method, and it says what the service does.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::harness::{NOBODY, TestApp};

const JSON: (&str, &str) = ("content-type", "application/json");

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
    path.replace("{entity}", "File")
        .replace("{id}", NOBODY)
        .replace("{index}", "0")
        .replace("{code}", "internal")
        .replace("{size}", "small")
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

/// Operations that take JSON: method, a path, the example and the properties of the request.
fn json_requests(document: &Value) -> Vec<(Method, String, Value, Map<String, Value>)> {
    let requests = operations(document).into_iter().filter_map(|(path, method, operation)| {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let name = schema["$ref"].as_str()?.rsplit('/').next()?.to_owned();
        let shape = &document["components"]["schemas"][&name];
        assert_eq!(shape["additionalProperties"], false, "{name}");
        let properties = shape["properties"].as_object().unwrap().clone();
        Some((method.parse().unwrap(), filled(&path), shape["example"].clone(), properties))
    });
    requests.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_of_a_request_is_understood() {
    let app = TestApp::start().await;
    let requests = json_requests(&app.get("/openapi.json").await.json());
    assert!(requests.len() >= 2);
    for (method, path, example, _) in requests {
        let answer = app.send(method, &path, &[JSON], example.to_string()).await;
        let missing = path.contains(NOBODY);
        let fine = if missing { answer.status == 404 } else { (200..300).contains(&answer.status) };
        assert!(fine, "{path} {example}: {} {}", answer.status, answer.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_property_of_a_request_is_read_and_no_other() {
    let app = TestApp::start().await;
    let requests = json_requests(&app.get("/openapi.json").await.json());
    for (method, path, example, properties) in requests {
        let fault = async |name: &str, value: Value| -> String {
            let mut body = example.clone();
            body[name] = value;
            let answer = app.send(method.clone(), &path, &[JSON], body.to_string()).await;
            assert_eq!(answer.pointers(), [format!("/{name}")], "{path} {body}");
            let problem = answer.problem(400, "invalid-request");
            problem["errors"][0]["detail"].as_str().unwrap().to_owned()
        };
        let unknown = fault("no_such_field", Value::Bool(true)).await;
        for (name, schema) in properties {
            // What no property takes: a list, or an object where a list is taken.
            let is_list = schema["type"].to_string().contains("array");
            let told = fault(&name, if is_list { json!({}) } else { json!([]) }).await;
            assert_ne!(told, unknown, "{path}: {name} is in the document, and is not read");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_has_no_holes() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut rest = vec![(String::new(), &document)];
    while let Some((at, value)) = rest.pop() {
        match value {
            Value::Null => panic!("null at {at}"),
            Value::Array(items) => rest.extend(items.iter().map(|item| (format!("{at}/-"), item))),
            Value::Object(members) => {
                if let Some(reference) = value.get("$ref") {
                    let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference} at {at}");
                }
                rest.extend(members.iter().map(|(name, member)| (format!("{at}/{name}"), member)));
            }
            _ => {}
        }
    }
}
