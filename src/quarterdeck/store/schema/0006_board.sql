-- What the deck shows live, as read tables. Spending by day, run, agent and model, so that money is never summed over the
-- whole history. `estimated` and `unverified` are parts of the cost. Small rows that are found by day: without a row id.
CREATE TABLE spending (
    day TEXT NOT NULL,
    run TEXT NOT NULL,
    agent TEXT NOT NULL,
    model TEXT NOT NULL,
    user TEXT NOT NULL,
    calls INTEGER NOT NULL,
    input INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    output INTEGER NOT NULL,
    cost_nusd INTEGER NOT NULL,
    estimated_nusd INTEGER NOT NULL,
    unverified_nusd INTEGER NOT NULL,
    PRIMARY KEY (day, run, agent, model)
) WITHOUT ROWID;

-- What each stretch of ten minutes has cost; `at`: seconds since the epoch.
CREATE TABLE burn (
    at INTEGER PRIMARY KEY,
    cost_nusd INTEGER NOT NULL
);

-- Changes that landed, by day, run and agent, and how many of them nobody had reviewed.
CREATE TABLE landings (
    day TEXT NOT NULL,
    run TEXT NOT NULL,
    agent TEXT NOT NULL,
    user TEXT NOT NULL,
    changes INTEGER NOT NULL,
    unreviewed INTEGER NOT NULL,
    PRIMARY KEY (day, run, agent)
) WITHOUT ROWID;

-- What only a person can put right, until the run is resumed.
CREATE TABLE incidents (
    run TEXT NOT NULL,
    attempt TEXT NOT NULL,
    failure TEXT NOT NULL,
    subject TEXT NOT NULL,
    reason TEXT NOT NULL,
    fix TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (run, attempt, failure, subject)
) WITHOUT ROWID;

-- An accepting review is on record for the attempt's change.
ALTER TABLE attempts ADD COLUMN reviewed INTEGER NOT NULL DEFAULT 0;
-- question: an agent asks; escalated: no agent is left; run: the run itself waits.
ALTER TABLE waits ADD COLUMN what TEXT NOT NULL DEFAULT 'question';

CREATE INDEX notices_by_time ON notices (at);
CREATE INDEX runs_unfinished ON runs (created_at) WHERE finished_at IS NULL;
CREATE INDEX runs_by_end ON runs (finished_at) WHERE finished_at IS NOT NULL;

UPDATE waits SET what = 'run' WHERE attempt = '';
UPDATE attempts SET reviewed = 1 WHERE EXISTS (
    SELECT 1 FROM attempts AS r WHERE r.attempt > attempts.attempt || '.review' AND r.attempt < attempts.attempt || '.revieww'
        AND r.status = 'finished'
);

-- Days of earlier spending were not kept: it counts for the day on which its attempt began.
INSERT INTO spending
SELECT date(coalesce(a.started_at, r.created_at), 'unixepoch') AS day, c.run, coalesce(a.agent, ''), c.model, r.user,
    sum(c.calls), sum(c.input), sum(c.cache_read), sum(c.cache_write), sum(c.output), sum(c.cost_nusd),
    sum(c.cost_nusd * c.estimated_calls / max(c.calls, 1)), 0
FROM costs AS c JOIN runs AS r ON r.run = c.run LEFT JOIN attempts AS a ON a.attempt = c.attempt
GROUP BY day, c.run, coalesce(a.agent, ''), c.model;
INSERT INTO landings
SELECT date(t.updated_at, 'unixepoch') AS day, t.run, t.agent, r.user, count(*), sum(1 - coalesce(a.reviewed, 0))
FROM tasks AS t JOIN runs AS r ON r.run = t.run LEFT JOIN attempts AS a ON a.attempt = t.attempt
WHERE t.status = 'merged' GROUP BY day, t.run, t.agent;
