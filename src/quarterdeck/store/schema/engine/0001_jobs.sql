-- What stands beside procrastinate's own tables, once these are there. Every change of a job's state is made by
-- procrastinate's functions; ours add what our port promises: a fence, keys that merge, delays that hinder nobody.
DROP TABLE IF EXISTS jobs;

-- How often workers died over a job, and why it failed.
CREATE TABLE job_history (
    job BIGINT PRIMARY KEY REFERENCES procrastinate_jobs (id) ON DELETE CASCADE,
    deaths INTEGER NOT NULL DEFAULT 0,
    trace TEXT NOT NULL DEFAULT ''
);

-- Who the workers are that procrastinate counts the heartbeats of. A worker that was given up is gone from both.
CREATE TABLE workers (
    id BIGINT PRIMARY KEY REFERENCES procrastinate_workers (id) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    queues TEXT NOT NULL,
    labels TEXT NOT NULL,
    capacity INTEGER NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    draining BOOLEAN NOT NULL DEFAULT false
);

CREATE INDEX deck_jobs_by_lock ON procrastinate_jobs (lock) WHERE status IN ('todo', 'doing');
CREATE INDEX deck_jobs_by_run ON procrastinate_jobs ((args ->> 'run')) WHERE status IN ('todo', 'doing');
CREATE INDEX deck_jobs_later ON procrastinate_jobs (scheduled_at) WHERE status = 'todo' AND queue_name = 'later';
CREATE INDEX deck_jobs_failed ON procrastinate_jobs (id) WHERE status = 'failed';

-- The queue as the statements of any deck read it.
CREATE VIEW jobs AS
SELECT j.id, j.task_name AS kind, j.queueing_lock AS key, j.args ->> 'lock' AS lock, j.args ->> 'run' AS run,
    j.args ->> 'payload' AS payload, j.priority, 0.0::double precision AS delay,
    coalesce(extract(epoch FROM j.scheduled_at), 0)::double precision AS due,
    CASE j.status WHEN 'todo' THEN 'waiting' WHEN 'doing' THEN 'running' ELSE j.status::text END AS status,
    coalesce(j.worker_id::text, '') AS owner, coalesce(h.deaths, 0) AS deaths, j.abort_requested::integer AS aborted,
    coalesce(h.trace, '') AS trace, j.queue_name AS queue
FROM procrastinate_jobs AS j LEFT JOIN job_history AS h ON h.job = j.id;

