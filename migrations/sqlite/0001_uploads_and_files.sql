-- Uploads, their journal, files, and what is to be deleted. The PostgreSQL twin has the same number.
-- Times are microseconds since 1970 (UTC), ids are 16 bytes, sizes are bytes.

-- The stores that rows name, each with the identity that is also written into the store itself.
CREATE TABLE cifra_stores (
    name TEXT NOT NULL PRIMARY KEY,
    store_id BLOB NOT NULL,
    backend TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE cifra_uploads (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    store TEXT NOT NULL REFERENCES cifra_stores (name),
    blob_key TEXT NOT NULL,
    parts_id TEXT NOT NULL,
    state TEXT NOT NULL,
    protocol TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT,
    -- NULL while a protocol has not told them yet.
    total_size BIGINT,
    chunk_size BIGINT,
    chunk_count BIGINT,
    -- What the journal adds up to, moved in the same transaction.
    received_bytes BIGINT NOT NULL DEFAULT 0,
    received_chunks BIGINT NOT NULL DEFAULT 0,
    -- How often a receipt was withdrawn; a checkpoint made before a withdrawal must not be kept after it.
    withdrawals BIGINT NOT NULL DEFAULT 0,
    checksum TEXT,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT,
    error TEXT,
    -- The claim on finishing: who, until when, and its number, which only grows; and the file's digest that was
    -- declared with it, so that whoever goes on after a crash checks it too.
    finish_node BLOB,
    finish_until BIGINT,
    finish_fence BIGINT NOT NULL DEFAULT 0,
    finish_checksum TEXT,
    -- Of an aborted or expired upload: its bytes are removed.
    bytes_cleared BOOLEAN NOT NULL DEFAULT FALSE,
    -- Of an ended upload: its journal and checkpoints are removed.
    journal_cleared BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT cifra_uploads_state CHECK (state IN ('receiving', 'finalizing', 'sealed', 'completed', 'aborted', 'expired')),
    CONSTRAINT cifra_uploads_protocol CHECK (protocol IN ('native')),
    CONSTRAINT cifra_uploads_sizes CHECK (total_size >= 0 AND chunk_size > 0 AND chunk_count >= 0),
    CONSTRAINT cifra_uploads_received CHECK (
        received_bytes >= 0 AND received_bytes <= total_size
        AND received_chunks >= 0 AND received_chunks <= chunk_count
    ),
    CONSTRAINT cifra_uploads_claim CHECK (state <> 'finalizing' OR (finish_node IS NOT NULL AND finish_until IS NOT NULL)),
    CONSTRAINT cifra_uploads_ended CHECK ((state IN ('completed', 'aborted', 'expired')) = (ended_at IS NOT NULL))
);

-- None of these holds a column that a receipt changes, so that a receipt touches no index of this table.
CREATE INDEX cifra_uploads_newest ON cifra_uploads (tenant_id, created_at, id);
CREATE INDEX cifra_uploads_newest_in_state ON cifra_uploads (tenant_id, state, created_at, id);
CREATE INDEX cifra_uploads_store ON cifra_uploads (store, state);
CREATE INDEX cifra_uploads_staged ON cifra_uploads (store, parts_id);
CREATE INDEX cifra_uploads_uncleared ON cifra_uploads (store, ended_at)
    WHERE state IN ('aborted', 'expired') AND bytes_cleared = FALSE;
CREATE INDEX cifra_uploads_journal ON cifra_uploads (ended_at)
    WHERE state IN ('completed', 'aborted', 'expired') AND journal_cleared = FALSE;
CREATE INDEX cifra_uploads_forgettable ON cifra_uploads (ended_at)
    WHERE state IN ('aborted', 'expired') AND bytes_cleared = TRUE AND journal_cleared = TRUE;

-- The metadata once more, pair by pair, for the list's filter. A pair may be longer than an index entry can be
-- (2,700 bytes on PostgreSQL), so the index holds a hash of it and the statement compares the texts.
CREATE TABLE cifra_upload_metadata (
    upload_id BLOB NOT NULL REFERENCES cifra_uploads (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    pair_hash BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (upload_id, position)
);
CREATE INDEX cifra_upload_metadata_pair ON cifra_upload_metadata (tenant_id, pair_hash, upload_id);

-- The journal: a row is the receipt of a chunk, and its commit is the acknowledgement.
CREATE TABLE cifra_upload_parts (
    upload_id BLOB NOT NULL REFERENCES cifra_uploads (id) ON DELETE CASCADE,
    chunk_index BIGINT NOT NULL,
    size BIGINT NOT NULL,
    crc64 BIGINT NOT NULL,
    etag TEXT,
    synced BOOLEAN NOT NULL,
    boot BLOB,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (upload_id, chunk_index),
    CONSTRAINT cifra_upload_parts_sizes CHECK (chunk_index >= 0 AND size >= 0)
) WITHOUT ROWID;

-- How far the SHA-256 of an upload has come, and its state there.
CREATE TABLE cifra_upload_checkpoints (
    upload_id BLOB NOT NULL REFERENCES cifra_uploads (id) ON DELETE CASCADE,
    front_bytes BIGINT NOT NULL,
    state BLOB NOT NULL,
    PRIMARY KEY (upload_id, front_bytes),
    CONSTRAINT cifra_upload_checkpoints_front CHECK (front_bytes >= 0)
) WITHOUT ROWID;

CREATE TABLE cifra_files (
    id BLOB NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    store TEXT NOT NULL REFERENCES cifra_stores (name),
    blob_key TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 BLOB,
    crc64 BIGINT NOT NULL,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    derived BIGINT NOT NULL,
    CONSTRAINT cifra_files_size CHECK (size >= 0),
    CONSTRAINT cifra_files_sha256 CHECK (length(sha256) = 32),
    CONSTRAINT cifra_files_version CHECK (version >= 1 AND derived >= 0)
);
CREATE INDEX cifra_files_store ON cifra_files (store);

-- Blobs to be removed from their store; nothing is removed without a row here.
CREATE TABLE cifra_blob_deletions (
    store TEXT NOT NULL REFERENCES cifra_stores (name),
    blob_key TEXT NOT NULL,
    purge_after BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (store, blob_key)
);
CREATE INDEX cifra_blob_deletions_due ON cifra_blob_deletions (store, purge_after);
