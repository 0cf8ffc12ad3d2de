-- name: project_run_created
-- run.created
INSERT INTO runs (
    run, status, goal, repository, identity, target, branch, base, budget_nusd, "user", sandbox, created_at, updated_at
)
VALUES (:run, :status, :goal, :repository, :identity, :target, :branch, :base, :budget, :user, :sandbox, :at, :at)
ON CONFLICT (run) DO NOTHING;

-- name: project_run_touched
-- Any event of a run's stream.
UPDATE runs SET updated_at = max(updated_at, :at) WHERE run = :run;

-- name: project_run_status
-- The run is planning, running, paused, waiting, cancelled.
UPDATE runs SET status = :status, reason = :reason WHERE run = :run;

-- name: project_run_reason
-- work.held, work.released: why the run stands still although it could go on.
UPDATE runs SET reason = :reason WHERE run = :run;

-- name: project_run_resumed
-- run.resumed: open again, perhaps with more money.
UPDATE runs SET
    status = CASE WHEN EXISTS (SELECT 1 FROM tasks WHERE tasks.run = :run) THEN 'running' ELSE 'planning' END,
    reason = '', finished_at = NULL, exit_code = NULL, budget_nusd = max(budget_nusd, coalesce(CAST(:budget AS BIGINT), 0))
WHERE run = :run;

-- name: project_run_finished
-- run.finished
UPDATE runs SET status = :status, reason = :reason, exit_code = :exit_code, sha = :sha, finished_at = :at
WHERE run = :run;

-- name: project_run_costs
-- Tokens and money of model calls, summed over the run. Parameters: run, input, cache_read, cache_write, output, cost.
UPDATE runs SET cost_nusd = cost_nusd + ?6, input = input + ?2, cache_read = cache_read + ?3,
    cache_write = cache_write + ?4, output = output + ?5
WHERE run = ?1;

-- name: project_task_planned
-- run.planned: one of its tasks.
INSERT INTO tasks (run, task, title, position, status, agent, updated_at)
VALUES (:run, :task, :title, :position, 'pending', :agent, :at)
ON CONFLICT (run, task) DO UPDATE SET title = excluded.title, position = excluded.position;

-- name: project_task_dispatched
-- task.dispatched
UPDATE tasks SET status = 'implementing', agent = :agent, attempt = :attempt, node = 'implement', attempts = :number,
    reason = '', updated_at = :at
WHERE run = :run AND task = :task;

-- name: project_task_node
-- A node of the blueprint began or ended.
UPDATE tasks SET node = :node, status = coalesce(:status, status), reason = :reason, updated_at = :at
WHERE run = :run AND task = :task;

-- name: project_task_status
-- task.failed, task.blocked, task.cancelled
UPDATE tasks SET status = :status, reason = :reason, updated_at = :at WHERE run = :run AND task = :task;

-- name: project_task_merged
-- task.merged
UPDATE tasks SET status = 'merged', commit_sha = :commit, attempt = :attempt, reason = '', updated_at = :at
WHERE run = :run AND task = :task;

-- name: project_task_reverted
-- task.reverted: its change is not on the target any more; in a run that has ended nobody works on it.
UPDATE tasks SET status = CASE WHEN EXISTS (SELECT 1 FROM runs WHERE runs.run = :run AND finished_at IS NOT NULL)
    THEN 'failed' ELSE 'gating' END, commit_sha = NULL, reason = :reason, updated_at = :at
WHERE run = :run AND task = :task AND status = 'merged';

-- name: project_tasks_resumed
-- run.resumed: what did not merge gets its attempts anew; a question stays open until it is answered.
UPDATE tasks SET status = 'pending', reason = '', updated_at = :at
WHERE run = :run AND (status IN ('failed', 'blocked', 'cancelled')
    OR (status = 'waiting' AND coalesce(node, '') <> 'approve' AND :answered));

-- name: project_tasks_cancelled
-- run.cancelled: what is not finished will not be.
UPDATE tasks SET status = 'cancelled', updated_at = :at
WHERE run = :run AND status NOT IN ('merged', 'failed', 'blocked', 'cancelled');

-- name: project_attempt_started
-- attempt.started: a first or a later incarnation.
INSERT INTO attempts (attempt, run, task, number, agent, harness, status, incarnation, started_at)
VALUES (:attempt, :run, :task, :number, :agent, :harness, 'running', :incarnation, :at)
ON CONFLICT (attempt) DO UPDATE SET status = 'running', incarnation = excluded.incarnation, agent = excluded.agent,
    harness = excluded.harness, started_at = excluded.started_at;

