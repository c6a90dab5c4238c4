//! What every `PartStore` does. Sizes follow the backend's own limits, so that each can be asked.
//! Each function needs a store in which nobody else uses its keys.

use bytes::Bytes;
use cifra::base::stream::{self, StreamError};
use cifra::base::{ByteRange, ChunkIndex};
use cifra::blob::{BlobErrorKind, BlobKey, BlobResult, PartStore, PartTag, PartsId, Span};
use futures_util::TryStreamExt;
use futures_util::future::join_all;

use super::{body, broken_body, bytes, endless_body, key, read};

/// An upload of some parts of the same length and a shorter last one.
pub(crate) struct Upload<'a> {
    pub(crate) store: &'a dyn PartStore,
    pub(crate) key: BlobKey,
    pub(crate) parts: PartsId,
    pub(crate) content: Bytes,
    pub(crate) part_len: usize,
}

impl<'a> Upload<'a> {
    pub(crate) async fn begin(store: &'a dyn PartStore, name: &str, count: usize) -> Self {
        let part_len = usize::try_from(store.limits().min_bytes).unwrap().max(300_000) + 1;
        let content = bytes(part_len * (count - 1) + part_len / 3, count as u64);
        let key = key(&format!("tenant/{name}/1"));
        let parts = store.begin(&key, Some(content.len() as u64)).await.unwrap();
        Self { store, key, parts, content, part_len }
    }

    pub(crate) fn count(&self) -> usize {
        self.content.len().div_ceil(self.part_len)
    }

    pub(crate) fn span(&self, index: usize) -> Span {
        Span {
            index: ChunkIndex::new(u32::try_from(index).unwrap()),
            offset: (index * self.part_len) as u64,
            len: self.part(index).len() as u64,
        }
    }

    pub(crate) fn part(&self, index: usize) -> Bytes {
        let start = index * self.part_len;
        self.content.slice(start..self.content.len().min(start + self.part_len))
    }

    pub(crate) async fn write(&self, index: usize) -> PartTag {
        self.try_write(index).await.unwrap()
    }

    pub(crate) async fn try_write(&self, index: usize) -> BlobResult<PartTag> {
        let body = body(&self.part(index), 20_000 + index * 1_000);
        self.store.write(&self.key, &self.parts, self.span(index), body).await
    }

    pub(crate) async fn write_all(&self) -> Vec<PartTag> {
        join_all((0..self.count()).map(|index| self.write(index))).await
    }

    pub(crate) async fn complete(&self, tags: &[PartTag]) -> BlobResult<u64> {
        let size = self.content.len() as u64;
        self.store.complete(&self.key, &self.parts, size, tags).await.map(|meta| meta.size)
    }

    pub(crate) async fn assert_complete(&self) {
        let blob = self.store.get(&self.key, None).await.unwrap().expect("the blob is there");
        assert_eq!(blob.meta.size, self.content.len() as u64);
        assert!(read(blob.bytes).await.unwrap() == self.content, "the bytes differ");
    }

    pub(crate) async fn assert_invisible(&self) {
        assert_eq!(self.store.head(&self.key).await.unwrap(), None);
        assert!(self.store.get(&self.key, None).await.unwrap().is_none());
        let (folder, _) = self.key.as_str().rsplit_once('/').unwrap();
        let listed: Vec<_> = self.store.list(folder).await.unwrap().try_collect().await.unwrap();
        assert!(listed.is_empty(), "{listed:?}");
    }
}

pub(crate) async fn parts_come_in_any_order_and_again(store: &dyn PartStore) {
    let upload = Upload::begin(store, "any-order", 5).await;
    let mut tags = vec![None; 5];
    for index in [3, 0, 4, 0, 2, 1, 3] {
        tags[index] = Some(upload.write(index).await);
    }
    upload.assert_invisible().await;
    let tags: Vec<PartTag> = tags.into_iter().flatten().collect();
    assert_eq!(upload.complete(&tags).await.unwrap(), upload.content.len() as u64);
    upload.assert_complete().await;
}

