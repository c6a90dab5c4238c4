//! Configuration by tables: what each source may say, which one wins, and every way to be wrong.

mod cache;
mod documented;
mod entities;
mod object_storage;
mod redis;
mod refused;
mod stores;
mod thumbnails;
mod values;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A folder to load from, with no environment and no flags until a test gives some.
struct Place {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
    flags: Vec<(&'static str, &'static str)>,
    named: Option<PathBuf>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, environment: Vec::new(), flags: Vec::new(), named: None }
    }

    /// A place whose `cifra.yaml` is `text`.
    fn with_file(text: &str) -> Self {
        Self::new().file("cifra.yaml", text)
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn flag(mut self, key: &'static str, value: &'static str) -> Self {
        self.flags.push((key, value));
        self
    }

    fn named(mut self, path: impl Into<PathBuf>) -> Self {
        self.named = Some(path.into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_load(&self) -> Result<Loaded, Faults> {
        load(&Sources {
            file: self.named.clone(),
            environment: self.environment.iter().cloned().collect(),
            flags: self.flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            working_dir: self.folder.path().to_owned(),
        })
    }

    fn load(&self) -> Loaded {
        self.try_load().unwrap_or_else(|faults| panic!("{faults}"))
    }

    /// The faults as people see them, one a line, with the folder's own path taken out.
    fn faults(&self) -> Vec<String> {
        let faults = self.try_load().expect_err("the configuration should be refused");
        let folder = format!("{}/", self.folder.path().display());
        faults.iter().map(|fault| fault.to_string().replace(&folder, "")).collect()
    }
}

#[test]
fn stronger_sources_override_weaker_ones() {
    let listen = |place: &Place| place.load().config.server.listen.port();
    let place = Place::new();
    assert_eq!(listen(&place), 8080);
    let place = place.file("cifra.yaml", "server: { listen: '127.0.0.1:1' }");
    assert_eq!(listen(&place), 1);
    let place = place.env("CIFRA__SERVER__LISTEN", "127.0.0.1:2");
    assert_eq!(listen(&place), 2);
    let place = place.flag("server.listen", "127.0.0.1:3");
    assert_eq!(listen(&place), 3);
    let place = place.flag("server.listen", "127.0.0.1:4");
    assert_eq!(listen(&place), 4, "the last flag counts");
}

#[test]
fn common_variables_stand_between_the_file_and_our_own() {
    let place = Place::with_file("log: { level: warn }\ndatabase: { url: sqlite://a.db }")
        .env("RUST_LOG", "debug,cifra::db=trace")
        .env("DATABASE_URL", "sqlite://b.db");
    let config = place.load().config;
    assert_eq!(config.log.level.as_str(), "debug,cifra::db=trace");
    assert_eq!(config.database.url, DatabaseUrl::Sqlite(place.path("b.db")));

    let place = place.env("CIFRA__LOG__LEVEL", "error").env("CIFRA__DATABASE__URL", "sqlite:///c.db");
    let config = place.load().config;
    assert_eq!(config.log.level.as_str(), "error");
    assert_eq!(config.database.url, DatabaseUrl::Sqlite("/c.db".into()));
}

#[test]
fn variables_of_parts_that_are_not_ours_yet_are_left_alone() {
    let place = Place::new()
        .env("CACHE_SIZE", "perhaps")
        .env("CIFRA_API_KEY", "x")
        .env("DATABASE_URL", "")
        .env("RUST_LOG", "")
        .env("CIFRA_CONFIG", "");
    assert_eq!(place.load().config, Config::builtin(&place.path("data")));
}

#[test]
fn every_nested_key_has_a_variable() {
    let place = Place::new()
        .env("CIFRA__FILE_UPLOAD__STORAGE__LOCAL__ROOT", "/srv/blobs")
        .env("CIFRA__SERVER__PUBLIC_URL", "null")
        .env("CIFRA__DATABASE__URL", "");
    let config = place.load().config;
    assert_eq!(config.file_upload.storage.local.root, Path::new("/srv/blobs"));
    assert_eq!(config.server.public_url, None);
    assert_eq!(config.database.url, DatabaseUrl::Sqlite(place.path("data/cifra.db")));
}

#[test]
fn the_first_file_on_the_search_path_is_used_and_told() {
    let from = |port: u16| format!("server: {{ listen: '127.0.0.1:{port}' }}");
    let used = |place: &Place| {
        let loaded = place.load();
        let Source::File(path) = loaded.source else { panic!("no file was used") };
        (path, loaded.config.server.listen.port())
    };
    let place = Place::new();
    assert_eq!(place.load().source, Source::BuiltIn);
    let place = place.file("config/cifra.yaml", &from(1));
    assert_eq!(used(&place), (place.path("config/cifra.yaml"), 1));
    let place = place.file("cifra.yaml", &from(2));
    assert_eq!(used(&place), (place.path("cifra.yaml"), 2));
    let place = place.file("env.yaml", &from(3)).env("CIFRA_CONFIG", "env.yaml");
    assert_eq!(used(&place), (place.path("env.yaml"), 3));
    let place = place.file("flag.yaml", &from(4)).named("flag.yaml");
    assert_eq!(used(&place), (place.path("flag.yaml"), 4));
}

#[test]
fn relative_paths_begin_where_they_are_written() {
    let text = "server: { data_dir: ./d }\ndatabase: { url: 'sqlite://x/y.db' }";
    let place = Place::new().file("etc/my.yaml", text).named("etc/my.yaml");
    let config = place.load().config;
    assert_eq!(config.server.data_dir, place.path("etc/d"));
    assert_eq!(config.database.url, DatabaseUrl::Sqlite(place.path("etc/x/y.db")));
    assert_eq!(config.file_upload.storage.local.root, place.path("etc/d/blobs"), "follows data_dir");

    let config = place.env("CIFRA__SERVER__DATA_DIR", "e").flag("database.url", "sqlite://f.db").load();
    let folder = config.config.server.data_dir.parent().unwrap().to_owned();
    assert_eq!(config.config.server.data_dir, folder.join("e"));
    assert_eq!(config.config.database.url, DatabaseUrl::Sqlite(folder.join("f.db")));

    let place = Place::new().file("etc/my.yaml", "log: { format: json }").named("etc/my.yaml");
    assert_eq!(place.load().config.server.data_dir, place.path("data"), "a default is nobody's file's");
}

#[test]
fn a_database_url_may_stand_in_a_file() {
    let place =
        Place::with_file("database: { url_file: secret/db }").file("secret/db", "postgres://me:x@db/y\n");
    assert_eq!(place.load().config.database.url, DatabaseUrl::Postgres("postgres://me:x@db/y".to_owned()));
    let faults = place.env("DATABASE_URL", "sqlite://a.db").faults();
    assert!(faults[0].contains("one of the two") && !faults[0].contains("me:x"), "{faults:?}");
}

#[test]
fn an_overridden_value_is_not_judged() {
    let place =
        Place::with_file("database: { url: 'postgres://db/cifra' }").flag("database.url", "sqlite://x.db");
    assert_eq!(place.load().config.database.url, DatabaseUrl::Sqlite(place.path("x.db")));
}

#[test]
fn a_listener_beyond_loopback_needs_a_word() {
    for (listen, allowed) in [
        ("127.0.0.1:1", true),
        ("127.9.9.9:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("192.168.1.1:1", false),
    ] {
        let place = Place::new().flag("server.listen", listen);
        assert_eq!(place.try_load().is_ok(), allowed, "{listen}");
        assert!(place.flag("auth.allow_open_network", "true").try_load().is_ok(), "{listen}");
    }
}
