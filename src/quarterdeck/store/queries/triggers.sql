-- name: project_firing
-- trigger.fired, trigger.held, trigger.refused: what became of one message. What was fired stays so.
INSERT INTO firings (trigger, delivery, fingerprint, subject, status, run, code, reason, order_blob, at, till)
VALUES (:trigger, :delivery, :fingerprint, :subject, :status, :run, :code, :reason, :order_blob, :at, :till)
ON CONFLICT (trigger, delivery) DO UPDATE SET status = excluded.status, run = excluded.run, code = excluded.code,
    reason = excluded.reason, order_blob = excluded.order_blob, till = excluded.till,
    at = CASE WHEN excluded.status = 'held' THEN firings.at ELSE excluded.at END;

-- name: project_firing_ordered
-- trigger.ordered
UPDATE firings SET status = 'ordered' WHERE trigger = :trigger AND delivery = :delivery;

-- name: project_origin
-- run.created, of a run that came from outside or is about something there.
INSERT INTO origins (run, trigger, subject) VALUES (:run, :trigger, :subject) ON CONFLICT (run) DO NOTHING;

-- name: project_clear_firings
-- Before a rebuild.
DELETE FROM firings;

-- name: project_clear_origins
-- Before a rebuild.
DELETE FROM origins;

-- name: firing
-- What became of one message.
SELECT * FROM firings WHERE trigger = :trigger AND delivery = :delivery;

-- name: firing_same
-- An earlier message with the same body.
SELECT delivery FROM firings
WHERE trigger = :trigger AND fingerprint = :fingerprint AND fingerprint <> '' AND delivery <> :delivery LIMIT 1;

-- name: firing_last
-- The newest messages of a trigger with one outcome.
SELECT * FROM firings WHERE trigger = :trigger AND status = :status ORDER BY at DESC LIMIT :limit;

-- name: firing_refused
-- The newest refusal of a trigger that says something about it: not that a message came twice.
SELECT * FROM firings WHERE trigger = :trigger AND status = 'refused' AND code <> 'duplicate' ORDER BY at DESC LIMIT 1;

-- name: firings_waiting
-- How many messages of a trigger wait for their turn.
SELECT count(*) AS n FROM firings WHERE trigger = :trigger AND status = 'held' AND delivery <> :delivery;

-- name: origin_of
-- Whether a run came from outside.
SELECT trigger, subject FROM origins WHERE run = :run;

-- name: origins_unfinished
-- How many runs of a trigger have not ended.
SELECT count(*) AS n FROM origins AS o JOIN runs AS r ON r.run = o.run
WHERE o.trigger = :trigger AND r.finished_at IS NULL;

-- name: origin_live
-- An unfinished run about one thing, also one that is just being stored.
SELECT o.run FROM origins AS o JOIN runs AS r ON r.run = o.run
WHERE o.subject = :subject AND :subject <> '' AND r.finished_at IS NULL
UNION ALL
SELECT run FROM firings
WHERE status = 'fired' AND subject = :subject AND :subject <> '' AND NOT (trigger = :trigger AND delivery = :delivery)
LIMIT 1;