-- name: project_attempt_status
-- The harness or a node of an attempt ended.
UPDATE attempts SET status = :status WHERE attempt = :attempt;

-- name: project_costs
-- Tokens and money of model calls, by attempt and model. Parameters: in the order of the columns.
INSERT INTO costs (run, task, attempt, model, calls, input, cache_read, cache_write, output, cost_nusd, estimated_calls)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (run, attempt, model) DO UPDATE SET
    calls = costs.calls + excluded.calls, input = costs.input + excluded.input,
    cache_read = costs.cache_read + excluded.cache_read, cache_write = costs.cache_write + excluded.cache_write,
    output = costs.output + excluded.output, cost_nusd = costs.cost_nusd + excluded.cost_nusd,
    estimated_calls = costs.estimated_calls + excluded.estimated_calls;

-- name: project_question
-- question.asked, task.escalated
INSERT INTO waits (run, task, attempt, question, since, what) VALUES (:run, :task, :attempt, :question, :at, :what)
ON CONFLICT (run, attempt) DO UPDATE SET question = excluded.question, since = excluded.since, what = excluded.what;

-- name: project_run_waits
-- run.waiting: shown by itself only where no agent's question says more.
INSERT INTO waits (run, task, attempt, question, since, what) SELECT :run, '', '', :question, :at, 'run'
WHERE NOT EXISTS (SELECT 1 FROM waits WHERE run = :run);

-- name: project_waits_answered
-- A human answered, or the run ended.
DELETE FROM waits WHERE run = :run;

-- name: project_reviewed
-- An accepting review is on record.
UPDATE attempts SET reviewed = 1 WHERE attempt = :attempt;

-- name: project_spending
-- Tokens and money of model calls, by day, run, agent and model. Parameters: day, run, attempt, agent (null = that of the
-- attempt), model, calls, input, cache_read, cache_write, output, cost, what of it is estimated, what of it is unverified.
INSERT INTO spending (day, run, agent, model, "user", calls, input, cache_read, cache_write, output, cost_nusd,
    estimated_nusd, unverified_nusd)
