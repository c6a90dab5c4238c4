//! Keys: no two things have the same, whatever they are called.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use cifra::base::{EntityName, ManualClock, TenantId, Timestamp};
use cifra::cache::{Cache, CacheKey, Entity};
use cifra::config::Config;
use cifra::telemetry::Tasks;
use proptest::prelude::*;

/// What a key is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct What {
    tenant: Option<&'static str>,
    entity: &'static str,
    version: u32,
    thing: Thing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Thing {
    Record(String),
    /// In order of their fields.
    List(Vec<(String, String)>),
    Lookup(String, String),
    Named(Option<String>, String),
}

fn entity(name: &'static str, version: u32) -> Entity {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    let cache = CACHE.get_or_init(|| {
        let config = Config::builtin(Path::new("/nowhere")).cache;
        Cache::new(&config, Arc::new(ManualClock::at(Timestamp::from_micros(0))), Tasks::default(), None)
    });
    cache.entity(EntityName::of(name), version)
}

impl What {
    fn key(&self) -> CacheKey {
        let tenant: Option<TenantId> = self.tenant.map(|id| id.parse().unwrap());
        let (tenant, entity) = (tenant.as_ref(), entity(self.entity, self.version));
        match &self.thing {
            Thing::Record(id) => CacheKey::record(tenant, &entity, id),
            Thing::List(filter) => {
                // The order in which a filter is written does not matter.
                let fields = filter.iter().rev().map(|(field, value)| (field.as_str(), value.as_str()));
                CacheKey::list(tenant, &entity, fields)
            }
            Thing::Lookup(field, value) => CacheKey::lookup(tenant, &entity, field, value),
            Thing::Named(subject, name) => CacheKey::named(tenant, &entity, subject.as_deref(), name),
        }
    }
}

/// Texts that look like parts of keys, and some that are long.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just(":"),
        Just("%"),
        Just("="),
        Just("*"),
        Just("list"),
        Just("by"),
        Just("named"),
        Just("for"),
        Just("long"),
        Just("%3A"),
        Just("v1"),
        Just("a"),
        Just("b"),
        Just("A"),
        Just(" "),
        Just("\n"),
        Just("é"),
        Just("{}"),
        Just("[?]"),
        Just("\\"),
        Just("global"),
    ];
    prop_oneof![
        proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat()),
        (any::<bool>(), 480_usize..560)
            .prop_map(|(last, len)| "x".repeat(len) + if last { "y" } else { "z" }),
    ]
}

fn what() -> impl Strategy<Value = What> {
    let fields = proptest::collection::btree_set((hostile(), hostile()), 0..4);
    let thing = prop_oneof![
        hostile().prop_map(Thing::Record),
        fields.prop_map(|fields| Thing::List(fields.into_iter().collect())),
        (hostile(), hostile()).prop_map(|(field, value)| Thing::Lookup(field, value)),
        (proptest::option::of(hostile()), hostile()).prop_map(|(subject, name)| Thing::Named(subject, name)),
    ];
    let tenant = prop_oneof![Just(None), Just(Some("a")), Just(Some("contact"))];
    (tenant, prop_oneof![Just("Contact"), Just("A")], 1..3_u32, thing)
        .prop_map(|(tenant, entity, version, thing)| What { tenant, entity, version, thing })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_two_things_have_one_key_and_none_has_two(whats in proptest::collection::vec(what(), 30)) {
        let mut by_key: HashMap<String, What> = HashMap::new();
        for what in whats {
            let key = what.key();
            let text = key.as_str();
            prop_assert!(text.len() <= 700 && text.is_ascii() && !text.contains(|c: char| c.is_ascii_control() || c == ' '));
            prop_assert!(!text.contains(['*', '?', '[', ']', '\\', '{', '}']), "means something to Redis: {}", text);
            let tenant = what.tenant.unwrap_or("global");
            let (begins, ends) = (format!("cifra:{tenant}:{}:", what.entity), format!(":v{}", what.version));
            prop_assert!(text.starts_with(&begins) && text.ends_with(&ends), "{}", text);
            let other = by_key.entry(text.to_owned()).or_insert_with(|| what.clone());
            prop_assert_eq!(&*other, &what, "both have the key {}", text);
        }
    }
}

#[test]
fn keys_look_as_people_know_them() {
    let (contact, acme) = (entity("Contact", 1), Some("acme".parse().unwrap()));
    let filter = [("stage", "won"), ("page", "1")];
    let cases = [
        (CacheKey::record(acme.as_ref(), &contact, "42"), "cifra:acme:Contact:42:v1"),
        (CacheKey::record(None, &contact, "a:b"), "cifra:global:Contact:a%3Ab:v1"),
        (CacheKey::list(acme.as_ref(), &contact, filter), "cifra:acme:Contact:list:page=1:stage=won:v1"),
        (CacheKey::lookup(acme.as_ref(), &contact, "email", "a@b.c"), "cifra:acme:Contact:by:email=a@b.c:v1"),
        (CacheKey::named(None, &contact, None, "menu"), "cifra:global:Contact:named:menu:v1"),
        (CacheKey::named(None, &contact, Some("key:7"), "menu"), "cifra:global:Contact:for:key%3A7:menu:v1"),
    ];
    for (key, expected) in cases {
        assert_eq!(key.as_str(), expected);
    }
}
