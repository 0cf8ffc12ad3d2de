-- name: view_runs
-- All runs, newest first.
SELECT * FROM runs ORDER BY created_at DESC, run DESC;

-- name: view_runs_open
-- Runs that have no end on record, newest first: few, however long the history.
SELECT * FROM runs WHERE finished_at IS NULL ORDER BY created_at DESC, run DESC;

-- name: view_runs_named
-- The runs of these names that there are; `names`: a JSON list.
SELECT r.* FROM json_each(:names) AS n JOIN runs AS r ON r.run = n.value;

-- name: view_run
-- One run.
SELECT * FROM runs WHERE run = :run;

-- name: view_tasks
-- A run's tasks in the order of its plan.
SELECT * FROM tasks WHERE run = :run ORDER BY position, task;

-- name: view_attempts
-- A run's attempts, with the newest sign of life of each.
SELECT a.*, s.at AS last_at, s.steps FROM attempts AS a JOIN streams AS s ON s.name = 'attempt/' || a.attempt
WHERE a.run = :run ORDER BY a.task, a.number, a.attempt;

-- name: view_costs
-- Costs of one run, or of all (`run` is null).
SELECT c.*, coalesce(a.agent, '') AS agent FROM costs AS c LEFT JOIN attempts AS a ON a.attempt = c.attempt
WHERE CAST(:run AS TEXT) IS NULL OR c.run = :run ORDER BY c.run, c.attempt, c.model;

-- name: view_waits
-- What waits for a human in one run, or in all (`run` is null), longest first.
SELECT * FROM waits WHERE CAST(:run AS TEXT) IS NULL OR run = :run ORDER BY since, run, attempt;

-- name: view_reds
-- Targets that are red and that only a person can mend, of runs that have not ended or ended lately, longest first.
SELECT i.run, i.reason, i.fix, i.at FROM incidents AS i JOIN runs AS r ON r.run = i.run
WHERE i.failure = 'red' AND (r.finished_at IS NULL OR r.finished_at > :since) ORDER BY i.at, i.run;

-- name: view_notes
-- The newest notes of a run, oldest of them first.
SELECT * FROM (SELECT task, text, at, rowid AS number FROM notes WHERE run = :run ORDER BY at DESC, rowid DESC LIMIT :limit) AS newest
ORDER BY at, number;

-- name: view_purses
-- Purses whose name lies between two others.
SELECT purse, cap, settled, reserved FROM purses WHERE purse >= :first AND purse < :last ORDER BY purse;

-- name: view_notices
-- Spending that left its baseline, in one run or in all (`run` is null), the newest first.
SELECT * FROM notices WHERE CAST(:run AS TEXT) IS NULL OR run = :run ORDER BY at DESC, about, name;

-- name: trend_noticed
-- Whether there is a notice about something already.
SELECT run FROM notices WHERE about = :about AND name = :name LIMIT 1;

-- name: trend_runs
-- What earlier runs in the same repository have cost that spent anything.
SELECT cost_nusd AS cost FROM runs
WHERE identity = :identity AND run <> :run AND finished_at IS NOT NULL AND cost_nusd > 0
ORDER BY created_at DESC LIMIT :limit;

-- name: trend_spent
-- What one attempt, its reviewers and its sub-agents have spent, each.
SELECT a.agent, sum(c.cost_nusd) AS cost FROM costs AS c JOIN attempts AS a ON a.attempt = c.attempt
WHERE c.run = :run AND (c.attempt = :attempt OR (c.attempt > :attempt || '.' AND c.attempt < :attempt || '/'))
GROUP BY a.attempt ORDER BY a.attempt;

-- name: trend_attempts
-- What the newest attempts of an agent in other runs have cost that spent anything.
SELECT sum(c.cost_nusd) AS cost FROM (
    SELECT attempt, run FROM attempts WHERE agent = :agent AND run <> :run AND status <> 'running'
    ORDER BY started_at DESC LIMIT :limit
) AS a JOIN costs AS c ON c.run = a.run AND c.attempt = a.attempt GROUP BY a.attempt HAVING sum(c.cost_nusd) > 0;

-- name: trend_days
-- What the newest days of the deck have cost up to one of them, that one first; days without spending have no purse.
SELECT purse, settled AS cost FROM purses WHERE purse > 'deck/' AND purse <= 'deck/' || :day
ORDER BY purse DESC LIMIT :limit;

-- name: view_approvals
-- What waits or has waited for a person's word, in one run or in all (`run` is null), longest first.
SELECT * FROM approvals WHERE (CAST(:run AS TEXT) IS NULL OR run = :run) ORDER BY since, approval;

-- name: view_approvals_open
-- What waits for a person's word, in one run or in all (`run` is null), longest first.
SELECT * FROM approvals WHERE status = 'open' AND (CAST(:run AS TEXT) IS NULL OR run = :run) ORDER BY since, approval;

-- name: view_approval
-- One approval.
SELECT * FROM approvals WHERE approval = :approval;

-- name: view_inbox
-- How many approvals and questions are open in the whole deck.
SELECT (SELECT count(*) FROM approvals WHERE status = 'open') + (SELECT count(*) FROM waits) AS n;
