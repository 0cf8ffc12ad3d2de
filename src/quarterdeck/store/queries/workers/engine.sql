-- name: job_defer
-- Put a job into the queue. One that is already waiting under this key is kept, due at the earlier of both times.
CALL deck_defer(:kind, :key, :lock, :run, :payload, :priority, :delay, :queue, :needs);

-- name: jobs_abort
-- Drop a run's waiting jobs and ask for the end of its running ones, except those that advance or control the run.
SELECT procrastinate_cancel_job_v1(id, true, true) AS job, deck_wake(lock) IS NULL AS told FROM (
    SELECT id, lock FROM procrastinate_jobs
    WHERE args ->> 'run' = :run AND args ->> 'lock' <> :spare AND status IN ('todo', 'doing') ORDER BY id FOR UPDATE
) AS mine;

-- name: jobs_promote
-- Delayed jobs that are due become jobs like others.
UPDATE procrastinate_jobs SET queue_name = args ->> 'queue', lock = args ->> 'lock', scheduled_at = NULL
WHERE id IN (
    SELECT id FROM procrastinate_jobs
    WHERE status = 'todo' AND queue_name = 'later' AND scheduled_at <= clock_timestamp()
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
)
RETURNING id, deck_tell(id, queue_name) IS NULL AS told;

-- name: jobs_next_due
-- In how many seconds the next delayed job is due; null where there is none.
SELECT extract(epoch FROM min(scheduled_at) - clock_timestamp())::double precision AS seconds
FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = 'later';

-- name: job_settle_done
-- A job is done.
SELECT deck_done(:job, :worker) AS mine;

-- name: job_settle_failed
-- A job's handler raised; it is kept for people.
SELECT deck_failed(:job, :worker, :trace, :keep) AS mine;

-- name: job_settle_back
-- Give a job back to the queue.
SELECT deck_back(:job, :worker, :delay) AS mine;

-- name: jobs_of_the_dead
-- How many jobs are in the hands of workers that were struck off.
SELECT count(*) AS n FROM procrastinate_jobs WHERE status = 'doing' AND worker_id IS NULL;

-- name: jobs_rescue
-- Give the jobs of dead workers to others, so many at once.
SELECT id, deck_rescue(id, :poison, :trace, :keep) AS mine FROM (
    SELECT id FROM procrastinate_jobs WHERE status = 'doing' AND worker_id IS NULL ORDER BY id LIMIT :limit
) AS orphaned;

-- name: jobs_put_off
-- How many delayed jobs wait for longer than they were asked to: the server's clock stepped back.
SELECT count(*) AS n FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = 'later'
    AND scheduled_at > clock_timestamp() + make_interval(secs => (args ->> 'delay')::double precision + 1.0);

-- name: jobs_pull_in
-- They wait for as long as was asked, from now on.
UPDATE procrastinate_jobs
SET scheduled_at = clock_timestamp() + make_interval(secs => (args ->> 'delay')::double precision)
WHERE status = 'todo' AND queue_name = 'later'
    AND scheduled_at > clock_timestamp() + make_interval(secs => (args ->> 'delay')::double precision + 1.0);

-- name: jobs_in_hand
-- The jobs that are in a worker's hands, as far as the database knows.
SELECT id FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = :worker;

-- name: worker_seat
-- A worker is on record from here on, with who it is; the number it has.
INSERT INTO workers (id, owner, host, pid, version, queues, labels, capacity, since, takeover)
SELECT worker_id, :owner, :host, :pid, :version, :queues, :labels, :capacity,
    extract(epoch FROM clock_timestamp()), :takeover
FROM procrastinate_register_worker_v1()
RETURNING id;

-- name: jobs_unfinished_here
-- How many jobs wait or run, of one run or (`run` is empty) of all. Those in the background, and those that want what only
-- other processes have, keep nobody from ending.
SELECT count(*) AS n FROM procrastinate_jobs
WHERE (
    status = 'doing' OR (
        status = 'todo' AND priority >= 0 AND (
            left(args ->> 'queue', 4) <> 'for:'
            OR args ->> 'queue' = ANY (string_to_array(:mine, ' '))
        )
    )
) AND (:run = '' OR args ->> 'run' = :run);

-- name: worker_offers
-- What a worker takes jobs from has changed.
UPDATE workers SET queues = :queues WHERE id = :worker;

-- name: worker_draining
-- A worker takes no further jobs.
UPDATE workers SET draining = true WHERE id = :worker;

-- name: workers_alive
-- The workers that gave a sign of life lately, and how many jobs each has in its hands.
SELECT w.id, w.owner, w.host, w.pid, w.version, w.queues, w.labels, w.capacity, w.since, w.draining,
    extract(epoch FROM clock_timestamp() - p.last_heartbeat)::double precision AS silent,
    (SELECT count(*) FROM procrastinate_jobs AS j WHERE j.status = 'doing' AND j.worker_id = w.id) AS busy
FROM workers AS w JOIN procrastinate_workers AS p ON p.id = w.id
WHERE p.last_heartbeat > clock_timestamp() - make_interval(secs => w.takeover * 2 / 3)
    AND p.last_heartbeat < clock_timestamp() + make_interval(secs => w.takeover) ORDER BY w.id;

-- name: workers_heard
-- The newest sign of life of each worker: a number that no other one has, and its age in seconds.
SELECT p.id, (extract(epoch FROM p.last_heartbeat) * 1000000)::bigint AS beat,
    extract(epoch FROM clock_timestamp() - p.last_heartbeat)::double precision AS age,
    coalesce(w.takeover, 30.0) AS takeover
FROM procrastinate_workers AS p LEFT JOIN workers AS w ON w.id = p.id ORDER BY p.id;

-- name: worker_strike
-- Strike a worker off, unless it gave another sign of life meanwhile; who it was.
DELETE FROM procrastinate_workers AS p
WHERE p.id = :worker AND (extract(epoch FROM p.last_heartbeat) * 1000000)::bigint = :beat
RETURNING (SELECT host FROM workers AS w WHERE w.id = p.id) AS host, (SELECT pid FROM workers AS w WHERE w.id = p.id) AS pid;

-- name: queues_waiting
-- How many jobs wait in each queue, and for how long the oldest of them has.
SELECT j.queue_name AS queue, coalesce(min(j.args ->> 'needs'), '') AS needs, count(*) AS n,
    coalesce(extract(epoch FROM clock_timestamp() - min(e.at)), 0)::double precision AS seconds
FROM procrastinate_jobs AS j LEFT JOIN procrastinate_events AS e ON e.job_id = j.id AND e.type = 'deferred'
WHERE j.status = 'todo' AND j.queue_name <> 'later' GROUP BY j.queue_name ORDER BY j.queue_name;

-- name: jobs_release
-- What waits in a queue waits in another one, and needs nothing more.
UPDATE procrastinate_jobs
SET queue_name = CAST(:into AS TEXT), args = args || jsonb_build_object('queue', CAST(:into AS TEXT), 'needs', '')
WHERE status = 'todo' AND queue_name = :queue
RETURNING id, deck_tell(id, queue_name) IS NULL AS told;

-- name: worker_of
-- Whether a process is on record as a worker.
SELECT 1 AS known FROM workers WHERE owner = :owner;

-- name: worker_known
-- Whether a worker is still on record; one that was struck off is not.
SELECT 1 AS known FROM workers WHERE id = :worker;
