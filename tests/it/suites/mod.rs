//! One suite for each trait with several backends: what every backend must do, called by each one's own file.

pub(crate) mod blob_store;
pub(crate) mod cache_tier;
pub(crate) mod part_store;

use bytes::Bytes;
use cifra::base::ByteStream;
use cifra::base::stream::StreamError;
use cifra::blob::BlobKey;
use futures_util::{StreamExt, TryStreamExt, stream};

/// Runs every function of both suites as a test of its own: `run!(suite, name)` is what the backend does with it.
macro_rules! all_suites {
    ($run:ident) => {
        crate::suites::cases! { $run blob_store:
            what_was_put_is_got
            a_length_need_not_be_announced
            ranges_are_exact
            what_is_missing_is_none
            an_empty_blob_is_a_blob
            a_put_replaces_what_was_there
            a_reader_is_not_disturbed_by_a_put
            a_failed_put_changes_nothing
            a_delete_can_be_repeated
            a_list_has_what_lies_below_its_prefix
            a_store_is_named_once
            what_is_staged_is_there_when_it_is_revealed
        }
        crate::suites::cases! { $run part_store:
            parts_come_in_any_order_and_again
            parts_come_at_once
            a_part_may_be_written_over
            complete_can_be_repeated
            complete_may_be_called_at_once
            fewer_bytes_are_not_completed
            nothing_becomes_an_empty_blob
            an_abandoned_upload_leaves_nothing
            a_completed_upload_can_be_abandoned
            too_long_a_body_is_refused
            a_broken_body_says_how
            a_dropped_write_leaves_the_others_whole
            a_shorter_body_is_read_and_may_be_sent_again
            staged_bytes_are_read_or_not_to_be_had
            uploads_do_not_meet
            the_smallest_parts_allowed_are_taken
        }
    };
}

/// The same for tiers of the cache.
macro_rules! tier_suite {
    ($run:ident) => {
        crate::suites::cases! { $run cache_tier:
            what_was_put_is_got
            tokens_stay_until_they_are_renewed
            a_tag_invalidates_what_has_it_and_nothing_else
            what_was_loaded_before_an_invalidation_never_stands
            many_tags_are_renewed_at_once
            all_who_ask_at_once_get_the_same_tokens
            an_entry_lapses
            patterns_remove_what_matches
            a_pattern_finds_all_of_many
            a_doubt_ends_it_until_it_is_cleared
            the_cursor_goes_forward_only
            a_lock_is_had_and_given_back
        }
    };
}

macro_rules! cases {
    ($run:ident $suite:ident: $($name:ident)*) => {
        mod $suite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$run!($suite, $name);
                }
            )*
        }
    };
}

pub(crate) use {all_suites, cases, tier_suite};

/// A key of ours.
pub(crate) fn key(text: &str) -> BlobKey {
    BlobKey::parse(text).unwrap()
}

/// `len` bytes that look like chance and are the same for the same `seed`.
pub(crate) fn bytes(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// A body in frames of `frame_len` bytes.
pub(crate) fn body(bytes: &Bytes, frame_len: usize) -> ByteStream {
    let frames: Vec<_> = (0..bytes.len())
        .step_by(frame_len)
        .map(|start| Ok(bytes.slice(start..bytes.len().min(start + frame_len))))
        .collect();
    stream::iter(frames).boxed()
}

/// A body that fails after its bytes.
pub(crate) fn broken_body(bytes: &Bytes, error: StreamError) -> ByteStream {
    body(bytes, 10_000).chain(stream::once(async { Err(error) })).boxed()
}

/// A body that never ends; the receiver hears when all its bytes were taken.
pub(crate) fn endless_body(bytes: &Bytes) -> (ByteStream, tokio::sync::oneshot::Receiver<()>) {
    let (taken, hear) = tokio::sync::oneshot::channel();
    let wait = async move {
        let _ = taken.send(());
        std::future::pending().await
    };
    (body(bytes, 10_000).chain(stream::once(wait)).boxed(), hear)
}

/// All bytes of a stream.
pub(crate) async fn read(stream: ByteStream) -> Result<Bytes, StreamError> {
    stream
        .try_fold(Vec::new(), |mut all, frame| async move {
            all.extend_from_slice(&frame);
            Ok(all)
        })
        .await
        .map(Bytes::from)
}
