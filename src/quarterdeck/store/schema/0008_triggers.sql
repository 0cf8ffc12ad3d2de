-- What came from outside, and what became of it: read tables. status: fired, ordered, held, refused. `fingerprint` is
-- the hash of a message whose name is not signed, else empty; `till`: when one that is held is looked at again.
CREATE TABLE firings (
    trigger TEXT NOT NULL,
    delivery TEXT NOT NULL,
    fingerprint TEXT NOT NULL DEFAULT '',
    subject TEXT NOT NULL DEFAULT '',
    status TEXT NOT NULL,
    run TEXT NOT NULL DEFAULT '',
    code TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    order_blob TEXT NOT NULL DEFAULT '',
    at REAL NOT NULL,
    till REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (trigger, delivery)
) WITHOUT ROWID;
CREATE INDEX firings_by_time ON firings (trigger, status, at);
CREATE INDEX firings_by_fingerprint ON firings (trigger, fingerprint) WHERE fingerprint <> '';
CREATE INDEX firings_by_subject ON firings (subject) WHERE status = 'fired' AND subject <> '';

-- Runs that came from outside, or are about something that has a name there.
CREATE TABLE origins (
    run TEXT PRIMARY KEY,
    trigger TEXT NOT NULL,
    subject TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX origins_by_trigger ON origins (trigger);
CREATE INDEX origins_by_subject ON origins (subject) WHERE subject <> '';
