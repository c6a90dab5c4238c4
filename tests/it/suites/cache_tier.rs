//! What every `CacheTier` does. Each function needs a tier that is current, and in which nobody else is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cifra::base::{EntityName, SystemClock, TenantId};
use cifra::cache::{Away, CacheKey, CacheTier, Cursor, Entity, Fetched, Glob, Tag, Token};
use cifra::telemetry::Tasks;
use futures_util::future::join_all;

use super::bytes;
use crate::harness::process::until;
use crate::harness::uncached;

const KEEP: Duration = Duration::from_mins(5);

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn entity(name: &'static str) -> Entity {
    let cache = uncached(Arc::new(SystemClock::default()), &Tasks::default());
    cache.entity(EntityName::of(name), 1)
}

/// A contact of the tenant `acme`.
pub(crate) fn key(id: &str) -> CacheKey {
    CacheKey::record(Some(&tenant("acme")), &entity("Contact"), id)
}

fn record(id: &str) -> Tag {
    Tag::Record(Some(tenant("acme")), EntityName::of("Contact"), id.to_owned())
}

/// As a reader decides: what it was put with is there, and still stands.
pub(crate) async fn stands(tier: &dyn CacheTier, key: &CacheKey, tokens: &[Token]) -> bool {
    let Fetched { entry, tokens: now } = tier.get(key).await.unwrap();
    entry.is_some() && now.iter().zip(tokens).all(|(now, then)| *now == Some(*then))
}

/// Reads as the cache does: tokens first, then the value, which is put with them.
pub(crate) async fn fill(tier: &dyn CacheTier, key: &CacheKey, entry: &'static [u8]) -> Vec<Token> {
    let tokens = tier.tokens(key, KEEP).await.unwrap();
    tier.put(key, Bytes::from_static(entry), KEEP).await.unwrap();
    tokens.to_vec()
}

pub(crate) async fn what_was_put_is_got(tier: &dyn CacheTier) {
    let key = key("1");
    assert_eq!(tier.get(&key).await.unwrap(), Fetched { entry: None, tokens: [None; 5] });
    for len in [0, 1, 1_000, 100_000, 1_200_000] {
        let entry = bytes(len, len as u64);
        tier.put(&key, entry.clone(), KEEP).await.unwrap();
        assert!(tier.get(&key).await.unwrap().entry == Some(entry), "{len} bytes");
    }
    tier.remove(&key).await.unwrap();
    assert_eq!(tier.get(&key).await.unwrap().entry, None);
    tier.remove(&key).await.unwrap();
}

pub(crate) async fn tokens_stay_until_they_are_renewed(tier: &dyn CacheTier) {
    let key = key("1");
    let first = tier.tokens(&key, KEEP).await.unwrap();
    assert_eq!(first.iter().map(|token| token.0).collect::<BTreeSet<_>>().len(), 5, "{first:?}");
    assert_eq!(tier.tokens(&key, KEEP).await.unwrap(), first);
    assert_eq!(tier.get(&key).await.unwrap().tokens, first.map(Some));
    for (at, tag) in key.tags().iter().enumerate() {
        let before = tier.tokens(&key, KEEP).await.unwrap();
        tier.renew(std::slice::from_ref(tag)).await.unwrap();
        let found = tier.get(&key).await.unwrap().tokens;
        let after = tier.tokens(&key, KEEP).await.unwrap();
        for other in 0..5 {
            assert_eq!(after[other] == before[other], other != at, "{tag}");
            assert_eq!(found[other] == Some(before[other]), other != at, "{tag}");
        }
    }
}

