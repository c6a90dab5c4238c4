//! An object store: whether this machine reaches it, whether its rights suffice, what becomes of forgotten parts.
//!
//! What must be tried is tried for real, on objects of doctor's own that are removed again: rights cannot be asked for.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use uuid::Uuid;

use crate::base::finding::Finding;
use crate::base::{BlobKey, ChunkIndex, stream};
use crate::blob::object::{ForgottenParts, ObjectStore};
use crate::blob::{BlobError, BlobErrorKind, BlobResult, BlobStore, PartStore, Span};

/// A store that takes longer for one small request is of no use to anybody who waits.
const STEP_MAX: Duration = Duration::from_secs(15);
/// No tenant's keys are of this form: they have three segments.
const FOLDER: &str = "cifra-doctor";
/// What is stored.
const BYTES: &[u8] = b"put here by cifra doctor, which removes it again\n";

/// Tries the store `name`, whose uploads live for `session_max_age` at most.
pub async fn examine(name: &str, store: &ObjectStore, session_max_age: Duration) -> Vec<Finding> {
    let mut findings = vec![rights(name, store).await];
    if findings[0].status < crate::base::finding::Level::Fail {
        findings.push(forgotten(name, store, session_max_age).await);
    }
    findings
}

async fn rights(name: &str, store: &ObjectStore) -> Finding {
    const CHECK: &str = "store.rights";
    let key = BlobKey::parse(&format!("{FOLDER}/{}", Uuid::new_v4()));
    let key = key.expect("INVARIANT: a folder and a UUID are a key");
    let tried = try_out(store, &key).await;
    if tried.is_err() {
        // What a step has left; the last one says if that cannot be removed.
        let _ = step("delete objects", store.delete(&key)).await;
    }
    match tried {
        Ok(()) => Finding::ok(
            CHECK,
            format!("store `{name}`: objects can be put, read, listed, put in parts, and deleted"),
        ),
        Err((what, error)) => {
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            let advice = match error.kind() {
                BlobErrorKind::Unavailable => {
                    "look at the endpoint, the key's rights, the network between here and there, and the clock"
                }
                _ => {
                    "look at the bucket's name and region, and let the key read, write, list and delete in it"
                }
            };
            Finding::fail(
                CHECK,
                format!("store `{name}`: this key or machine cannot {what}: {error}{cause}"),
                advice,
            )
        }
    }
}

/// Everything that the service does with objects; else what could not be done, and why.
async fn try_out(store: &ObjectStore, key: &BlobKey) -> Result<(), (&'static str, BlobError)> {
    let size = BYTES.len() as u64;
    step("put objects", store.put(key, stream::once(BYTES), Some(size))).await?;
    let read = step("read objects", async {
        let Some(blob) = store.get(key, None).await? else { return Ok(Vec::new()) };
        let frames: Vec<_> = blob.bytes.try_collect().await?;
        Ok(frames.concat())
    });
    if read.await? != BYTES {
        return Err(("read what was put", wrong("other bytes came back")));
    }
    let listed = step("list objects", async {
        let mut list = store.list(FOLDER).await?;
        while let Some(found) = list.next().await {
            if found?.key == *key {
                return Ok(true);
            }
        }
        Ok(false)
    });
    if !listed.await? {
        return Err(("list objects", wrong("what was put is not in the list")));
    }
    let parts = step("begin an upload in parts", store.begin(key, Some(size))).await?;
    let span = Span { index: ChunkIndex::new(0), offset: 0, len: size };
    let written = step("upload a part", store.write(key, &parts, span, stream::once(BYTES))).await;
    // Removes the object too.
    step("abort an upload in parts", store.abandon(key, &parts)).await?;
    written?;
    match step("delete objects", store.head(key)).await? {
        None => Ok(()),
        Some(_) => Err(("delete objects", wrong("what was deleted is still there"))),
    }
}

async fn step<T>(
    what: &'static str,
    doing: impl Future<Output = BlobResult<T>>,
) -> Result<T, (&'static str, BlobError)> {
    match tokio::time::timeout(STEP_MAX, doing).await {
        Ok(done) => done.map_err(|error| (what, error)),
        Err(_) => {
            Err((what, BlobError::new(BlobErrorKind::Unavailable, format!("no answer within {STEP_MAX:?}"))))
        }
    }
}

fn wrong(context: &str) -> BlobError {
    BlobError::new(BlobErrorKind::Internal, context)
}

async fn forgotten(name: &str, store: &ObjectStore, session_max_age: Duration) -> Finding {
    const CHECK: &str = "store.forgotten_parts";
    let advice = "add a rule to the bucket's lifecycle: AbortIncompleteMultipartUpload after more days than \
                  file_upload.session_max_age; until then `cifra storage orphans --confirm` removes them";
    match step("be asked", store.forgotten_parts()).await {
        Ok(ForgottenParts::DroppedAfter { days }) if drops_live_uploads(days, session_max_age) => {
            Finding::fail(
                CHECK,
                format!(
                    "store `{name}`: a lifecycle rule drops parts after {days} days, those of uploads under way too"
                ),
                "let it wait for more days than file_upload.session_max_age, or make that shorter",
            )
        }
        Ok(ForgottenParts::DroppedAfter { days } | ForgottenParts::DroppedWhenIdle { days }) => Finding::ok(
            CHECK,
            format!("store `{name}`: parts that nobody comes back for are dropped after {days} days"),
        ),
        Ok(ForgottenParts::Kept) => Finding::warn(
            CHECK,
            format!("store `{name}`: parts that nobody comes back for stay, and are paid for"),
            advice,
        ),
        Err((_, error)) => Finding::skip(
            CHECK,
            format!("store `{name}` does not say what becomes of parts that nobody comes back for: {error}"),
        ),
    }
}

/// A rule counts whole days from the begin of an upload.
fn drops_live_uploads(days: u32, session_max_age: Duration) -> bool {
    Duration::from_hours(u64::from(days) * 24) <= session_max_age
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_must_wait_for_longer_than_an_upload_lives() {
        let week = Duration::from_hours(7 * 24);
        assert_eq!(
            [1, 6, 7, 8, u32::MAX].map(|days| drops_live_uploads(days, week)),
            [true, true, true, false, false]
        );
    }
}
