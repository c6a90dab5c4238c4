//! Tables of what may happen to uploads.

use proptest::prelude::*;

use super::*;
use crate::base::metadata::Metadata;
use crate::base::{FileId, TenantId, UploadId};
use crate::blob::{BlobKey, PartsId};
use crate::db::uploads::Protocol;

const LIMITS: PartLimits = PartLimits { min_bytes: 64 << 10, max_bytes: 1 << 30, count_max: 1_000_000 };
const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);

fn upload(total_size: u64, chunk_size: u64, state: UploadState) -> Upload {
    let cut = Cut { chunk_size, chunk_count: u32::try_from(total_size.div_ceil(chunk_size)).unwrap() };
    let id = UploadId::new(NOW);
    Upload {
        id,
        tenant: TenantId::default_tenant(),
        store: "local".to_owned(),
        key: BlobKey::of_file(&TenantId::default_tenant(), FileId::new(NOW)),
        parts: PartsId::new("x"),
        state,
        protocol: Protocol::Native,
        filename: "f".to_owned(),
        content_type: None,
        total_size,
        chunk_size: cut.chunk_size,
        chunk_count: cut.chunk_count,
        received_bytes: 0,
        received_chunks: 0,
        withdrawals: 0,
        checksum: None,
        metadata: Metadata::default(),
        created_at: NOW,
        updated_at: NOW,
        expires_at: NOW.plus(Duration::from_mins(1)),
        ended_at: None,
        error: None,
        finish_fence: 0,
        finish_checksum: None,
        sealing: false,
    }
}

#[test]
fn the_wish_counts_within_the_limits() {
    let (kib, mib, gib) = (1 << 10, 1 << 20, 1 << 30);
    let cases = [
        // total, wish, chunk size, chunks
        (0, 8 * mib, 8 * mib, 0),
        (1, 8 * mib, 8 * mib, 1),
        (8 * mib, 8 * mib, 8 * mib, 1),
        (8 * mib + 1, 8 * mib, 8 * mib, 2),
        (10 * mib, 1, 64 * kib, 160),
        (10 * mib, 5 * gib, gib, 1),
        (10 * mib, 100_000, 100_000, 105),
        (1_000_000 * 64 * kib + 1, 64 * kib, 64 * kib + 1, 999_985),
    ];
    for (total, wish, chunk_size, chunk_count) in cases {
        assert_eq!(cut(total, wish, LIMITS).unwrap(), Cut { chunk_size, chunk_count }, "{total} by {wish}");
    }
}

#[test]
fn a_file_past_the_limits_is_refused_with_the_number() {
    let error = cut((1_000_000 << 30) + 1, 1, LIMITS).unwrap_err();
    assert_eq!(error.code(), Code::FileTooLarge);
    assert_eq!(error.members()["max_bytes"], 1_000_000_u64 << 30);
}

#[test]
fn a_chunk_must_have_its_place_and_its_size() {
    let upload = upload(250, 100, UploadState::Receiving);
    let check = |index, announced| check_chunk(&upload, ChunkIndex::new(index), announced, NOW);
    assert_eq!(check(0, None).unwrap(), Span { index: ChunkIndex::new(0), offset: 0, len: 100 });
    assert_eq!(check(2, Some(50)).unwrap(), Span { index: ChunkIndex::new(2), offset: 200, len: 50 });
    assert_eq!(check(3, None).unwrap_err().code(), Code::ChunkOutOfRange);
    assert_eq!(check(u32::MAX, None).unwrap_err().code(), Code::ChunkOutOfRange);
    for (index, announced) in [(0, 99), (0, 101), (0, 0), (2, 100)] {
        let error = check(index, Some(announced)).unwrap_err();
        assert_eq!(error.code(), Code::ChunkSizeMismatch, "{index} with {announced}");
        assert_eq!(error.members()["received_size"], announced);
    }
}

#[test]
fn an_empty_file_has_no_chunks() {
    let upload = upload(0, 100, UploadState::Receiving);
    let error = check_chunk(&upload, ChunkIndex::new(0), Some(0), NOW).unwrap_err();
    assert_eq!(error.code(), Code::ChunkOutOfRange);
}

#[test]
fn only_a_receiving_upload_takes_chunks() {
    let cases = [
        (UploadState::Receiving, None),
        (UploadState::Finalizing, Some(Code::UploadFinalized)),
        (UploadState::Sealed, Some(Code::UploadFinalized)),
        (UploadState::Completed, Some(Code::UploadFinalized)),
        (UploadState::Aborted, Some(Code::UploadGone)),
        (UploadState::Expired, Some(Code::UploadGone)),
    ];
    for (state, expected) in cases {
        let outcome = takes_chunks(&upload(1, 1, state), NOW);
        assert_eq!(outcome.err().map(|error| error.code()), expected, "{state}");
    }
}

#[test]
fn a_session_whose_time_is_over_has_expired_before_the_sweeper_comes() {
    let upload = upload(1, 1, UploadState::Receiving);
    assert_eq!(state_at(&upload, upload.expires_at.minus(Duration::from_micros(1))), UploadState::Receiving);
    assert_eq!(state_at(&upload, upload.expires_at), UploadState::Expired);
}

#[test]
fn a_session_lives_on_with_each_receipt_but_not_for_ever() {
    let hour = Duration::from_hours(1);
    assert_eq!(expires_at(NOW, NOW.plus(hour), hour, hour * 5), NOW.plus(hour * 2));
    assert_eq!(expires_at(NOW, NOW.plus(hour * 4), hour * 3, hour * 5), NOW.plus(hour * 5));
}

proptest! {
    #[test]
    fn chunks_cover_the_file_without_gap_or_overlap(total in 0_u64..5_000_000, wish in 0_u64..3_000_000, small in 1_u64..5_000) {
        let limits = PartLimits { min_bytes: small, max_bytes: 1_000_000, count_max: 2_000 };
        let cut = cut(total, wish, limits).unwrap();
        prop_assert!(cut.chunk_count <= limits.count_max);
        let mut upload = upload(1, 1, UploadState::Receiving);
        (upload.total_size, upload.chunk_size, upload.chunk_count) = (total, cut.chunk_size, cut.chunk_count);
        let mut next = 0;
        for index in 0..cut.chunk_count {
            let span = span(&upload, ChunkIndex::new(index)).unwrap();
            prop_assert_eq!(span.offset, next);
            prop_assert!(span.len > 0 && span.len <= cut.chunk_size);
            next += span.len;
        }
        prop_assert_eq!(next, total);
        prop_assert_eq!(span(&upload, ChunkIndex::new(cut.chunk_count)), None);
    }
}