pub(crate) async fn parts_come_at_once(store: &dyn PartStore) {
    let upload = Upload::begin(store, "at-once", 6).await;
    let tags = upload.write_all().await;
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

pub(crate) async fn a_part_may_be_written_over(store: &dyn PartStore) {
    let upload = Upload::begin(store, "over", 3).await;
    let mut tags = upload.write_all().await;
    let other = bytes(upload.part_len, 99);
    store.write(&upload.key, &upload.parts, upload.span(1), body(&other, 9_999)).await.unwrap();
    tags[1] = upload.write(1).await;
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

pub(crate) async fn complete_can_be_repeated(store: &dyn PartStore) {
    let upload = Upload::begin(store, "twice", 3).await;
    let tags = upload.write_all().await;
    for _ in 0..3 {
        assert_eq!(upload.complete(&tags).await.unwrap(), upload.content.len() as u64);
        upload.assert_complete().await;
    }
}

pub(crate) async fn complete_may_be_called_at_once(store: &dyn PartStore) {
    let upload = Upload::begin(store, "together", 3).await;
    let tags = upload.write_all().await;
    for result in join_all((0..8).map(|_| upload.complete(&tags))).await {
        assert_eq!(result.unwrap(), upload.content.len() as u64);
    }
    upload.assert_complete().await;
}

pub(crate) async fn fewer_bytes_are_not_completed(store: &dyn PartStore) {
    let upload = Upload::begin(store, "fewer", 3).await;
    assert_eq!(upload.complete(&[]).await.unwrap_err().kind(), BlobErrorKind::Incomplete);
    let mut tags = vec![upload.write(0).await, upload.write(1).await];
    assert_eq!(upload.complete(&tags).await.unwrap_err().kind(), BlobErrorKind::Incomplete);
    upload.assert_invisible().await;

    tags.push(upload.write(2).await);
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

pub(crate) async fn nothing_becomes_an_empty_blob(store: &dyn PartStore) {
    let key = key("tenant/nothing/1");
    let parts = store.begin(&key, Some(0)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.complete(&key, &parts, 0, &[]).await.unwrap().size, 0);
    }
    let blob = store.get(&key, None).await.unwrap().unwrap();
    assert!(read(blob.bytes).await.unwrap().is_empty());
}

pub(crate) async fn an_abandoned_upload_leaves_nothing(store: &dyn PartStore) {
    for written in 0..=3 {
        let upload = Upload::begin(store, &format!("abandoned-{written}"), 3).await;
        for index in 0..written {
            upload.write(index).await;
        }
        for _ in 0..2 {
            store.abandon(&upload.key, &upload.parts).await.unwrap();
            upload.assert_invisible().await;
        }
        assert_eq!(upload.complete(&[]).await.unwrap_err().kind(), BlobErrorKind::Incomplete);
    }
}

pub(crate) async fn a_completed_upload_can_be_abandoned(store: &dyn PartStore) {
    let upload = Upload::begin(store, "abandoned-late", 3).await;
    let tags = upload.write_all().await;
    upload.complete(&tags).await.unwrap();
    store.abandon(&upload.key, &upload.parts).await.unwrap();
    upload.assert_invisible().await;
}

pub(crate) async fn too_long_a_body_is_refused(store: &dyn PartStore) {
    let upload = Upload::begin(store, "too-long", 3).await;
    let mut tags = upload.write_all().await;
    for too_many in [1, 200_000, 2_000_000] {
        let body = body(&bytes(upload.part_len + too_many, 7), 30_000);
        let error = store.write(&upload.key, &upload.parts, upload.span(1), body).await.unwrap_err();
        assert_eq!(error.kind(), BlobErrorKind::BodyTooLong);
    }
    tags[1] = upload.write(1).await;
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

pub(crate) async fn a_broken_body_says_how(store: &dyn PartStore) {
    let upload = Upload::begin(store, "broken", 2).await;
    let half = upload.part(0).slice(..150_000);
    let faults = [
        (StreamError::Cut("gone".to_owned()), BlobErrorKind::BodyCut),
        (StreamError::TimedOut, BlobErrorKind::BodyTimedOut),
        (StreamError::Failed("disk".to_owned()), BlobErrorKind::Internal),
    ];
    for (fault, kind) in faults {
        let body = broken_body(&half, fault);
        let error = store.write(&upload.key, &upload.parts, upload.span(0), body).await.unwrap_err();
        assert_eq!(error.kind(), kind);
    }
    let tags = upload.write_all().await;
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

pub(crate) async fn a_dropped_write_leaves_the_others_whole(store: &dyn PartStore) {
    let upload = Upload::begin(store, "dropped", 3).await;
    let mut tags = upload.write_all().await;
    let (endless, taken) = endless_body(&bytes(upload.part_len - 1, 8));
    tokio::select! {
        result = store.write(&upload.key, &upload.parts, upload.span(1), endless) => {
            panic!("the body has not ended: {result:?}")
        }
        heard = taken => heard.unwrap(),
    }
    tags[1] = upload.write(1).await;
    upload.complete(&tags).await.unwrap();
    upload.assert_complete().await;
}

pub(crate) async fn a_shorter_body_is_read_and_may_be_sent_again(store: &dyn PartStore) {
    let (key, content) = (key("tenant/shorter/1"), bytes(100_000, 12));
    let parts = store.begin(&key, Some(100_000)).await.unwrap();
    let span = Span { index: ChunkIndex::new(0), offset: 0, len: 100_000 };
    for len in [0, 1, 99_999] {
        store.write(&key, &parts, span, body(&content.slice(..len), 1_000)).await.unwrap();
    }
    let tag = store.write(&key, &parts, span, body(&content, 1_000)).await.unwrap();
    store.complete(&key, &parts, 100_000, &[tag]).await.unwrap();
    assert!(read(store.get(&key, None).await.unwrap().unwrap().bytes).await.unwrap() == content);
}

pub(crate) async fn staged_bytes_are_read_or_not_to_be_had(store: &dyn PartStore) {
    let upload = Upload::begin(store, "staged", 3).await;
    let staged = |start: usize, end: usize| {
        let range = ByteRange::new(start as u64, end as u64).unwrap();
        store.read_staged(&upload.key, &upload.parts, range)
    };
    let whole = upload.content.len();
    assert!(staged(0, whole).await.unwrap().is_none());
    let tags = upload.write_all().await;
    let border = upload.part_len;
    for (start, end) in [(0, whole), (1, 2), (5, 300_005), (border - 3, border + 3)] {
        if let Some(stream) = staged(start, end).await.unwrap() {
            assert!(read(stream).await.unwrap() == upload.content.slice(start..end), "{start}..{end}");
        }
    }
    assert!(staged(0, whole + 1).await.unwrap().is_none());
    upload.complete(&tags).await.unwrap();
    if let Some(stream) = staged(0, whole).await.unwrap() {
        assert!(read(stream).await.unwrap() == upload.content);
    }
}

pub(crate) async fn uploads_do_not_meet(store: &dyn PartStore) {
    let uploads = [
        Upload::begin(store, "meet-1", 3).await,
        Upload::begin(store, "meet-2", 4).await,
        Upload::begin(store, "meet-3", 2).await,
    ];
    let tags = join_all(uploads.iter().map(Upload::write_all)).await;
    store.abandon(&uploads[1].key, &uploads[1].parts).await.unwrap();
    for index in [0, 2] {
        uploads[index].complete(&tags[index]).await.unwrap();
        uploads[index].assert_complete().await;
    }
    uploads[1].assert_invisible().await;
}

pub(crate) async fn the_smallest_parts_allowed_are_taken(store: &dyn PartStore) {
    let limits = store.limits();
    assert!((1..=limits.max_bytes).contains(&limits.min_bytes) && limits.count_max >= 1);
    let len = usize::try_from(limits.min_bytes).unwrap();
    let (key, content) = (key("tenant/smallest/1"), bytes(len * 2 + 1, 13));
    let parts = store.begin(&key, Some(content.len() as u64)).await.unwrap();
    let mut tags = Vec::new();
    for index in 0..3 {
        let part = content.slice(index * len..content.len().min((index + 1) * len));
        let span = Span {
            index: ChunkIndex::new(u32::try_from(index).unwrap()),
            offset: (index * len) as u64,
            len: part.len() as u64,
        };
        tags.push(store.write(&key, &parts, span, stream::once(part)).await.unwrap());
    }
    store.complete(&key, &parts, content.len() as u64, &tags).await.unwrap();
    assert!(read(store.get(&key, None).await.unwrap().unwrap().bytes).await.unwrap() == content);
}
