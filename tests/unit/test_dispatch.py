"""What a run does next, held against random plans, outcomes and people."""

from random import Random

import pytest
from dispatch_kit import BLOB, POSSIBLE, RUN, World, config, names, plan, task
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.assigning import with_pieces
from quarterdeck.delivery.dispatch import choose
from quarterdeck.delivery.wishes import cancellable, funded, pausable, resumable
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Feedback
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import Exit, FailureClass
from quarterdeck.kernel.states import RunState

# --- random runs ------------------------------------------------------------------------------------------


WORKERS = ("implementer", "shell", "debugger", "integrator")
CLIMBS = st.fixed_dictionaries(
    {name: st.sampled_from((None, None, *WORKERS, "human")) for name in WORKERS},
    optional={"planner": st.sampled_from((None, "human"))},
)
"""Escalations of all kinds, circles and agents that name themselves included."""


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(1, 6))
    tasks = []
    for number in range(count):
        needs = draw(st.lists(st.integers(0, number - 1), max_size=2, unique=True)) if number else []
        agent = draw(st.sampled_from([None, "shell"]))
        paths = draw(st.sampled_from([("shared.py",), (f"t{number}.py",)]))
        tasks.append(task(f"t{number}", *(f"t{need}" for need in needs), agent=agent, paths=paths))
    settings = config(
        attempts=draw(st.integers(1, 3)),
        rounds=draw(st.integers(0, 2)),
        reviewer=draw(st.booleans()),
        parallel=draw(st.integers(1, 3)),
        climbs=draw(CLIMBS),
    )
    return World(plan(*tasks), settings, planned=draw(st.booleans()), plan_only=draw(st.integers(0, 9)) == 9)


def perform(world: World, rnd: Random, *, good: bool = False) -> None:
    """One job ends somehow; sometimes the run hears of it only later."""
    job = rnd.choice(world.jobs)
    node = Node(str(job.payload["node"]))
    outcome = Outcome.OK if good else rnd.choice(POSSIBLE[node])
    failure = rnd.choice([None, FailureClass.TOOL, FailureClass.AUTH]) if outcome is Outcome.FAILED else None
    world.end(job, outcome, failure, advance=good or rnd.random() < 0.8)


def meddle(world: World, rnd: Random) -> None:
    """A person wants something."""
    answer = rnd.choice([None, "a" * 64])
    wish = rnd.choice(["pause", "cancel", "resume", "resume"])
    if wish == "resume":
        world.control(e.RunResumed(by="ada", answer_blob=answer))
    elif world.state.finished is None and wish == "pause" and not world.state.paused:
        world.control(e.RunPaused(by="ada"))
    elif world.state.finished is None and wish == "cancel" and not world.state.cancelled:
        world.control(e.RunCancelled(by="ada"))


def to_rest(world: World, rnd: Random, *, good: bool) -> None:
    """Every job is performed, until nothing is left."""
    world.advance()
    for _ in range(500):
        if not world.jobs:
            break
        perform(world, rnd, good=good)
        world.advance()
    assert not world.jobs, "works for ever"
    state = world.state
    waits = state.status is RunStatus.WAITING
    assert state.finished is not None or state.paused or waits, "ended without saying so"
    assert not any(current.running for current in state.tasks.values())


@given(world=worlds(), rnd=st.randoms(use_true_random=False), steps=st.integers(0, 60))
def test_every_run_ends_or_waits_for_a_stated_reason(world: World, rnd: Random, steps: int) -> None:
    for _ in range(steps):
        if world.jobs and rnd.random() < 0.85:
            perform(world, rnd)
        else:
            meddle(world, rnd)
    to_rest(world, rnd, good=False)
    check_ending(world)
    # Whoever goes on with it, with answers and money and better luck, brings it to its end.
    for _ in range(2):
        if world.state.finished is None or world.state.finished.status is not RunStatus.DONE:
            world.control(e.RunResumed(by="ada", answer_blob="a" * 64, budget_nusd=5))
            to_rest(world, rnd, good=True)
    assert world.state.finished is not None
    assert world.state.finished.status is RunStatus.DONE
    merged = [event.task for event in world.log if isinstance(event, e.TaskMerged)]
    expected = [] if world.state.created and world.state.created.plan_only else [t.id for t in world.plan.tasks]
    assert sorted(merged) == sorted(expected), "each task merges exactly once"


