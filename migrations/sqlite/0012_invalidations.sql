-- What changed, for those who keep copies: caches. The PostgreSQL twin has the same number.
-- Rows are added by triggers, so that what other programs change counts too; and by us for what no row shows, such as
-- a pattern that somebody wants gone. The service reads them a few times a second; an hour later they go.

CREATE TABLE cifra_invalidations (
    -- Never the same again, whoever removes rows.
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    -- In another history, such as that of a backup which was restored, the row of this number has another one.
    token BIGINT NOT NULL DEFAULT (random()),
    kind TEXT NOT NULL,
    -- NULL: of no tenant.
    tenant_id TEXT,
    entity TEXT,
    record_id TEXT,
    pattern TEXT,
    -- Of an entity that is configured: skipped while that is switched off.
    automatic BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT cifra_invalidations_kind CHECK (
        CASE kind
            WHEN 'record' THEN entity IS NOT NULL AND record_id IS NOT NULL
            WHEN 'entity' THEN entity IS NOT NULL
            WHEN 'everywhere' THEN entity IS NOT NULL
            WHEN 'pattern' THEN pattern IS NOT NULL
            ELSE kind IN ('tenant', 'all', 'switches')
        END
    )
);

-- One row: what was removed already (all with a smaller `seq`), and what is to be removed next, once it is old enough.
CREATE TABLE cifra_invalidation_horizon (
    one BIGINT PRIMARY KEY,
    swept_below BIGINT NOT NULL,
    next_below BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    CONSTRAINT cifra_invalidation_horizon_one CHECK (one = 1)
);
INSERT INTO cifra_invalidation_horizon (one, swept_below, next_below, next_at) VALUES (1, 0, 0, 0);

-- What the triggers on our tables tell it by: ids become the text that everybody knows them by. A file is answered with
-- what is known of its picture, and with which thumbnails it has; a thumbnail is known as FILE:SIZE, all of a file
-- together by the file's id.
CREATE VIEW cifra_changed_files (tenant_id, id, size_name) AS SELECT NULL, NULL, NULL WHERE FALSE;
CREATE TRIGGER cifra_changed_files_told INSTEAD OF INSERT ON cifra_changed_files BEGIN
    INSERT INTO cifra_invalidations (kind, tenant_id, entity, record_id)
    SELECT 'record', NEW.tenant_id, told.entity, lower(
        substr(hex(NEW.id), 1, 8) || '-' || substr(hex(NEW.id), 9, 4) || '-' || substr(hex(NEW.id), 13, 4)
        || '-' || substr(hex(NEW.id), 17, 4) || '-' || substr(hex(NEW.id), 21)
    ) || told.part
    FROM (
        SELECT 'File' AS entity, '' AS part
        UNION ALL
        SELECT 'Thumbnail', '' WHERE NEW.size_name IS NOT NULL
        UNION ALL
        SELECT 'Thumbnail', ':' || NEW.size_name WHERE NEW.size_name IS NOT NULL
    ) AS told;
END;

CREATE TRIGGER cifra_files_inserted AFTER INSERT ON cifra_files BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT NEW.tenant_id, NEW.id, NULL;
END;
CREATE TRIGGER cifra_files_updated AFTER UPDATE ON cifra_files BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT OLD.tenant_id, OLD.id, NULL UNION SELECT NEW.tenant_id, NEW.id, NULL;
END;
CREATE TRIGGER cifra_files_deleted AFTER DELETE ON cifra_files BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT OLD.tenant_id, OLD.id, NULL;
END;

CREATE TRIGGER cifra_images_inserted AFTER INSERT ON cifra_images BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT NEW.tenant_id, NEW.file_id, NULL;
END;
CREATE TRIGGER cifra_images_updated AFTER UPDATE ON cifra_images BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT OLD.tenant_id, OLD.file_id, NULL UNION SELECT NEW.tenant_id, NEW.file_id, NULL;
END;
CREATE TRIGGER cifra_images_deleted AFTER DELETE ON cifra_images BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT OLD.tenant_id, OLD.file_id, NULL;
END;

CREATE TRIGGER cifra_thumbnails_inserted AFTER INSERT ON cifra_thumbnails BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT NEW.tenant_id, NEW.file_id, NEW.size_name;
END;
CREATE TRIGGER cifra_thumbnails_updated AFTER UPDATE ON cifra_thumbnails BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT OLD.tenant_id, OLD.file_id, OLD.size_name UNION SELECT NEW.tenant_id, NEW.file_id, NEW.size_name;
END;
CREATE TRIGGER cifra_thumbnails_deleted AFTER DELETE ON cifra_thumbnails BEGIN
    INSERT INTO cifra_changed_files (tenant_id, id, size_name)
    SELECT OLD.tenant_id, OLD.file_id, OLD.size_name;
END;

-- Tenants are no tenant's.
CREATE TRIGGER cifra_tenants_inserted AFTER INSERT ON cifra_tenants BEGIN
    INSERT INTO cifra_invalidations (kind, entity, record_id)
    SELECT 'record', 'Tenant', NEW.id;
END;
CREATE TRIGGER cifra_tenants_updated AFTER UPDATE ON cifra_tenants BEGIN
    INSERT INTO cifra_invalidations (kind, entity, record_id)
    SELECT 'record', 'Tenant', OLD.id UNION SELECT 'record', 'Tenant', NEW.id;
END;
CREATE TRIGGER cifra_tenants_deleted AFTER DELETE ON cifra_tenants BEGIN
    INSERT INTO cifra_invalidations (kind, entity, record_id)
    SELECT 'record', 'Tenant', OLD.id;
END;
