//! Object stores: what they must have, and that their secrets are not shown.

use super::*;
use crate::base::Secret;

const STORE: &str = "file_upload.storage";

#[test]
fn a_store_must_be_named() {
    for (backend, key) in [("s3", "s3.bucket"), ("azure", "azure.container"), ("gcs", "gcs.bucket")] {
        let place = Place::new().flag("file_upload.storage.backend", backend);
        let expected = format!("default: {STORE}.{key}: found null, expected the name of one that is there");
        assert_eq!(place.faults(), [expected]);
    }
    Place::with_file("file_upload: { storage: { backend: s3, s3: { bucket: media } } }").load();
}

#[test]
fn half_a_key_is_refused() {
    let place = Place::with_file("file_upload: { storage: { s3: { access_key_id: AKIA } } }");
    let faults = place.faults();
    assert!(faults[0].contains("both, or none for AWS_… variables and roles"), "{faults:?}");
}

#[test]
fn secrets_come_from_the_file_or_from_one_of_their_own_and_are_not_shown() {
    let place = Place::with_file(
        "file_upload: { storage: { s3: { access_key_id: AKIA, secret_access_key_file: ./secret } } }",
    )
    .file("secret", "hush/hush+=\n");
    let loaded = place.load();
    let s3 = &loaded.config.file_upload.storage.s3;
    assert_eq!(s3.secret_access_key, Some(Secret::new("hush/hush+=")));

    let place = Place::with_file(
        "file_upload: { storage: { azure: { access_key: hush }, s3: { session_token: hush } } }",
    );
    let loaded = place.load();
    assert_eq!(loaded.config.file_upload.storage.azure.access_key, Some(Secret::new("hush")));
    for shown in [loaded.show(), format!("{:?}", loaded.config)] {
        assert!(!shown.contains("hush"), "{shown}");
    }

    let both = "file_upload: { storage: { azure: { access_key: hush, access_key_file: ./secret } } }";
    let faults = Place::with_file(both).file("secret", "hush").faults();
    assert!(faults[0].contains("one of the two") && !faults[0].contains("hush"), "{faults:?}");
}

#[test]
fn what_the_environment_says_for_all_programs_is_kept_and_not_shown() {
    let place = Place::new()
        .env("AWS_ACCESS_KEY_ID", "AKIA")
        .env("AWS_SECRET_ACCESS_KEY", "hush")
        .env("AWS_REGION", "");
    let loaded = place.load();
    let s3 = &loaded.config.file_upload.storage.s3;
    assert_eq!(s3.environment.get("AWS_SECRET_ACCESS_KEY"), Some("hush"));
    assert_eq!(s3.environment.iter().count(), 2, "an empty one is none");
    assert!(!format!("{s3:?}").contains("hush") && !loaded.show().contains("hush"));
}

#[test]
fn endpoints_and_names_are_plain() {
    for (key, value) in [
        ("s3.endpoint", "localhost:9000"),
        ("s3.endpoint", "https://user:hush@host"),
        ("s3.endpoint", "https://host/?x=1"),
        ("s3.prefix", "a b"),
        ("s3.prefix", "../x"),
        ("s3.bucket", "a?b"),
    ] {
        let key: &'static str = format!("{STORE}.{key}").leak();
        let faults = Place::new().flag(key, value).faults();
        assert!(faults[0].contains(key) && !faults[0].contains("hush"), "{faults:?}");
    }
}