def check_ending(world: World) -> None:
    state, finished = world.state, world.state.finished
    if finished is None:
        if state.status is RunStatus.WAITING:
            waiting = [current for current in state.tasks.values() if current.status is TaskStatus.WAITING]
            asked = "planner" in world.config.agents and state.node is Node.PLAN
            heard = (Outcome.WAITING, Outcome.FAILED) if asked else (Outcome.WAITING,)
            assert waiting or (state.last is not None and state.last.outcome in heard)
        return
    assert finished.reason or finished.status is RunStatus.DONE
    merged = sum(current.status is TaskStatus.MERGED for current in state.tasks.values())
    match finished.status:
        case RunStatus.DONE:
            assert finished.exit_code == Exit.DONE
        case RunStatus.CANCELLED:
            assert finished.exit_code == Exit.INTERRUPTED
        case RunStatus.PARTIAL:
            assert merged > 0 or state.exhausted
            assert (finished.exit_code == Exit.BUDGET) == state.exhausted
        case _:
            assert finished.status is RunStatus.FAILED
            assert merged == 0
    whole = state.created is not None and not state.created.plan_only and state.plan_blob is not None
    if finished.status is not RunStatus.DONE and whole:
        for current in state.tasks.values():
            assert current.status.finished
            assert current.reason or current.status in (TaskStatus.MERGED, TaskStatus.CANCELLED)


@given(world=worlds(), rnd=st.randoms(use_true_random=False))
def test_nothing_is_decided_twice(world: World, rnd: Random) -> None:
    for _ in range(20):
        assert not world.decide()
        assert not world.decide()
        if not world.jobs:
            return
        perform(world, rnd)
        world.advance()


# --- single rules -----------------------------------------------------------------------------------------


def test_a_plain_task_goes_through_the_blueprint_in_order() -> None:
    world = World(plan(task("a")), config(reviewer=True))
    world.through("a", Node.IMPLEMENT, Node.CHECK, Node.REVIEW, Node.GATE)
    finished = world.finish()
    assert (finished.status, finished.exit_code) == (RunStatus.DONE, Exit.DONE)


def test_a_returned_change_waits_for_a_slot() -> None:
    world = World(plan(task("a"), task("b")), config(parallel=1))
    world.through("a", Node.IMPLEMENT, Node.CHECK)
    assert names(world.jobs) == ["a:gate", "b:implement"]
    world.end(world.job(Node.GATE), Outcome.CONFLICT)
    assert names(world.jobs) == ["b:implement"]
    world.through("b", Node.IMPLEMENT, Node.CHECK)
    assert names(world.jobs) == ["b:gate", "a:implement"]


def test_what_was_learnt_is_handed_on() -> None:
    world = World(plan(task("a")), config())
    world.end(world.job(Node.IMPLEMENT), Outcome.FAILED, blob="1" * 64)
    world.end(world.job(Node.IMPLEMENT), Outcome.WAITING, blob="2" * 64)
    world.control(e.RunResumed(by="ada", answer_blob="a" * 64))
    told = [(event.feedback_blob, event.added_blob) for event in world.dispatched("a")]
    assert told == [(None, None), ("1" * 64, None), ("2" * 64, "a" * 64)]
    world.through("a", Node.IMPLEMENT, Node.CHECK)
    world.end(world.job(Node.GATE), Outcome.CONFLICT, blob="c" * 64)
    assert world.dispatched("a")[-1].added_blob == "c" * 64
    assert world.dispatched("a")[-1].feedback_blob == BLOB  # with the answer in it: the node saved both
    assert world.dispatched("a")[-1].carry == f"{RUN}.a.3"


def test_only_native_agents_find_their_earlier_work() -> None:
    world = World(plan(task("a", agent="shell")), config())
    world.end(world.job(Node.IMPLEMENT), Outcome.FAILED)
    assert world.dispatched("a")[-1].carry is None


