-- What the cache did, and what of it is switched off. The PostgreSQL twin has the same number.
-- Nodes add what they counted about once a second. Times are microseconds since 1970 (UTC), durations nanoseconds.

-- A row an entity and day, and one of day 0 with all days together.
CREATE TABLE cifra_cache_figures (
    -- Since 1970 (UTC); 0: all of them.
    day BIGINT NOT NULL,
    entity TEXT NOT NULL,
    -- Reads, by what answered them: each is in one of these.
    l1_hits BIGINT NOT NULL,
    l2_hits BIGINT NOT NULL,
    stale_hits BIGINT NOT NULL,
    misses BIGINT NOT NULL,
    bypassed BIGINT NOT NULL,
    -- How long those took together.
    l1_nanos BIGINT NOT NULL,
    l2_nanos BIGINT NOT NULL,
    bypassed_nanos BIGINT NOT NULL,
    -- How often the database was asked on behalf of the cache, and how long that took together.
    loads BIGINT NOT NULL,
    failed_loads BIGINT NOT NULL,
    loads_nanos BIGINT NOT NULL,
    PRIMARY KEY (day, entity)
);

-- How many answers of a tier took about so long, since the beginning.
CREATE TABLE cifra_cache_latencies (
    tier TEXT NOT NULL,
    -- Four to each doubling, from 16 ns on.
    bucket BIGINT NOT NULL,
    answers BIGINT NOT NULL,
    PRIMARY KEY (tier, bucket)
);

-- What of each process was added, so that what it sends twice counts once.
CREATE TABLE cifra_cache_nodes (
    node BLOB NOT NULL PRIMARY KEY,
    -- The number of the last batch.
    added BIGINT NOT NULL,
    added_at BIGINT NOT NULL
);

-- What is switched off: `global`, `auto-invalidate`, or `subject:` and who. What has no row is on.
CREATE TABLE cifra_cache_switches (
    name TEXT NOT NULL PRIMARY KEY,
    off_since BIGINT NOT NULL
);
