//! The row of an upload as the database gives it, and its reading; the names of states and protocols.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::Upload;
use crate::base::metadata::Metadata;
use crate::base::{BlobKey, Error, PartsId, TenantId, Timestamp, UploadId};
use crate::db::error::{damaged, number};

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadState {
    /// Chunks are taken.
    Receiving,
    /// Somebody makes it a file.
    Finalizing,
    /// Its bytes are put together and cannot change any more, but it is no file.
    Sealed,
    /// It is a file.
    Completed,
    /// Its client gave it up.
    Aborted,
    /// Nobody sent anything for too long.
    Expired,
}

impl UploadState {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Receiving, Self::Finalizing, Self::Sealed, Self::Completed, Self::Aborted, Self::Expired];

    /// As the database and JSON write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Finalizing => "finalizing",
            Self::Sealed => "sealed",
            Self::Completed => "completed",
            Self::Aborted => "aborted",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for UploadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the name of a state or protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownName;

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a name that is known here")
    }
}

impl std::error::Error for UnknownName {}

impl FromStr for UploadState {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(UnknownName)
    }
}

/// How an upload is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// In numbered chunks.
    Native,
}

impl Protocol {
    /// As the database and JSON write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        match text {
            "native" => Ok(Self::Native),
            _ => Err(UnknownName),
        }
    }
}

/// The columns of [`UploadRow`]. None has the name of a column of `cifra_upload_parts`, so they can be joined.
macro_rules! upload_columns {
    () => {
        "id, tenant_id, store, blob_key, parts_id, state, protocol, filename, content_type, total_size, \
         chunk_size, chunk_count, received_bytes, received_chunks, withdrawals, checksum, metadata, created_at, \
         updated_at, expires_at, ended_at, error, finish_fence, finish_checksum, sealing"
    };
}
pub(in crate::db) use upload_columns;

/// A row of `cifra_uploads`.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::db) struct UploadRow {
    pub(in crate::db) id: UploadId,
    tenant_id: TenantId,
    store: String,
    blob_key: BlobKey,
    parts_id: PartsId,
    state: String,
    protocol: String,
    filename: String,
    content_type: Option<String>,
    // The three are NULL only for protocols that do not exist yet.
    total_size: i64,
    chunk_size: i64,
    chunk_count: i64,
    received_bytes: i64,
    received_chunks: i64,
    withdrawals: i64,
    checksum: Option<String>,
    metadata: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    expires_at: Timestamp,
    ended_at: Option<Timestamp>,
    error: Option<String>,
    finish_fence: i64,
    finish_checksum: Option<String>,
    sealing: bool,
}

const TABLE: &str = "cifra_uploads";

impl TryFrom<UploadRow> for Upload {
    type Error = Error;

    fn try_from(row: UploadRow) -> Result<Self, Error> {
        let id = row.id;
        let count = |value: i64| number(TABLE, id, value);
        let checksum = |text: Option<String>| {
            let read = text.as_deref().map(str::parse).transpose();
            read.map_err(|_| damaged(TABLE, id, "the checksum cannot be read"))
        };
        Ok(Self {
            id,
            tenant: row.tenant_id,
            store: row.store,
            key: row.blob_key,
            parts: row.parts_id,
            state: row.state.parse().map_err(|_| damaged(TABLE, id, "unknown state"))?,
            protocol: row.protocol.parse().map_err(|_| damaged(TABLE, id, "unknown protocol"))?,
            filename: row.filename,
            content_type: row.content_type,
            total_size: count(row.total_size)?,
            chunk_size: count(row.chunk_size)?,
            chunk_count: number(TABLE, id, row.chunk_count)?,
            received_bytes: count(row.received_bytes)?,
            received_chunks: number(TABLE, id, row.received_chunks)?,
            withdrawals: count(row.withdrawals)?,
            checksum: checksum(row.checksum)?,
            metadata: Metadata::from_json(&row.metadata)
                .ok_or_else(|| damaged(TABLE, id, "the metadata cannot be read"))?,
            created_at: row.created_at,
            updated_at: row.updated_at,
            expires_at: row.expires_at,
            ended_at: row.ended_at,
            error: row.error,
            finish_fence: row.finish_fence,
            finish_checksum: checksum(row.finish_checksum)?,
            sealing: row.sealing,
        })
    }
}