def test_a_question_stays_open_until_it_is_answered() -> None:
    world = World(plan(task("a"), task("b", "a")), config())
    world.end(world.job(Node.IMPLEMENT), Outcome.WAITING)
    assert world.state.status is RunStatus.WAITING
    world.control(e.RunResumed(by="ada"))
    assert (world.state.status, world.jobs) == (RunStatus.WAITING, [])
    world.control(e.RunResumed(by="ada", answer_blob="a" * 64))
    assert names(world.jobs) == ["a:implement"]
    world.end(world.job(Node.IMPLEMENT), Outcome.WAITING)
    assert world.state.status is RunStatus.WAITING, "the old answer does not answer a new question"


def test_a_planner_asks_and_is_answered() -> None:
    world = World(plan(task("a")), config(), planned=False)
    world.end(world.job(Node.PLAN), Outcome.WAITING)
    assert world.state.status is RunStatus.WAITING
    world.control(e.RunResumed(by="ada"))
    assert world.state.status is RunStatus.WAITING
    world.control(e.RunResumed(by="ada", answer_blob="a" * 64))
    job = world.job(Node.PLAN)
    assert (job.payload["feedback_blob"], job.payload["added_blob"]) == (BLOB, "a" * 64)


def test_a_plan_that_was_paid_for_is_used() -> None:
    world = World(plan(task("a")), config(), planned=False)
    world.control(e.RunPaused(by="ada"))
    world.end(world.job(Node.PLAN), Outcome.OK)
    assert world.state.plan_blob is None
    world.control(e.RunResumed(by="ada"))
    assert names(world.jobs) == ["a:implement"]


def test_resuming_starts_no_second_planner() -> None:
    world = World(plan(task("a")), config(), planned=False)
    world.control(e.RunResumed(by="ada", budget_nusd=9))
    assert names(world.jobs) == ["_plan:plan"]


def test_a_cancel_while_planning_or_reporting_ends_the_run() -> None:
    world = World(plan(task("a")), config(), planned=False)
    world.control(e.RunCancelled(by="ada"))
    assert world.finish().exit_code == Exit.INTERRUPTED

    world = World(plan(task("a")), config())
    world.through("a", Node.IMPLEMENT, Node.CHECK, Node.GATE)
    world.control(e.RunCancelled(by="ada"))
    world.finish()


def test_a_paused_run_can_be_cancelled() -> None:
    world = World(plan(task("a")), config())
    world.control(e.RunPaused(by="ada"))
    world.control(e.RunCancelled(by="ada"))
    assert world.finish().status is RunStatus.CANCELLED


def test_what_is_finished_when_money_ends_goes_on_when_there_is_more() -> None:
    world = World(plan(task("a"), task("b"), task("c", "a")), config(reviewer=True))
    world.through("a", Node.IMPLEMENT, Node.CHECK)
    world.end(world.job(Node.IMPLEMENT, "b"), Outcome.EXHAUSTED)
    world.end(world.job(Node.REVIEW, "a"), Outcome.EXHAUSTED)
    finished = world.finish()
    assert (finished.status, finished.exit_code, finished.reason) == (
        RunStatus.PARTIAL, Exit.BUDGET, "the budget is exhausted: implement exhausted",
    )  # fmt: skip
    world.control(e.RunResumed(by="ada", budget_nusd=9))
    assert sorted(names(world.jobs)) == ["a:review", "b:implement"]
    assert world.job(Node.REVIEW).payload["after"] == 3, "the exhausted review does not count as its end"
    assert len(world.dispatched("a")) == 1
    assert world.dispatched("b")[-1].carry == f"{RUN}.b.1"


