-- A worker's pace is on record with it; a delayed job has its delay with it; what a queue asks for stands in its jobs.
ALTER TABLE workers ADD COLUMN takeover DOUBLE PRECISION NOT NULL DEFAULT 30;

CREATE INDEX deck_jobs_of_the_dead ON procrastinate_jobs (id) WHERE status = 'doing' AND worker_id IS NULL;

-- Seconds from now until then.
CREATE FUNCTION deck_until(_due timestamptz) RETURNS double precision LANGUAGE sql AS $$
    SELECT extract(epoch FROM _due - clock_timestamp())::double precision;
$$;

-- Make a waiting job due at the earlier of both times, with the higher of both priorities. The row is locked by then,
-- so workers pass it over: they are told to look again.
CREATE OR REPLACE FUNCTION deck_hurry(_job bigint, _priority integer, _queue text, _due timestamptz) RETURNS void
LANGUAGE sql AS $$
    UPDATE procrastinate_jobs SET
        priority = greatest(priority, _priority),
        args = args
            || CASE WHEN _priority > priority THEN jsonb_build_object('queue', _queue) ELSE '{}'::jsonb END
            || CASE WHEN _due < scheduled_at THEN jsonb_build_object('delay', deck_until(_due)) ELSE '{}'::jsonb END,
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
    _kind text, _key text, _lock text, _run text, _payload text, _priority integer, _delay double precision,
    _queue text, _needs text
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
                    'key', _key, 'lock', _lock, 'run', _run, 'queue', _queue, 'needs', _needs, 'delay', _delay,
                    'payload', _payload::jsonb
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

-- Give a job back to the queue, or into the one that was deferred under its key meanwhile. One that is to be cancelled
-- is dropped. What waits behind it is told where it leaves its lock. Of what procrastinate writes down about a job that
-- comes again and again, only when it was deferred is kept.
CREATE OR REPLACE FUNCTION deck_back(_job bigint, _worker bigint, _delay double precision) RETURNS boolean
LANGUAGE plpgsql AS $$
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
            UPDATE procrastinate_jobs SET args = args || jsonb_build_object('delay', greatest(_delay, 0.0))
            WHERE id = _job AND _due IS NOT NULL;
            PERFORM procrastinate_retry_job_v2(
                _job,
                _due,
                NULL,
                CASE WHEN _due IS NULL THEN _mine.args ->> 'queue' ELSE 'later' END,
                CASE WHEN _due IS NULL THEN _mine.args ->> 'lock' ELSE 'later/' || _mine.queueing_lock END
            );
            DELETE FROM procrastinate_events WHERE job_id = _job AND type <> 'deferred';
            PERFORM deck_tell(id, queue_name) FROM procrastinate_jobs WHERE id = _job;
            IF _due IS NOT NULL THEN
                PERFORM deck_wake(_mine.lock);
            END IF;
            RETURN true;
        EXCEPTION WHEN unique_violation THEN
            NULL;  -- its key was deferred meanwhile: that one is the twin
        END;
    END LOOP;
    RAISE 'the job % can neither be given back nor merged', _job;
END;
$$;
