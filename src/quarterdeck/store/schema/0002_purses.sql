-- Money by purse, in nano-USD: of a run, and of an attempt, a task, a person's day and the deck's day where they are
-- bounded. `cap`: what was set to be kept (a run's); null = its cap comes with each reservation. `reserved` is the sum of
-- what is reserved in it. Small rows that are looked up by name alone: without a row id.
CREATE TABLE purses (
    purse TEXT PRIMARY KEY,
    cap INTEGER,
    settled INTEGER NOT NULL DEFAULT 0,
    reserved INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- What is set aside for one call, and the purses (a JSON list) that it was taken from: it is settled into these, whatever
-- day it is by then.
CREATE TABLE held (
    holder TEXT PRIMARY KEY,
    amount INTEGER NOT NULL,
    purses TEXT NOT NULL
) WITHOUT ROWID;

INSERT INTO purses (purse, cap, settled, reserved) SELECT 'run/' || run, cap, settled, reserved FROM budgets;

-- Days were not counted: what a run has spent counts for the day on which it was ordered.
INSERT INTO purses (purse, settled)
SELECT 'user/' || user || '/' || date(created_at, 'unixepoch'), sum(cost_nusd) FROM runs
WHERE cost_nusd > 0 GROUP BY 1;
INSERT INTO purses (purse, settled)
SELECT 'deck/' || date(created_at, 'unixepoch'), sum(cost_nusd) FROM runs WHERE cost_nusd > 0 GROUP BY 1;

-- Attempts with what they delegated, and tasks: so far this was summed up when it was needed.
INSERT INTO purses (purse, settled)
SELECT 'attempt/' || a.attempt, sum(c.cost_nusd) FROM attempts AS a
JOIN costs AS c ON c.run = a.run AND (c.attempt = a.attempt OR substr(c.attempt, 1, length(a.attempt) + 4) = a.attempt || '.sub')
GROUP BY a.attempt HAVING sum(c.cost_nusd) > 0;
INSERT INTO purses (purse, settled)
SELECT 'task/' || run || '/' || task, sum(cost_nusd) FROM costs GROUP BY run, task HAVING sum(cost_nusd) > 0;

-- A call that was under way is settled into the run that it was reserved in.
INSERT INTO held (holder, amount, purses) SELECT holder, amount, json_array('run/' || run) FROM reservations;

DROP TABLE reservations;
DROP TABLE budgets;
