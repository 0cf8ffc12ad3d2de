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
SELECT run FROM (SELECT run FROM runs WHERE finished_at IS NULL ORDER BY created_at DESC LIMIT :open) AS o
UNION ALL
SELECT run FROM (SELECT run FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT :ended) AS e;

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
-- Runs that ended lately without everything merged, with the task that failed first.
SELECT run, goal, status, reason, exit_code, finished_at, (
    SELECT t.task FROM tasks AS t WHERE t.run = runs.run AND t.status = 'failed' ORDER BY t.updated_at, t.position LIMIT 1
) AS task FROM runs
WHERE finished_at > :since AND status IN ('failed', 'partial') ORDER BY finished_at DESC LIMIT :limit;

-- name: board_landings
-- How many changes have landed, and how many of them nobody had reviewed, since a day.
SELECT coalesce(sum(changes), 0) AS changes, coalesce(sum(unreviewed), 0) AS unreviewed FROM landings WHERE day >= :day;

-- name: board_burn
-- What each stretch of time has cost since a moment.
SELECT at, cost_nusd FROM burn WHERE at >= :since ORDER BY at;

-- name: board_reviewed
-- Which of some attempts (`names`: a JSON list) have an accepting review.
SELECT a.attempt FROM json_each(:names) AS n CROSS JOIN attempts AS a ON a.attempt = n.value WHERE a.reviewed = 1;

-- name: board_targets
-- The merge gates of unfinished runs, the newest `open` of them, and of the newest `ended` others.
SELECT DISTINCT target FROM (
    SELECT * FROM (SELECT target FROM runs WHERE finished_at IS NULL ORDER BY created_at DESC LIMIT :open) AS o
    UNION ALL
    SELECT * FROM (SELECT target FROM runs WHERE finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT :ended) AS e
) AS shown;

-- name: run_records
-- Records of a run's stream and its attempts' streams after a mark, the oldest `limit` of them. They are put in order by
-- their numbers before their bodies are read: sorting bodies takes longer than everything else.
WITH RECURSIVE own (id, name) AS (
    SELECT last, name FROM streams WHERE name = 'run/' || :run
    UNION ALL SELECT last, name FROM streams WHERE name >= 'attempt/' || :run || '.' AND name < 'attempt/' || :run || '/'
),
line (id, prev, name) AS (
    SELECT e.id, e.prev, own.name FROM own CROSS JOIN events AS e ON e.id = own.id WHERE e.id > :after
    UNION ALL SELECT e.id, e.prev, line.name FROM line CROSS JOIN events AS e ON e.id = line.prev WHERE e.id > :after
)
SELECT e.id, page.name AS stream, e.seq, e.at, e.body
FROM (SELECT id, name FROM line ORDER BY id LIMIT :limit) AS page CROSS JOIN events AS e ON e.id = page.id;

-- name: run_extent
-- How many records a run and its attempts have, and between which ids they lie.
WITH RECURSIVE line (id, prev) AS (
    SELECT e.id, e.prev FROM streams AS s JOIN events AS e ON e.id = s.last WHERE s.name = 'run/' || :run
    UNION ALL SELECT e.id, e.prev FROM line CROSS JOIN events AS e ON e.id = line.prev
)
SELECT (SELECT coalesce(min(id), 0) FROM line) AS first, max(own.last) AS last, sum(own.seq) AS records FROM (
    SELECT last, seq FROM streams WHERE name = 'run/' || :run
    UNION ALL
    SELECT last, seq FROM streams WHERE name >= 'attempt/' || :run || '.' AND name < 'attempt/' || :run || '/'
) AS own;

-- name: run_records_dense
-- What `run_records` finds, where most of what lies between a run's first and last record is its own: read in one go.
WITH own AS MATERIALIZED (
    SELECT id, name FROM streams WHERE name = 'run/' || :run
    UNION ALL SELECT id, name FROM streams WHERE name >= 'attempt/' || :run || '.' AND name < 'attempt/' || :run || '/'
)
SELECT e.id, own.name AS stream, e.seq, e.at, e.body FROM events AS e CROSS JOIN own ON own.id = e.stream
WHERE e.id > :after AND e.id <= :last ORDER BY e.id LIMIT :limit;