-- Tell the workers of a queue, in procrastinate's words, that there is a job for them.
CREATE FUNCTION deck_tell(_job bigint, _queue text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify(
        'procrastinate_queue_v1#' || _queue, json_build_object('type', 'job_inserted', 'job_id', _job)::text
    );
$$;

-- A job of that lock may have become free: procrastinate tells its workers of new jobs only.
CREATE FUNCTION deck_wake(_lock text) RETURNS void LANGUAGE sql AS $$
    SELECT deck_tell(id, queue_name) FROM procrastinate_jobs
    WHERE lock = _lock AND status = 'todo' ORDER BY priority DESC, id LIMIT 1;
$$;

-- Make a waiting job due at the earlier of both times, with the higher of both priorities. The row is locked by then,
-- so workers pass it over: they are told to look again.
CREATE FUNCTION deck_hurry(_job bigint, _priority integer, _queue text, _due timestamptz) RETURNS void
LANGUAGE sql AS $$
    UPDATE procrastinate_jobs SET
        priority = greatest(priority, _priority),
        args = CASE WHEN _priority > priority THEN args || jsonb_build_object('queue', _queue) ELSE args END,
        scheduled_at = CASE WHEN _due IS NULL OR scheduled_at IS NULL THEN NULL ELSE least(scheduled_at, _due) END,
        lock = CASE WHEN _due IS NULL OR scheduled_at IS NULL THEN args ->> 'lock' ELSE lock END,
        queue_name = CASE
            WHEN _due IS NOT NULL AND scheduled_at IS NOT NULL THEN 'later'
            WHEN _priority > priority THEN _queue
            ELSE args ->> 'queue'
        END
    WHERE id = _job AND (_priority > priority OR (scheduled_at IS NOT NULL AND (_due IS NULL OR _due < scheduled_at)));
    SELECT deck_tell(id, queue_name) FROM procrastinate_jobs WHERE id = _job;
$$;

-- Put a job into the queue, or hurry the one that already waits under its key.
CREATE PROCEDURE deck_defer(
    _kind text, _key text, _lock text, _run text, _payload text, _priority integer, _delay double precision, _queue text
) LANGUAGE plpgsql AS $$
DECLARE
    _due timestamptz := CASE WHEN _delay > 0 THEN clock_timestamp() + make_interval(secs => _delay) END;
    _waiting bigint;
BEGIN
    FOR _try IN 1..100 LOOP
        SELECT id INTO _waiting FROM procrastinate_jobs WHERE queueing_lock = _key AND status = 'todo' FOR UPDATE;
        IF FOUND THEN
            PERFORM deck_hurry(_waiting, _priority, _queue, _due);
            RETURN;
        END IF;
        BEGIN
            PERFORM procrastinate_defer_jobs_v1(ARRAY[ROW(
                CASE WHEN _due IS NULL THEN _queue ELSE 'later' END,
                _kind,
                _priority,
                CASE WHEN _due IS NULL THEN _lock ELSE 'later/' || _key END,
                _key,
                jsonb_build_object(
                    'key', _key, 'lock', _lock, 'run', _run, 'queue', _queue, 'payload', _payload::jsonb
                ),
                _due
            )::procrastinate_job_to_defer_v1]);
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            NULL;  -- somebody else deferred it meanwhile: it waits now
        END;
    END LOOP;
    RAISE 'a job of the key % can neither be deferred nor found', _key;
END;
$$;

-- A job in a worker's hands is over; false where it is not (any more) in its hands.
CREATE FUNCTION deck_done(_job bigint, _worker bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    _lock text;
BEGIN
    SELECT lock INTO _lock FROM procrastinate_jobs
    WHERE id = _job AND status = 'doing' AND worker_id IS NOT DISTINCT FROM _worker FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM procrastinate_finish_job_v1(_job, 'succeeded', true);
    PERFORM deck_wake(_lock);
    RETURN true;
END;
$$;

-- A job failed: it is kept for people, with the trace. Only the newest failed ones are.
CREATE FUNCTION deck_failed(_job bigint, _worker bigint, _trace text, _keep integer) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    _lock text;
BEGIN
    SELECT lock INTO _lock FROM procrastinate_jobs
    WHERE id = _job AND status = 'doing' AND worker_id IS NOT DISTINCT FROM _worker FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO job_history (job, trace) VALUES (_job, _trace) ON CONFLICT (job) DO UPDATE SET trace = excluded.trace;
    PERFORM procrastinate_finish_job_v1(_job, 'failed', false);
    DELETE FROM procrastinate_jobs WHERE status = 'failed'
        AND id < (SELECT id FROM procrastinate_jobs WHERE status = 'failed' ORDER BY id DESC OFFSET _keep - 1 LIMIT 1);
    PERFORM deck_wake(_lock);
    RETURN true;
END;
$$;

-- Give a job back to the queue, or into the one that was deferred under its key meanwhile. One that is to be cancelled
-- is dropped.
CREATE FUNCTION deck_back(_job bigint, _worker bigint, _delay double precision) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    _due timestamptz := CASE WHEN _delay > 0 THEN clock_timestamp() + make_interval(secs => _delay) END;
    _mine record;
    _twin bigint;
BEGIN
    SELECT lock, queueing_lock, priority, args, abort_requested INTO _mine FROM procrastinate_jobs
    WHERE id = _job AND status = 'doing' AND worker_id IS NOT DISTINCT FROM _worker FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF _mine.abort_requested THEN
        RETURN deck_done(_job, _worker);
    END IF;
    FOR _try IN 1..100 LOOP
        SELECT id INTO _twin FROM procrastinate_jobs
        WHERE queueing_lock = _mine.queueing_lock AND status = 'todo' FOR UPDATE;
        IF FOUND THEN
            PERFORM deck_hurry(_twin, _mine.priority, _mine.args ->> 'queue', _due);
            INSERT INTO job_history (job, deaths) SELECT _twin, deaths FROM job_history WHERE job = _job
            ON CONFLICT (job) DO UPDATE SET deaths = greatest(job_history.deaths, excluded.deaths);
            RETURN deck_done(_job, _worker);
        END IF;
        BEGIN
            PERFORM procrastinate_retry_job_v2(
                _job,
                _due,
                NULL,
                CASE WHEN _due IS NULL THEN _mine.args ->> 'queue' ELSE 'later' END,
                CASE WHEN _due IS NULL THEN _mine.args ->> 'lock' ELSE 'later/' || _mine.queueing_lock END
            );
            PERFORM deck_tell(id, queue_name) FROM procrastinate_jobs WHERE id = _job;
            RETURN true;
        EXCEPTION WHEN unique_violation THEN
            NULL;  -- its key was deferred meanwhile: that one is the twin
        END;
    END LOOP;
    RAISE 'the job % can neither be given back nor merged', _job;
END;
$$;

-- A job's worker died under it, and procrastinate has struck that worker off. False where another one was faster.
CREATE FUNCTION deck_rescue(_job bigint, _poison integer, _trace text, _keep integer) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    _deaths integer;
BEGIN
    PERFORM 1 FROM procrastinate_jobs WHERE id = _job AND status = 'doing' AND worker_id IS NULL FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO job_history (job, deaths) VALUES (_job, 1)
    ON CONFLICT (job) DO UPDATE SET deaths = job_history.deaths + 1 RETURNING deaths INTO _deaths;
    IF _deaths >= _poison THEN
        RETURN deck_failed(_job, NULL, _trace, _keep);
    END IF;
    RETURN deck_back(_job, NULL, 0);
END;
$$;
