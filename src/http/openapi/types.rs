//! The schemas of what `base` defines: ids, times, digests, metadata. They stand here and not there, because
//! `base` knows nothing of HTTP's documents.

use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::base::digest::Checksum;
use crate::base::metadata::{self, Metadata};
use crate::base::principal::Scope;
use crate::base::{ChunkIndex, EntityName, FileId, KeyId, TenantId, Timestamp, TokenId, UploadId};
use crate::upload::UploadState;

macro_rules! schemas {
    ($($type:ident = $schema:expr;)*) => {
        $(
            /// utoipa's own types have no words for all of JSON Schema that we use: they get the name only.
            impl PartialSchema for $type {
                fn schema() -> RefOr<Schema> {
                    Schema::default().into()
                }
            }

            impl ToSchema for $type {}
        )*

        /// Puts the schemas where utoipa put the names.
        pub(super) fn define(schemas: &mut Value) {
            $(schemas[stringify!($type)] = $schema;)*
        }
    };
}

/// Chunks from the first to the last, both included.
pub(in crate::http) struct ChunkRange;

/// A media type, or a kind of them.
pub(in crate::http) struct MediaRange;

/// Where a thumbnail stands.
pub(in crate::http) struct ThumbnailStatus;

/// An event of a stream (`text/event-stream`).
pub(in crate::http) struct StreamEvent;

schemas! {
    MediaRange = json!({
        "type": "string",
        "maxLength": 255,
        "pattern": r"^[!#$%&'+.^_`|~0-9A-Za-z-]+/(\*|[!#$%&'+.^_`|~0-9A-Za-z-]+)$",
        "description": "A media type such as `image/png`, or all of a kind such as `image/*`.",
        "examples": ["image/*"],
    });
    ThumbnailStatus = json!({
        "type": "string",
        "enum": ["ready", "pending", "skipped", "failed"],
        "description": "Where a thumbnail stands. A skipped one was left alone, a failed one was tried in vain.",
    });
    StreamEvent = json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": { "type": "string", "enum": ["progress", "completed", "failed"] },
            "id": { "type": "string" },
            "data": { "type": "string", "contentMediaType": "application/json", "description": "What it tells, as JSON." },
        },
        "description": "An event of a stream.",
    });
    ChunkRange = json!({
        "type": "array",
        "items": { "type": "integer", "minimum": 0 },
        "minItems": 2,
        "maxItems": 2,
        "description": "Chunks from the first to the last, both included.",
        "examples": [[0, 7]],
    });
    Scope = json!({
        "type": "string",
        "enum": ["read", "write", "admin"],
        "description": "What a key may do; each includes those before it.",
    });
    UploadState = json!({
        "type": "string",
        "enum": UploadState::ALL.map(UploadState::as_str),
        "description": "Where an upload stands. `receiving` takes chunks, `completed` is a file.",
    });
    UploadId = json!({
        "type": "string",
        "format": "uuid",
        "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "description": "A UUID of version 7. The file that the upload becomes has the same.",
        "examples": ["0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c"],
    });
    FileId = json!({
        "type": "string",
        "format": "uuid",
        "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "description": "A UUID of version 7.",
        "examples": ["0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c"],
    });
    EntityName = json!({
        "type": "string",
        "pattern": "^[A-Za-z][A-Za-z0-9_]{0,63}$",
        "description": "What records of a kind are called.",
        "examples": ["File"],
    });
    KeyId = json!({
        "type": "string",
        "format": "uuid",
        "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "description": "A UUID. It is a part of the key, and no secret.",
        "examples": ["0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c"],
    });
    TenantId = json!({
        "type": "string",
        "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        "not": { "const": "global" },
        "description": "A slug.",
        "examples": ["acme"],
    });
    TokenId = json!({
        "type": "string",
        "format": "uuid",
        "description": "A UUID of version 7.",
        "examples": ["0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c"],
    });
    ChunkIndex = json!({
        "type": "integer",
        "minimum": 0,
        "maximum": 999_999,
        "description": "Which chunk of the upload, from 0.",
        "examples": [0],
    });
    Timestamp = json!({
        "type": "string",
        "format": "date-time",
        "description": "RFC 3339, in UTC, with microseconds.",
        "examples": ["2026-11-21T09:30:00.000000Z"],
    });
    Checksum = json!({
        "type": "string",
        "pattern": "^(sha256:[0-9a-f]{64}|crc64nvme:[0-9a-f]{16})$",
        "description": "`sha256:` or `crc64nvme:` and the digest in lower-case hex.",
        "examples": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
    });
    Metadata = json!({
        "type": "object",
        "additionalProperties": { "type": "string" },
        "propertyNames": { "minLength": 1 },
        "maxProperties": metadata::KEYS_MAX,
        "description": "Pairs of the client's own. At most 64 keys, and 8 KiB in all keys and values together.",
        "examples": [{ "album": "summer" }],
    });
}