VALUES (?1, ?2, coalesce(?4, (SELECT agent FROM attempts WHERE attempt = ?3), ''), ?5,
    coalesce((SELECT "user" FROM runs WHERE run = ?2), ''), ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (day, run, agent, model) DO UPDATE SET
    calls = spending.calls + excluded.calls, input = spending.input + excluded.input,
    cache_read = spending.cache_read + excluded.cache_read, cache_write = spending.cache_write + excluded.cache_write,
    output = spending.output + excluded.output, cost_nusd = spending.cost_nusd + excluded.cost_nusd,
    estimated_nusd = spending.estimated_nusd + excluded.estimated_nusd,
    unverified_nusd = spending.unverified_nusd + excluded.unverified_nusd;

-- name: project_agents
-- Whose attempts these are; `attempts` is a JSON list.
SELECT a.attempt, a.agent FROM json_each(:attempts) AS n JOIN attempts AS a ON a.attempt = n.value;

-- name: project_burn
-- What a stretch of ten minutes has cost.
INSERT INTO burn (at, cost_nusd) VALUES (?1, ?2)
ON CONFLICT (at) DO UPDATE SET cost_nusd = burn.cost_nusd + excluded.cost_nusd;

-- name: project_landing
-- task.merged: one more change landed, reviewed or not.
INSERT INTO landings (day, run, agent, "user", changes, unreviewed)
VALUES (:day, :run, coalesce((SELECT agent FROM tasks WHERE run = :run AND task = :task), ''),
    coalesce((SELECT "user" FROM runs WHERE run = :run), ''), 1,
    1 - coalesce((SELECT reviewed FROM attempts WHERE attempt = :attempt), 0))
ON CONFLICT (day, run, agent) DO UPDATE SET changes = landings.changes + 1,
    unreviewed = landings.unreviewed + excluded.unreviewed;

-- name: project_incident
-- incident.opened
INSERT INTO incidents (run, attempt, failure, subject, reason, fix, at)
VALUES (:run, :attempt, :failure, :subject, :reason, :fix, :at)
ON CONFLICT (run, attempt, failure, subject) DO UPDATE SET reason = excluded.reason, fix = excluded.fix, at = excluded.at;

-- name: project_incidents_over
-- The run goes on, or was cancelled: what stands in its way is found out anew.
DELETE FROM incidents WHERE run = :run;

-- name: project_red_over
-- tip.mended: the target does not stand any more where it was red.
DELETE FROM incidents WHERE run = :run AND attempt = :attempt AND failure = 'red';

-- name: project_clear_spending
-- Before a rebuild.
DELETE FROM spending;

-- name: project_clear_burn
-- Before a rebuild.
DELETE FROM burn;

-- name: project_clear_landings
-- Before a rebuild.
DELETE FROM landings;

-- name: project_clear_incidents
-- Before a rebuild.
DELETE FROM incidents;

-- name: project_notice
-- spend.noticed
INSERT INTO notices (run, about, name, at, spent, usual, bound, samples)
VALUES (:run, :about, :name, :at, :spent, :usual, :bound, :samples) ON CONFLICT (about, name, run) DO NOTHING;

-- name: project_clear_notices
-- Before a rebuild.
DELETE FROM notices;

-- name: project_note
-- note.recorded
INSERT INTO notes (run, task, attempt, text, at) VALUES (:run, :task, :attempt, :text, :at);

-- name: project_clear_notes
-- Before a rebuild.
DELETE FROM notes;

-- name: project_clear_runs
-- Before a rebuild.
DELETE FROM runs;

-- name: project_clear_tasks
-- Before a rebuild.
DELETE FROM tasks;

-- name: project_clear_attempts
-- Before a rebuild.
DELETE FROM attempts;

-- name: project_clear_costs
-- Before a rebuild.
DELETE FROM costs;

-- name: project_clear_waits
-- Before a rebuild.
DELETE FROM waits;

-- name: project_approval_asked
-- approval.asked; one that was closed with its attempt is open again when it is asked again.
INSERT INTO approvals (approval, what, run, task, attempt, agent, title, action_hash, subject_blob, risk, why, cost_nusd,
    since, expires_at, status)
VALUES (:approval, :what, :run, :task, :attempt, :agent, :title, :action_hash, :subject_blob, :risk, :why, :cost_nusd,
    :at, :expires_at, 'open')
ON CONFLICT (approval) DO UPDATE SET status = 'open', since = excluded.since, expires_at = excluded.expires_at,
    decided_by = NULL, reason = '', decided_at = NULL;

-- name: project_approval_decided
-- approval.decided
UPDATE approvals SET status = :status, decided_by = :by, reason = :reason, decided_at = :at WHERE approval = :approval;

-- name: project_approvals_closed
-- The run has ended, or the attempt (`attempt` is not empty) that asked: nobody needs an answer any more.
UPDATE approvals SET status = 'expired', reason = :reason, decided_at = :at
WHERE status = 'open' AND run = :run AND (:attempt = '' OR (attempt = :attempt AND what = 'tool'));

-- name: project_run_goes_on
-- approval.decided, question.answered: what the run waited for is there.
UPDATE runs SET status = 'running', reason = '' WHERE run = :run AND status = 'waiting';

-- name: project_wait_answered
-- question.answered: one question, or (`attempt` is empty) all of the run.
DELETE FROM waits WHERE run = :run AND (:attempt = '' OR attempt = :attempt OR attempt = '');

-- name: project_tasks_answered
-- question.answered: whoever asked goes on.
UPDATE tasks SET status = 'pending', reason = '', updated_at = :at
WHERE run = :run AND status = 'waiting' AND coalesce(node, '') <> 'approve' AND (:attempt = '' OR attempt = :attempt);

-- name: project_tasks_dropped
-- run.planned: what an earlier plan, that was denied, wanted to do.
DELETE FROM tasks WHERE run = :run AND attempts = 0;

-- name: project_run_budget
-- budget.raised
UPDATE runs SET budget_nusd = max(budget_nusd, :budget) WHERE run = :run;

-- name: project_run_reopened
-- task.retried: a run that had ended goes on.
UPDATE runs SET status = CASE WHEN status = 'paused' THEN 'paused' ELSE 'running' END, reason = '', finished_at = NULL,
    exit_code = NULL WHERE run = :run;

-- name: project_task_retried
-- task.retried: the task gets its attempts anew, and those that it blocked have a chance again.
UPDATE tasks SET status = 'pending', reason = '', agent = CASE WHEN task = :task THEN coalesce(:agent, agent) ELSE agent END,
    updated_at = :at
WHERE run = :run AND (task = :task OR status = 'blocked');

-- name: project_wait_of_task
-- task.retried: what it asked needs no answer any more.
DELETE FROM waits WHERE run = :run AND task = :task;

-- name: project_seen
-- approval.decided: a person has looked at the attempt's change.
UPDATE attempts SET reviewed = 1
WHERE attempt = (SELECT attempt FROM approvals WHERE approval = :approval AND what = 'merge');

-- name: project_clear_approvals
-- Before a rebuild.
DELETE FROM approvals;
