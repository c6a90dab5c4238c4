//! The pure parts of the client: waits, fingerprints, which errors pass, addresses.

use std::time::Duration;

use proptest::prelude::*;
use reqwest::StatusCode;

use super::fingerprint::{Identity, fingerprint};
use super::retry::{Failed, next_wait};
use super::{Client, Error, Kind, Problem, Settings};

const LIMIT: Duration = Duration::from_mins(5);

fn failed(times: u32, since_first: Duration) -> Failed {
    Failed { times, since_first, retry_after: None }
}

#[test]
fn waits_double_up_to_a_bound_and_jitter_takes_up_to_half() {
    let wait = |times, jitter| next_wait(failed(times, Duration::ZERO), LIMIT, jitter).unwrap().as_millis();
    let full: Vec<_> = [1, 2, 3, 4, 5, 6, 7, 8, u32::MAX].into_iter().map(|times| wait(times, 0.0)).collect();
    assert_eq!(full, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    assert_eq!(wait(3, 1.0), 400);
}

#[test]
fn the_server_s_wish_is_kept_or_ends_patience() {
    let asked = |seconds, gone, jitter| {
        let retry_after = Some(Duration::from_secs(seconds));
        next_wait(Failed { times: 1, since_first: Duration::from_secs(gone), retry_after }, LIMIT, jitter)
    };
    assert_eq!(asked(60, 0, 0.0), Some(Duration::from_mins(1)));
    assert_eq!(asked(60, 0, 1.0), Some(Duration::from_secs(66)));
    assert_eq!(asked(60, 238, 1.0), Some(Duration::from_secs(62)));
    assert_eq!(asked(60, 241, 0.0), None);
}

#[test]
fn the_last_attempt_falls_on_the_limit_and_none_comes_after_it() {
    let at = |millis| next_wait(failed(9, Duration::from_millis(millis)), LIMIT, 0.0);
    assert_eq!(at(299_000), Some(Duration::from_secs(1)));
    assert_eq!(at(300_000), None);
    assert_eq!(at(400_000), None);
    assert_eq!(next_wait(failed(1, Duration::ZERO), Duration::ZERO, 0.5), None);
}

proptest! {
    #[test]
    fn no_wait_is_endless_or_past_the_limit(times in 1u32.., gone in 0u64..400, jitter in 0.0f64..=1.0) {
        let since_first = Duration::from_secs(gone);
        if let Some(wait) = next_wait(failed(times, since_first), LIMIT, jitter) {
            prop_assert!(wait <= Duration::from_secs(10) && since_first + wait <= LIMIT);
            prop_assert!(!wait.is_zero());
        } else {
            prop_assert!(since_first >= LIMIT);
        }
    }
}

const IDENTITY: Identity = Identity { size: 10, modified_nanos: 1_700_000_000_000_000_001, inode: 7 };

#[test]
fn a_fingerprint_is_the_same_for_the_same_and_another_for_anything_else() {
    let original = fingerprint(b"/data/a.bin", "a.bin", &IDENTITY);
    // Written down: an upload that one version began must be found by the next.
    assert_eq!(original, "e35f3f7a4c798b0b9721eb3d0784dedd");
    for other in [
        fingerprint(b"/data/b.bin", "a.bin", &IDENTITY),
        fingerprint(b"/data/a.bin", "x/a.bin", &IDENTITY),
        fingerprint(b"/data/a.bina", ".bin", &IDENTITY),
        fingerprint(b"/data/a.bin", "a.bin", &Identity { size: 11, ..IDENTITY }),
        fingerprint(b"/data/a.bin", "a.bin", &Identity { modified_nanos: 2, ..IDENTITY }),
        fingerprint(b"/data/a.bin", "a.bin", &Identity { inode: 8, ..IDENTITY }),
    ] {
        assert_ne!(other, original);
    }
}

#[test]
fn errors_are_sorted_into_those_that_pass_and_those_that_do_not() {
    let problem = |status: u16, code: &str| {
        let status = StatusCode::from_u16(status).unwrap();
        Error::Problem(Box::new(Problem { status, code: code.to_owned(), ..Problem::default() }))
    };
    for (status, code, passes, kind) in [
        (400, "invalid-request", false, Kind::Refused),
        (401, "unauthenticated", false, Kind::Refused),
        (403, "forbidden", false, Kind::Refused),
        (404, "upload-not-found", false, Kind::NotFound),
        (408, "request-timeout", true, Kind::Unavailable),
        (409, "chunk-busy", true, Kind::Conflict),
        (409, "chunk-conflict", false, Kind::Conflict),
        (409, "upload-incomplete", false, Kind::Conflict),
        (410, "upload-gone", false, Kind::NotFound),
        (412, "precondition-failed", false, Kind::Conflict),
        (413, "file-too-large", false, Kind::Refused),
        (422, "checksum-mismatch", false, Kind::Refused),
        (429, "rate-limited", true, Kind::Unavailable),
        (500, "internal", true, Kind::Unavailable),
        (502, "", true, Kind::Unavailable),
        (503, "unavailable", true, Kind::Unavailable),
        (507, "storage-full", true, Kind::Unavailable),
    ] {
        let error = problem(status, code);
        assert_eq!((error.passes(), error.kind()), (passes, kind), "{status} {code}");
    }
    assert!(Error::NoAnswer("cut".to_owned()).passes());
    assert!(!Error::Changed("a".into()).passes());
}

#[test]
fn a_server_below_a_path_keeps_it() {
    let settings =
        |server: &str| Settings { server: server.to_owned(), key: None, retry_for: Duration::ZERO };
    let client = Client::new(&settings("http://media.example.com/cifra/")).unwrap();
    assert_eq!(client.absolute("/api/files/1"), "http://media.example.com/cifra/api/files/1");
    assert_eq!(client.absolute("https://cdn.example.com/1"), "https://cdn.example.com/1");
    for wrong in ["", "localhost:8080", "ftp://a", "http://", "http://a?b=c", "http://a#b"] {
        assert_eq!(Client::new(&settings(wrong)).unwrap_err().kind(), Kind::Usage, "{wrong}");
    }
    let key = Some("a\nb".to_owned());
    assert!(Client::new(&Settings { key, ..settings("http://a") }).is_err());
}
