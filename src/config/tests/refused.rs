//! Everything that is refused, in the words that people see.

use super::*;

#[test]
fn all_faults_come_at_once_with_their_places() {
    let place = Place::with_file(
        "\
server:
  listen: localhost:8080
  lisen: 127.0.0.1:1
  cors: everybody
backup: { store: x }
file_upload:
  chunk_size: 8 megs
  chunk_size: 8MiB
  storage: { backend: s4 }
log: [text]
",
    )
    .env("CIFRA__DATABASE__MAX_CONNECTIONS", "many")
    .env("CIFRA__DATABASE__MAX_CONECTIONS", "1")
    .env("CIFRA__JOBS__WORKERS", "5")
    .flag("auth.mode", "tokens")
    .flag("auth.moda", "open");
    let expected = [
        r#"cifra.yaml:2:3: server.listen: found "localhost:8080", expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080"#,
        "cifra.yaml:3:3: server.lisen: unknown key; did you mean server.listen?",
        "cifra.yaml:4:3: server.cors: found a plain value, expected a map of keys",
        "cifra.yaml:5:1: backup: this part of cifra is not built yet in this version; remove the key",
        r#"cifra.yaml:7:3: file_upload.chunk_size: found "8 megs", expected a size such as 64KiB, 8MiB, 10MB or a whole number of bytes (below 16 EiB)"#,
        "cifra.yaml:8:3: file_upload.chunk_size: the key stands here a second time",
        r#"cifra.yaml:9:14: file_upload.storage.backend: found "s4", expected local or s3 or azure or gcs or memory"#,
        "cifra.yaml:10:1: log: found a list, expected a map of keys",
        "environment variable CIFRA__DATABASE__MAX_CONECTIONS: database.max_conections: unknown key; did you mean CIFRA__DATABASE__MAX_CONNECTIONS?",
        r#"environment variable CIFRA__DATABASE__MAX_CONNECTIONS: database.max_connections: found "many", expected a whole number from 0 to 4294967295"#,
        "environment variable CIFRA__JOBS__WORKERS: jobs.workers: this part of cifra is not built yet in this version; remove the key",
        r#"command line: auth.mode: found "tokens", expected open or keys"#,
        "command line: auth.moda: unknown key; did you mean auth.mode?",
    ];
    assert_eq!(place.faults(), expected);

    let whole = place.try_load().unwrap_err().to_string();
    assert!(whole.starts_with("the configuration has 13 faults:\n  "), "{whole}");
    assert_eq!(whole.lines().count(), 14, "a line each");
}

#[test]
fn keys_of_parts_not_built_yet_are_refused_as_such() {
    let file = |path: &str| {
        let (mut text, names) = (String::new(), path.split('.'));
        for (depth, name) in names.enumerate() {
            text.extend(["\n", &"  ".repeat(depth), name, ":"]);
        }
        text + " 1\n"
    };
    for path in ["jobs.workers", "backup.store", "reports.folder"] {
        let faults = Place::with_file(&file(path)).try_load().unwrap_err();
        let problems: Vec<&Problem> = faults.iter().map(|fault| &fault.problem).collect();
        assert_eq!(problems, [&Problem::KeyNotBuilt], "{path}");
        let variable = format!("CIFRA__{}", path.replace('.', "__").to_uppercase());
        let faults = Place::new().env(variable.leak(), "1").try_load().unwrap_err();
        assert_eq!(faults.iter().next().unwrap().problem, Problem::KeyNotBuilt, "{path}");
    }
    let faults = Place::with_file("sesame: { url: x }").try_load().unwrap_err();
    assert_eq!(faults.iter().next().unwrap().problem, Problem::UnknownKey { suggestion: None });
}

