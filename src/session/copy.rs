//! The hot copy: what never changes of an upload, as Redis keeps it beside the claims.
//!
//! It comes with a claim, in the same round trip, so that the database is asked only for what may have changed. A copy
//! that is missing, that another version wrote, or that is not what it should be, is made anew.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::metadata::Metadata;
use crate::base::{BlobKey, PartsId, Timestamp, UploadId};
use crate::db::uploads::{Upload, UploadState};

/// Another number: another version's copy, which this one does not read.
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Copied {
    id: Uuid,
    tenant: String,
    store: String,
    parts: String,
    protocol: String,
    filename: String,
    content_type: Option<String>,
    total_size: u64,
    chunk_size: u64,
    chunk_count: u32,
    checksum: Option<String>,
    metadata: String,
    created_at: i64,
}

/// What Redis keeps of it.
pub(super) fn encode(upload: &Upload) -> Vec<u8> {
    let copied = Copied {
        id: upload.id.as_uuid(),
        tenant: upload.tenant.as_str().to_owned(),
        store: upload.store.clone(),
        parts: upload.parts.as_str().to_owned(),
        protocol: upload.protocol.as_str().to_owned(),
        filename: upload.filename.clone(),
        content_type: upload.content_type.clone(),
        total_size: upload.total_size,
        chunk_size: upload.chunk_size,
        chunk_count: upload.chunk_count,
        checksum: upload.checksum.map(|checksum| checksum.to_string()),
        metadata: upload.metadata.to_json(),
        created_at: upload.created_at.as_micros(),
    };
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, &copied).expect("INVARIANT: plain values are written to a vector");
    bytes
}

/// The upload as it was when it began, with everything that changes at its start: to be used only with what the
/// database says of that. `None` if these bytes are not ours.
pub(super) fn decode(id: UploadId, bytes: &[u8]) -> Option<Upload> {
    let (&VERSION, json) = bytes.split_first()? else { return None };
    let copied: Copied = serde_json::from_slice(json).ok()?;
    if copied.id != id.as_uuid() || copied.chunk_size == 0 {
        return None;
    }
    let tenant = copied.tenant.parse().ok()?;
    let created_at = Timestamp::from_micros(copied.created_at);
    Some(Upload {
        id,
        // Never taken from outside of the database: it says whose bytes are written.
        key: BlobKey::of_file(&tenant, id.file()),
        tenant,
        store: copied.store,
        parts: PartsId::new(copied.parts),
        state: UploadState::Receiving,
        protocol: copied.protocol.parse().ok()?,
        filename: copied.filename,
        content_type: copied.content_type,
        total_size: copied.total_size,
        chunk_size: copied.chunk_size,
        chunk_count: copied.chunk_count,
        received_bytes: 0,
        received_chunks: 0,
        withdrawals: 0,
        checksum: copied.checksum.as_deref().map(str::parse).transpose().ok()?,
        metadata: Metadata::from_json(&copied.metadata)?,
        created_at,
        updated_at: created_at,
        expires_at: created_at,
        ended_at: None,
        error: None,
        finish_fence: 0,
        finish_checksum: None,
        sealing: false,
    })
}
