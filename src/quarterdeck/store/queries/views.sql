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
-- A run's attempts.
SELECT * FROM attempts WHERE run = :run ORDER BY task, number, attempt;

-- name: view_costs
-- Costs of one run, or of all (`run` is null).
SELECT * FROM costs WHERE :run IS NULL OR run = :run ORDER BY run, attempt, model;

-- name: view_waits
-- What waits for a human in one run, or in all (`run` is null), longest first.
SELECT * FROM waits WHERE :run IS NULL OR run = :run ORDER BY since, run, attempt;