pub(crate) async fn a_tag_invalidates_what_has_it_and_nothing_else(tier: &dyn CacheTier) {
    let (acme, globex, contact) = (tenant("acme"), tenant("globex"), EntityName::of("Contact"));
    let of = |tenant: Option<&TenantId>, name, id| CacheKey::record(tenant, &entity(name), id);
    let keys = [
        of(Some(&acme), "Contact", "1"),
        of(Some(&acme), "Contact", "2"),
        CacheKey::list(Some(&acme), &entity("Contact"), [("city", "Kyiv")]),
        of(Some(&acme), "Deal", "1"),
        of(Some(&globex), "Contact", "1"),
        of(None, "Contact", "1"),
    ];
    let cases: [(Tag, &[usize]); 7] = [
        (Tag::Record(Some(acme.clone()), contact.clone(), "1".to_owned()), &[0]),
        (Tag::Lists(Some(acme.clone()), contact.clone()), &[2]),
        (Tag::Entity(Some(acme.clone()), contact.clone()), &[0, 1, 2]),
        (Tag::Entity(None, contact.clone()), &[5]),
        (Tag::Everywhere(contact), &[0, 1, 2, 4, 5]),
        (Tag::Tenant(Some(acme)), &[0, 1, 2, 3]),
        (Tag::All, &[0, 1, 2, 3, 4, 5]),
    ];
    for (tag, gone) in cases {
        let mut filled = Vec::new();
        for key in &keys {
            filled.push(fill(tier, key, b"value").await);
        }
        tier.renew(std::slice::from_ref(&tag)).await.unwrap();
        for (at, (key, tokens)) in keys.iter().zip(&filled).enumerate() {
            assert_eq!(stands(tier, key, tokens).await, !gone.contains(&at), "{key} after {tag}");
        }
    }
}

pub(crate) async fn what_was_loaded_before_an_invalidation_never_stands(tier: &dyn CacheTier) {
    let key = key("1");
    let tokens = tier.tokens(&key, KEEP).await.unwrap();
    // The value is read from the database; it changes; the old one arrives.
    tier.renew(&[record("1")]).await.unwrap();
    tier.put(&key, Bytes::from_static(b"old"), KEEP).await.unwrap();
    assert!(!stands(tier, &key, &tokens).await);
    // Nor when somebody else has asked for tokens since.
    tier.tokens(&key, KEEP).await.unwrap();
    assert!(!stands(tier, &key, &tokens).await);
}

pub(crate) async fn many_tags_are_renewed_at_once(tier: &dyn CacheTier) {
    let (key, last) = (key("1"), key("2999"));
    let (tokens, of_last) = (fill(tier, &key, b"1").await, fill(tier, &last, b"2999").await);
    let tags: Vec<Tag> = (2..3_000).map(|id| record(&id.to_string())).collect();
    tier.renew(&tags).await.unwrap();
    assert!(stands(tier, &key, &tokens).await);
    assert!(!stands(tier, &last, &of_last).await);
    tier.renew(&[]).await.unwrap();
}

pub(crate) async fn all_who_ask_at_once_get_the_same_tokens(tier: &dyn CacheTier) {
    for round in 0..20 {
        let key = key(&round.to_string());
        let asked = join_all((0..16).map(|_| tier.tokens(&key, KEEP))).await;
        let tokens = tier.get(&key).await.unwrap().tokens;
        for one in asked {
            assert_eq!(one.unwrap().map(Some), tokens);
        }
    }
}

pub(crate) async fn an_entry_lapses(tier: &dyn CacheTier) {
    let (short, long) = (key("short"), key("long"));
    tier.put(&short, Bytes::from_static(b"1"), Duration::from_millis(50)).await.unwrap();
    tier.put(&long, Bytes::from_static(b"2"), KEEP).await.unwrap();
    let gone = async || tier.get(&short).await.unwrap().entry.is_none().then_some(());
    until("it lapses", gone).await;
    assert!(tier.get(&long).await.unwrap().entry.is_some());
    // Put again for longer, it stays; nothing at all is too long or too short.
    for keep in [Duration::ZERO, Duration::MAX] {
        tier.put(&short, Bytes::from_static(b"3"), keep).await.unwrap();
        tier.tokens(&short, keep).await.unwrap();
    }
    assert!(tier.get(&short).await.unwrap().entry.is_some());
}

