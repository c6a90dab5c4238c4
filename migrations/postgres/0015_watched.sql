-- Which entities of the operator's own are watched: triggers that are gone are missed. The SQLite twin has the same
-- number.

CREATE TABLE cifra_watched (
    entity TEXT NOT NULL PRIMARY KEY
);
