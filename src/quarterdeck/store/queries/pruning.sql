-- name: prune_candidates
-- Runs that have ended, the newest end first, with when that was.
SELECT run, finished_at FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC, run DESC;

-- name: prune_stream
-- Take a stream's records out: the chain is walked back from its head, which stays as it is.
WITH RECURSIVE line (id, prev) AS (
    SELECT e.id, e.prev FROM streams AS s JOIN events AS e ON e.id = s.last WHERE s.name = :stream
    UNION ALL SELECT e.id, e.prev FROM line JOIN events AS e ON e.id = line.prev
)
DELETE FROM events WHERE id IN (SELECT id FROM line);

-- name: prune_run
-- A run that was taken out is shown no more. What it has cost stays counted for its days.
DELETE FROM runs WHERE run = :run;

-- name: prune_tasks
-- The same for its tasks.
DELETE FROM tasks WHERE run = :run;

-- name: prune_attempts
-- The same for its attempts.
DELETE FROM attempts WHERE run = :run;

-- name: prune_costs
-- The same for what they have cost, one by one.
DELETE FROM costs WHERE run = :run;

-- name: prune_notes
-- The same for what its agents told each other.
DELETE FROM notes WHERE run = :run;

-- name: prune_incidents
-- The same for what stood in its way.
DELETE FROM incidents WHERE run = :run;

-- name: prune_approvals
-- The same for what people decided.
DELETE FROM approvals WHERE run = :run;

-- name: blob_drop
-- A body that nothing names any more.
DELETE FROM blobs WHERE digest = :digest;

-- name: blob_digests
-- Which bodies there are, in the order they came.
SELECT id, digest FROM blobs WHERE id > :after ORDER BY id LIMIT :limit;

-- name: blob_texts
-- Texts outside the journal that may name bodies: jobs, answers to requests, and what came from outside.
SELECT payload AS text FROM jobs UNION ALL SELECT order_blob FROM firings WHERE order_blob <> ''
UNION ALL SELECT subject_blob FROM approvals;
