//! Room for parts: what is given out comes back, however a write ends.

use cifra::base::ChunkIndex;
use cifra::blob::object::{ObjectOptions, ObjectStore, PartBudget};
use cifra::blob::{BlobErrorKind, BlobStore, Length, PartStore, Span};
use cifra::telemetry::Tasks;

use crate::suites::{body, bytes, endless_body, key};

const BUDGET: u64 = 8 << 20;

fn store() -> ObjectStore {
    ObjectStore::memory(ObjectOptions { budget: PartBudget::new(BUDGET), tasks: Tasks::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_room_is_busy_and_its_body_is_not_read() {
    let store = store();
    let (mine, other) = (key("one/x/1"), key("two/x/1"));
    let parts = store.begin(&mine, None).await.unwrap();
    let span = |index| Span { index: ChunkIndex::new(index), offset: 0, len: BUDGET / 4 };
    assert_eq!(store.limits().max_bytes, BUDGET / 4);
    let (first, first_taken) = endless_body(&bytes(10_000, 1));
    let (second, second_taken) = endless_body(&bytes(10_000, 2));
    let (third, third_taken) = endless_body(&bytes(10_000, 3));
    {
        let first = store.write(&mine, &parts, span(0), first);
        let second = store.write(&mine, &parts, span(1), second);
        let (mut first, mut second) = (Box::pin(first), Box::pin(second));
        tokio::select! {
            _ = &mut first => panic!("the body has not ended"),
            _ = &mut second => panic!("the body has not ended"),
            _ = async { tokio::join!(first_taken, second_taken) } => {}
        }
        // A tenant has half; the others have theirs.
        let busy = store.write(&mine, &parts, span(2), third).await.unwrap_err();
        assert_eq!(busy.kind(), BlobErrorKind::Busy);
        assert!(third_taken.await.is_err(), "the body was read");
        store.put(&other, body(&bytes(3 << 20, 4), 60_000), None).await.unwrap();
    }
    // Both were dropped in their middle: there is room again.
    let parts = store.begin(&mine, None).await.unwrap();
    for index in 0..5 {
        let content = bytes(1 << 20, 5);
        store.write(&mine, &parts, span(index), body(&content, 60_000)).await.unwrap();
    }
    store.stage(&mine, body(&bytes(9 << 20, 6), 60_000), Length::AtMost(u64::MAX)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_tiny_frames_is_taken() {
    let store = store();
    let (key, content) = (key("one/tiny/1"), bytes(300_001, 7));
    store.stage(&key, body(&content, 1), Length::Exactly(300_001)).await.unwrap();
    let blob = store.get(&key, None).await.unwrap().unwrap();
    assert!(crate::suites::read(blob.bytes).await.unwrap() == content);
}
