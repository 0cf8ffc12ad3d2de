CREATE TABLE touches (
    attempt TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    target TEXT COLLATE "C" NOT NULL,
    run TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    root TEXT COLLATE "C" NOT NULL,
    entities TEXT COLLATE "C" NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    landed_at DOUBLE PRECISION,
    commit_sha TEXT COLLATE "C",
    PRIMARY KEY (attempt, path)
);
CREATE INDEX touches_by_place ON touches (target, path);

CREATE TABLE intents (
    run TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    text TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (run, task)
);
