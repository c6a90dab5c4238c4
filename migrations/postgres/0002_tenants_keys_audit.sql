-- Tenants, keys, and who changed what. The SQLite twin has the same number.
-- Times are microseconds since 1970 (UTC).

CREATE TABLE cifra_tenants (
    -- Listed by id, in the same order on both engines.
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL
);

-- A row stays when its key is revoked: the audit log and what the key issued name it.
CREATE TABLE cifra_keys (
    id UUID NOT NULL PRIMARY KEY,
    -- NULL: an operator's.
    tenant_id TEXT REFERENCES cifra_tenants (id),
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    secret_sha256 BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    last_used_at BIGINT,
    CONSTRAINT cifra_keys_secret CHECK (length(secret_sha256) = 32)
);
CREATE INDEX cifra_keys_newest ON cifra_keys (created_at, id);
CREATE INDEX cifra_keys_of_tenant ON cifra_keys (tenant_id, created_at, id);

-- Read newest first, dropped oldest first: the key is the time.
CREATE TABLE cifra_audit (
    created_at BIGINT NOT NULL,
    id UUID NOT NULL,
    -- NULL: of no tenant (an operator's key).
    tenant_id TEXT,
    actor TEXT NOT NULL,
    actor_id UUID,
    actor_name TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    details TEXT NOT NULL,
    PRIMARY KEY (created_at, id),
    CONSTRAINT cifra_audit_actor CHECK (actor IN ('everybody', 'key', 'upload-token', 'command-line', 'service'))
);
CREATE INDEX cifra_audit_of_tenant ON cifra_audit (tenant_id, created_at, id);