def test_more_money_brings_back_what_ended_for_want_of_it_and_nothing_else() -> None:
    made = plan(*(task(name) for name in "abcd"), task("e", "a"), task("f", "b"))
    world = World(made, config(attempts=1))
    world.through("c", Node.IMPLEMENT)
    world.through("a", Node.IMPLEMENT, outcome=Outcome.FAILED)
    world.end(world.job(Node.IMPLEMENT, "b"), Outcome.EXHAUSTED)
    assert {name for name, each in world.state.tasks.items() if each.status is TaskStatus.FAILED} == {"a", "b"}
    raised = funded(e.BudgetRaised(by="ada", budget_nusd=world.state.budget_nusd + 1), world.state)
    assert isinstance(raised, e.BudgetRaised)
    assert sorted(raised.tasks) == ["b", "e", "f"]
    world.control(raised)
    assert world.dispatched("b")[-1].number == 2
    assert world.state.tasks["e"].status is TaskStatus.BLOCKED, "what it needs has failed for a reason of its own"
    assert world.state.tasks["f"].status is TaskStatus.PENDING
    assert funded(raised, world.state) is None, "that much it has already"


def test_more_money_for_a_run_that_has_just_ended_for_want_of_it_lets_it_go_on() -> None:
    world = World(plan(task("a")), config())
    world.end(world.job(Node.IMPLEMENT), Outcome.EXHAUSTED)
    assert world.finish().exit_code == Exit.BUDGET
    more = e.BudgetRaised(by="ada", budget_nusd=world.state.budget_nusd + 1)
    assert funded(more, world.state) == e.RunResumed(by="ada", budget_nusd=more.budget_nusd)
    other = World(plan(task("a")), config(attempts=1))
    other.end(other.job(Node.IMPLEMENT), Outcome.FAILED)
    assert other.finish().exit_code == Exit.FAILED
    assert funded(more, other.state) is None, "money was not what it wanted"


def test_nothing_but_a_word_that_asks_for_it_takes_a_cancel_back() -> None:
    world = World(plan(task("a")), config())
    world.end(world.job(Node.IMPLEMENT), Outcome.EXHAUSTED)
    world.control(e.RunCancelled(by="ada"))
    assert not pausable(world.state), "it would neither end nor go on"
    world.finish()
    more = e.BudgetRaised(by="bob", budget_nusd=world.state.budget_nusd + 1)
    assert funded(more, world.state) is None, "it was cancelled, whatever money it wanted before"
    assert resumable(world.state)


def test_a_run_that_is_paused_after_a_cancel_is_ended_by_another_one() -> None:
    world = World(plan(task("a")), config())
    world.control(e.RunCancelled(by="ada"))
    world.control(e.RunPaused(by="bob"))  # as earlier versions did
    world.end(world.job(Node.REPORT), Outcome.OK)
    assert world.jobs == []
    assert cancellable(world.state)
    world.control(e.RunCancelled(by="ada"))
    assert world.finish().status is RunStatus.CANCELLED
    assert not cancellable(world.state)


def test_there_is_nothing_to_go_on_with_in_a_run_that_is_done() -> None:
    world = World(plan(task("a")), config())
    world.through("a", Node.IMPLEMENT, Node.CHECK, Node.GATE)
    assert resumable(world.state), "it has not ended"
    assert world.finish().status is RunStatus.DONE
    assert not resumable(world.state), "its report would be written, and people told, once more"


@pytest.mark.parametrize(("node", "outcome"), [(Node.GATE, Outcome.HELD), (Node.REVIEW, Outcome.FAILED)])
def test_work_that_was_not_at_fault_is_kept(node: Node, outcome: Outcome) -> None:
    world = World(plan(task("a")), config(reviewer=True))
    world.through("a", *(step for step in (Node.IMPLEMENT, Node.CHECK, Node.REVIEW) if step is not node))
    world.end(world.job(node), outcome)
    assert world.finish().exit_code == Exit.FAILED
    world.control(e.RunResumed(by="ada"))
    assert names(world.jobs) == [f"a:{node}"]
    assert len(world.dispatched("a")) == 1


def test_a_reviewer_is_heard_for_so_many_rounds() -> None:
    world = World(plan(task("a")), config(reviewer=True, rounds=1, attempts=3))
    for _ in range(2):
        world.through("a", Node.IMPLEMENT, Node.CHECK)
        world.end(world.job(Node.REVIEW), Outcome.CHANGE)
    finished = world.finish()
    assert finished.reason.endswith("the reviewer still wants a change after 1 rounds: review change")


