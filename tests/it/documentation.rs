//! The pages for people: `/docs` and `/problems`. They say everything, they stand alone, and text stays text.

use std::collections::BTreeSet;

use axum::http::Method;
use cifra::base::Code;
use serde_json::Value;

use crate::harness::{Answer, TestApp};

const AS_JSON: (&str, &str) = ("accept", "application/json");

/// What every page keeps to.
#[track_caller]
fn is_a_page(page: &Answer) {
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let text = page.text();
    for foreign in ["<script", "src=", "@import", "url(", "style=\"", "href=\"http"] {
        assert!(!text.contains(foreign), "{foreign} in {text}");
    }
    for tag in ["section", "table", "p", "a", "code", "pre", "ul", "main", "h1"] {
        let opened = text.matches(&format!("<{tag}>")).count() + text.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{tag} is not closed");
    }
}

/// The values of all `href`s.
fn links(page: &str) -> BTreeSet<&str> {
    page.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_is_explained_in_words_of_its_own() {
    let app = TestApp::start().await;
    let mut texts = BTreeSet::new();
    for code in Code::ALL {
        let path = format!("/problems/{}", code.as_str());
        let page = app.get(&path).await.expect(200);
        is_a_page(&page);
        let shown = page.text().replace("<code>", "`").replace("</code>", "`").replace("&#39;", "'");
        let explained = app.get_with(&path, &[AS_JSON]).await.expect(200).json();
        assert_eq!(explained["code"], code.as_str());
        assert_eq!(explained["type"], path.as_str());
        assert_eq!(explained["title"], code.title());
        for part in ["meaning", "cause", "remedy"] {
            let text = explained[part].as_str().unwrap();
            assert!(text.len() > 20 && text.ends_with('.'), "{code:?}: {part}: {text}");
            assert!(texts.insert(text.to_owned()), "{code:?}: another code has the same {part}: {text}");
            assert!(shown.contains(&text[..20]), "{code:?}: {part}");
        }
        for member in explained["members"].as_array().unwrap() {
            assert!(member["meaning"].as_str().unwrap().ends_with('.'), "{code:?}: {member}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_problems_has_every_code_and_a_code_that_is_none_is_not_found() {
    let app = TestApp::start().await;
    let page = app.get("/problems").await.expect(200);
    is_a_page(&page);
    let listed = app.get_with("/problems", &[AS_JSON]).await.expect(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), Code::ALL.len());
    for code in Code::ALL {
        assert!(links(&page.text()).contains(format!("/problems/{}", code.as_str()).as_str()), "{code:?}");
    }
    for unknown in ["nothing", "chunk_busy", "CHUNK-BUSY", "%3Cscript%3E"] {
        app.get(&format!("/problems/{unknown}")).await.problem(404, "not-found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documentation_shows_every_operation_and_every_link_leads_somewhere() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200).json();
    let page = app.get("/docs").await.expect(200);
    is_a_page(&page);
    let page = page.text();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "head") {
            let id = operation["operationId"].as_str().unwrap();
            let begin =
                page.find(&format!("<section id=\"{id}\">")).unwrap_or_else(|| panic!("{method} {path}"));
            let section = &page[begin..begin + page[begin..].find("</section>").unwrap()];
            assert!(section.contains(&format!("<code>{path}</code>")), "{section}");
            assert!(section.contains("<pre><code>curl "), "{section}");
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                assert!(section.contains(&format!("<code>{name}</code>")), "{id}: {name}");
            }
            for status in operation["responses"].as_object().unwrap().keys() {
                let problem = operation["responses"][status]["content"].get("application/problem+json");
                assert!(
                    problem.is_some() || section.contains(&format!("<code>{status}</code>")),
                    "{id} {status}"
                );
            }
        }
    }
    for link in links(&page) {
        match link.strip_prefix('#') {
            Some(id) => assert!(page.contains(&format!("id=\"{id}\"")), "{link}"),
            None => drop(app.get(link).await.expect(200)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_the_document_are_kept_by_clients_and_answer_head() {
    let app = TestApp::start().await;
    for (path, accept) in [
        ("/docs", "text/html,application/json"),
        ("/problems", "*/*"),
        ("/problems/chunk-busy", "text/html"),
        ("/problems/chunk-busy", "application/problem+json"),
        ("/openapi.json", "*/*"),
    ] {
        let accept = ("accept", accept);
        let full = app.get_with(path, &[accept]).await.expect(200);
        let head = app.send(Method::HEAD, path, &[accept], "").await.expect(200);
        assert_eq!(head.header("content-length"), full.body.len().to_string());
        for name in ["etag", "content-type", "cache-control"] {
            assert_eq!(head.header(name), full.header(name), "{path}");
        }
        let again = app.get_with(path, &[accept, ("if-none-match", full.header("etag"))]).await.expect(304);
        assert!(again.body.is_empty());
        app.get_with(path, &[accept, ("if-none-match", "\"other\"")]).await.expect(200);
    }
    let tag = async |accept| -> String {
        let answer = app.get_with("/problems/internal", &[("accept", accept)]).await.expect(200);
        assert_eq!(answer.header("vary"), "Accept");
        answer.header("etag").to_owned()
    };
    assert_ne!(tag("text/html").await, tag("application/json").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_leads_to_its_explanation() {
    let app = TestApp::start().await;
    let problem = app.get("/nowhere").await.problem(404, "not-found");
    let explained = app.get_with(problem["type"].as_str().unwrap(), &[AS_JSON]).await.expect(200).json();
    assert_eq!(explained["status"], Value::from(404));
}
