"""Where runs and attempts stand: folds of their streams."""

from quarterdeck.kernel import events as e
from quarterdeck.kernel.attempts import AttemptState, apply_attempt
from quarterdeck.kernel.entities import Change, Harness
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.kernel.folding import fold
from quarterdeck.testing import stories

BLOB, OTHER = "a" * 64, "b" * 64
CREATED = stories.created(budget_nusd=7, max_parallel=2)
PLANNED = e.RunPlanned(plan_blob=BLOB, tasks=1)


def dispatched(number: int = 1) -> e.TaskDispatched:
    return e.TaskDispatched(task="a", attempt=f"r-1.a.{number}", number=number, agent="x", feedback_blob=BLOB)


def ended(node: Node, outcome: Outcome, **fields: object) -> e.NodeFinished:
    plain = {"node": node, "outcome": outcome, "task": "a", "attempt": "r-1.a.1"}
    return e.NodeFinished.model_validate({**plain, **fields})


def change(attempt: str) -> Change:
    return Change(run="r-1", task="a", attempt=attempt, base="0" * 40, commit="1" * 40, tree="2" * 40)


def test_nothing_has_happened() -> None:
    state = fold([])
    assert (state.created, state.status, state.active) == (None, RunStatus.CREATED, 0)


def test_a_task_on_its_way() -> None:
    state = fold([CREATED, PLANNED, dispatched()])
    assert (state.tasks["a"].status, state.active) == (TaskStatus.IMPLEMENTING, 1)
    state = fold(
        [CREATED, PLANNED, dispatched(), ended(Node.IMPLEMENT, Outcome.OK, change=change("r-1.a.1"), record=4)]
    )
    task = state.tasks["a"]
    assert (task.running, task.taken, state.active, task.passed) == (False, 4, 0, task.last)
    state = fold([CREATED, PLANNED, dispatched(), e.NodeStarted(node=Node.GATE, task="a", attempt="r-1.a.1")])
    assert (state.tasks["a"].status, state.active) == (TaskStatus.GATING, 0), "nobody works on what is in the gate"


def test_what_was_learnt_adds_up() -> None:
    told = [dispatched(), ended(Node.CHECK, Outcome.FAILED, feedback_blob=OTHER)]
    assert fold([CREATED, *told]).tasks["a"].feedback_blob == OTHER
    task = fold([CREATED, dispatched(), ended(Node.GATE, Outcome.CONFLICT, feedback_blob=OTHER)]).tasks["a"]
    assert (task.feedback_blob, task.added_blob, task.conflicts, task.failures) == (BLOB, OTHER, 1, 0)


def test_unfinished_work_survives_the_next_dispatch() -> None:
    done = ended(Node.IMPLEMENT, Outcome.FAILED, change=change("r-1.a.1"))
    task = fold([CREATED, dispatched(), done, dispatched(2), ended(Node.IMPLEMENT, Outcome.FAILED)]).tasks["a"]
    assert task.change == change("r-1.a.1")
    assert task.failures == 2


def test_a_change_that_is_taken_back_is_like_one_that_came_back_from_the_gate() -> None:
    merged = [CREATED, PLANNED, dispatched(), e.TaskMerged(task="a", attempt="r-1.a.1", commit="c1")]
    back = e.TaskReverted(task="a", attempt="r-1.a.1", commit="c1", by="c2", reason="red", feedback_blob=OTHER)
    task = fold([*merged, back]).tasks["a"]
    assert (task.status, task.commit, task.running) == (TaskStatus.GATING, None, False)
    assert (task.failures, task.added_blob, task.reason) == (1, OTHER, "red")
    assert task.last is not None
    assert (task.last.node, task.last.outcome) == (Node.GATE, Outcome.FAILED)
    other = back.model_copy(update={"commit": "c9"})
    assert fold([*merged, other]).tasks["a"].status is TaskStatus.MERGED, "it landed as something else since"
    assert fold([*merged, back, back]).tasks["a"].failures == 1
    waits = e.RunWaiting(reason="a person is asked")
    assert fold([*merged, waits, back]).status is RunStatus.RUNNING


def test_a_resumed_run_gives_attempts_anew_but_merged_is_merged() -> None:
    failed = [
        CREATED, PLANNED, dispatched(), ended(Node.CHECK, Outcome.FAILED), e.TaskFailed(task="a", reason="r"),
        e.TaskMerged(task="b", attempt="r-1.b.1", commit="1" * 40),
        e.RunFinished(status=RunStatus.PARTIAL, exit_code=1, sha="2" * 40),
    ]  # fmt: skip
    state = fold([*failed, e.RunResumed(by="ada", budget_nusd=9)])
    task = state.tasks["a"]
    assert (task.status, task.failures, task.number, task.reason) == (TaskStatus.PENDING, 0, 1, "")
    assert state.tasks["b"].status is TaskStatus.MERGED
    assert (state.finished, state.budget_nusd, state.status) == (None, 9, RunStatus.RUNNING)


def test_work_that_waits_for_money_is_taken_up_where_it_was() -> None:
    stopped = [CREATED, PLANNED, dispatched(), ended(Node.CHECK, Outcome.OK)]
    stopped.append(e.TaskFailed(task="a", reason="money", failure=FailureClass.BUDGET))
    state = fold([*stopped, e.RunResumed(by="ada")])
    task = state.tasks["a"]
    assert (task.status, task.last, task.kept) == (TaskStatus.CHECKING, task.passed, None)


def test_a_cancel_drops_the_runs_own_node_and_a_pause() -> None:
    start = e.NodeStarted(node=Node.PLAN, attempt="r-1._plan.1")
    state = fold([CREATED, start, e.RunPaused(by="ada"), e.RunCancelled(by="ada")])
    assert (state.node, state.node_running, state.paused, state.cancelled) == (None, False, False, True)


def test_a_planner_that_cannot_be_helped_is_not_kept() -> None:
    start = e.NodeStarted(node=Node.PLAN, attempt="r-1._plan.1")

    def after(**fields: object) -> Node | None:
        end = ended(Node.PLAN, Outcome.FAILED, task=None, **fields)
        return fold([CREATED, start, end, e.RunResumed(by="ada")]).node

    assert after() is Node.PLAN
    assert after(failure=FailureClass.AUTH) is None


def test_an_attempt_that_starts_again_forgets_how_its_harness_ended() -> None:
    state = AttemptState()
    started = e.AttemptStarted(
        run="r-1", task="a", number=1, agent="x", harness=Harness.COMMAND, incarnation=1, base="0" * 40, workspace="w"
    )
    apply_attempt(state, started, 1.0)
    apply_attempt(state, e.HarnessStarted(incarnation=1), 2.0)
    apply_attempt(state, e.HarnessFinished(incarnation=1, ok=True), 3.0)
    apply_attempt(state, e.NodeDelayed(node=Node.IMPLEMENT, reason="r", seconds=1), 4.0)
    assert (state.harness_started, state.delays, state.started_at) == (1, 1, 1.0)
    apply_attempt(state, started.model_copy(update={"incarnation": 2}), 5.0)
    assert (state.harness_finished, state.delays, state.started_at) == (None, 0, 5.0)


def test_what_is_merged_asks_nobody_any_more_and_stays_merged() -> None:
    asked = e.TaskEscalated(task="a", attempt="r-1.a.1", agent="x", question="which one?")
    merged = e.TaskMerged(task="a", attempt="r-1.a.1", commit="1" * 40)
    state = fold((CREATED, PLANNED, dispatched(), asked, merged, e.RunResumed(by="ada", answer_blob=BLOB)))
    assert state.tasks["a"].status is TaskStatus.MERGED
