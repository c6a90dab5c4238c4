-- What each tenant keeps and has announced. A row is changed in the same transactions as the rows that it counts.
-- Sizes are bytes. The PostgreSQL twin has the same number.

CREATE TABLE cifra_tenant_usage (
    tenant_id TEXT NOT NULL PRIMARY KEY,
    -- Of files.
    stored_bytes BIGINT NOT NULL,
    -- Announced by uploads that have not ended, whether they came or not.
    reserved_bytes BIGINT NOT NULL,
    open_uploads BIGINT NOT NULL,
    CONSTRAINT cifra_tenant_usage_counts CHECK (stored_bytes >= 0 AND reserved_bytes >= 0 AND open_uploads >= 0)
) WITHOUT ROWID;

INSERT INTO cifra_tenant_usage (tenant_id, stored_bytes, reserved_bytes, open_uploads)
SELECT tenant_id, CAST(SUM(stored) AS BIGINT), CAST(SUM(reserved) AS BIGINT), CAST(SUM(uploads) AS BIGINT)
FROM (
    SELECT tenant_id, size AS stored, 0 AS reserved, 0 AS uploads
    FROM cifra_files
    UNION ALL
    SELECT tenant_id, 0 AS stored, COALESCE(total_size, 0) AS reserved, 1 AS uploads
    FROM cifra_uploads
    WHERE state IN ('receiving', 'finalizing', 'sealed')
) AS counted
GROUP BY tenant_id;
