//! What only a file can suffer: damage, rights.

use std::os::unix::fs::PermissionsExt;

use cifra::base::Code;
use cifra::db::uploads::Upload;
use cifra::db::{DatabaseUrl, Db};
use cifra::telemetry::Tasks;

use super::{an_upload, get, insert, inserted, metadata, record_all};
use crate::harness::databases::{TestDb, options};

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let test = TestDb::sqlite().await;
    inserted(&test.db, 0).await;
    for extension in ["db", "db-wal"] {
        let path = test.path().with_extension(extension);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cifra.db");
    let garbage = b"this was a database once ".repeat(1000);
    std::fs::write(&path, &garbage).unwrap();
    let url = DatabaseUrl::Sqlite(path.clone());
    let error = Db::connect(&url, &options(), &Tasks::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    for expected in ["is damaged", "restore a backup", ".recover", path.to_str().unwrap()] {
        assert!(error.detail().contains(expected), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
}

#[tokio::test]
async fn a_damaged_schema_is_found_at_the_start() {
    let test = TestDb::sqlite().await;
    inserted(&test.db, 0).await;
    test.db.close().await;
    let mut bytes = std::fs::read(test.path()).unwrap();
    bytes[100..4096].fill(0xa5); // the first page, behind the header, is the root of the schema
    std::fs::write(test.path(), &bytes).unwrap();
    let error = Db::connect(&test.url, &options(), &test.tasks).await.unwrap_err();
    assert!(error.detail().contains("is damaged"), "{error}");
    assert_eq!(std::fs::read(test.path()).unwrap(), bytes);
}

#[tokio::test]
async fn a_damaged_page_hurts_its_own_rows_only() {
    let test = TestDb::sqlite().await;
    let mut uploads = Vec::new();
    for number in 0..60 {
        let filler = "x".repeat(3000); // a row a page
        let upload = Upload {
            filename: format!("file number {number} of many"),
            metadata: metadata(&[("text", &filler)]),
            ..an_upload(number)
        };
        insert(&test.db, &upload).await;
        uploads.push(upload);
    }
    test.db.close().await;
    let mut bytes = std::fs::read(test.path()).unwrap();
    let needle = b"file number 30 of many";
    let place = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[place / 4096 * 4096..][..4096].fill(0xa5);
    std::fs::write(test.path(), &bytes).unwrap();

    let db = Db::connect(&test.url, &options(), &test.tasks).await.expect("the server starts");
    db.migrate().await.unwrap();
    for (number, upload) in uploads.iter().enumerate() {
        let id = upload.id;
        let read =
            db.read(move |c| Box::pin(async move { cifra::db::uploads::get(c, &super::tenant(), id).await }));
        match read.await {
            Ok(found) => assert_eq!(found.as_ref(), Some(upload), "row {number}"),
            Err(error) => {
                assert!((28..=32).contains(&number), "row {number}: {error}");
                assert_eq!(error.code(), Code::Internal);
                assert!(error.detail().starts_with("the database is damaged: restore a backup"), "{error}");
            }
        }
    }
    let id = uploads[30].id;
    assert!(
        db.read(move |c| Box::pin(async move { cifra::db::uploads::get(c, &super::tenant(), id).await }))
            .await
            .is_err()
    );
    // Others work, new and old.
    record_all(&db, uploads[50].id, &[0, 1]).await;
    assert!(get(&db, inserted(&db, 99).await.id).await.is_some());
}
