-- name: job_defer
-- Put a job into the queue. One that is already waiting under this key is kept, due at the earlier of both times.
INSERT INTO jobs (kind, key, lock, run, payload, priority, delay, due)
VALUES (:kind, :key, :lock, :run, :payload, :priority, :delay, :due)
ON CONFLICT (key) WHERE status = 'waiting' DO UPDATE SET
    priority = max(jobs.priority, excluded.priority),
    delay = CASE WHEN excluded.due < jobs.due THEN excluded.delay ELSE jobs.delay END,
    due = min(jobs.due, excluded.due);

-- name: jobs_ready
-- Undelayed waiting jobs whose lock is free, in the order in which they are to be performed.
SELECT id, lock, priority FROM jobs AS j
WHERE status = 'waiting' AND due = 0
    AND NOT EXISTS (SELECT 1 FROM jobs AS r WHERE r.lock = j.lock AND r.status = 'running')
ORDER BY priority DESC, id LIMIT :limit;

-- name: jobs_delayed
-- Waiting jobs that were deferred with a delay.
SELECT id, lock, priority, due, delay FROM jobs WHERE status = 'waiting' AND due > 0 ORDER BY due LIMIT :limit;

-- name: job_claim
-- Start a waiting job, if it still waits and this incarnation still owns the queue.
UPDATE jobs SET status = 'running', owner = :owner
WHERE id = :id AND status = 'waiting' AND EXISTS (SELECT 1 FROM owner WHERE owner.owner = :owner)
    AND NOT EXISTS (SELECT 1 FROM jobs AS r WHERE r.lock = jobs.lock AND r.status = 'running')
RETURNING id, kind, key, lock, run, payload, priority, delay;

-- name: job_done
-- A job is done.
DELETE FROM jobs WHERE id = :id AND status = 'running' AND owner = :owner;

-- name: job_failed
-- A job's handler raised; it is kept for people.
UPDATE jobs SET status = 'failed', owner = '', trace = :trace WHERE id = :id AND status = 'running' AND owner = :owner;

-- name: jobs_forget_failed
-- Keep the newest failed jobs only.
DELETE FROM jobs WHERE status = 'failed'
    AND id NOT IN (SELECT id FROM jobs WHERE status = 'failed' ORDER BY id DESC LIMIT :keep);

-- name: job_cancelled
-- A job that was to be cancelled does not go back to the queue.
DELETE FROM jobs WHERE id = :id AND status = 'running' AND owner = :owner AND aborted = 1 RETURNING id;

-- name: job_hurry_twin
-- Before a job goes back: its key may have been deferred again meanwhile. Then that one does both.
UPDATE jobs SET due = min(due, :due), delay = CASE WHEN :due < due THEN :delay ELSE delay END,
    priority = max(priority, (SELECT mine.priority FROM jobs AS mine WHERE mine.id = :id)),
    deaths = max(deaths, (SELECT mine.deaths FROM jobs AS mine WHERE mine.id = :id))
WHERE status = 'waiting'
    AND key = (SELECT mine.key FROM jobs AS mine WHERE mine.id = :id AND mine.status = 'running' AND mine.owner = :owner)
RETURNING id;

-- name: job_back
-- Give a job back to the queue.
UPDATE jobs SET status = 'waiting', owner = '', due = :due, delay = :delay
WHERE id = :id AND status = 'running' AND owner = :owner;

-- name: jobs_abort_waiting
-- Drop a run's waiting jobs, except those that advance or control the run itself.
DELETE FROM jobs WHERE run = :run AND status = 'waiting' AND lock <> :spare;

-- name: jobs_abort_running
-- Ask the owner to cancel a run's running jobs, with the same exception.
UPDATE jobs SET aborted = 1 WHERE run = :run AND status = 'running' AND lock <> :spare;

-- name: jobs_aborted
-- Running jobs that are to be cancelled.
SELECT id FROM jobs WHERE status = 'running' AND aborted = 1;

-- name: jobs_unfinished
-- How many jobs wait or run, of one run or (`run` is empty) of all. Those in the background (a priority below 0) keep
-- nobody from ending.
SELECT count(*) AS n FROM jobs
WHERE (status = 'running' OR (status = 'waiting' AND priority >= 0)) AND (:run = '' OR run = :run);

-- name: jobs_ahead
-- How many jobs of a kind wait that were deferred before the one of their lock that runs: they were to wait, and it came.
SELECT count(*) AS n FROM jobs WHERE run = :run AND lock = :lock AND kind = :kind AND status = 'waiting'
    AND id < (SELECT id FROM jobs AS r WHERE r.lock = :lock AND r.status = 'running');

-- name: jobs_failed
-- Failed jobs, newest first.
SELECT kind, key, lock, run, payload, priority, trace FROM jobs WHERE status = 'failed' ORDER BY id DESC;

-- name: owner_set
-- This incarnation owns the queue from now on.
INSERT INTO owner (one, owner) VALUES (1, :owner) ON CONFLICT (one) DO UPDATE SET owner = excluded.owner;

-- name: jobs_orphaned
-- Jobs that were being performed when nobody owned the queue any more.
SELECT id, owner, deaths, aborted FROM jobs WHERE status = 'running' ORDER BY id;

-- name: job_died
-- A job's worker died under it.
UPDATE jobs SET deaths = deaths + 1 WHERE id = :id;

-- name: jobs_unfinished_of_lock
-- How many jobs of one lock are performed, or wait in the foreground or for nothing.
SELECT count(*) AS n FROM jobs
WHERE lock = :lock AND (status = 'running' OR (status = 'waiting' AND due = 0));
