//! What every `BlobStore` does. Each function needs a store in which nobody else uses its keys.

use cifra::base::ByteRange;
use cifra::base::stream::{self, StreamError};
use cifra::blob::{BlobErrorKind, BlobStore, Length};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use uuid::Uuid;

use super::{body, broken_body, bytes, endless_body, key, read};

pub(crate) async fn what_was_put_is_got(store: &dyn BlobStore) {
    let key = key("got/1");
    for (len, frame_len) in
        [(1, 1), (1_000, 1), (300_000, 7_000), (3_000_001, 400_000), (3_000_001, 9_000_000)]
    {
        let content = bytes(len, 1);
        let put = store.put(&key, body(&content, frame_len), Some(len as u64)).await.unwrap();
        assert_eq!((&put.key, put.size), (&key, len as u64));

        let blob = store.get(&key, None).await.unwrap().unwrap();
        assert_eq!(blob.meta, put);
        assert!(read(blob.bytes).await.unwrap() == content, "{len} bytes in frames of {frame_len}");
        assert_eq!(store.head(&key).await.unwrap(), Some(put));
    }
}

pub(crate) async fn a_length_need_not_be_announced(store: &dyn BlobStore) {
    let (key, content) = (key("unannounced/1"), bytes(700_000, 2));
    assert_eq!(store.put(&key, body(&content, 50_000), None).await.unwrap().size, 700_000);
    assert!(read(store.get(&key, None).await.unwrap().unwrap().bytes).await.unwrap() == content);
}

pub(crate) async fn ranges_are_exact(store: &dyn BlobStore) {
    let (key, content) = (key("ranges/1"), bytes(1_000_000, 3));
    store.put(&key, stream::once(content.clone()), Some(1_000_000)).await.unwrap();
    for (start, end) in
        [(0, 1), (999_999, 1_000_000), (0, 1_000_000), (262_143, 262_145), (5, 65_541), (100, 900_000)]
    {
        let range = ByteRange::new(start as u64, end as u64);
        let blob = store.get(&key, range).await.unwrap().unwrap();
        assert_eq!(blob.meta.size, 1_000_000);
        assert!(read(blob.bytes).await.unwrap() == content.slice(start..end), "{start}..{end}");
    }
    assert!(store.get(&key, ByteRange::new(999_999, 1_000_001)).await.is_err());
}

pub(crate) async fn what_is_missing_is_none(store: &dyn BlobStore) {
    store.put(&key("missing/folder/1"), stream::empty(), Some(0)).await.unwrap();
    for missing in ["missing/2", "missing/folder", "missing/folder/1/2", "elsewhere"] {
        assert!(store.get(&key(missing), None).await.unwrap().is_none(), "{missing}");
        assert_eq!(store.head(&key(missing)).await.unwrap(), None, "{missing}");
    }
}

pub(crate) async fn an_empty_blob_is_a_blob(store: &dyn BlobStore) {
    let key = key("empty/1");
    assert_eq!(store.put(&key, stream::empty(), Some(0)).await.unwrap().size, 0);
    let blob = store.get(&key, None).await.unwrap().unwrap();
    assert_eq!(blob.meta.size, 0);
    assert!(read(blob.bytes).await.unwrap().is_empty());
}

pub(crate) async fn a_put_replaces_what_was_there(store: &dyn BlobStore) {
    let key = key("replaced/1");
    for content in [bytes(900_000, 4), bytes(10, 5), bytes(200_000, 6)] {
        store.put(&key, body(&content, 30_000), Some(content.len() as u64)).await.unwrap();
        assert!(read(store.get(&key, None).await.unwrap().unwrap().bytes).await.unwrap() == content);
    }
}

pub(crate) async fn a_reader_is_not_disturbed_by_a_put(store: &dyn BlobStore) {
    let (key, old) = (key("undisturbed/1"), bytes(900_000, 7));
    store.put(&key, stream::once(old.clone()), None).await.unwrap();
    let reader = store.get(&key, None).await.unwrap().unwrap();
    store.put(&key, stream::once(bytes(900_000, 8)), None).await.unwrap();
    assert!(read(reader.bytes).await.unwrap() == old);
}

