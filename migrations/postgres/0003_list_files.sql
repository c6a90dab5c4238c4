-- Lists of files: what they are sorted and filtered by. The SQLite twin has the same number.
-- The three columns are made by the program from `filename` and `content_type`, so that both engines order alike;
-- for rows that are there already it fills them at its next start (NULL: not yet), with their metadata pairs.

ALTER TABLE cifra_files ADD COLUMN filename_key TEXT COLLATE "C";
ALTER TABLE cifra_files ADD COLUMN media_kind TEXT COLLATE "C";
ALTER TABLE cifra_files ADD COLUMN media_type TEXT COLLATE "C";

-- One for each order; and one for each filter by type in the order that is usual. The other two orders have the
-- type at their end: rows of other types are passed over without being fetched.
CREATE INDEX cifra_files_newest ON cifra_files (tenant_id, created_at, id);
CREATE INDEX cifra_files_newest_of_kind ON cifra_files (tenant_id, media_kind, created_at, id);
CREATE INDEX cifra_files_newest_of_type ON cifra_files (tenant_id, media_type, created_at, id);
CREATE INDEX cifra_files_by_name ON cifra_files (tenant_id, filename_key, id, media_kind, media_type);
CREATE INDEX cifra_files_by_size ON cifra_files (tenant_id, size, id, media_kind, media_type);
CREATE INDEX cifra_files_unfilled ON cifra_files (id) WHERE filename_key IS NULL;

-- The metadata once more, pair by pair, as for uploads; with the file's time, so that a list by pair is in order.
CREATE TABLE cifra_file_metadata (
    file_id UUID NOT NULL REFERENCES cifra_files (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    tenant_id TEXT NOT NULL,
    pair_hash BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (file_id, position)
);
CREATE INDEX cifra_file_metadata_pair ON cifra_file_metadata (tenant_id, pair_hash, created_at, file_id);