pub(crate) async fn patterns_remove_what_matches(tier: &dyn CacheTier) {
    let acme = tenant("acme");
    let ids = ["1", "22", "a*c", "[x]", "won", "lost:won", "\\", "é"];
    let mut keys: Vec<CacheKey> = ids.iter().map(|id| key(id)).collect();
    keys.push(CacheKey::list(Some(&acme), &entity("Deal"), [("stage", "won")]));
    keys.push(CacheKey::record(Some(&tenant("globex")), &entity("Contact"), "1"));
    for pattern in [
        "cifra:acme:*",
        "cifra:acme:Contact:1:v1",
        "*won*",
        "cifra:?cme:Contact:[12]*",
        "cifra:acme:Contact:[^1]*",
        "cifra:*:Contact:%5*",
        "*[",
        "\\",
        "nothing",
        "",
        "*",
    ] {
        for key in &keys {
            fill(tier, key, b"value").await;
        }
        let glob = Glob::new(pattern);
        let matching = keys.iter().filter(|key| glob.matches(key.as_str())).count() as u64;
        assert_eq!(tier.remove_matching(pattern).await.unwrap(), matching, "{pattern}");
        for key in &keys {
            let there = tier.get(key).await.unwrap().entry.is_some();
            assert_eq!(there, !glob.matches(key.as_str()), "{key} after {pattern}");
        }
    }
}

pub(crate) async fn a_pattern_finds_all_of_many(tier: &dyn CacheTier) {
    for id in 0..3_000 {
        let name = if id % 3 == 0 { "third" } else { "other" };
        tier.put(&key(&format!("{name}-{id}")), Bytes::from_static(b"x"), KEEP).await.unwrap();
    }
    assert_eq!(tier.remove_matching("*:third-*").await.unwrap(), 1_000);
    assert_eq!(tier.remove_matching("*").await.unwrap(), 2_000);
}

pub(crate) async fn a_doubt_ends_it_until_it_is_cleared(tier: &dyn CacheTier) {
    let key = key("1");
    let doubts = tier.doubts();
    let tokens = fill(tier, &key, b"value").await;
    tier.mark_current(doubts + 1);
    assert!(!tier.is_current());
    assert_eq!(tier.get(&key).await, Err(Away));
    // It can be written to and told of changes meanwhile.
    let other = fill(tier, &key, b"another").await;
    tier.renew(&[record("1")]).await.unwrap();
    tier.mark_current(doubts);
    assert!(tier.is_current());
    assert!(!stands(tier, &key, &tokens).await && !stands(tier, &key, &other).await);
}

pub(crate) async fn the_cursor_goes_forward_only(tier: &dyn CacheTier) {
    let at = |place: u128| Cursor { place, text: format!("{place}:{place}:1,2") };
    assert_eq!(tier.cursor().await.unwrap(), None);
    assert_eq!(tier.advance(&at(99)).await.unwrap(), None);
    assert_eq!(tier.advance(&at(1_000)).await.unwrap(), Some(at(99)));
    // Somebody who is behind, and who says the same again.
    assert_eq!(tier.advance(&at(5)).await.unwrap(), Some(at(1_000)));
    assert_eq!(tier.advance(&at(1_000)).await.unwrap(), Some(at(1_000)));
    assert_eq!(tier.cursor().await.unwrap(), Some(at(1_000)));
    assert_eq!(tier.advance(&at(u128::MAX)).await.unwrap(), Some(at(1_000)));
    tier.restart(&at(7)).await.unwrap();
    assert_eq!(tier.cursor().await.unwrap(), Some(at(7)));
    // An invalidation of everything and a clean-up leave it.
    tier.renew(&[Tag::All]).await.unwrap();
    tier.remove_matching("*").await.unwrap();
    assert_eq!(tier.cursor().await.unwrap(), Some(at(7)));
}

pub(crate) async fn a_lock_is_had_and_given_back(tier: &dyn CacheTier) {
    let (key, owner) = (key("1"), Token::random());
    for _ in 0..3 {
        assert!(tier.lock(&key, owner, KEEP).await.unwrap());
        tier.unlock(&key, owner).await.unwrap();
    }
    // One that was not had.
    tier.unlock(&key, owner).await.unwrap();
}

pub(crate) async fn it_tells_how_much_is_in_it(tier: &dyn CacheTier) {
    assert_eq!(tier.size().await.entries, Some(0));
    for id in 0..100 {
        for _ in 0..2 {
            tier.put(&key(&id.to_string()), bytes(1_000, id), KEEP).await.unwrap();
        }
    }
    let size = tier.size().await;
    assert_eq!(size.entries, Some(100));
    assert!((100_000..1_000_000).contains(&size.bytes.unwrap()), "{size:?}");
    assert_eq!(tier.remove_matching("*").await.unwrap(), 100);
    assert_eq!(tier.size().await.entries, Some(0));
}
