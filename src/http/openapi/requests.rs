//! The shapes of requests, for the document only: `fields` reads the requests themselves, so that every fault of
//! one is told at once. A test sends what stands here and holds the two together.
#![expect(dead_code, reason = "no value of these types is ever made; the document has their shapes")]

use utoipa::{IntoParams, ToSchema};

use super::types::MediaRange;
use crate::base::digest::Checksum;
use crate::base::metadata::Metadata;
use crate::base::principal::Scope;
use crate::base::{ChunkIndex, EntityName, FileId, KeyId, TenantId, Timestamp, UploadId};

/// What a client says of a file that it begins to upload.
#[derive(ToSchema)]
#[schema(example = json!({ "filename": "holiday.mp4", "total_size": 73_400_320 }))]
pub(in crate::http) struct NewUpload {
    /// A label, not a path; without control characters.
    #[schema(min_length = 1, max_length = 1024, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    filename: String,
    /// Bytes of the whole file.
    total_size: u64,
    /// What the client says it is: a media type.
    #[schema(
        max_length = 255,
        pattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+/[A-Za-z0-9!#$%&'*+.^_`|~-]+( *;[ -~]*)?$"
    )]
    content_type: Option<String>,
    /// A wish, in bytes; the answer tells what the server decided.
    #[schema(minimum = 1)]
    chunk_size: Option<u64>,
    /// The whole file's digest: verified before the file is visible.
    checksum: Option<Checksum>,
    metadata: Option<Metadata>,
}

/// For how long, and how, somebody without a key may read a file.
#[derive(ToSchema)]
#[schema(example = json!({ "expires_in_seconds": 3600 }))]
pub(in crate::http) struct NewLink {
    /// At most seven days.
    #[schema(minimum = 1, maximum = 604_800)]
    expires_in_seconds: u64,
    /// As an attachment, to be saved. Not of a thumbnail.
    download: Option<bool>,
    /// The thumbnail of this size in place of the content.
    thumbnail: Option<String>,
}

/// What an upload token is to allow.
#[derive(ToSchema)]
#[schema(example = json!({ "max_size": 10_485_760, "content_types": ["image/*"], "expires_in_seconds": 600 }))]
pub(in crate::http) struct NewUploadToken {
    /// Bytes of each file at most.
    max_size: u64,
    /// Media types, `image/*` for all of a kind, held against what the first bytes say; absent: any.
    #[schema(min_items = 1, max_items = 32)]
    content_types: Option<Vec<MediaRange>>,
    /// Pairs that each of its files has, whatever the client says.
    metadata: Option<Metadata>,
    /// Files at most, begun uploads counted in; absent: any number.
    #[schema(minimum = 1)]
    max_files: Option<u64>,
    /// At most seven days.
    #[schema(minimum = 1, maximum = 604_800)]
    expires_in_seconds: u64,
}

/// How an upload ends well.
#[derive(ToSchema)]
#[schema(example = json!({}))]
pub(in crate::http) struct Finalize {
    /// The whole file's digest: verified before the file is visible.
    checksum: Option<Checksum>,
}

/// A tenant that an operator makes.
#[derive(ToSchema)]
#[schema(example = json!({ "id": "acme" }))]
pub(in crate::http) struct NewTenant {
    /// What it is known by, for good.
    id: TenantId,
}

/// A key that is to be made.
#[derive(ToSchema)]
#[schema(example = json!({ "name": "website", "scopes": ["read"] }))]
pub(in crate::http) struct NewKey {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// `read`, `write`, `admin`; each includes those before it. `write` if left out.
    #[schema(min_items = 1)]
    scopes: Option<Vec<Scope>>,
    /// An operator's key: reaches every tenant and manages the service. For operators.
    operator: Option<bool>,
    /// When it ends by itself; never if left out.
    #[schema(minimum = 1, maximum = 3_153_600_000_u64)]
    expires_in_seconds: Option<u64>,
}

/// `/api/keys/{id}`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct KeyPath {
    /// The key.
    id: KeyId,
}

/// `/api/uploads/{id}`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct UploadPath {
    /// The upload.
    id: UploadId,
}

/// `/api/uploads/{id}/chunks/{index}`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct ChunkPath {
    /// The upload.
    id: UploadId,
    /// The chunk.
    index: ChunkIndex,
}

/// `/api/files/{id}`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct FilePath {
    /// The file.
    id: FileId,
}

/// `/api/files/{id}/thumbnails/{size}`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct ThumbnailPath {
    /// The file.
    id: FileId,
    /// What the size is called in the service's configuration.
    #[param(example = "small")]
    size: String,
}

/// `/api/entities/{entity}`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct EntityPath {
    /// What the table is called in the service's configuration, or `File`, `Upload`, `Thumbnail`, `Tenant`.
    entity: EntityName,
}

/// `/api/entities/{entity}/{id}`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct RecordPath {
    /// What the table is called in the service's configuration, or `File`, `Upload`, `Thumbnail`, `Tenant`.
    entity: EntityName,
    /// The value of the record's key.
    id: String,
}

/// `/problems/{code}`
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct ProblemPath {
    /// The code of a problem.
    #[param(example = "chunk-busy")]
    code: String,
}

