//! `File`, `Upload`, `Thumbnail` and `Tenant` are there without a word of configuration, as their own paths show them.

use serde_json::json;

use crate::harness::pictures::jpeg;
use crate::harness::{NOBODY, TestApp};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_built_in_is_answered_as_at_its_own_path() {
    let app = TestApp::start().await;
    app.tenant("acme").await;
    let file = app.file_with(jpeg(400, 300, 1), json!({ "filename": "dusk.jpg" })).await;
    let upload = app.upload_of_chunks(2).await;
    app.get(&format!("/api/files/{}/thumbnails/small", file.id)).await.expect(200);
    let id = file.id.as_str();
    for (entity, own) in [
        (format!("File/{id}"), format!("/api/files/{id}")),
        (format!("Upload/{}", upload.id), upload.path.clone()),
        ("File".to_owned(), "/api/files".to_owned()),
        (
            "File?content_type=image/*&limit=1".to_owned(),
            "/api/files?content_type=image/*&limit=1".to_owned(),
        ),
        ("Upload?state=receiving".to_owned(), "/api/uploads?state=receiving".to_owned()),
        ("Tenant".to_owned(), "/api/tenants".to_owned()),
    ] {
        let shown = app.get(&format!("/api/entities/{entity}")).await.expect(200).json();
        assert_eq!(shown, app.get(&own).await.expect(200).json(), "{entity}");
    }
    let acme = app.get("/api/entities/Tenant/acme").await.expect(200).json();
    assert_eq!(acme["id"], "acme");

    let shown = app.get(&file.file_path()).await.json()["thumbnails"].clone();
    let small = app.get(&format!("/api/entities/Thumbnail/{id}:small")).await.expect(200).json();
    assert_eq!((&small["id"], &small["file_id"]), (&json!(format!("{id}:small")), &json!(id)));
    for (member, value) in shown["small"].as_object().unwrap() {
        assert_eq!(&small[member], value, "{member}");
    }
    let all = app.get(&format!("/api/entities/Thumbnail?file_id={id}")).await.expect(200).json();
    let names: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["small", "medium", "large"]);
    assert_eq!(all["items"][0], small);

    for (path, code) in [
        (format!("File/{NOBODY}"), "file-not-found"),
        (format!("Upload/{NOBODY}"), "upload-not-found"),
        ("Tenant/nobody".to_owned(), "tenant-not-found"),
        (format!("Thumbnail/{id}:huge"), "record-not-found"),
        (format!("Thumbnail/{NOBODY}:small"), "file-not-found"),
    ] {
        app.get(&format!("/api/entities/{path}")).await.problem(404, code);
    }
    for path in ["File/x", "Upload/x", "Tenant/A", "Thumbnail/x:small", "Thumbnail", "File?stage=won"] {
        app.get(&format!("/api/entities/{path}")).await.problem(400, "invalid-request");
    }
    let uploads = app.get(&format!("/api/entities/Upload/{}", upload.id)).await;
    assert_eq!(uploads.header("x-cache"), "BYPASS");
}
