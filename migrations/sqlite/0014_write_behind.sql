-- Writes that are acknowledged before they are applied, and what uses them: how often files are read. The PostgreSQL
-- twin has the same number. Times are microseconds since 1970 (UTC).

CREATE TABLE cifra_write_behind (
    -- In which order they came: those of one key are applied in it. Never used twice.
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- Who knows how to apply it.
    kind TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    -- What it changes, such as a file's id.
    key TEXT NOT NULL,
    payload TEXT NOT NULL,
    queued_at BIGINT NOT NULL,
    -- Nothing of its key is applied before it: applying this one failed.
    due_at BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    last_error TEXT,
    CONSTRAINT cifra_write_behind_counts CHECK (attempts >= 0)
);

CREATE INDEX cifra_write_behind_order ON cifra_write_behind (kind, seq);
-- Whether a key has to wait.
CREATE INDEX cifra_write_behind_key ON cifra_write_behind (kind, tenant_id, key, due_at);

-- How often a file was read. It has no part in the file's record: no cache forgets anything when it changes.
CREATE TABLE cifra_file_access (
    file_id BLOB NOT NULL PRIMARY KEY REFERENCES cifra_files (id) ON DELETE CASCADE,
    tenant_id TEXT NOT NULL,
    reads BIGINT NOT NULL,
    last_read_at BIGINT NOT NULL,
    CONSTRAINT cifra_file_access_counts CHECK (reads >= 1)
) WITHOUT ROWID;

-- Those that were read last.
CREATE INDEX cifra_file_access_recent ON cifra_file_access (last_read_at);
