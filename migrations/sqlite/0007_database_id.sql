-- The database's own name: one row, made at the first start. The PostgreSQL twin has the same number. What nodes share
-- outside the database begins with it, so that staging and production on one Redis never mix.
CREATE TABLE cifra_database (
    one BIGINT PRIMARY KEY,
    id BLOB NOT NULL,
    CONSTRAINT cifra_database_one CHECK (one = 1)
);
