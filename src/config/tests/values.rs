//! Texts and what they become.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::value::Value;
use super::*;

fn parse<T: Value>(text: &str) -> Option<T> {
    T::parse(text, Path::new("/base")).ok()
}

/// `render` of what `text` becomes.
fn rendered<T: Value>(text: &str) -> Option<String> {
    parse::<T>(text).map(|value| value.render())
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("0", 0),
        ("1", 1),
        ("512B", 512),
        ("64KiB", 65_536),
        ("8MiB", 8_388_608),
        ("8 MiB", 8_388_608),
        ("10MB", 10_000_000),
        ("3kB", 3_000),
        ("3KB", 3_000),
        ("5TiB", 5 << 40),
        ("18446744073709551615", u64::MAX),
        ("16383PiB", 16_383 << 50),
    ] {
        assert_eq!(parse(text), Some(ByteSize(bytes)), "{text}");
        let again = ByteSize(bytes).to_string();
        assert_eq!(parse(&again), Some(ByteSize(bytes)), "{text} as {again}");
    }
    for text in
        ["", "MiB", "-1", "+1", "1.5MiB", "8mib", "8Mb", "8M", "8MiB ", " 8MiB", "1e6", "1_000", "0x10", "１"]
    {
        assert_eq!(parse::<ByteSize>(text), None, "{text}");
    }
    for too_large in ["18446744073709551616", "16384PiB", "18446744073709551615KiB"] {
        assert_eq!(parse::<ByteSize>(too_large), None, "{too_large}");
    }
    for (bytes, text) in [(0, "0"), (1_000, "1KB"), (1_024, "1KiB"), (10_000_000, "10MB"), (1_025, "1025")] {
        assert_eq!(ByteSize(bytes).to_string(), text);
    }
}

#[test]
fn durations() {
    for (text, millis) in [
        ("0", 0),
        ("10", 10_000),
        ("250ms", 250),
        ("10s", 10_000),
        ("10 s", 10_000),
        ("5m", 300_000),
        ("24h", 86_400_000),
        ("7d", 604_800_000),
        ("36500d", 36_500 * 86_400_000),
    ] {
        assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        let again = rendered::<Duration>(text).unwrap();
        assert_eq!(parse(&again), Some(Duration::from_millis(millis)), "{text} as {again}");
    }
    for text in [
        "",
        "s",
        "-1s",
        "1.5h",
        "1h30m",
        "1w",
        "1M",
        "36501d",
        "18446744073709551615d",
        "99999999999999999999",
    ] {
        assert_eq!(parse::<Duration>(text), None, "{text}");
    }
    for (text, shown) in [("0", "0s"), ("24h", "1d"), ("90s", "90s"), ("1500ms", "1500ms")] {
        assert_eq!(rendered::<Duration>(text).as_deref(), Some(shown));
    }
}

#[test]
fn min_free_is_a_share_or_bytes() {
    let share = |basis_points| Some(MinFree::Share { basis_points });
    for (text, value) in [
        ("5%", share(500)),
        ("5 %", share(500)),
        ("0%", share(0)),
        ("0.25%", share(25)),
        ("12.5%", share(1_250)),
        ("99.99%", share(9_999)),
        ("10GiB", Some(MinFree::Bytes(ByteSize(10 << 30)))),
        ("5", Some(MinFree::Bytes(ByteSize(5)))),
        ("100%", None),
        ("-1%", None),
        ("%", None),
        (".5%", None),
        ("5.%", None),
        ("5.123%", None),
        ("5%%", None),
        ("+5%", None),
    ] {
        assert_eq!(parse(text), value, "{text}");
        if let Some(shown) = rendered::<MinFree>(text) {
            assert_eq!(parse(&shown), value, "{text} as {shown}");
        }
    }
    assert_eq!(MinFree::Share { basis_points: 500 }.of(1_000), 50);
    assert_eq!(MinFree::Share { basis_points: 9_999 }.of(u64::MAX), 18_444_899_399_302_180_659);
    assert_eq!(MinFree::Bytes(ByteSize(7)).of(1), 7);
}

#[test]
fn addresses_and_urls() {
    for text in ["127.0.0.1:8080", "[::1]:0"] {
        assert_eq!(rendered::<SocketAddr>(text).as_deref(), Some(text));
    }
    for text in ["localhost:80", "127.0.0.1", ":8080", "8080", "127.0.0.1:65536", "::1:80"] {
        assert_eq!(parse::<SocketAddr>(text), None, "{text}");
    }
    for (text, url) in [
        ("https://media.example.com", Some("https://media.example.com")),
        ("https://media.example.com/", Some("https://media.example.com")),
        ("http://host:8080/cifra/", Some("http://host:8080/cifra")),
        ("ftp://host", None),
        ("host:80", None),
        ("/path", None),
        ("https://", None),
        ("https://u@host", None),
        ("https://:p@host", None),
        ("https://host/?q=1", None),
        ("https://host/#f", None),
    ] {
        assert_eq!(rendered::<PublicUrl>(text).as_deref(), url, "{text}");
    }
}

