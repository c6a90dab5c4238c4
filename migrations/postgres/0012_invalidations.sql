-- What changed, for those who keep copies: caches. The SQLite twin has the same number.
-- Rows are added by triggers, so that what other programs change counts too; and by us for what no row shows, such as
-- a pattern that somebody wants gone. Each node reads them a few times a second; an hour later they go.

CREATE TABLE cifra_invalidations (
    -- Not of a sequence: who inserts into a watched table may ask for lastval() after it.
    id UUID NOT NULL DEFAULT gen_random_uuid() PRIMARY KEY,
    -- Whose they are. Rows become visible when that transaction commits: who reads on asks for what was not visible to
    -- their last snapshot, by this.
    xid BIGINT NOT NULL DEFAULT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT),
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
CREATE INDEX cifra_invalidations_newer ON cifra_invalidations (xid);

-- One row: what was removed already (all with a smaller `xid`), and what is to be removed next, once it is old enough.
-- Who has a cursor from before that has missed something.
CREATE TABLE cifra_invalidation_horizon (
    one BIGINT PRIMARY KEY,
    swept_below BIGINT NOT NULL,
    next_below BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    CONSTRAINT cifra_invalidation_horizon_one CHECK (one = 1)
);
INSERT INTO cifra_invalidation_horizon (one, swept_below, next_below, next_at) VALUES (1, 0, 0, 0);

-- One call a statement, however many rows it changed; over 100 rows are told as "any of this tenant's". They run as who
-- made them, because who changes a row may not be allowed to write here; and they find our tables whatever else is in
-- the search path of who changes a row.
DO $make$
DECLARE
    ours RECORD;
BEGIN
    FOR ours IN
        SELECT *
        FROM (
            VALUES
                ('files', 'tenant_id', '{File}', $$('File', CAST(id AS TEXT))$$),
                -- A file is answered with what is known of its picture, and with which thumbnails it has.
                ('images', 'tenant_id', '{File}', $$('File', CAST(file_id AS TEXT))$$),
                -- A thumbnail is known as FILE:SIZE, all of a file together by the file's id.
                ('thumbnails', 'tenant_id', '{File, Thumbnail}', $$
                    ('File', CAST(file_id AS TEXT)),
                    ('Thumbnail', CAST(file_id AS TEXT)),
                    ('Thumbnail', CAST(file_id AS TEXT) || ':' || size_name)
                $$),
                -- Tenants are no tenant's.
                ('tenants', 'CAST(NULL AS TEXT)', '{Tenant}', $$('Tenant', id)$$)
        ) AS ours (name, tenant, entities, records)
    LOOP
        EXECUTE format(
            $function$
                CREATE FUNCTION cifra_%1$s_changed() RETURNS trigger
                LANGUAGE plpgsql SECURITY DEFINER SET search_path = %5$I, pg_temp AS $body$
                DECLARE
                    many BOOLEAN;
                BEGIN
                    IF TG_OP = 'TRUNCATE' THEN
                        INSERT INTO cifra_invalidations (kind, entity)
                        SELECT 'everywhere', unnest(CAST(%3$L AS TEXT[]));
                        RETURN NULL;
                    END IF;
                    many := (SELECT COUNT(*) > 100 FROM (SELECT FROM cifra_changed LIMIT 101) AS beginning);
                    INSERT INTO cifra_invalidations (kind, tenant_id, entity, record_id)
                    SELECT DISTINCT CASE WHEN many THEN 'entity' ELSE 'record' END, %2$s, told.entity,
                        CASE WHEN many THEN NULL ELSE told.id END
                    FROM cifra_changed
                    CROSS JOIN LATERAL (VALUES %4$s) AS told (entity, id);
                    IF TG_OP = 'UPDATE' THEN
                        -- Of rows that are another's now, or called otherwise.
                        INSERT INTO cifra_invalidations (kind, tenant_id, entity, record_id)
                        SELECT CASE WHEN many THEN 'entity' ELSE 'record' END, %2$s, told.entity,
                            CASE WHEN many THEN NULL ELSE told.id END
                        FROM cifra_before
                        CROSS JOIN LATERAL (VALUES %4$s) AS told (entity, id)
                        EXCEPT
                        SELECT CASE WHEN many THEN 'entity' ELSE 'record' END, %2$s, told.entity,
                            CASE WHEN many THEN NULL ELSE told.id END
                        FROM cifra_changed
                        CROSS JOIN LATERAL (VALUES %4$s) AS told (entity, id);
                    END IF;
                    RETURN NULL;
                END
                $body$
            $function$,
            ours.name, ours.tenant, ours.entities, ours.records, current_schema()
        );
        EXECUTE format(
            $trigger$
                REVOKE ALL ON FUNCTION cifra_%1$s_changed() FROM PUBLIC;
                CREATE TRIGGER cifra_inserted AFTER INSERT ON cifra_%1$s
                    REFERENCING NEW TABLE AS cifra_changed
                    FOR EACH STATEMENT EXECUTE FUNCTION cifra_%1$s_changed();
                CREATE TRIGGER cifra_updated AFTER UPDATE ON cifra_%1$s
                    REFERENCING OLD TABLE AS cifra_before NEW TABLE AS cifra_changed
                    FOR EACH STATEMENT EXECUTE FUNCTION cifra_%1$s_changed();
                CREATE TRIGGER cifra_deleted AFTER DELETE ON cifra_%1$s
                    REFERENCING OLD TABLE AS cifra_changed
                    FOR EACH STATEMENT EXECUTE FUNCTION cifra_%1$s_changed();
                CREATE TRIGGER cifra_truncated AFTER TRUNCATE ON cifra_%1$s
                    FOR EACH STATEMENT EXECUTE FUNCTION cifra_%1$s_changed()
            $trigger$,
            ours.name
        );
    END LOOP;
END
$make$;