def test_a_conflict_is_not_the_authors_fault() -> None:
    world = World(plan(task("a")), config(attempts=2))
    world.end(world.job(Node.IMPLEMENT), Outcome.FAILED)
    world.through("a", Node.IMPLEMENT, Node.CHECK)
    world.end(world.job(Node.GATE), Outcome.CONFLICT)
    assert names(world.jobs) == ["a:implement"]


def test_a_failure_that_no_attempt_can_mend_ends_the_task_at_once() -> None:
    world = World(plan(task("a"), task("b", "a")), config())
    world.end(world.job(Node.IMPLEMENT), Outcome.FAILED, FailureClass.AUTH)
    assert world.finish().exit_code == Exit.FAILED
    assert world.state.tasks["b"].reason == "needs a, which did not merge"


def test_a_run_tells_the_reason_of_one_task_as_that_of_one_task() -> None:
    said = {}
    for failures in ((FailureClass.AUTH, FailureClass.AUTH), (FailureClass.AUTH, FailureClass.QUOTA)):
        world = World(plan(task("a"), task("b"), task("c")), config())
        for name, failure in zip("ab", failures, strict=True):
            world.end(world.job(Node.IMPLEMENT, name), Outcome.FAILED, failure=failure, reason=f"{failure} it is")
        world.through("c", Node.IMPLEMENT, Node.CHECK, Node.GATE)
        said[failures[1]] = world.finish().reason
    assert said[FailureClass.AUTH] == "2 of 3 tasks failed: auth it is"
    assert said[FailureClass.QUOTA] == "2 of 3 tasks failed, not all for the same reason; a: auth it is"


def test_a_run_of_one_task_says_so() -> None:
    world = World(plan(task("a")), config())
    world.end(world.job(Node.IMPLEMENT, "a"), Outcome.FAILED, failure=FailureClass.AUTH, reason="no key")
    assert world.finish().reason == "1 of 1 task failed: no key"


def test_a_block_by_very_many_tasks_fits_its_event() -> None:
    many = [task(f"n{number}-{'x' * 50}") for number in range(60)]
    world = World(plan(*many, task("last", *(one.id for one in many))), config(parallel=60))
    for one in many:
        world.end(world.job(Node.IMPLEMENT, one.id), Outcome.FAILED, FailureClass.AUTH, advance=False)
    world.advance()
    assert world.state.tasks["last"].status is TaskStatus.BLOCKED
    assert world.state.tasks["last"].reason.endswith(" and more, which did not merge")


def test_a_withdrawn_change_of_a_run_that_goes_on_goes_to_the_gate_again() -> None:
    world = World(plan(task("a")), config())
    world.through("a", Node.IMPLEMENT, Node.CHECK)
    gate = world.job(Node.GATE)
    world.record(e.RunCancelled(by="ada"))
    world.record(e.RunResumed(by="ada"))
    world.end(gate, Outcome.CANCELLED)
    assert names(world.jobs) == ["a:gate"]
    assert world.job(Node.GATE).payload["after"] == 3, "that it was withdrawn does not count as its end"


def test_a_change_that_was_in_the_gate_when_its_run_was_cancelled_is_not_made_again() -> None:
    world = World(plan(task("a"), task("b", "a")), config(reviewer=True))
    world.through("a", Node.IMPLEMENT, Node.CHECK, Node.REVIEW)
    world.control(e.RunCancelled(by="ada"))
    assert world.finish().status is RunStatus.CANCELLED
    world.control(e.RunResumed(by="ada"))
    assert names(world.jobs) == ["a:gate"]
    world.through("a", Node.GATE)
    assert names(world.jobs) == ["b:implement"]


def test_a_change_that_the_gate_judged_when_its_run_was_cancelled_is_made_again() -> None:
    world = World(plan(task("a")), config())
    world.through("a", Node.IMPLEMENT, Node.CHECK)
    world.end(world.job(Node.GATE), Outcome.CONFLICT, advance=False)
    world.record(e.RunCancelled(by="ada"))
    world.advance()
    world.finish()
    world.control(e.RunResumed(by="ada"))
    assert names(world.jobs) == ["a:implement"]