#[test]
fn database_urls() {
    let file = |path: &str| Some(DatabaseUrl::Sqlite(path.into()));
    for (text, url) in [
        ("sqlite:///abs/x.db", file("/abs/x.db")),
        ("sqlite://x.db", file("/base/x.db")),
        ("sqlite://./x.db", file("/base/x.db")),
        ("sqlite://a%20b%3F.db", file("/base/a b?.db")),
        ("sqlite://", None),
        ("sqlite://:memory:", None),
        ("sqlite::memory:", None),
        ("sqlite:x.db", None),
        ("sqlite://x.db?mode=ro", None),
        ("sqlite://folder/", None),
        ("sqlite://%ff", None),
        ("x.db", None),
        ("mysql://db", None),
        ("postgres://db:5433/cifra", Some(DatabaseUrl::Postgres("postgres://db:5433/cifra".to_owned()))),
        ("postgresql://%2Frun%2Fpg/x", Some(DatabaseUrl::Postgres("postgresql://%2Frun%2Fpg/x".to_owned()))),
        ("postgres://db/x?sslmode=maybe", None),
        ("postgres://db/x?sslmod=require", None),
    ] {
        assert_eq!(parse(text), url, "{text}");
        if let Some(shown) = rendered::<DatabaseUrl>(text) {
            assert_eq!(parse(&shown), url, "{text} as {shown}");
        }
    }
}

#[test]
fn a_postgres_url_is_shown_without_its_passwords() {
    for (text, shown) in [
        ("postgres://me:secret@db:1/x", "postgres://me:…@db:1/x"),
        ("postgres://me:a%3Asecret@db/x", "postgres://me:…@db/x"),
        ("postgres://me@db/x", "postgres://me@db/x"),
        ("postgres://db:5432", "postgres://db:5432"),
        (
            "postgresql://me@db/x?password=secret&sslmode=verify-full&sslrootcert=/ca.pem",
            "postgresql://me@db/x?password=…&sslmode=verify-full&sslrootcert=/ca.pem",
        ),
        ("postgres://me:secret@db/x?p%61ssword=secret", "postgres://me:…@db/x?password=…"),
        ("postgres://db/x?options[password]=secret", "postgres://db/x?options[password]=…"),
    ] {
        assert_eq!(rendered::<DatabaseUrl>(text).as_deref(), Some(shown), "{text}");
        assert!(!format!("{:?}", parse::<DatabaseUrl>(text)).contains("secret"), "{text}");
    }
}

#[test]
fn paths() {
    for (text, path) in [
        ("/a/./b", Some("/a/b")),
        ("./data", Some("/base/data")),
        ("../x", Some("/base/../x")),
        ("", None),
        ("~", None),
        ("~/data", None),
        ("a\0b", None),
    ] {
        assert_eq!(parse::<PathBuf>(text), path.map(PathBuf::from), "{text:?}");
    }
}

#[test]
fn log_filters() {
    for text in ["info", "WARN", "off", "info,cifra::db=debug", "cifra=trace", "cifra[span{id=1}]=debug"] {
        assert_eq!(rendered::<LogFilter>(text).as_deref(), Some(text));
    }
    for text in ["", "inof", "info,", "cifra=loud", "hyper", "cifra[=debug"] {
        assert_eq!(parse::<LogFilter>(text), None, "{text}");
    }
}

#[test]
fn words_numbers_and_names() {
    assert_eq!(parse("chunk"), Some(Durability::Chunk));
    assert_eq!(parse("none"), Some(Durability::None));
    assert_eq!(parse("crc64nvme"), Some(ChecksumPolicy::Crc64Nvme));
    assert_eq!(parse::<Durability>("Chunk"), None);
    assert_eq!(parse("true"), Some(true));
    for text in ["yes", "1", "on", ""] {
        assert_eq!(parse::<bool>(text), None, "{text}");
    }
    assert_eq!(parse::<u32>("4294967296"), None);
    assert_eq!(parse::<u32>("-1"), None);
    assert_eq!(rendered::<StoreName>("disk-1_a").as_deref(), Some("disk-1_a"));
    for text in ["", "-a", "A", "a b", "ä", &"a".repeat(65)] {
        assert_eq!(parse::<StoreName>(text), None, "{text}");
    }
}
