//! The documented file is true, and what `show` says is what counts.

use super::*;

/// The documented file with every key set to what it says the default is.
fn uncommented() -> String {
    // What the file begins with is no key, though it looks like one.
    let outside = |key: &&str| keys().iter().any(|known| key.starts_with(&format!("{}: ", known.path)));
    let line = |line: &str| match line
        .strip_prefix("  ")
        .map(str::trim_start)
        .and_then(|key| key.strip_prefix("# "))
        .or_else(|| line.strip_prefix("# ").filter(outside))
    {
        Some(key) => format!("{}{key}\n", &line[..line.find('#').unwrap()]),
        None => format!("{line}\n"),
    };
    default_yaml().lines().map(line).collect()
}

#[test]
fn config_cifra_yaml_is_the_documented_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/cifra.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text == default_yaml(), "write the output of `cifra config default` to config/cifra.yaml");
}

#[test]
fn the_documented_file_changes_nothing() {
    let place = Place::new().file("config/cifra.yaml", &default_yaml());
    let loaded = place.load();
    assert_eq!(loaded.source, Source::File(place.path("config/cifra.yaml")));
    assert_eq!(loaded.config, Config::builtin(&place.path("data")));
}

#[test]
fn the_defaults_it_names_are_the_defaults() {
    let text = uncommented();
    let place = Place::with_file(&text);
    let loaded = place.load();
    assert_eq!(loaded.config, Config::builtin(&place.path("data")));
    let from_file = loaded.show().matches("/cifra.yaml\n").count();
    assert_eq!(from_file, keys().len() + 1, "every key is set by the file, and the head names it:\n{text}");
}

#[test]
fn the_documented_lines_are_short_and_the_keys_different() {
    let mut paths: Vec<String> = keys().into_iter().map(|key| key.path).collect();
    let count = paths.len();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), count);
    for line in default_yaml().lines() {
        assert!(line.chars().count() <= 130, "{line}");
    }
    assert!(keys().iter().all(|key| !key.doc.is_empty() && !key.doc.contains('\n')));
}

#[test]
fn what_show_says_loads_as_the_same_configuration() {
    let place = Place::with_file("file_upload: { min_free: 0.25%, storage: { name: '1e3' } }")
        .env("CIFRA__SERVER__LISTEN", "[::1]:9")
        .env("CIFRA__SERVER__DATA_DIR", "with: colon # and \"quotes\" \\ ? % …\n")
        .flag("file_upload.chunk_size", "1048577")
        .flag("server.public_url", "https://example.com/x/");
    let loaded = place.load();
    let again = Place::with_file(&loaded.show());
    assert_eq!(again.load().config, loaded.config, "{}", loaded.show());
}

#[test]
fn show_tells_where_values_come_from() {
    let place = Place::with_file("log: { format: json }")
        .env("CIFRA__DATABASE__SLOW_QUERY_MS", "5")
        .flag("server.listen", "[::1]:9");
    let shown = place.load().show();
    let comment_of = |key: &str| {
        let line = shown.lines().find(|line| line.trim_start().starts_with(key)).unwrap();
        let (value, origin) = line.split_once("  # ").unwrap();
        (value.trim().to_owned(), origin.to_owned())
    };
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    assert_eq!(comment_of("listen"), pair("listen: \"[::1]:9\"", "command line"));
    assert_eq!(
        comment_of("slow_query_ms"),
        pair("slow_query_ms: 5", "environment variable CIFRA__DATABASE__SLOW_QUERY_MS")
    );
    assert_eq!(comment_of("format").1, place.path("cifra.yaml").display().to_string());
    assert_eq!(comment_of("chunk_size"), pair("chunk_size: 8MiB", "default"));
}
