-- As SQLite's migration of the same number.
CREATE TABLE packs (
    commit_sha TEXT COLLATE "C" PRIMARY KEY,
    onto TEXT NOT NULL,
    blob TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);

CREATE TABLE snapshots (
    workspace TEXT COLLATE "C" PRIMARY KEY,
    base TEXT NOT NULL,
    commit_sha TEXT NOT NULL,
    tree TEXT NOT NULL,
    blob TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);
