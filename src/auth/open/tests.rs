//! Which requests come through the open door, as tables.

use super::*;

fn door(public: Option<&str>) -> OpenDoor {
    let public_origin = public.map(str::to_owned);
    OpenDoor { any_host: false, public_origin, allowed_origins: vec!["https://app.example.com".to_owned()] }
}

fn is_in(door: &OpenDoor, hosts: &[&str], origins: &[&str]) -> bool {
    door.check(hosts, origins).is_ok()
}

#[test]
fn only_names_of_this_machine_and_the_public_one_are_hosts() {
    let (plain, public) = (door(None), door(Some("https://files.example.com")));
    for host in [
        "localhost",
        "LOCALHOST:8080",
        "localhost.",
        "app.localhost:1",
        "127.0.0.1",
        "127.8.0.1:9",
        "[::1]:8080",
        "[::ffff:127.0.0.1]",
    ] {
        assert!(is_in(&plain, &[host], &[]), "{host}");
        assert!(is_in(&public, &[host], &[]), "{host}");
    }
    for host in [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "192.168.1.2",
        "0.0.0.0",
        "[::]",
        "[::2]:80",
        "[::1",
        "2130706433",
        "files.example.com",
    ] {
        assert!(!is_in(&plain, &[host], &[]), "{host}");
        assert!(!is_in(&plain, &["localhost", host], &[]), "localhost and {host}");
    }
    assert!(is_in(&plain, &[], &[]));
    assert!(!is_in(&plain, &[], &["http://localhost"]));
    for host in ["files.example.com", "FILES.example.com:443", "files.example.com:8443"] {
        assert!(is_in(&public, &[host], &[]), "{host}");
    }
    assert!(!is_in(&public, &["example.com"], &[]));
}

#[test]
fn only_our_own_pages_and_the_allowed_ones_are_origins() {
    let public = door(Some("https://files.example.com"));
    for (host, origin) in [
        ("localhost:8080", "http://localhost:8080"),
        ("localhost:8080", "http://LOCALHOST:8080"),
        ("localhost", "http://localhost:80"),
        ("localhost:443", "https://localhost"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("localhost:8080", "https://files.example.com"),
        ("files.example.com", "https://files.example.com"),
        ("localhost:8080", "https://app.example.com"),
    ] {
        assert!(is_in(&public, &[host], &[origin]), "{host} {origin}");
        assert!(!is_in(&public, &[host], &[origin, "https://evil.example"]), "{host} {origin} and another");
    }
    for origin in [
        "null",
        "",
        "localhost:8080",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "https://evil.example",
        "http://localhost:8080.evil.example",
        "file://",
        "file://localhost:8080",
        "https://app.example.com.evil.example",
        "http://app.example.com",
    ] {
        assert!(!is_in(&public, &["localhost:8080"], &[origin]), "{origin}");
    }
}

#[test]
fn an_open_network_lifts_the_rule_of_hosts_and_never_that_of_origins() {
    let open = OpenDoor { any_host: true, ..door(None) };
    assert!(is_in(&open, &["anything.example"], &[]));
    assert!(is_in(&open, &[], &[]));
    assert!(is_in(&open, &["anything.example"], &["https://anything.example"]));
    for origin in ["null", "https://evil.example"] {
        assert!(!is_in(&open, &["anything.example"], &[origin]), "{origin}");
    }
    assert!(!is_in(&open, &[], &["https://evil.example"]));
}