def test_disjoint_work_first_then_the_longest_chain() -> None:
    made = plan(
        task("a", paths=("x.py",)), task("b", paths=("x.py",)), task("c"), task("d", "c"), task("e", paths=("y.py",))
    )
    assert [one.id for one in choose(RunState(), made, 3, 3)] == ["c", "a", "e"]
    assert [one.id for one in choose(RunState(), made, 4, 4)] == ["c", "a", "e", "b"]
    assert choose(RunState(), made, 0, 4) == []


def test_the_chain_that_decides_goes_before_work_that_overlaps_nothing() -> None:
    made = plan(task("a", paths=("x.py",)), task("b", paths=("y.py",)), task("c", paths=("x.py",)), task("d", "c"))
    assert [one.id for one in choose(RunState(), made, 2, 2)] == ["c", "b"]
    assert [one.id for one in choose(RunState(), made, 2, 3)] == ["c", "b"]
    assert [one.id for one in choose(RunState(), made, 1, 3)] == ["c"]


def test_a_slot_is_kept_for_the_chain_that_decides() -> None:
    chain = (task("a"), task("b", "a"), task("c", "b"), task("d", "c"))
    world = World(plan(*chain, task("x"), task("y")), config(parallel=2))
    assert names(world.jobs) == ["a:implement", "x:implement"]
    world.through("a", Node.IMPLEMENT, Node.CHECK)
    assert names(world.jobs) == ["x:implement", "a:gate"]  # y could start, and would keep b waiting
    world.through("x", Node.IMPLEMENT, Node.CHECK)
    assert names(world.jobs) == ["a:gate", "x:gate", "y:implement"]  # never the last slot
    world.through("a", Node.GATE)
    assert names(world.jobs) == ["x:gate", "y:implement", "b:implement"]


def test_no_slot_is_kept_where_the_work_itself_takes_longer_than_the_chain() -> None:
    others = [task(f"o{number}") for number in range(9)]
    world = World(plan(task("a"), task("b", "a"), task("c", "b"), *others), config(parallel=2))
    world.through("a", Node.IMPLEMENT, Node.CHECK)
    assert names(world.jobs) == ["o0:implement", "a:gate", "o1:implement"]


def test_a_planned_goal_alone_changes_nothing() -> None:
    world = World(plan(task("a")), config(), planned=False, plan_only=True)
    world.end(world.job(Node.PLAN), Outcome.OK)
    assert world.finish().status is RunStatus.DONE
    assert not world.dispatched("a")


def test_the_warnings_of_a_planners_plan_are_on_record() -> None:
    world = World(plan(task("a", paths=("x.py",)), task("b", paths=("x.py",))), config(), planned=False)
    world.end(world.job(Node.PLAN), Outcome.OK)
    assert world.state.warnings


# --- who works on it ---------------------------------------------------------------------------------------


def fail(world: World, name: str, times: int, failure: FailureClass | None = None) -> None:
    for _ in range(times):
        world.end(world.job(Node.IMPLEMENT, name), Outcome.FAILED, failure)


def agents_of(world: World, name: str) -> list[str]:
    return [event.agent for event in world.dispatched(name)]


def test_an_agent_that_had_its_attempts_hands_on_once_and_then_a_person_is_asked() -> None:
    climbs = {"implementer": "debugger", "debugger": "human"}
    world = World(plan(task("a"), task("b", "a")), config(attempts=2, climbs=climbs))
    fail(world, "a", 4)
    assert agents_of(world, "a") == ["implementer", "implementer", "debugger", "debugger"]
    handed = world.dispatched("a")[2]
    assert handed.why == "implementer escalates: 2 attempts, the last one: implement failed"
    assert handed.feedback_blob == BLOB
    assert handed.carry == f"{RUN}.a.2"
    asked = next(event for event in world.log if isinstance(event, e.TaskEscalated))
    assert (asked.agent, asked.attempt) == ("debugger", f"{RUN}.a.4")
    assert "4 attempts by implementer, debugger" in asked.question
    assert f'quarterdeck resume {RUN} --answer "..."' in asked.question
    assert world.state.status is RunStatus.WAITING
    world.control(e.RunResumed(by="ada"))
    assert agents_of(world, "a")[4:] == []
    world.control(e.RunResumed(by="ada", answer_blob="a" * 64))
    again = world.dispatched("a")[4]
    assert (again.agent, again.number, again.added_blob) == ("implementer", 5, "a" * 64)
    world.through("a", Node.IMPLEMENT, Node.CHECK, Node.GATE)
    assert world.state.tasks["a"].status is TaskStatus.MERGED
    assert agents_of(world, "b") == ["implementer"]


