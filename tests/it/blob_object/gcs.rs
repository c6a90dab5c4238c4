//! Google Cloud Storage, as far as no server is needed: opening, and how files are cut for it.

use cifra::base::Code;
use cifra::blob::PartStore;
use cifra::upload::plan::{Cut, cut};

use super::{ObjectStore, options};
use crate::harness::config::loaded;

/// A service account with a key that was made for this test.
fn service_account() -> String {
    let made = std::process::Command::new("openssl")
        .args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        .output()
        .expect("openssl: run `make setup`");
    assert!(made.status.success());
    serde_json::json!({
        "type": "service_account",
        "private_key": String::from_utf8(made.stdout).unwrap(),
        "private_key_id": "1",
        "client_email": "cifra@example.iam.gserviceaccount.com",
        "client_id": "1",
    })
    .to_string()
}

#[test]
fn a_bucket_is_opened_with_a_service_account_and_has_the_limits_of_s3() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("account.json");
    std::fs::write(&file, service_account()).unwrap();
    let yaml = format!(
        "file_upload: {{ storage: {{ backend: gcs, gcs: {{ bucket: media, prefix: a/b, \
         service_account_key_file: \"{}\" }} }} }}",
        file.display()
    );
    let store = ObjectStore::open(&loaded(&yaml).file_upload.storage, options()).unwrap().unwrap();
    let limits = store.limits();
    // 64 MiB of budget.
    assert_eq!((limits.min_bytes, limits.max_bytes, limits.count_max), (5 << 20, 16 << 20, 10_000));
    assert_eq!(cut(100 << 20, 1, limits).unwrap(), Cut { chunk_size: 5 << 20, chunk_count: 20 });
    assert_eq!(cut(100_000 << 20, 8 << 20, limits).unwrap().chunk_count, 10_000);
    assert_eq!(cut(200_000 << 20, 8 << 20, limits).unwrap_err().code(), Code::FileTooLarge);
}

#[test]
fn what_is_no_service_account_is_refused_without_being_repeated() {
    let yaml =
        "file_upload: { storage: { backend: gcs, gcs: { bucket: media, service_account_key: hush } } }";
    let refused = ObjectStore::open(&loaded(yaml).file_upload.storage, options()).unwrap_err();
    let told = cifra::base::Error::from(refused).to_string();
    assert!(!told.contains("hush"), "{told}");
}