#[test]
fn a_misspelt_key_gets_the_nearest_one() {
    for (wrong, right) in [
        ("server.lisen", Some("server.listen")),
        ("servr.listen", Some("server.listen")),
        ("file_upload.maxFileSize", Some("file_upload.max_file_size")),
        ("file_upload.max-file-size", Some("file_upload.max_file_size")),
        ("server.chunk_size", Some("file_upload.chunk_size")),
        ("listen", Some("server.listen")),
        ("database.password", None),
        ("x", None),
    ] {
        let faults = Place::new().flag(wrong, "1").try_load().unwrap_err();
        let suggestion = right.map(str::to_owned);
        assert_eq!(faults.iter().next().unwrap().problem, Problem::UnknownKey { suggestion }, "{wrong}");
    }
}

#[test]
fn variables_that_would_set_nothing_are_refused() {
    for (name, line) in [
        ("CIFRA__server__listen", "server.listen: unknown key; did you mean CIFRA__SERVER__LISTEN?"),
        ("CIFRA__SERVER", "server: found a value for a section, expected one of its keys"),
        ("CIFRA__", "unknown key"),
    ] {
        assert_eq!(Place::new().env(name, "1").faults(), [format!("environment variable {name}: {line}")]);
    }
}

#[test]
fn what_is_not_a_map_of_keys_is_refused() {
    for (text, line) in [
        ("- server", "cifra.yaml: found a list, expected a map of keys"),
        ("hello", "cifra.yaml: found a plain value, expected a map of keys"),
        ("server: 5", "cifra.yaml:1:1: server: found a plain value, expected a map of keys"),
        (
            "server.listen: 127.0.0.1:1",
            "cifra.yaml:1:1: server.listen: found dots in a key, expected the name alone, inside the map of its section",
        ),
        ("log: {}\n\nlog: {}", "cifra.yaml:3:1: log: the key stands here a second time"),
        ("log: { format: null }", "cifra.yaml:1:8: log.format: found null, expected text or json"),
        ("log: { format: { a: 1 } }", "cifra.yaml:1:8: log.format: found a map, expected text or json"),
        ("log: { format: [text] }", "cifra.yaml:1:8: log.format: found a list, expected text or json"),
        ("1: 2", "cifra.yaml:1:1: 1: unknown key"),
    ] {
        assert_eq!(Place::with_file(text).faults(), [line], "{text}");
    }
}

#[test]
fn empty_files_and_sections_say_nothing() {
    for text in ["", "# nothing\n", "---\n", "server:\nfile_upload:\n  storage:\n", "{}", "server: {}"] {
        let place = Place::with_file(text);
        assert_eq!(place.load().config, Config::builtin(&place.path("data")), "{text:?}");
    }
}

#[test]
fn broken_yaml_says_where() {
    for (text, place, why) in [
        ("server:\n  listen: [1\nlog: x\n", "cifra.yaml:3:", "not valid YAML"),
        ("server:\n\tlisten: 1\n", "cifra.yaml:2:1", "not valid YAML"),
        ("server: { listen: !tag 1 }", "cifra.yaml:1:", "not valid YAML"),
        ("a: 1\n---\nb: 1\n", "cifra.yaml", "not valid YAML"),
        ("a: *b\n", "cifra.yaml:1:4", "not valid YAML"),
        ("? [1]\n: 2\n", "cifra.yaml:1:3", "not valid YAML"),
    ] {
        let faults = Place::with_file(text).faults();
        assert_eq!(faults.len(), 1, "{text}");
        assert!(faults[0].starts_with(place) && faults[0].contains(why), "{text}: {faults:?}");
    }
    let deep = "[".repeat(10_000);
    assert!(Place::with_file(&deep).faults()[0].contains("not valid YAML"));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    for place in [Place::new().named("gone.yaml"), Place::new().env("CIFRA_CONFIG", "gone.yaml")] {
        let faults = place.file("cifra.yaml", "").faults();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("gone.yaml: can't read the configuration file: "), "{faults:?}");
    }
}

