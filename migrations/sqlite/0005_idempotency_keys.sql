-- What was answered to requests with an Idempotency-Key, for when they are repeated. The PostgreSQL twin has the
-- same number. A row is added in the transaction of what the request did, so that there are both or neither.
CREATE TABLE cifra_idempotency_keys (
    tenant_id TEXT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    -- What was asked for: a hash of the target and what the body was said to be, and the body's length and CRC.
    target_hash BIGINT NOT NULL,
    body_size BIGINT NOT NULL,
    body_crc64 BIGINT NOT NULL,
    status BIGINT NOT NULL,
    location TEXT,
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, route, key),
    CONSTRAINT cifra_idempotency_keys_status CHECK (status BETWEEN 200 AND 299 AND body_size >= 0)
);
CREATE INDEX cifra_idempotency_keys_expiry ON cifra_idempotency_keys (expires_at);
