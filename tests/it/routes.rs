//! Every route, taken from the service's own document, so that a new one cannot be forgotten: without a key, with
//! another tenant's, with one that may only read.

use axum::http::Method;
use serde_json::{Value, json};

use crate::harness::{OPERATOR, TestApp, TestUpload};

/// An operation of the document.
struct Route {
    method: Method,
    template: String,
    /// Whether it answers everybody.
    open: bool,
    /// A JSON request as the document shows it.
    example: Option<Value>,
}

async fn routes(app: &TestApp) -> Vec<Route> {
    let document = app.get("/openapi.json").await.expect(200).json();
    let mut all = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let open = operation["security"] == json!([{}]);
            let shape = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let shape = shape.as_str().and_then(|path| path.rsplit('/').next());
            let example = shape.map(|shape| document["components"]["schemas"][shape]["example"].clone());
            all.push(Route { method, template: template.clone(), open, example });
        }
    }
    assert!(all.iter().filter(|route| !route.open).count() > 15, "where are the routes?");
    all
}

impl Route {
    /// The path, with the ids of things that are there.
    fn path(&self, file: &TestUpload, upload: &TestUpload, key: &str) -> String {
        let id = match &self.template {
            template if template.starts_with("/api/files/") => file.id.as_str(),
            template if template.starts_with("/api/entities/") => file.id.as_str(),
            template if template.starts_with("/api/keys/") => key,
            template if template.starts_with("/api/uploads/") => upload.id.as_str(),
            _ => "",
        };
        let path = self.template.replace("{id}", id).replace("{index}", "0");
        let path = path.replace("{entity}", "File").replace("{code}", "forbidden").replace("{size}", "small");
        assert!(
            !path.contains('{') && !path.contains("//"),
            "a new kind of path: teach this test its ids: {path}"
        );
        path
    }

    fn writes(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    /// Sends what is well-formed, so that nothing but who asks can be wrong with it.
    async fn ask(&self, app: &TestApp, path: &str) -> (u16, Value) {
        let answer = match &self.example {
            Some(example) => {
                let json = [("content-type", "application/json")];
                app.send(self.method.clone(), path, &json, example.to_string()).await
            }
            None => app.send(self.method.clone(), &format!("{path}{}", self.query()), &[], "").await,
        };
        (answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap_or_default()["code"].clone())
    }

    /// What must be in the query.
    fn query(&self) -> &'static str {
        if self.method == Method::POST && self.template == "/api/files" { "?filename=a" } else { "" }
    }
}

/// An app with a file and an open upload of the tenant `acme`, which is acted in; and the id of a key of it.
async fn furnished() -> (TestApp, TestUpload, TestUpload, String) {
    let app = TestApp::builder().keys().start().await;
    for tenant in ["acme", "other"] {
        app.tenant(tenant).await;
    }
    app.act_as(&app.key("acme", "admin").await);
    let (file, upload) = (app.file(vec![1, 2, 3]).await, app.upload_of_chunks(2).await);
    let keys = app.get("/api/keys").await.expect(200).json();
    let key = keys["items"][0]["id"].as_str().unwrap().to_owned();
    (app, file, upload, key)
}

/// Everything that the tenant `acme` has, as its admin sees it.
async fn state(app: &TestApp, admin: &str, file: &TestUpload, upload: &TestUpload) -> Vec<Value> {
    app.act_as(admin);
    let mut all = Vec::new();
    for path in ["/api/files", "/api/uploads", "/api/keys", &file.file_path(), &upload.path] {
        let mut seen = app.get(path).await.expect(200).json();
        for key in seen["items"].as_array_mut().into_iter().flatten() {
            key.as_object_mut().unwrap().remove("last_used_at");
        }
        all.push(seen);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_key_only_the_doors_answer() {
    let (app, file, upload, key) = furnished().await;
    let routes = routes(&app).await;
    app.act_as_nobody();
    for route in routes {
        let path = route.path(&file, &upload, &key);
        let (status, _) = route.ask(&app, &path).await;
        let told = format!("{} {path}", route.method);
        if route.open {
            assert_ne!(status, 401, "{told}");
        } else {
            assert_eq!(status, 401, "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_tenants_key_finds_nothing_and_changes_nothing() {
    let (app, file, upload, key) = furnished().await;
    let (admin, foreign) = (app.key("acme", "admin").await, app.key("other", "admin").await);
    let before = state(&app, &admin, &file, &upload).await;
    app.act_as(OPERATOR);
    let routes = routes(&app).await;
    app.act_as(&foreign);
    for route in routes.iter().filter(|route| route.template.contains("{id}")) {
        let path = route.path(&file, &upload, &key);
        let (status, code) = route.ask(&app, &path).await;
        assert_eq!(status, 404, "{} {path}: {code}", route.method);
    }
    assert_eq!(state(&app, &admin, &file, &upload).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_may_only_read_writes_nothing() {
    let (app, file, upload, key) = furnished().await;
    let (admin, reader) = (app.key("acme", "admin").await, app.key("acme", "read").await);
    let before = state(&app, &admin, &file, &upload).await;
    let routes = routes(&app).await;
    app.act_as(&reader);
    // How one is answered oneself is one's own business.
    let own = |route: &&Route| route.template == "/api/cache/toggle-user";
    for route in routes.iter().filter(|route| route.writes() && !route.open && !own(route)) {
        let path = route.path(&file, &upload, &key);
        let refused = route.ask(&app, &path).await;
        assert_eq!(refused, (403, "forbidden".into()), "{} {path}", route.method);
    }
    assert_eq!(state(&app, &admin, &file, &upload).await, before);
}
