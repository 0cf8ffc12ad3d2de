-- name: project_touched
-- attempt.touched: a file, with all that is changed in it by now.
INSERT INTO touches (attempt, path, target, run, task, root, entities, at)
SELECT :attempt, :path, target, run, :task, :root, :entities, :at FROM runs WHERE run = :run
ON CONFLICT (attempt, path) DO UPDATE SET entities = excluded.entities, at = excluded.at;

-- name: project_untouched
-- attempt.touched: a file that is as it was again.
DELETE FROM touches WHERE attempt = :attempt AND path = :path;

-- name: project_touches_anew
-- attempt.started: a later incarnation begins in a fresh workspace.
DELETE FROM touches WHERE attempt = :attempt;

-- name: project_touches_landed
-- change.landed
UPDATE touches SET landed_at = :at, commit_sha = :commit WHERE target = :target AND root = :attempt;

-- name: project_touches_over
-- run.finished: what did not land is of no interest any more; what did is, as long as another run has the same target.
DELETE FROM touches WHERE target = (SELECT target FROM runs WHERE run = :run) AND (
    (run = :run AND landed_at IS NULL) OR NOT EXISTS (
        SELECT 1 FROM runs AS r WHERE r.target = touches.target AND r.run <> :run AND r.finished_at IS NULL));

-- name: project_intent
-- run.planned: what one of its tasks is to do.
INSERT INTO intents (run, task, text) VALUES (:run, :task, :text)
ON CONFLICT (run, task) DO UPDATE SET text = excluded.text;

-- name: project_clear_touches
-- Before all read tables are computed anew.
DELETE FROM touches;

-- name: project_clear_intents
-- Before all read tables are computed anew.
DELETE FROM intents;

-- name: touches_of
-- What one attempt has changed, by file.
SELECT path, entities FROM touches WHERE attempt = :attempt ORDER BY path;

-- name: touches_since
-- When the commit landed that an attempt began with; where that is not known, when its run began, if it began with the
-- run's own base, else when its newest incarnation began.
SELECT coalesce(
    (SELECT max(l.landed_at) FROM touches AS l WHERE l.target = r.target AND l.commit_sha = :base),
    CASE WHEN r.base = :base THEN r.created_at ELSE a.started_at END) AS since
FROM attempts AS a JOIN runs AS r ON r.run = a.run WHERE a.attempt = :attempt;

-- name: touches_beside
-- What other tasks with the same target have changed in the files that an attempt has changed: those that are under
-- way, and those that landed after `since`. The newest first.
SELECT t.run, t.task, t.root, t.path, t.entities, t.landed_at, k.title, k.status
FROM touches AS mine
JOIN touches AS t ON t.target = mine.target AND t.path = mine.path AND (t.run <> mine.run OR t.task <> mine.task)
JOIN tasks AS k ON k.run = t.run AND k.task = t.task AND k.attempt = t.root
WHERE mine.attempt = :attempt AND (t.landed_at > :since OR (
    t.landed_at IS NULL AND k.status IN ('implementing', 'checking', 'reviewing', 'gating', 'waiting')))
ORDER BY t.at DESC, t.attempt, t.path LIMIT :limit;

-- name: touches_under_way
-- What tasks with a run's target have changed that are under way, apart from one of its own. The newest first.
SELECT t.run, t.task, t.root, t.path, t.entities, t.landed_at, k.title, k.status
FROM touches AS t
JOIN tasks AS k ON k.run = t.run AND k.task = t.task AND k.attempt = t.root
WHERE t.target = (SELECT target FROM runs WHERE run = :run) AND (t.run <> :run OR t.task <> :task)
    AND t.landed_at IS NULL AND k.status IN ('implementing', 'checking', 'reviewing', 'gating', 'waiting')
ORDER BY t.at DESC, t.attempt, t.path LIMIT :limit;

-- name: intent_of
-- What a task is to do.
SELECT text FROM intents WHERE run = :run AND task = :task;

-- name: notes_of_task
-- The newest notes that a task's agents left, oldest of them first.
SELECT text FROM (SELECT text, at FROM notes WHERE run = :run AND task = :task ORDER BY at DESC LIMIT :limit) AS newest
ORDER BY at;
