-- What is signed and handed out: the keys that sign links and upload tokens, and what was begun with a token.
-- The SQLite twin has the same number. Times are microseconds since 1970 (UTC).

-- Every node signs with the newest and verifies with any.
CREATE TABLE cifra_signing_keys (
    id UUID NOT NULL PRIMARY KEY,
    secret BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX cifra_signing_keys_newest ON cifra_signing_keys (created_at);

-- How many files an upload token was used for; made with its first use.
CREATE TABLE cifra_upload_token_uses (
    token_id UUID NOT NULL PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    files BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX cifra_upload_token_uses_over ON cifra_upload_token_uses (expires_at);

-- Uploads that a token began: who has the token reaches them, and their bytes must be what it allows.
CREATE TABLE cifra_granted_uploads (
    upload_id UUID NOT NULL PRIMARY KEY REFERENCES cifra_uploads (id) ON DELETE CASCADE,
    tenant_id TEXT NOT NULL,
    token_id UUID NOT NULL,
    -- With commas between them; NULL: any.
    content_types TEXT
);
