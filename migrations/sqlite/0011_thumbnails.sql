-- What is known of a picture, and its thumbnails. The PostgreSQL twin has the same number.
-- Times are microseconds since 1970 (UTC), sizes are bytes, widths and heights pixels.

-- The rows of both go in the transaction in which their file's goes, after it: by then nobody adds another one. They
-- are not removed by themselves, because whoever removes them has to note which blobs are to follow. Nothing of this
-- outlives its file: that is looked at when the transaction is committed.
CREATE TABLE cifra_images (
    file_id BLOB NOT NULL PRIMARY KEY REFERENCES cifra_files (id) DEFERRABLE INITIALLY DEFERRED,
    tenant_id TEXT NOT NULL,
    -- As seen.
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    format TEXT NOT NULL,
    -- As stored, EXIF's value.
    orientation BIGINT NOT NULL,
    has_alpha BOOLEAN NOT NULL,
    frames BIGINT NOT NULL,
    -- It ends too early, or is broken on the way.
    truncated BOOLEAN NOT NULL,
    thumbhash BLOB NOT NULL,
    -- #rrggbb
    average_color TEXT NOT NULL,
    CONSTRAINT cifra_images_numbers CHECK (width >= 1 AND height >= 1 AND frames >= 1 AND orientation BETWEEN 1 AND 8)
);

CREATE TABLE cifra_thumbnails (
    file_id BLOB NOT NULL REFERENCES cifra_files (id) DEFERRABLE INITIALLY DEFERRED,
    size_name TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    -- Which spec it was made by. After a ~ it is to be made again and serves until then; empty: it is lost.
    spec_version TEXT NOT NULL,
    status TEXT NOT NULL,
    -- Why there is none.
    reason TEXT,
    -- Of one that is ready.
    store TEXT REFERENCES cifra_stores (name),
    blob_key TEXT,
    width BIGINT,
    height BIGINT,
    bytes BIGINT,
    content_type TEXT,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (file_id, size_name),
    CONSTRAINT cifra_thumbnails_status CHECK (status IN ('ready', 'skipped', 'failed')),
    CONSTRAINT cifra_thumbnails_reason CHECK ((status = 'ready') = (reason IS NULL)),
    CONSTRAINT cifra_thumbnails_ready CHECK (
        CASE WHEN status = 'ready'
            THEN store IS NOT NULL AND blob_key IS NOT NULL AND content_type IS NOT NULL
                AND width >= 1 AND height >= 1 AND bytes >= 0
            ELSE store IS NULL AND blob_key IS NULL AND content_type IS NULL
                AND width IS NULL AND height IS NULL AND bytes IS NULL
        END
    )
) WITHOUT ROWID;

-- Which thumbnail a blob is.
CREATE INDEX cifra_thumbnails_blob ON cifra_thumbnails (store, blob_key);