-- name: costs_by
-- What each user, agent, model, run or day has cost since a day, the most expensive first.
SELECT CASE :by WHEN 'user' THEN "user" WHEN 'agent' THEN agent WHEN 'model' THEN model WHEN 'run' THEN run ELSE day END AS key,
    sum(calls) AS calls, sum(input) AS input, sum(cache_read) AS cache_read, sum(cache_write) AS cache_write,
    sum(output) AS output, sum(cost_nusd) AS cost_nusd, sum(estimated_nusd) AS estimated_nusd,
    sum(unverified_nusd) AS unverified_nusd
FROM spending WHERE day >= :since GROUP BY 1 ORDER BY 7 DESC, 1 LIMIT :limit;

-- name: changes_by
-- How many changes of each user, agent, run or day have landed since a day; models land none.
SELECT CASE :by WHEN 'user' THEN "user" WHEN 'agent' THEN agent WHEN 'run' THEN run ELSE day END AS key, sum(changes) AS changes
FROM landings WHERE day >= :since AND :by <> 'model' GROUP BY 1;

-- name: burn_by
-- What each stretch of `step` seconds has cost since a moment.
SELECT (at / :step) * :step AS start, sum(cost_nusd) AS cost_nusd FROM burn WHERE at >= :since GROUP BY 1 ORDER BY 1;

-- name: purses_of_day
-- The purses of one day: of the deck, and of each person.
SELECT purse, cap, settled, reserved FROM purses WHERE purse = 'deck/' || :day
UNION ALL SELECT * FROM (SELECT purse, cap, settled, reserved FROM purses
    WHERE purse >= 'user/' AND purse < 'user0' AND purse LIKE '%/' || :day ORDER BY settled DESC LIMIT :limit) AS u;

-- name: purses_of_open_runs
-- The purses of runs that have not ended, the newest first.
SELECT p.purse, p.cap, p.settled, p.reserved FROM
    (SELECT run FROM runs WHERE finished_at IS NULL ORDER BY created_at DESC LIMIT :limit) AS r
    CROSS JOIN purses AS p ON p.purse = 'run/' || r.run;

-- name: search_all
-- Records among the `look` before a mark that are of a kind and hold a text (empty = any), in streams whose name lies
-- between two others, the newest first.
SELECT e.id, s.name AS stream, e.seq, e.at, e.epoch, e.hash, e.body FROM events AS e CROSS JOIN streams AS s ON s.id = e.stream
WHERE e.id < :before AND e.id >= :before - :look
    AND substr(e.body, 1, :size) = :head AND instr(e.body, :text) > 0
    AND (:first = '' OR (s.name >= :first AND s.name < :last))
ORDER BY e.id DESC LIMIT :limit;

-- name: search_stream
-- The same in one stream: its chain is walked back, at most `look` records.
WITH RECURSIVE line (id, prev, n) AS (
    SELECT e.id, e.prev, 1 FROM streams AS s JOIN events AS e ON e.id = s.last WHERE s.name = :stream
    UNION ALL SELECT e.id, e.prev, line.n + CASE WHEN line.id < :before THEN 1 ELSE 0 END
    FROM line CROSS JOIN events AS e ON e.id = line.prev
    WHERE line.n < :look
)
SELECT e.id, e.seq, e.at, e.epoch, e.hash, e.body FROM line CROSS JOIN events AS e ON e.id = line.id
WHERE line.id < :before
    AND substr(e.body, 1, :size) = :head AND instr(e.body, :text) > 0
ORDER BY e.id DESC LIMIT :limit;

-- name: search_stream_end
-- How far `search_stream` looks: how many records of the stream lie before a mark, and the id of the last one it looks at.
WITH RECURSIVE line (id, prev, n) AS (
    SELECT e.id, e.prev, 1 FROM streams AS s JOIN events AS e ON e.id = s.last WHERE s.name = :stream
    UNION ALL SELECT e.id, e.prev, line.n + CASE WHEN line.id < :before THEN 1 ELSE 0 END
    FROM line CROSS JOIN events AS e ON e.id = line.prev
    WHERE line.n < :look
)
SELECT count(*) AS looked, min(id) AS least, min(prev) AS prev FROM line WHERE id < :before;

-- name: stream_known
-- Whether there is a stream of that name.
SELECT 1 AS known FROM streams WHERE name = :stream;

-- name: stream_count
-- How many streams there are.
SELECT count(*) AS n FROM streams;
