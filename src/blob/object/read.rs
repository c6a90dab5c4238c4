//! Bytes out: a blob or a range of it, as the store sends it; and lists.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange};

use super::s3::ours::Marker;
use super::{Kind, ObjectStore, meta, trouble, wrong};
use crate::base::stream::StreamError;
use crate::base::{ByteRange, ByteStream, Timestamp};
use crate::blob::{Blob, BlobError, BlobKey, BlobMeta, BlobResult, PartsId, Unfinished};

/// Opens a blob. Its bytes are asked for as they are read, so that memory holds what is on its way and no more.
pub(super) async fn get(
    store: &ObjectStore,
    key: &BlobKey,
    range: Option<ByteRange>,
) -> BlobResult<Option<Blob>> {
    let asked = range.map(|range| GetRange::Bounded(range.start()..range.end()));
    let options = GetOptions::new().with_range(asked);
    let found = match store.inner.objects.get_opts(&store.path(key), options).await {
        Ok(found) => found,
        Err(error) if trouble::is_missing(&error) => return Ok(None),
        Err(error) => return Err(trouble::of(format!("reading `{key}`"), error)),
    };
    let meta = meta(key.clone(), &found.meta);
    let expected = match range {
        Some(range) if range.end() > meta.size => {
            return Err(wrong(format!("`{key}` has {} bytes, {range:?} was asked for", meta.size)));
        }
        Some(range) => range.end() - range.start(),
        None => meta.size,
    };
    Ok(Some(Blob { meta, bytes: exactly(expected, found.into_stream(), key.clone()) }))
}

/// The bytes of `stream`, which must be `expected`: a store that stops short must not look like an end.
fn exactly(
    expected: u64,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    key: BlobKey,
) -> ByteStream {
    stream::unfold(Some((stream, expected, key)), |state| async move {
        let (mut stream, left, key) = state?;
        let failed = |why: String| Some((Err(StreamError::Failed(why)), None));
        match stream.next().await {
            Some(Ok(frame)) => match left.checked_sub(frame.len() as u64) {
                Some(left) => Some((Ok(frame), Some((stream, left, key)))),
                None => failed(format!("the store sent more bytes of `{key}` than there are")),
            },
            Some(Err(error)) => failed(format!("the store broke off in `{key}`: {error}")),
            None if left == 0 => None,
            None => failed(format!("the store ended `{key}` {left} bytes too early")),
        }
    })
    .boxed()
}

/// All blobs below the folder `prefix`; objects that are not ours are passed over.
pub(super) fn list(
    store: &ObjectStore,
    prefix: &str,
) -> BlobResult<BoxStream<'static, BlobResult<BlobMeta>>> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() && BlobKey::parse(prefix).is_none() {
        return Err(wrong(format!("`{prefix}` cannot be the beginning of a key")));
    }
    let folder = match (&store.inner.prefix, prefix) {
        (None, "") => None,
        (Some(own), "") => Some(Path::from(own.as_str())),
        (_, folder) => Some(store.path_of(folder)),
    };
    if let Kind::S3(_) = &store.inner.kind {
        return Ok(list_bucket(store.clone(), folder.map(|folder| format!("{folder}/")).unwrap_or_default()));
    }
    let owner = store.clone();
    let found = store.inner.objects.list(folder.as_ref());
    let ours = found.map_err(|error| trouble::of("listing the store".to_owned(), error)).try_filter_map(
        move |found| {
            let key = owner.key_of(found.location.as_ref());
            async move { Ok(key.map(|key| meta(key, &found))) }
        },
    );
    Ok(ours.boxed())
}

/// The blobs of a bucket whose names begin with `prefix`, a page at a time.
fn list_bucket(store: ObjectStore, prefix: String) -> BoxStream<'static, BlobResult<BlobMeta>> {
    let pages = stream::try_unfold(Some((store, prefix, String::new())), |state| async move {
        let Some((store, prefix, token)) = state else { return Ok::<_, BlobError>(None) };
        let Kind::S3(bucket) = &store.inner.kind else { return Ok(None) };
        let (page, next) = bucket.objects(&prefix, &token).await?;
        let ours: Vec<_> = page
            .into_iter()
            .filter_map(|object| {
                let key = store.key_of(&object.path)?;
                let modified = Timestamp::from_micros(object.modified_micros);
                Some(Ok(BlobMeta { key, size: object.size, modified }))
            })
            .collect();
        Ok(Some((stream::iter(ours), next.map(|next| (store, prefix, next)))))
    });
    pages.try_flatten().boxed()
}

/// All uploads by parts that were begun and not ended, a page at a time; S3 only.
pub(super) fn unfinished(store: &ObjectStore) -> BoxStream<'static, BlobResult<Unfinished>> {
    let pages = stream::try_unfold(Some((store.clone(), Marker::default())), |state| async move {
        let Some((store, marker)) = state else { return Ok::<_, BlobError>(None) };
        let Kind::S3(bucket) = &store.inner.kind else { return Ok(None) };
        let prefix = store.inner.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let (page, next) = bucket.uploads(&prefix, &marker).await?;
        let ours: Vec<_> = page
            .into_iter()
            .filter_map(|upload| {
                Some(Ok(Unfinished {
                    key: store.key_of(&upload.path)?,
                    parts: PartsId::new(upload.id),
                    begun: Timestamp::from_micros(upload.begun_micros),
                }))
            })
            .collect();
        Ok(Some((stream::iter(ours), next.map(|next| (store, next)))))
    });
    pages.try_flatten().boxed()
}
