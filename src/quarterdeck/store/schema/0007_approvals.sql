-- What waits, or has waited, for a person's word: a read table. `why`: a JSON list of texts.
CREATE TABLE approvals (
    approval TEXT PRIMARY KEY,
    what TEXT NOT NULL,
    run TEXT NOT NULL,
    task TEXT,
    attempt TEXT,
    agent TEXT NOT NULL,
    title TEXT NOT NULL,
    action_hash TEXT NOT NULL,
    subject_blob TEXT NOT NULL,
    risk TEXT NOT NULL,
    why TEXT NOT NULL,
    cost_nusd INTEGER NOT NULL,
    since REAL NOT NULL,
    expires_at REAL,
    status TEXT NOT NULL,
    decided_by TEXT,
    reason TEXT NOT NULL DEFAULT '',
    decided_at REAL
) WITHOUT ROWID;
CREATE INDEX approvals_open ON approvals (since) WHERE status = 'open';
CREATE INDEX approvals_of_run ON approvals (run, since);