/// What is to be different of a file; what is absent stays.
#[derive(ToSchema)]
#[schema(example = json!({ "filename": "beach.mp4" }))]
pub(in crate::http) struct FileChange {
    /// A label, not a path; without control characters.
    #[schema(min_length = 1, max_length = 1024, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$")]
    filename: Option<String>,
    /// In place of all that was there.
    metadata: Option<Metadata>,
}

/// Which files a list shows, and in which order.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct FileQuery {
    /// Only those of this type: one such as `image/png`, or all of a kind such as `image/*`.
    #[param(pattern = r"^[!#$%&'+.^_`|~0-9A-Za-z-]+/(\*|[!#$%&'+.^_`|~0-9A-Za-z-]+)$")]
    content_type: Option<String>,
    /// Only those whose name begins so, in upper or lower case.
    #[param(max_length = 1024)]
    q: Option<String>,
    /// Only those made later than this.
    created_after: Option<Timestamp>,
    /// Only those made earlier than this.
    created_before: Option<Timestamp>,
    /// By what they are sorted; with `-` the other way round. What is alike is in the order of ids.
    #[param(pattern = "^-?(created_at|filename|size)$", default = "-created_at")]
    sort: Option<String>,
}

/// One page of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PageQuery {
    /// At most this many items.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before, with the same filter.
    cursor: Option<String>,
}

/// The name of a request that may be sent again.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct IdempotencyHeader {
    /// The request's name, made up by the client: sent again within 24 h with the same name, it gets the same answer
    /// and does nothing. What was refused can be corrected under its name.
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]*$")]
    idempotency_key: Option<String>,
}

/// Conditions (RFC 9110 13.1) on a file.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(clippy::struct_field_names, reason = "so are the headers named")]
pub(in crate::http) struct Conditions {
    /// Only if the current `ETag` is one of these.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// Only if the current `ETag` is none of these; GET then answers 304.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
    /// Only if it changed since; else 304.
    #[param(rename = "If-Modified-Since")]
    if_modified_since: Option<String>,
    /// Only if it did not change since.
    #[param(rename = "If-Unmodified-Since")]
    if_unmodified_since: Option<String>,
}

/// Digests that a body of bytes must have; every one that is sent is verified.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(in crate::http) struct DigestHeaders {
    /// A digest of the body (RFC 9530): `sha-256`, `sha-512` or `crc32c`, such as `sha-256=:BASE64:`;
    /// several with commas between them.
    #[param(
        rename = "Content-Digest",
        pattern = "^(sha-256=:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=:|sha-512=:[A-Za-z0-9+/]{85}[AQgw]==:|crc32c=:[A-Za-z0-9+/]{5}[AQgw]==:)$"
    )]
    content_digest: Option<String>,
    /// The CRC-64/NVME of the body: base64 of its 8 big-endian bytes.
    #[param(
        rename = "X-Checksum-Crc64nvme",
        min_length = 12,
        max_length = 12,
        pattern = "^[A-Za-z0-9+/]{10}[AEIMQUYcgkosw048]=$"
    )]
    checksum_crc64nvme: Option<String>,
}

/// A form with files. `metadata.KEY` fields come first.
#[derive(ToSchema)]
pub(in crate::http) struct FormBody {
    /// A file, or several parts of this name; any other name will do as well.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<Vec<u8>>,
}

/// What is to be read from the database again. Nothing at all: everything of the tenant.
#[derive(ToSchema)]
#[schema(example = json!({ "entity": "File", "id": "0198c5f0-7c1e-7d2a-9b3f-2f1d0e5a6b7c" }))]
pub(in crate::http) struct CacheInvalidation {
    /// Whose; `global` for what is no tenant's. Others than one's own: for operators. If left out: of the tenant that is
    /// acted in, and for operators of no tenant too.
    #[schema(pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
    tenant: Option<String>,
    /// Of this kind only.
    #[schema(max_length = 64, pattern = "^[A-Za-z][A-Za-z0-9_]*$")]
    entity: Option<String>,
    /// This record only, with all lists and look-ups of its kind; needs `entity`.
    #[schema(min_length = 1, max_length = 512)]
    id: Option<String>,
    /// Keys like this one, in place of all of the above: `*` any text, `?` one character, `[a-c]` one of these. It begins
    /// with `cifra:TENANT:` except for operators.
    #[schema(min_length = 1, max_length = 512)]
    pattern: Option<String>,
}

/// What is to be measured.
#[derive(ToSchema)]
#[schema(example = json!({ "entity": "Tenant", "iterations": 10 }))]
pub(in crate::http) struct CacheBenchmark {
    /// Which record is read: `Tenant`, the tenant's own; `File`, its newest; or the first one of a configured entity.
    #[schema(max_length = 64, pattern = "^[A-Za-z][A-Za-z0-9_]*$", default = "Tenant")]
    entity: Option<String>,
    /// Reads of each kind.
    #[schema(minimum = 1, maximum = 10_000, default = 100)]
    iterations: Option<u32>,
}

/// Off or on.
#[derive(ToSchema)]
#[schema(example = json!({ "enabled": true }))]
pub(in crate::http) struct CacheToggle {
    /// What it is to be.
    enabled: bool,
}
