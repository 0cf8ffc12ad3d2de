-- The journal. Rows of about 1 KB: rowid tables, because WITHOUT ROWID makes them 2.5 times larger.
-- `last`, `at` and `steps` describe the newest record (steps: the highest step of an attempt), so that signs of life
-- cost no write of their own.
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    last INTEGER NOT NULL DEFAULT 0,
    at REAL NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0
);

-- `id` is the order of commits over all streams. A stream is a chain: streams.last, then `prev` back to 0. An index on
-- (stream, seq) would instead dirty one page a stream in every commit, which doubles what a commit writes.
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    prev INTEGER NOT NULL,
    at REAL NOT NULL,
    epoch INTEGER NOT NULL,
    hash BLOB NOT NULL,
    body BLOB NOT NULL
);

-- Bodies by content address. codec: 0 = as it is, 1 = zlib.
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    codec INTEGER NOT NULL,
    body BLOB NOT NULL
);

-- Read tables: recomputable from the journal at any time.
CREATE TABLE runs (
    run TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    goal TEXT NOT NULL,
    repository TEXT NOT NULL,
    target TEXT NOT NULL,
    branch TEXT NOT NULL,
    base TEXT NOT NULL,
    sha TEXT,
    budget_nusd INTEGER NOT NULL,
    user TEXT NOT NULL,
    sandbox TEXT NOT NULL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    finished_at REAL,
    exit_code INTEGER,
    reason TEXT NOT NULL DEFAULT '',
    cost_nusd INTEGER NOT NULL DEFAULT 0,
    input INTEGER NOT NULL DEFAULT 0,
    cache_read INTEGER NOT NULL DEFAULT 0,
    cache_write INTEGER NOT NULL DEFAULT 0,
    output INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX runs_by_creation ON runs (created_at);

CREATE TABLE tasks (
    run TEXT NOT NULL,
    task TEXT NOT NULL,
    title TEXT NOT NULL,
    position INTEGER NOT NULL,
    status TEXT NOT NULL,
    agent TEXT NOT NULL DEFAULT '',
    attempt TEXT,
    node TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    commit_sha TEXT,
    reason TEXT NOT NULL DEFAULT '',
    updated_at REAL NOT NULL,
    PRIMARY KEY (run, task)
);

CREATE TABLE attempts (
    attempt TEXT PRIMARY KEY,
    run TEXT NOT NULL,
    task TEXT NOT NULL,
    number INTEGER NOT NULL,
    agent TEXT NOT NULL,
    harness TEXT NOT NULL,
    status TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    started_at REAL NOT NULL
);
CREATE INDEX attempts_by_run ON attempts (run, task, number);

CREATE TABLE costs (
    run TEXT NOT NULL,
    task TEXT NOT NULL,
    attempt TEXT NOT NULL,
    model TEXT NOT NULL,
    calls INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    estimated_calls INTEGER NOT NULL,
    PRIMARY KEY (run, attempt, model)
) WITHOUT ROWID;

CREATE TABLE waits (
    run TEXT NOT NULL,
    task TEXT NOT NULL,
    attempt TEXT NOT NULL,
    question TEXT NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (run, attempt)
);

-- What agents of one run told each other.
CREATE TABLE notes (
    run TEXT NOT NULL,
    task TEXT NOT NULL,
    attempt TEXT NOT NULL,
    text TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE INDEX notes_of_run ON notes (run, at);

-- Money, in nano-USD. `reserved` is the sum of the run's reservations.
CREATE TABLE budgets (
    run TEXT PRIMARY KEY,
    cap INTEGER NOT NULL,
    settled INTEGER NOT NULL DEFAULT 0,
    reserved INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE reservations (
    run TEXT NOT NULL,
    holder TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (run, holder)
);

-- The embedded engine. status: waiting, running, failed; a job that is done is deleted.
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    lock TEXT NOT NULL,
    run TEXT NOT NULL,
    payload TEXT NOT NULL,
    priority INTEGER NOT NULL,
    delay REAL NOT NULL,
    due REAL NOT NULL,
    status TEXT NOT NULL DEFAULT 'waiting',
    owner TEXT NOT NULL DEFAULT '',
    deaths INTEGER NOT NULL DEFAULT 0,
    aborted INTEGER NOT NULL DEFAULT 0,
    trace TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX jobs_one_waiting ON jobs (key) WHERE status = 'waiting';
CREATE UNIQUE INDEX jobs_one_running ON jobs (lock) WHERE status = 'running';
CREATE INDEX jobs_by_status ON jobs (status, due, priority DESC, id);
CREATE INDEX jobs_by_run ON jobs (run, status);

-- One row: the incarnation that performs jobs.
CREATE TABLE owner (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    owner TEXT NOT NULL
);
