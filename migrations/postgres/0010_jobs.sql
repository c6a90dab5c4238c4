-- Jobs: work that is done later, by whichever node comes first. The SQLite twin has the same number.
-- Times are microseconds since 1970 (UTC).

CREATE TABLE cifra_jobs (
    id UUID NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    -- What it is about, such as a file's id: a job a kind and subject.
    subject TEXT NOT NULL,
    -- What else its kind wants to know.
    payload TEXT,
    -- 0: somebody waits for it; 1: new; 2: a repetition.
    urgency BIGINT NOT NULL,
    -- Nobody takes it before; of a job that is being worked on: until then it is its node's.
    due_at BIGINT NOT NULL,
    -- How often it was added, also while somebody works on it: then it is to be done again.
    asked BIGINT NOT NULL DEFAULT 1,
    -- How often it was taken. Only grows, so that it tells the one who took it last from those before.
    attempts BIGINT NOT NULL DEFAULT 0,
    -- How often in a row it was taken and nothing was heard of it again.
    unfinished BIGINT NOT NULL DEFAULT 0,
    -- Who works on it.
    node UUID,
    last_error TEXT,
    created_at BIGINT NOT NULL,
    CONSTRAINT cifra_jobs_subject UNIQUE (kind, subject),
    CONSTRAINT cifra_jobs_urgency CHECK (urgency BETWEEN 0 AND 2),
    CONSTRAINT cifra_jobs_counts CHECK (asked >= 1 AND attempts >= 0 AND unfinished >= 0)
);

-- Whether there is something to do; and whose turn it is.
CREATE INDEX cifra_jobs_due ON cifra_jobs (kind, urgency, due_at);
CREATE INDEX cifra_jobs_turn ON cifra_jobs (kind, urgency, tenant_id, due_at);
