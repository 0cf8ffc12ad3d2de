-- name: prune_candidates
-- Runs that have ended and of which no job is left, the newest end first, with when that was.
SELECT run, finished_at FROM runs WHERE finished_at IS NOT NULL
    AND run NOT IN (SELECT coalesce(run, '') FROM jobs WHERE status IN ('waiting', 'running'))
    AND 'publish/' || run NOT IN (SELECT coalesce(lock, '') FROM jobs WHERE status IN ('waiting', 'running'))
    AND 'publish/' || run || '/look' NOT IN (SELECT coalesce(lock, '') FROM jobs WHERE status IN ('waiting', 'running'))
    AND 'withdraw/' || run NOT IN (SELECT coalesce(key, '') FROM jobs WHERE status IN ('waiting', 'running'))
ORDER BY finished_at DESC, run DESC;

-- name: prune_busy
-- Those of these runs of which a job is left: one of theirs, one that takes their result outside or their changes out of
-- the gate.
SELECT value AS run FROM json_each(:runs)
WHERE value IN (SELECT coalesce(run, '') FROM jobs WHERE status IN ('waiting', 'running'))
    OR 'publish/' || value IN (SELECT coalesce(lock, '') FROM jobs WHERE status IN ('waiting', 'running'))
    OR 'publish/' || value || '/look' IN (SELECT coalesce(lock, '') FROM jobs WHERE status IN ('waiting', 'running'))
    OR 'withdraw/' || value IN (SELECT coalesce(key, '') FROM jobs WHERE status IN ('waiting', 'running'));

-- name: prune_stream
-- Take a stream's records out: the chain is walked back from its head, whose number and hash stay as they are.
WITH RECURSIVE line (id, prev) AS (
    SELECT e.id, e.prev FROM streams AS s JOIN events AS e ON e.id = s.last WHERE s.name = :stream
    UNION ALL SELECT e.id, e.prev FROM line JOIN events AS e ON e.id = line.prev
)
DELETE FROM events WHERE id IN (SELECT id FROM line);

-- name: prune_head
-- What comes after them follows none of them, and needs a newer claim than those that were made of it.
UPDATE streams SET last = 0, epoch = epoch + 1 WHERE name = :stream;

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

-- name: prune_waits
-- The same for what it waited for.
DELETE FROM waits WHERE run = :run;

-- name: prune_notices
-- The same for what was noticed about its spending.
DELETE FROM notices WHERE run = :run;

-- name: prune_origins
-- The same for where it came from.
DELETE FROM origins WHERE run = :run;

-- name: prune_touches
-- The same for what its agents changed ('.' and '/' are neighbours).
DELETE FROM touches WHERE attempt > :run || '.' AND attempt < :run || '/';

-- name: prune_intents
-- The same for what its tasks were to do.
DELETE FROM intents WHERE run = :run;

-- name: prune_snapshots
-- The same for what its workspaces held.
DELETE FROM snapshots WHERE workspace > :run || '.' AND workspace < :run || '/';

-- name: prune_starts
-- The same for when it and its agents started: long ago.
DELETE FROM starts WHERE run = :run;

-- name: prune_purses
-- The same for its purses; those of days stay ('/' and '0' are neighbours).
DELETE FROM purses WHERE purse = 'run/' || :run
    OR (purse > 'attempt/' || :run || '.' AND purse < 'attempt/' || :run || '/')
    OR (purse > 'task/' || :run || '/' AND purse < 'task/' || :run || '0');

-- name: packs_led
-- Which bodies lead to commits.
SELECT commit_sha, blob FROM packs ORDER BY commit_sha;

-- name: snapshots_led
-- Which bodies hold what workspaces held.
SELECT workspace, blob FROM snapshots ORDER BY workspace;

-- name: pack_drop
-- Nothing leads to the commit any more.
DELETE FROM packs WHERE commit_sha = :commit;

-- name: snapshot_drop
-- What the workspace held is gone.
DELETE FROM snapshots WHERE workspace = :workspace;

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
