//! Blobs that come in one piece: small ones are one request, others go by parts, one part's room at a time.
//!
//! Until the last byte is there nothing is visible. When the body breaks off, or whoever sends it is dropped, the
//! parts are dropped too; those of a process that was killed are left to the bucket's lifecycle rule.

use object_store::ObjectStoreExt;
use object_store::multipart::PartId;

use super::parts::Collected;
use super::{ObjectStore, parts, trouble};
use crate::base::ByteStream;
use crate::blob::{BlobError, BlobErrorKind, BlobKey, BlobResult, Length, PartsId};

/// Parts begin with this size where the store's limits allow it.
const PART_BYTES: u64 = 8 << 20;
/// Of a body of unknown length, so many parts have one size; then it doubles. 10,000 parts are enough for anything
/// that the largest part allows.
const PARTS_OF_A_SIZE: u64 = 1_000;

/// Stores `body` under `key`, all or nothing; answers its length.
pub(super) async fn receive(
    store: &ObjectStore,
    key: &BlobKey,
    mut body: ByteStream,
    length: Length,
) -> BlobResult<u64> {
    let sizes = Sizes::of(store, length);
    let expected = match length {
        Length::Exactly(bytes) => sizes.at(0).min(bytes),
        Length::AtMost(_) => sizes.at(0),
    };
    let room = store.inner.budget.reserve(key, expected).await?;
    let mut collected = Collected::default();
    if collected.take(&mut body, expected).await? {
        check(key, collected.len, length)?;
        let len = collected.len;
        let put = store.inner.objects.put(&store.path(key), collected.into_payload()).await;
        put.map_err(|error| trouble::of(format!("storing `{key}`"), error))?;
        return Ok(len);
    }
    check_so_far(collected.len, length)?;
    let mut upload = Upload::begin(store, key).await?;
    let (mut room, mut index, mut total) = (Some(room), 0, 0);
    loop {
        let size = sizes.at(index);
        let room = match room.take() {
            Some(room) => room,
            None => store.inner.budget.reserve(key, size).await?,
        };
        let ended = collected.take(&mut body, size).await?;
        check_so_far(total + collected.len, length)?;
        let rest = collected.split_off(size);
        total += collected.len;
        if ended && rest.len == 0 {
            check(key, total, length)?;
        }
        if collected.len > 0 {
            upload.put(index, collected).await?;
        }
        drop(room);
        if ended && rest.len == 0 {
            break;
        }
        collected = rest;
        index += 1;
    }
    upload.complete(total).await?;
    Ok(total)
}

/// How large parts are.
struct Sizes {
    first: u64,
    max: u64,
    grow: bool,
}

impl Sizes {
    fn of(store: &ObjectStore, length: Length) -> Self {
        let limits = store.inner.limits;
        let first = PART_BYTES.clamp(limits.min_bytes, limits.max_bytes);
        match length {
            Length::Exactly(bytes) => {
                let needed = bytes.div_ceil(u64::from(limits.count_max));
                Self { first: first.max(needed), max: limits.max_bytes, grow: false }
            }
            Length::AtMost(_) => Self { first, max: limits.max_bytes, grow: true },
        }
    }

    /// Of part `index`.
    fn at(&self, index: u64) -> u64 {
        let doublings = if self.grow { index / PARTS_OF_A_SIZE } else { 0 };
        let factor = 1_u64.checked_shl(u32::try_from(doublings).unwrap_or(u32::MAX)).unwrap_or(u64::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// An upload by parts; dropped before it is complete, the store forgets the parts.
struct Upload<'a> {
    store: &'a ObjectStore,
    key: &'a BlobKey,
    id: PartsId,
    parts: Vec<PartId>,
    open: bool,
}

impl<'a> Upload<'a> {
    async fn begin(store: &'a ObjectStore, key: &'a BlobKey) -> BlobResult<Self> {
        let id = parts::begin(store, key, None).await?;
        Ok(Self { store, key, id, parts: Vec::new(), open: true })
    }

    async fn put(&mut self, index: u64, part: Collected) -> BlobResult<()> {
        let context = || format!("storing part {index} of `{}`", self.key);
        let number = usize::try_from(index).unwrap_or(usize::MAX);
        if index >= u64::from(self.store.inner.limits.count_max) {
            let context = format!("`{}` has more bytes than its parts can have", self.key);
            return Err(BlobError::new(BlobErrorKind::BodyTooLong, context));
        }
        let (path, id) = (self.store.path(self.key), self.id.as_str().to_owned());
        let put = self.store.inner.objects.put_part(&path, &id, number, part.into_payload()).await;
        self.parts.push(put.map_err(|error| trouble::of(context(), error))?);
        Ok(())
    }

    async fn complete(mut self, size: u64) -> BlobResult<()> {
        let parts = std::mem::take(&mut self.parts);
        parts::put_together(self.store, self.key, &self.id, size, parts).await?;
        self.open = false;
        Ok(())
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        // Outside of the runtime nothing can be sent: at the end of the process.
        if !self.open || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (store, key, id) = (self.store.clone(), self.key.clone(), self.id.clone());
        self.store.inner.tasks.spawn("drop parts", async move {
            if let Err(error) = parts::abort(&store, &key, &id).await {
                tracing::warn!(%error, "the parts of `{key}` stay until the store's lifecycle rule: {error}");
            }
        });
    }
}

fn check_so_far(bytes: u64, length: Length) -> BlobResult<()> {
    if bytes > length.max() {
        let context = format!("more than {} bytes came", length.max());
        return Err(BlobError::new(BlobErrorKind::BodyTooLong, context));
    }
    Ok(())
}

fn check(key: &BlobKey, bytes: u64, length: Length) -> BlobResult<()> {
    if let Length::Exactly(size) = length
        && bytes < size
    {
        let context = format!("{bytes} bytes came for `{key}`, {size} were announced");
        return Err(BlobError::new(BlobErrorKind::BodyCut, context));
    }
    check_so_far(bytes, length)
}
