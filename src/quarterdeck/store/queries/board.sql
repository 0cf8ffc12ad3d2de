-- name: tail_events
-- What was recorded after a mark, in all streams, in the order of the commits.
SELECT e.id, s.name AS stream, e.seq, e.at, e.body FROM events AS e CROSS JOIN streams AS s ON s.id = e.stream
WHERE e.id > :after ORDER BY e.id LIMIT :limit;

-- name: tail_of
-- The newest records of some streams (`names`: a JSON list), of each as many as `back`: the chains are walked back.
WITH RECURSIVE line (id, prev, seq, least, stream) AS (
    SELECT e.id, e.prev, e.seq, e.seq - :back, s.name
    FROM json_each(:names) AS n CROSS JOIN streams AS s ON s.name = n.value CROSS JOIN events AS e ON e.id = s.last
    UNION ALL
    SELECT e.id, e.prev, e.seq, line.least, line.stream FROM line CROSS JOIN events AS e ON e.id = line.prev
    WHERE e.seq > line.least
)
SELECT line.id, line.stream, line.seq, e.at, e.body FROM line CROSS JOIN events AS e ON e.id = line.id ORDER BY line.id;

-- name: board_shown
-- Runs that the board shows: all that have not ended, and the newest of those that have.
SELECT run FROM (SELECT run FROM runs WHERE finished_at IS NULL ORDER BY created_at DESC LIMIT :open)
UNION ALL SELECT run FROM (SELECT run FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT :ended);

-- name: board_runs
-- Some runs (`names`: a JSON list), with the length of their streams.
SELECT r.*, s.seq AS version FROM json_each(:names) AS n CROSS JOIN runs AS r ON r.run = n.value
JOIN streams AS s ON s.name = 'run/' || r.run;

-- name: board_counts
-- How many tasks of some runs stand where.
SELECT t.run, t.status, count(*) AS n FROM json_each(:names) AS n CROSS JOIN tasks AS t ON t.run = n.value
GROUP BY t.run, t.status;

-- name: board_tasks
-- Tasks of some runs, in the order of their plans, and whether their newest attempt was reviewed.
SELECT t.*, coalesce(a.reviewed, 0) AS reviewed FROM json_each(:names) AS n CROSS JOIN tasks AS t ON t.run = n.value
LEFT JOIN attempts AS a ON a.attempt = t.attempt ORDER BY t.run, t.position, t.task;

-- name: board_attempts
-- Attempts of some runs that have not ended by their own account.
SELECT a.* FROM json_each(:names) AS n CROSS JOIN attempts AS a ON a.run = n.value
WHERE a.status = 'running' ORDER BY a.attempt;

-- name: board_spent
-- What some attempts have spent; `names`: a JSON list of [run, attempt].
SELECT c.attempt, sum(c.cost_nusd) AS cost_nusd
FROM json_each(:names) AS n CROSS JOIN costs AS c
    ON c.run = json_extract(n.value, '$[0]') AND c.attempt = json_extract(n.value, '$[1]')
GROUP BY c.attempt;

-- name: board_waits
-- What waits for a person, longest first.
SELECT w.*, coalesce(t.title, '') AS title, coalesce(t.agent, '') AS agent
FROM waits AS w LEFT JOIN tasks AS t ON t.run = w.run AND t.task = w.task ORDER BY w.since LIMIT :limit;

-- name: board_incidents
-- What only a person can put right, of runs that have not ended or ended lately.
SELECT i.* FROM incidents AS i JOIN runs AS r ON r.run = i.run
WHERE r.finished_at IS NULL OR r.finished_at > :since ORDER BY i.at LIMIT :limit;

-- name: board_notices
-- The newest notices about spending.
SELECT n.* FROM notices AS n WHERE n.at > :since ORDER BY n.at DESC LIMIT :limit;

-- name: board_failed
-- Runs that ended lately without everything merged.
SELECT run, goal, status, reason, exit_code, finished_at FROM runs
WHERE finished_at > :since AND status IN ('failed', 'partial') ORDER BY finished_at DESC LIMIT :limit;

-- name: board_landings
-- How many changes have landed, and how many of them nobody had reviewed, since a day.
SELECT coalesce(sum(changes), 0) AS changes, coalesce(sum(unreviewed), 0) AS unreviewed FROM landings WHERE day >= :day;

-- name: board_burn
-- What each stretch of time has cost since a moment.
SELECT at, cost_nusd FROM burn WHERE at >= :since ORDER BY at;

-- name: board_reviewed
-- Which of some attempts (`names`: a JSON list) have an accepting review.
SELECT a.attempt FROM json_each(:names) AS n CROSS JOIN attempts AS a ON a.attempt = n.value WHERE a.reviewed;

-- name: board_targets
-- The merge gates of unfinished runs and of the newest others.
SELECT target, repository, branch, max(created_at) AS at FROM (
    SELECT * FROM (SELECT target, repository, branch, created_at FROM runs WHERE finished_at IS NULL
        ORDER BY created_at DESC LIMIT :limit)
    UNION ALL SELECT * FROM (SELECT target, repository, branch, created_at FROM runs
        ORDER BY created_at DESC LIMIT :limit)
) GROUP BY target ORDER BY at DESC;
