//! Which chunks are sent, hashed or asked for again; what a source reads; that buffers are used over and over.

use std::sync::Arc;

use futures_util::TryStreamExt;
use proptest::prelude::*;

use super::plan::{Layout, Work, indexes, work};
use super::source::{Buffers, Source};
use crate::base::{ByteRange, crc};
use crate::client::{Kind, Upload};

fn upload(total_size: u64, chunk_size: u64, chunk_count: u32) -> Upload {
    serde_json::from_value(serde_json::json!({
        "upload_id": "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c", "state": "a state of the future",
        "total_size": total_size, "chunk_size": chunk_size, "chunk_count": chunk_count,
    }))
    .unwrap()
}

#[test]
fn chunks_lie_one_after_the_other_and_the_last_is_what_is_left() {
    let layout = Layout::of(&upload(25, 10, 3), 25).unwrap();
    let ranges: Vec<_> =
        (0..3).map(|index| (layout.range(index).start(), layout.range(index).end())).collect();
    assert_eq!(ranges, [(0, 10), (10, 20), (20, 25)]);
    assert_eq!(Layout::of(&upload(0, 10, 0), 0).unwrap().chunk_count(), 0);
}

#[test]
fn a_layout_that_does_not_fit_the_file_is_refused() {
    for (size, chunk_size, count) in [(25, 10, 2), (25, 10, 4), (24, 10, 3), (25, 0, 3), (25, u64::MAX, 0)] {
        assert!(Layout::of(&upload(size, chunk_size, count), 25).is_err(), "{size} {chunk_size} {count}");
    }
}

#[test]
fn what_is_missing_is_sent_and_the_rest_hashed() {
    for (missing, missing_count, send, hash, is_all) in [
        (vec![], 0, vec![], vec![(0, 9)], true),
        (vec![(0, 9)], 10, vec![(0, 9)], vec![], true),
        (vec![(2, 3), (9, 9)], 3, vec![(2, 3), (9, 9)], vec![(0, 1), (4, 8)], true),
        // The list is shortened: of what comes after 3 nothing is known.
        (vec![(2, 3)], 5, vec![(2, 3)], vec![(0, 1)], false),
    ] {
        assert_eq!(work(&missing, missing_count, 10).unwrap(), Work { send, hash, is_all });
    }
    for wrong in
        [vec![(3, 2)], vec![(9, 10)], vec![(2, 4), (4, 5)], vec![(5, 6), (1, 2)], vec![(0, u32::MAX)]]
    {
        assert_eq!(work(&wrong, 1, 10).unwrap_err().kind(), Kind::Failed, "{wrong:?}");
    }
}

proptest! {
    #[test]
    fn every_chunk_is_either_sent_or_hashed(present in prop::collection::vec(any::<bool>(), 0..40)) {
        let count = u32::try_from(present.len()).unwrap();
        let missing: Vec<(u32, u32)> =
            (0..count).filter(|index| !present[*index as usize]).map(|index| (index, index)).collect();
        let work = work(&missing, missing.len() as u64, count).unwrap();
        let mut all: Vec<u32> = indexes(&work.send).chain(indexes(&work.hash)).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..count).collect::<Vec<_>>());
        prop_assert!(indexes(&work.hash).all(|index| present[index as usize]));
    }
}

/// Larger than a chunk that is held in memory.
const LARGE: usize = (16 << 20) + 300_000;

fn source(len: usize) -> (tempfile::NamedTempFile, Arc<Source>, Vec<u8>) {
    let content: Vec<u8> = (0..=250).cycle().take(len).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &content).unwrap();
    let source = Arc::new(Source::open(file.path()).unwrap());
    (file, source, content)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_can_be_sent_twice_whether_it_is_held_or_read_again() {
    let (_file, source, content) = source(LARGE);
    let buffers = Buffers::new(1);
    for (start, end) in [(1, 600_000), (0, LARGE)] {
        let chunk = source.load(ByteRange::new(start as u64, end as u64).unwrap(), &buffers).unwrap();
        assert_eq!(chunk.crc, crc::of(&content[start..end]));
        for _ in 0..2 {
            let pieces: Vec<_> = source.stream(&chunk).try_collect().await.unwrap();
            assert!(pieces.concat() == content[start..end], "other bytes than those of {start}..{end}");
        }
    }
}

#[test]
fn buffers_are_used_again() {
    let (_file, source, _) = source(600_000);
    let buffers = Buffers::new(1);
    let range = ByteRange::new(0, 600_000).unwrap();
    let first = source.load(range, &buffers).unwrap();
    let place = first.address();
    drop(first);
    assert_eq!(source.load(range, &buffers).unwrap().address(), place);
}

#[test]
fn a_changed_file_is_noticed() {
    let (file, source, mut content) = source(1000);
    source.check_unchanged().unwrap();
    let range = ByteRange::new(0, 1000).unwrap();
    content.truncate(500);
    std::fs::write(file.path(), &content).unwrap();
    assert_eq!(source.check_unchanged().unwrap_err().kind(), Kind::Conflict);
    assert_eq!(source.load(range, &Buffers::new(1)).unwrap_err().kind(), Kind::Conflict);
    let again = Source::open(file.path()).unwrap();
    std::fs::rename(file.path(), file.path().with_extension("moved")).unwrap();
    assert_eq!(again.check_unchanged().unwrap_err().kind(), Kind::Conflict);
    std::fs::rename(file.path().with_extension("moved"), file.path()).unwrap();
}

#[test]
fn only_regular_files_are_opened() {
    assert!(Source::open(std::path::Path::new("/")).is_err());
    assert!(Source::open(std::path::Path::new("/dev/null")).is_err());
}
