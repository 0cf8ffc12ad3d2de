-- What attempts have changed so far, by file: a read table. `root`: the attempt that a sub-agent's is part of, else
-- itself; `entities`: a JSON list of [name, first line, last line]; `landed_at`, `commit_sha`: of the change, where it
-- has landed.
CREATE TABLE touches (
    attempt TEXT NOT NULL,
    path TEXT NOT NULL,
    target TEXT NOT NULL,
    run TEXT NOT NULL,
    task TEXT NOT NULL,
    root TEXT NOT NULL,
    entities TEXT NOT NULL,
    at REAL NOT NULL,
    landed_at REAL,
    commit_sha TEXT,
    PRIMARY KEY (attempt, path)
) WITHOUT ROWID;
CREATE INDEX touches_by_place ON touches (target, path);

-- The beginning of what each task is to do, for those who meet it at work: a read table.
CREATE TABLE intents (
    run TEXT NOT NULL,
    task TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, task)
) WITHOUT ROWID;
