//! Whose bucket it is: a small object with the store's id, beside the blobs, under a name that no blob has.

use futures_util::StreamExt;
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};
use uuid::Uuid;

use super::{ObjectStore, trouble, wrong};
use crate::blob::{BlobError, BlobErrorKind, BlobResult};

/// No key has a segment that begins with a dot.
const NAME: &str = ".cifra-store-id";
/// An id has 36 characters and a line end; more is not ours, and not read.
const BYTES_MAX: usize = 64;

pub(super) async fn get(store: &ObjectStore) -> BlobResult<Option<Uuid>> {
    let path = store.path_of(NAME);
    let context = || format!("reading `{path}`");
    let found = match store.inner.objects.get(&path).await {
        Ok(found) => found,
        Err(error) if trouble::is_missing(&error) => return Ok(None),
        Err(error) => return Err(trouble::of(context(), error)),
    };
    let mut text = Vec::new();
    let mut stream = found.into_stream();
    while let Some(frame) = stream.next().await {
        text.extend_from_slice(&frame.map_err(|error| trouble::of(context(), error))?);
        if text.len() > BYTES_MAX {
            break;
        }
    }
    let id = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
    id.map(Some).ok_or_else(|| wrong(format!("the object `{path}` is damaged: it has no UUID")))
}

/// The first one who says so wins; answers what the store is called from now on.
pub(super) async fn set(store: &ObjectStore, id: Uuid) -> BlobResult<Uuid> {
    if let Some(found) = get(store).await? {
        return Ok(found);
    }
    let path = store.path_of(NAME);
    let payload = || PutPayload::from(format!("{id}\n"));
    let only_new = PutOptions::from(PutMode::Create);
    let put = match store.inner.objects.put_opts(&path, payload(), only_new).await {
        // Not every store can do that; then the last of two who come at once wins, and both read that.
        Err(object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. }) => {
            store.inner.objects.put(&path, payload()).await
        }
        put => put,
    };
    match put {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
        }
        Err(error) => return Err(trouble::of(format!("writing `{path}`"), error)),
    }
    get(store).await?.ok_or_else(|| wrong(format!("`{path}` was written and is not there")))
}

/// Whether the store answers, and is still the one that was opened.
pub(super) async fn probe(store: &ObjectStore) -> BlobResult<()> {
    let path = store.path_of(NAME);
    match store.look(&path).await? {
        Some(_) => Ok(()),
        None => Err(BlobError::new(BlobErrorKind::Unavailable, format!("the object `{path}` is missing"))),
    }
}
