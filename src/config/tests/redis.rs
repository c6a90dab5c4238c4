//! Where Redis is: every form of its URL, the file that may hold it, and that no password is ever shown.

use super::*;

fn exposed(config: &Config) -> Vec<String> {
    let url = config.redis.url.as_ref().unwrap();
    url.servers().iter().map(|server| server.expose().to_owned()).collect()
}

#[test]
fn every_form_of_the_url_is_read() {
    for (url, servers) in [
        ("redis://localhost", vec!["redis://localhost/0"]),
        ("redis://localhost/", vec!["redis://localhost/0"]),
        ("rediss://user:pass@[::1]:6380/3", vec!["rediss://user:pass@[::1]:6380/3"]),
        ("redis://:p@ss@host:1", vec!["redis://:p@ss@host:1/0"]),
        ("redis+cluster://a:b@h1:1,h2:2", vec!["redis://a:b@h1:1/0", "redis://a:b@h2:2/0"]),
        ("rediss+cluster://h1", vec!["rediss://h1/0"]),
    ] {
        let config = Place::new().env("REDIS_URL", url).load().config;
        assert_eq!(exposed(&config), servers, "{url}");
        let read = config.redis.url.unwrap();
        assert_eq!(
            (read.is_cluster(), read.is_encrypted()),
            (url.contains("cluster"), url.contains("rediss"))
        );
    }
    for url in [
        "redis:",
        "redis://",
        "http://host",
        "redis://h1,h2",
        "redis://host/one",
        "redis://host/1/2",
        "redis://host?protocol=resp3",
        "rediss://host/#insecure",
        "redis+cluster://h1,h2/1",
        "redis+cluster://h1,,h2",
        "unix:///run/redis.sock",
        "redis://user:HIDDEN@host",
    ] {
        Place::new().env("REDIS_URL", url).try_load().unwrap_err();
    }
}

#[test]
fn the_password_is_never_shown() {
    let place = Place::with_file("redis: { url: 'redis://alice:wonderland@host/1' }");
    let loaded = place.load();
    assert!(loaded.show().contains("redis://alice:HIDDEN@host/1"), "{}", loaded.show());
    let debug = format!("{:?}", loaded.config);
    assert!(!loaded.show().contains("wonderland") && !debug.contains("wonderland"), "{debug}");
    let faults = Place::with_file("redis: { url: 'redis://alice:wonderland@host/one' }").faults();
    assert!(faults.len() == 1 && !faults[0].contains("wonderland"), "{faults:?}");
}

#[test]
fn the_url_may_stand_in_a_file() {
    let place = Place::with_file("redis: { url_file: secret }").file("secret", "redis://:word@host:1\n");
    let loaded = place.load();
    assert_eq!(exposed(&loaded.config), ["redis://:word@host:1/0"]);
    assert!(!loaded.show().contains("word"), "{}", loaded.show());
    let both = place.env("REDIS_URL", "redis://other");
    assert!(both.faults()[0].contains("expected one of the two"), "{:?}", both.faults());
    Place::with_file("redis: { url_file: not-there }").try_load().unwrap_err();
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let faults = Place::with_file("sessions: { backend: redis }").faults();
    assert!(faults[0].contains("auto or database while redis.url is null"), "{faults:?}");
    Place::with_file("{ sessions: { backend: redis }, redis: { url: 'redis://host' } }").load();
    let faults = Place::with_file("redis: { url: 'redis://host', ca_file: ca.pem }").faults();
    assert!(faults[0].contains("rediss://"), "{faults:?}");
    Place::with_file("redis: { url: 'rediss://host', ca_file: ca.pem }").load();
}