def test_a_person_who_is_asked_can_cancel() -> None:
    world = World(plan(task("a")), config(attempts=1, climbs={"implementer": "human"}))
    fail(world, "a", 1)
    assert world.state.status is RunStatus.WAITING
    world.control(e.RunCancelled(by="ada"))
    assert world.finish().status is RunStatus.CANCELLED


def test_escalation_in_a_circle_ends() -> None:
    climbs = {"implementer": "debugger", "debugger": "implementer"}
    world = World(plan(task("a")), config(attempts=1, climbs=climbs))
    fail(world, "a", 2)
    assert agents_of(world, "a") == ["implementer", "debugger"]
    assert world.state.tasks["a"].status is TaskStatus.FAILED


def test_an_agent_without_a_model_is_passed_over() -> None:
    settings = config(attempts=1, climbs={"implementer": "debugger", "debugger": "tester", "tester": None})
    agents = {**settings.agents, "debugger": settings.agents["debugger"].model_copy(update={"tier": "brain"})}
    world = World(plan(task("a")), settings.model_copy(update={"agents": agents}))
    fail(world, "a", 1)
    assert agents_of(world, "a") == ["implementer", "tester"]


def test_a_reviewer_who_is_never_content_brings_the_next_agent() -> None:
    settings = config(attempts=3, rounds=1, reviewer=True, climbs={"implementer": "debugger", "debugger": None})
    world = World(plan(task("a")), settings)
    for _ in range(2):
        world.through("a", Node.IMPLEMENT, Node.CHECK)
        world.end(world.job(Node.REVIEW, "a"), Outcome.CHANGE)
    assert agents_of(world, "a") == ["implementer", "implementer", "debugger"]


def test_what_is_handed_in_in_vain_goes_to_another_agent_at_once() -> None:
    world = World(plan(task("a")), config(climbs={"implementer": "debugger", "debugger": None}))
    fail(world, "a", 1, FailureClass.HANDOFF)
    assert agents_of(world, "a") == ["implementer", "debugger"]
    alone = World(plan(task("a")), config(climbs={"implementer": "human"}))
    fail(alone, "a", 1, FailureClass.HANDOFF)
    assert agents_of(alone, "a") == ["implementer", "implementer"]


def clash(world: World, times: int) -> None:
    """The change of `a` comes back from the gate so often."""
    for _ in range(times):
        world.through("a", Node.IMPLEMENT, Node.CHECK)
        world.end(world.job(Node.GATE, "a"), Outcome.CONFLICT)


def test_what_no_way_of_merging_fits_goes_to_the_integrator_at_once_and_then_to_a_person() -> None:
    world = World(plan(task("a")), config(climbs={"integrator": None}))
    clash(world, 3)
    assert agents_of(world, "a") == ["implementer", "integrator", "integrator"]
    assert world.dispatched("a")[1].why == "no way of merging the change with what has landed passes"
    asked = next(event for event in world.log if isinstance(event, e.TaskEscalated))
    assert (asked.agent, asked.attempt) == ("integrator", ids.attempt_id(RUN, "a", 3))
    assert world.state.status is RunStatus.WAITING


def test_the_integrator_has_its_turn_even_where_one_attempt_is_all_there_is() -> None:
    world = World(plan(task("a")), config(attempts=1, climbs={"integrator": None}))
    clash(world, 1)
    fail(world, "a", 1)
    assert agents_of(world, "a") == ["implementer", "integrator"]
    assert world.state.status is RunStatus.WAITING