#[test]
fn files_that_can_not_be_text_are_refused() {
    let place = Place::new();
    std::fs::write(place.path("cifra.yaml"), b"log: { level: \xff }").unwrap();
    assert!(place.faults()[0].contains("it is not UTF-8"));
    let place = Place::with_file(&"#".repeat((256 << 10) + 1));
    assert!(place.faults()[0].contains("larger than 256 KiB"));
    let place = Place::new();
    std::fs::create_dir(place.path("cifra.yaml")).unwrap();
    assert!(place.faults()[0].contains("can't read"), "a folder is not passed over");
}

#[test]
fn a_file_of_nothing_but_faults_is_told_in_full() {
    let lines: Vec<String> = (0..2_000).map(|n| format!("key{n}: 1\n")).collect();
    assert_eq!(Place::with_file(&lines.concat()).faults().len(), 2_000);
}

#[test]
fn passwords_are_not_repeated() {
    for (key, value) in [
        ("database.url", "postgres://me:se/cret:secret@db"),
        ("database.url", "postgres://me:5432/secret@db"),
        ("database.url", "postgres://me:5432?secret@db"),
        ("database.url", "postgres://me:1#secret@db"),
        ("database.url", "postgres://me:secret@db/x?port=secret"),
        ("database.url", "postgres://me:secret@db/x?sslpassword=secret"),
        ("database.url", "mysql://me:secret@db"),
        ("database.url", "host=db password=secret"),
        ("server.public_url", "https://me:secret@host"),
        ("server.data_dir", "~/x"),
    ] {
        let faults = Place::new().flag(key, value).faults();
        assert!(!faults[0].contains("secret"), "{faults:?}");
    }
}

#[test]
fn values_that_do_not_go_together_are_refused() {
    for (flags, blamed, expected) in [
        (vec![("server.listen", "0.0.0.0:1")], "server.listen", "set auth.allow_open_network: true"),
        (
            vec![("file_upload.session_idle_ttl", "8d")],
            "file_upload.session_idle_ttl",
            "found file_upload.session_max_age = 7d, file_upload.session_idle_ttl = 8d",
        ),
        (
            vec![("file_upload.session_max_age", "1h")],
            "file_upload.session_max_age",
            "not shorter than session_idle_ttl",
        ),
        (vec![("file_upload.session_idle_ttl", "0")], "file_upload.session_idle_ttl", "more than zero"),
        (vec![("file_upload.chunk_size", "65535")], "file_upload.chunk_size", "64KiB to 1GiB"),
        (vec![("file_upload.chunk_size", "1073741825")], "file_upload.chunk_size", "64KiB to 1GiB"),
        (vec![("file_upload.max_file_size", "0")], "file_upload.max_file_size", "1 byte to 1000000GiB"),
        (vec![("file_upload.max_file_size", "1PiB")], "file_upload.max_file_size", "1 byte to 1000000GiB"),
        (vec![("database.max_connections", "0")], "database.max_connections", "from 1 to 1000"),
        (vec![("database.max_connections", "1001")], "database.max_connections", "from 1 to 1000"),
        (vec![("database.statement_timeout", "0s")], "database.statement_timeout", "more than zero"),
        (vec![("server.body_idle_timeout", "0s")], "server.body_idle_timeout", "more than zero"),
    ] {
        let place = Place { flags, ..Place::new() };
        let faults = place.try_load().unwrap_err();
        let fault = faults.iter().next().unwrap();
        assert_eq!((faults.iter().count(), fault.key.as_str()), (1, blamed));
        assert_eq!(fault.origin, Origin::Flag);
        assert!(fault.to_string().contains(expected), "{fault}");
    }
    let bounds =
        Place::new().flag("file_upload.chunk_size", "64KiB").flag("file_upload.max_file_size", "1000000GiB");
    assert!(bounds.try_load().is_ok());
    assert!(Place::new().flag("file_upload.chunk_size", "1GiB").try_load().is_ok());
}

#[test]
fn a_wrong_value_is_not_held_against_others() {
    let place =
        Place::new().flag("file_upload.session_max_age", "long").flag("file_upload.session_idle_ttl", "30d");
    let faults = place.faults();
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].contains("file_upload.session_max_age: found \"long\""), "{faults:?}");
}
