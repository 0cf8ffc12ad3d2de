-- Where the objects of a repository are that one worker made and others need: which blob leads to a commit, and the
-- newest snapshot of a workspace (an empty `blob` = it was as its base). `onto`: JSON list of commits that the pack builds on.
CREATE TABLE packs (
    commit_sha TEXT PRIMARY KEY,
    onto TEXT NOT NULL,
    blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE snapshots (
    workspace TEXT PRIMARY KEY,
    base TEXT NOT NULL,
    commit_sha TEXT NOT NULL,
    tree TEXT NOT NULL,
    blob TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;
