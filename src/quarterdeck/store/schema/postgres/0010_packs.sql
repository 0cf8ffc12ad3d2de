-- As SQLite's migration of the same number.
CREATE TABLE packs (
    commit_sha TEXT COLLATE "C" PRIMARY KEY,
    onto TEXT COLLATE "C" NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    bytes BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL
);

CREATE TABLE snapshots (
    workspace TEXT COLLATE "C" PRIMARY KEY,
    base TEXT COLLATE "C" NOT NULL,
    commit_sha TEXT COLLATE "C" NOT NULL,
    tree TEXT COLLATE "C" NOT NULL,
    blob TEXT COLLATE "C" NOT NULL,
    at DOUBLE PRECISION NOT NULL
);