def test_without_an_integrator_the_author_has_its_attempts_and_nobody_is_asked() -> None:
    world = World(plan(task("a")), config(attempts=2))
    clash(world, 2)
    assert agents_of(world, "a") == ["implementer", "implementer"]
    assert world.state.tasks["a"].status is TaskStatus.FAILED


def test_a_person_is_shown_what_the_integrator_was_shown() -> None:
    pieces = [Feedback(source="conflict", reason="older", detail="-x"), Feedback(source="verify", reason="red")]
    newest = Feedback(source="conflict", reason="no way passes", detail="+theirs\n+ours")
    assert with_pieces("What now?", [*pieces, newest]) == "What now?\n\nno way passes\n+theirs\n+ours"
    assert with_pieces("What now?", pieces[1:]) == "What now?"
    long = Feedback(source="conflict", reason="no way", detail="d" * 24_000)
    assert len(with_pieces("What now?", [long])) <= 8_000


def test_a_planner_that_had_its_attempts_asks_a_person() -> None:
    world = World(plan(task("a")), config(attempts=2, climbs={"planner": "human"}), planned=False)
    for _ in range(2):
        world.end(world.job(Node.PLAN), Outcome.FAILED)
    waits = next(event for event in world.log if isinstance(event, e.RunWaiting))
    assert waits.reason.startswith("There is no plan after 2 attempts. The last one: plan failed")
    world.control(e.RunResumed(by="ada", answer_blob="a" * 64))
    assert world.job(Node.PLAN).payload["added_blob"] == "a" * 64


def test_a_person_is_asked_for_other_words_only_where_they_can_help() -> None:
    for failure, worded in (
        (FailureClass.HANDOFF, True),
        (FailureClass.REFUSED, True),
        (FailureClass.TRANSIENT, False),
    ):
        world = World(plan(task("a")), config(attempts=1, climbs={"planner": "human"}), planned=False)
        world.end(world.job(Node.PLAN), Outcome.FAILED, failure=failure)
        asked = next(event.reason for event in world.log if isinstance(event, e.RunWaiting))
        assert ("--answer" in asked) is worded, asked
        world.control(e.RunResumed(by="ada"))
        assert names(world.jobs) == ["_plan:plan"], "and the cause may be gone without a word"


@pytest.mark.parametrize("failure", [FailureClass.AUTH, FailureClass.CONFIGURATION])
@pytest.mark.parametrize("climbs", [{}, {"planner": "human"}])
def test_a_planner_that_no_attempt_can_help_is_not_tried_again_and_the_run_says_why(
    climbs: dict[str, str], failure: FailureClass
) -> None:
    world = World(plan(task("a")), config(climbs=climbs), planned=False)
    world.end(world.job(Node.PLAN), Outcome.FAILED, failure=failure)
    finished = world.finish()
    planned = [event for event in world.log if isinstance(event, e.NodeStarted) and event.node is Node.PLAN]
    assert len(planned) == 1
    assert (finished.status, finished.reason) == (RunStatus.FAILED, "no plan: plan failed")
    world.control(e.RunResumed(by="ada"))
    assert names(world.jobs) == ["_plan:plan"], "with a new key it is planned again"


def test_more_money_while_a_run_without_a_plan_ends_for_want_of_it_lets_it_plan() -> None:
    world = World(plan(task("a")), config(), planned=False)
    world.end(world.job(Node.PLAN), Outcome.EXHAUSTED)
    assert names(world.jobs) == ["_end:report"]
    world.control(e.BudgetRaised(by="ada", budget_nusd=9))
    world.end(world.job(Node.REPORT), Outcome.OK)
    assert names(world.jobs) == ["_plan:plan"]


def test_a_run_without_a_plan_says_what_the_last_planner_said() -> None:
    world = World(plan(task("a")), config(attempts=2), planned=False)
    for _ in range(2):
        world.end(world.job(Node.PLAN), Outcome.FAILED)
    assert world.finish().reason == "no plan: plan failed"
