//! Several stores: sections whose names are the operator's.

use super::*;

fn names_and_roots(loaded: &Loaded) -> Vec<(String, PathBuf)> {
    let stores = &loaded.config.file_upload.other_stores;
    stores.iter().map(|store| (store.name.as_str().to_owned(), store.local.root.clone())).collect()
}

#[test]
fn other_stores_are_read_by_name_from_every_source() {
    let place = Place::with_file(
        "\
file_upload:
  storage: { name: new }
  other_stores:
    old: { local: { root: old } }
    older: { backend: local, local: { root: older } }
",
    )
    .env("CIFRA__FILE_UPLOAD__OTHER_STORES__OLD__LOCAL__ROOT", "/elsewhere")
    .env("CIFRA__FILE_UPLOAD__OTHER_STORES__OLDEST_1__LOCAL__ROOT", "/oldest")
    .flag("file_upload.other_stores.flagged.local.root", "/flagged");
    let loaded = place.load();
    let expected = [
        ("flagged", PathBuf::from("/flagged")),
        ("old", PathBuf::from("/elsewhere")),
        ("older", place.path("older")),
        ("oldest_1", PathBuf::from("/oldest")),
    ];
    let expected: Vec<_> = expected.into_iter().map(|(name, root)| (name.to_owned(), root)).collect();
    assert_eq!(names_and_roots(&loaded), expected);
    let again = Place::with_file(&loaded.show());
    assert_eq!(again.load().config, loaded.config, "{}", loaded.show());
}

#[test]
fn without_other_stores_the_map_is_empty_and_can_be_written_so() {
    for text in ["", "file_upload: { other_stores: {} }", "file_upload: { other_stores: }"] {
        let loaded = Place::with_file(text).load();
        assert_eq!(names_and_roots(&loaded), [], "{text}");
        assert!(loaded.show().contains("  other_stores: {}  "), "{}", loaded.show());
    }
}

#[test]
fn what_is_wrong_with_other_stores_is_told_at_once() {
    let place = Place::with_file(
        "\
file_upload:
  other_stores:
    Bad: { backend: tape }
    local: { local: { root: elsewhere } }
    old: { local: { rooot: a }, backend: floppy }
    old: { local: { root: b } }
    a.b: { local: { root: c } }
    plain: 1
  storage: { local: { root: blobs } }
",
    )
    .env("CIFRA__FILE_UPLOAD__OTHER_STORES", "{}")
    .env("CIFRA__FILE_UPLOAD__OTHER_STORES__OLD__LOCAL__ROOT", "/old")
    .env("CIFRA__FILE_UPLOAD__OTHER_STORES__PLAIN__LOCAL__ROOT", "/plain");
    let name = "1 to 64 lower-case letters, digits, - and _, beginning with a letter or digit";
    let expected = [
        format!(r#"cifra.yaml:3:5: file_upload.other_stores.Bad: found "Bad", expected {name}"#),
        r#"cifra.yaml:3:12: file_upload.other_stores.Bad.backend: found "tape", expected local or s3 or azure or gcs or memory"#
            .to_owned(),
        "cifra.yaml:4:5: file_upload.other_stores.local: found the name of file_upload.storage, local, \
         expected another name for each store"
            .to_owned(),
        "cifra.yaml:5:21: file_upload.other_stores.old.local.rooot: unknown key; \
         did you mean file_upload.other_stores.old.local.root?"
            .to_owned(),
        r#"cifra.yaml:5:33: file_upload.other_stores.old.backend: found "floppy", expected local or s3 or azure or gcs or memory"#
            .to_owned(),
        "cifra.yaml:6:5: file_upload.other_stores.old: the key stands here a second time".to_owned(),
        "cifra.yaml:7:5: file_upload.other_stores.a.b: found dots in a key, expected the name alone, \
         inside the map of its section"
            .to_owned(),
        "cifra.yaml:8:5: file_upload.other_stores.plain: found a plain value, expected a map of keys"
            .to_owned(),
        "environment variable CIFRA__FILE_UPLOAD__OTHER_STORES: file_upload.other_stores: \
         found a value for a section, expected one of its keys"
            .to_owned(),
    ];
    assert_eq!(place.faults(), expected);
}

#[test]
fn two_local_stores_never_share_a_folder() {
    for (root, other) in [("a", "a"), ("a", "a/b"), ("a/b", "./a")] {
        let text = format!(
            "file_upload:\n  storage: {{ local: {{ root: {root} }} }}\n  other_stores:\n    old: {{ local: {{ root: {other} }} }}\n"
        );
        let faults = Place::with_file(&text).faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("expected a folder of its own for each local store"), "{faults:?}");
        assert!(faults[0].contains("file_upload.other_stores.old.local.root = "), "{faults:?}");
    }
    let of_default = "file_upload: { other_stores: { old: {} } }";
    assert_eq!(Place::with_file(of_default).faults().len(), 1, "both would be `blobs` in data_dir");
    let beside = "file_upload: { other_stores: { old: { local: { root: data/blobs-old } } } }";
    Place::with_file(beside).load();
}