pub(crate) async fn a_failed_put_changes_nothing(store: &dyn BlobStore) {
    let (key, old) = (key("failed/1"), bytes(1_000, 9));
    store.put(&key, stream::once(old.clone()), None).await.unwrap();
    let new = bytes(400_000, 10);

    let cut = store.put(&key, broken_body(&new, StreamError::Cut("gone".into())), Some(500_000)).await;
    assert_eq!(cut.unwrap_err().kind(), BlobErrorKind::BodyCut);
    let slow = store.put(&key, broken_body(&new, StreamError::TimedOut), None).await;
    assert_eq!(slow.unwrap_err().kind(), BlobErrorKind::BodyTimedOut);
    let short = store.put(&key, body(&new, 10_000), Some(400_001)).await;
    assert_eq!(short.unwrap_err().kind(), BlobErrorKind::BodyCut);
    let long = store.put(&key, body(&new, 10_000), Some(399_999)).await;
    assert_eq!(long.unwrap_err().kind(), BlobErrorKind::BodyTooLong);
    let (endless, taken) = endless_body(&new);
    tokio::select! {
        result = store.put(&key, endless, None) => panic!("the body has not ended: {result:?}"),
        heard = taken => heard.unwrap(),
    }

    assert_eq!(read(store.get(&key, None).await.unwrap().unwrap().bytes).await.unwrap(), old);
    let listed: Vec<_> = store.list("failed").await.unwrap().try_collect().await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
}

pub(crate) async fn a_delete_can_be_repeated(store: &dyn BlobStore) {
    let key = key("deleted/1");
    store.delete(&key).await.unwrap();
    store.put(&key, stream::once("x"), Some(1)).await.unwrap();
    for _ in 0..2 {
        store.delete(&key).await.unwrap();
        assert_eq!(store.head(&key).await.unwrap(), None);
    }
}

pub(crate) async fn a_list_has_what_lies_below_its_prefix(store: &dyn BlobStore) {
    let mut all: Vec<String> = (0..300).map(|n| format!("list/a/{:02x}/{n}", n % 7)).collect();
    all.extend(["list/ab/1", "list/b/c/d/e", "list-2/a/1"].map(str::to_owned));
    all.sort();
    for text in &all {
        store.put(&key(text), stream::once(text.clone()), None).await.unwrap();
    }
    for prefix in ["list", "list/a", "list/ab", "list/a/03", "list/b/c/", "list/none", "list/a/03/3"] {
        let metas: Vec<_> = store.list(prefix).await.unwrap().try_collect().await.unwrap();
        for meta in &metas {
            assert_eq!(meta.size, meta.key.as_str().len() as u64);
        }
        let mut keys: Vec<_> = metas.iter().map(|meta| meta.key.as_str().to_owned()).collect();
        keys.sort();
        let folder = format!("{}/", prefix.trim_end_matches('/'));
        let mut below = all.clone();
        below.retain(|key| key.starts_with(&folder));
        assert_eq!(keys, below, "{prefix}");
    }
    assert!(store.list("../list").await.is_err());
}

pub(crate) async fn a_store_is_named_once(store: &dyn BlobStore) {
    assert_eq!(store.store_id().await.unwrap(), None);
    assert!(store.is_empty().await.unwrap());
    let id = Uuid::new_v4();
    // As nodes of one database that start at once.
    for told in join_all((0..3).map(|_| store.set_store_id(id))).await {
        assert_eq!(told.unwrap(), id);
    }
    assert_eq!(store.store_id().await.unwrap(), Some(id));
    assert_eq!(store.set_store_id(Uuid::new_v4()).await.unwrap(), id, "the first writer wins");
    assert!(store.is_empty().await.unwrap(), "the name is no blob");
    store.probe().await.unwrap();
}

pub(crate) async fn what_is_staged_is_there_when_it_is_revealed(store: &dyn BlobStore) {
    let content = bytes(700_000, 11);
    for (name, length) in [("exactly", Length::Exactly(700_000)), ("at-most", Length::AtMost(800_000))] {
        let key = key(&format!("staged/{name}/1"));
        assert_eq!(store.stage(&key, body(&content, 9_000), length).await.unwrap(), 700_000);
        store.keep(std::slice::from_ref(&key)).await.unwrap();
        for _ in 0..2 {
            store.reveal(std::slice::from_ref(&key)).await.unwrap();
        }
        assert!(read(store.get(&key, None).await.unwrap().unwrap().bytes).await.unwrap() == content);
    }
    let too_long = store.stage(&key("staged/long/1"), body(&content, 9_000), Length::AtMost(699_999)).await;
    assert_eq!(too_long.unwrap_err().kind(), BlobErrorKind::BodyTooLong);
    assert_eq!(store.head(&key("staged/long/1")).await.unwrap(), None);
}
