-- name: starts_of
-- When the others of that kind started, or will: all that a window can still hold, oldest first.
SELECT at FROM starts WHERE kind = :kind AND who = :who AND at > :since AND name <> :name ORDER BY at;

-- name: start_get
-- The moment that is kept for one start.
SELECT at FROM starts WHERE kind = :kind AND name = :name;

-- name: start_set
-- Keep a moment for one start; asked again, it may move forward.
INSERT INTO starts (kind, name, who, run, at) VALUES (:kind, :name, :who, :run, :at)
ON CONFLICT (kind, name) DO UPDATE SET at = excluded.at;

-- name: starts_forget
-- Starts that no window holds any more.
DELETE FROM starts WHERE kind = :kind AND who = :who AND at <= :since;

-- name: starts_drop
-- The run has ended: the moments that were kept for it are free again.
DELETE FROM starts WHERE run = :run AND at > :now;

-- name: starts_at_work
-- Attempts and planners at work, over all runs that are going on.
SELECT (SELECT count(*) FROM tasks WHERE status IN ('implementing', 'checking', 'reviewing')
        AND EXISTS (SELECT 1 FROM runs WHERE runs.run = tasks.run AND runs.status = 'running'))
    + (SELECT count(*) FROM runs WHERE status = 'planning') AS n;

-- name: starts_at_work_by
-- Attempts of one agent at work, over all runs that are going on.
SELECT count(*) AS n FROM tasks WHERE status IN ('implementing', 'checking', 'reviewing') AND agent = :agent
    AND EXISTS (SELECT 1 FROM runs WHERE runs.run = tasks.run AND runs.status = 'running');

-- name: starts_at_work_in
-- Attempts and planners at work in one repository, over all runs that are going on.
SELECT (SELECT count(*) FROM tasks WHERE status IN ('implementing', 'checking', 'reviewing')
        AND EXISTS (SELECT 1 FROM runs
            WHERE runs.run = tasks.run AND runs.status = 'running' AND runs.identity = :identity))
    + (SELECT count(*) FROM runs WHERE status = 'planning' AND runs.identity = :identity) AS n;
