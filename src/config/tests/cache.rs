//! The cache: TTLs by entity, and the short names of variables.

use super::*;
use crate::base::EntityName;
use crate::config::L2Backend;

fn ttl(loaded: &Loaded, entity: &'static str) -> u64 {
    loaded.config.cache.ttl_of(&EntityName::of(entity)).as_secs()
}

#[test]
fn each_entity_has_its_ttl_and_the_others_the_default() {
    let built_in = Place::new().load();
    let expected = [
        ("User", 300),
        ("Contact", 600),
        ("Deal", 600),
        ("Product", 3600),
        ("Category", 86_400),
        ("Settings", 86_400),
        ("Session", 7200),
        ("Otp", 300),
        ("Order", 120),
        ("Restaurant", 3600),
        ("Menu", 1800),
        ("Config", 43_200),
        ("Anything", 300),
    ];
    for (entity, seconds) in expected {
        assert_eq!(ttl(&built_in, entity), seconds, "{entity}");
    }
}

#[test]
fn one_ttl_is_changed_and_the_others_stay() {
    let place = Place::with_file("cache: { ttl: { Contact: 1m, Invoice: 7m, default: 9s } }")
        .env("CIFRA__CACHE__TTL__DEAL", "30");
    let loaded = place.load();
    let seconds = ["Contact", "Invoice", "Other", "Deal", "Product"].map(|entity| ttl(&loaded, entity));
    assert_eq!(seconds, [60, 420, 9, 30, 3600]);
    assert_eq!(Place::with_file(&loaded.show()).load().config.cache, loaded.config.cache);
}

#[test]
fn the_short_names_of_variables_are_understood_and_weaker_than_the_long_ones() {
    let place = Place::with_file("cache: { enabled: true }")
        .env("CACHE_ENABLED", "false")
        .env("CACHE_L1_TTL", "10")
        .env("CACHE_L2_TTL", "20m");
    let cache = place.load().config.cache;
    assert_eq!((cache.enabled, cache.l1.ttl.as_secs(), cache.l2.ttl.as_secs()), (false, 10, 1200));
    let cache = place.env("CIFRA__CACHE__L1__TTL", "11").load().config.cache;
    assert_eq!(cache.l1.ttl.as_secs(), 11);
    let wrong = Place::new().env("CACHE_ENABLED", "perhaps").faults();
    assert_eq!(
        wrong,
        [r#"environment variable CACHE_ENABLED: cache.enabled: found "perhaps", expected true or false"#]
    );
}

#[test]
fn the_second_tier_is_redis_where_there_is_one() {
    let backend = |text: &str| Place::with_file(text).load().config.cache.l2.backend;
    assert_eq!(backend(""), L2Backend::Sqlite);
    assert_eq!(backend("redis: { url: redis://localhost }"), L2Backend::Redis);
    assert_eq!(
        backend("{ redis: { url: redis://localhost }, cache: { l2: { backend: none } } }"),
        L2Backend::None
    );
    assert_eq!(
        Place::with_file("cache: { l2: { backend: redis } }").faults(),
        [
            "cifra.yaml:1:16: cache.l2.backend: found redis, expected auto, sqlite or none while redis.url is null"
        ]
    );
}
