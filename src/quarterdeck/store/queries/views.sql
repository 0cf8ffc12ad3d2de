-- name: view_runs
-- All runs, newest first.
SELECT * FROM runs ORDER BY created_at DESC, run DESC;

-- name: view_run
-- One run.
SELECT * FROM runs WHERE run = :run;

-- name: view_tasks
-- A run's tasks in the order of its plan.
SELECT * FROM tasks WHERE run = :run ORDER BY position, task;

-- name: view_attempts
-- A run's attempts, with the newest sign of life of each.
SELECT a.*, s.at AS last_at, s.steps FROM attempts AS a JOIN streams AS s ON s.name = 'attempt/' || a.attempt
WHERE a.run = :run ORDER BY a.task, a.number, a.attempt;

-- name: view_costs
-- Costs of one run, or of all (`run` is null).
SELECT c.*, coalesce(a.agent, '') AS agent FROM costs AS c LEFT JOIN attempts AS a ON a.attempt = c.attempt
WHERE :run IS NULL OR c.run = :run ORDER BY c.run, c.attempt, c.model;

-- name: view_waits
-- What waits for a human in one run, or in all (`run` is null), longest first.
SELECT * FROM waits WHERE :run IS NULL OR run = :run ORDER BY since, run, attempt;

-- name: view_notes
-- The newest notes of a run, oldest of them first.
SELECT * FROM (SELECT task, text, at, rowid AS number FROM notes WHERE run = :run ORDER BY at DESC, rowid DESC LIMIT :limit)
ORDER BY at, number;

-- name: view_purses
-- Purses whose name lies between two others.
SELECT purse, cap, settled, reserved FROM purses WHERE purse >= :first AND purse < :last ORDER BY purse;
