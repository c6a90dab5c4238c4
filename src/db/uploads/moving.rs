//! What changes of an upload while it is on its way; all else stays as it was when the upload began.

use std::str::FromStr;

use super::{Upload, UploadState};
use crate::base::digest::Checksum;
use crate::base::{Error, Result, Timestamp, UploadId};
use crate::db::error::{damaged, number};

/// The columns of [`MovingRow`].
macro_rules! moving_columns {
    () => {
        "state, received_bytes, received_chunks, withdrawals, updated_at, expires_at, ended_at, error, \
         finish_fence, finish_checksum, sealing"
    };
}
pub(in crate::db) use moving_columns;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    state: UploadState,
    received_bytes: u64,
    received_chunks: u32,
    withdrawals: u64,
    updated_at: Timestamp,
    expires_at: Timestamp,
    ended_at: Option<Timestamp>,
    error: Option<String>,
    finish_fence: i64,
    finish_checksum: Option<Checksum>,
    sealing: bool,
}

impl Moving {
    /// The upload as it is now, of how it was at any time.
    #[must_use]
    pub fn of(self, upload: Upload) -> Upload {
        let Self { state, received_bytes, received_chunks, withdrawals, updated_at, expires_at, .. } = self;
        let Self { ended_at, error, finish_fence, finish_checksum, sealing, .. } = self;
        Upload {
            state,
            received_bytes,
            received_chunks,
            withdrawals,
            updated_at,
            expires_at,
            ended_at,
            error,
            finish_fence,
            finish_checksum,
            sealing,
            ..upload
        }
    }
}

/// These columns of a row of `cifra_uploads`.
#[derive(Debug, sqlx::FromRow)]
pub(in crate::db) struct MovingRow {
    state: String,
    received_bytes: i64,
    received_chunks: i64,
    withdrawals: i64,
    updated_at: Timestamp,
    expires_at: Timestamp,
    ended_at: Option<Timestamp>,
    error: Option<String>,
    finish_fence: i64,
    finish_checksum: Option<String>,
    sealing: bool,
}

const TABLE: &str = "cifra_uploads";

impl MovingRow {
    pub(in crate::db) fn moving(self, id: UploadId) -> Result<Moving, Error> {
        let checksum = self.finish_checksum.as_deref().map(Checksum::from_str).transpose();
        Ok(Moving {
            state: self.state.parse().map_err(|_| damaged(TABLE, id, "unknown state"))?,
            received_bytes: number(TABLE, id, self.received_bytes)?,
            received_chunks: number(TABLE, id, self.received_chunks)?,
            withdrawals: number(TABLE, id, self.withdrawals)?,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            ended_at: self.ended_at,
            error: self.error,
            finish_fence: self.finish_fence,
            finish_checksum: checksum.map_err(|_| damaged(TABLE, id, "the checksum cannot be read"))?,
            sealing: self.sealing,
        })
    }
}
