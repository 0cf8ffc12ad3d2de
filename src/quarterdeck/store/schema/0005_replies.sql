-- What was answered to requests that carry an `Idempotency-Key`, so that one that is repeated is done once. `run` is the
-- id that a run ordered by it gets; `status` is null while it is under way; `server` is who took it on.
CREATE TABLE replies (
    who TEXT NOT NULL,
    key TEXT NOT NULL,
    request TEXT NOT NULL,
    run TEXT NOT NULL,
    server TEXT NOT NULL,
    at REAL NOT NULL,
    status INTEGER,
    headers TEXT NOT NULL DEFAULT '',
    body BLOB,
    PRIMARY KEY (who, key)
) WITHOUT ROWID;
CREATE INDEX replies_by_age ON replies (at);
