//! Envelopes of every layout that ever was, as they were written, and what is none.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::base::{EntityName, ManualClock, TenantId};
use crate::cache::Cache;
use crate::config::Config;
use crate::telemetry::Tasks;

fn key(id: &str) -> CacheKey {
    let config = Config::builtin(Path::new("/nowhere")).cache;
    let clock = Arc::new(ManualClock::at(Timestamp::from_micros(0)));
    let entity = Cache::new(&config, clock, Tasks::default(), None).entity(EntityName::of("Contact"), 3);
    CacheKey::record(Some(&TenantId::default_tenant()), &entity, id)
}

fn envelope(body: Option<&'static str>) -> Envelope {
    Envelope {
        created: Timestamp::from_micros(1_800_000_000_000_001),
        expires: Timestamp::from_micros(1_800_000_300_000_002),
        tokens: [1, 2, u64::MAX, 0x0123_4567_89AB_CDEF, 5].map(Token),
        body: body.map(|json| Bytes::from_static(json.as_bytes())),
    }
}

#[test]
fn every_layout_that_ever_was_is_read_as_it_was_meant_or_not_at_all() {
    let value = include_bytes!("../../../fixtures/cache/envelope-1-value.bin");
    let absent = include_bytes!("../../../fixtures/cache/envelope-1-absent.bin");
    let cases = [
        (value.as_slice(), Some(envelope(Some(r#"{"name":"Zo\u00eb","visits":0}"#)))),
        (absent.as_slice(), Some(envelope(None))),
    ];
    for (golden, expected) in cases {
        assert_eq!(Envelope::decode(&Bytes::from_static(golden), &key("42")), expected);
    }
}

#[test]
fn the_layout_of_today_is_the_last_golden_one() {
    let value = include_bytes!("../../../fixtures/cache/envelope-1-value.bin");
    let absent = include_bytes!("../../../fixtures/cache/envelope-1-absent.bin");
    let written = envelope(Some(r#"{"name":"Zo\u00eb","visits":0}"#)).encode(&key("42"));
    assert_eq!(written, value.as_slice(), "a layout that changes gets a number and a golden file of its own");
    assert_eq!(envelope(None).encode(&key("42")), absent.as_slice());
}

#[test]
fn whatever_differs_by_a_byte_is_nothing() {
    let whole = envelope(Some("[1,2,3]")).encode(&key("42"));
    assert!(Envelope::decode(&whole, &key("42")).is_some());
    assert!(Envelope::decode(&whole, &key("43")).is_none(), "another key's");
    for len in 0..whole.len() {
        assert!(Envelope::decode(&whole.slice(..len), &key("42")).is_none(), "cut after {len} bytes");
        let mut damaged = whole.to_vec();
        damaged[len] ^= 0x10;
        assert!(Envelope::decode(&Bytes::from(damaged), &key("42")).is_none(), "byte {len} is damaged");
    }
    let longer = [whole.as_ref(), b"\0"].concat();
    assert!(Envelope::decode(&Bytes::from(longer), &key("42")).is_none());
}

#[test]
fn another_layout_with_a_right_sum_is_nothing() {
    for (place, byte) in [(0, 0), (0, LAYOUT + 1), (1, 7), (1, ABSENT)] {
        let mut bytes = envelope(Some("[1,2,3]")).encode(&key("42")).to_vec();
        bytes[place] = byte;
        let end = bytes.len() - 8;
        let crc = crc::of(&bytes[..end]).value();
        bytes[end..].copy_from_slice(&crc.to_le_bytes());
        assert!(Envelope::decode(&Bytes::from(bytes), &key("42")).is_none(), "byte {place} = {byte}");
    }
}
