"""The read tables: what people see after each event, and that a rebuild finds the same."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from store_kit import open_at

from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Claim
from quarterdeck.journal.projections import rebuild
from quarterdeck.journal.views import Views, WaitView
from quarterdeck.kernel import events as ev
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.entities import Harness, Plan, Task, Usage
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import FailureClass, NotFound
from quarterdeck.store.port import Store
from quarterdeck.testing import stories

RUN = "r-1"
A1 = ids.attempt_id(RUN, "a", 1)
B1 = ids.attempt_id(RUN, "b", 1)


_SUMS: tuple[tuple[str, dict[str, object]], ...] = (
    ("costs_by", {"by": "agent", "since": "", "limit": 10}),
    ("changes_by", {"by": "agent", "since": ""}),
    ("board_landings", {"day": ""}),
    ("burn_by", {"step": 600, "since": 0}),
    ("board_incidents", {"since": 0, "limit": 10}),
)


class _Deck:
    """A deck with one run, written through the real journal."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.log = Log(store, SystemClock())
        self.views = Views(store)
        self.claims: dict[str, Claim] = {}

    async def say(self, stream: str, *events: ev.EventBase) -> None:
        if stream not in self.claims:
            self.claims[stream] = await self.log.claim(stream)
        await self.log.append(self.claims[stream], *events)

    async def run(self, *events: ev.EventBase) -> None:
        await self.say(ids.run_stream(RUN), *events)

    async def attempt(self, attempt: str, *events: ev.EventBase) -> None:
        await self.say(ids.attempt_stream(attempt), *events)

    async def status(self, task: str) -> TaskStatus:
        return next(view.status for view in await self.views.tasks(RUN) if view.task == task)

    async def begin(self) -> None:
        blob = await self.log.put(b"goal")
        plan = Plan(goal="g", tasks=tuple(Task(id=name, title=name.upper(), paths=("*",)) for name in "abc"))
        await self.run(
            stories.created(
                RUN, goal_blob=blob, config_blob=blob, into="quarterdeck/r-1", user="me", sandbox="bubblewrap"
            )
        )
        plan_blob = await self.log.put(plan.model_dump_json().encode())
        await self.run(ev.RunPlanned(plan_blob=plan_blob, tasks=3))

    async def snapshot(self) -> tuple[object, ...]:
        views = self.views
        return (
            await views.runs(),
            await views.tasks(RUN),
            await views.attempts(RUN),
            await views.costs(),
            await views.waits(),
            await views.notices(),
            *[await self.store.read(name, **asks) for name, asks in _SUMS],
        )


@pytest.fixture
async def deck(tmp_path: Path) -> AsyncIterator[_Deck]:
    store = await open_at(tmp_path / "deck.db")
    yield _Deck(store)
    await store.close()


def _started(attempt: str, agent: str, incarnation: int = 1) -> ev.AttemptStarted:
    run, task, number = ids.split_attempt(attempt)
    return ev.AttemptStarted(
        run=run,
        task=task,
        number=number,
        agent=agent,
        harness=Harness.NATIVE,
        incarnation=incarnation,
        base="base",
        workspace="w",
    )


def _answered(step: int, cost: int = 7, estimated: bool = False) -> ev.ModelAnswered:
    return ev.ModelAnswered(
        step=step,
        model="p:m",
        message_blob="0" * 64,
        stop="end",
        usage=Usage(input=10, cache_read=20, output=3),
        cost_nusd=cost,
        estimated=estimated,
    )


async def _story(deck: _Deck) -> None:
    """A run with a merge, a failure, a question, a resumption, and an end."""
    await deck.begin()
    await deck.run(ev.TaskDispatched(task="a", attempt=A1, number=1, agent="implementer"))
    await deck.run(ev.TaskDispatched(task="b", attempt=B1, number=1, agent="implementer"))
    await deck.attempt(A1, _started(A1, "implementer"), _answered(1), _answered(2, estimated=True))
    await deck.attempt(B1, _started(B1, "implementer"), ev.QuestionAsked(question="which one?"))
    review = ids.child_attempt(A1, "review", 1)
    await deck.attempt(review, _started(review, "reviewer"), _answered(1, cost=1))
    erred = ev.ModelErred(
        step=3, model="p:m", failure=FailureClass.TRANSIENT, reason="cut", cost_nusd=2, estimated=True
    )
    await deck.attempt(A1, erred, ev.HarnessFinished(incarnation=1, ok=True))
    await deck.run(ev.NodeStarted(node=Node.GATE, task="a", attempt=A1))
    await deck.run(ev.TaskMerged(task="a", attempt=A1, commit="c0ffee"))
    await deck.run(ev.NodeFinished(node=Node.IMPLEMENT, outcome=Outcome.WAITING, task="b", attempt=B1, reason="asks"))
    await deck.run(ev.TaskFailed(task="c", reason="no"), ev.RunWaiting(reason="nothing goes on"))


async def test_a_task_follows_its_events(deck: _Deck) -> None:
    await deck.begin()
    assert [(t.task, t.title, t.status) for t in await deck.views.tasks(RUN)] == [
        (name, name.upper(), TaskStatus.PENDING) for name in "abc"
    ]
    await deck.run(ev.TaskDispatched(task="a", attempt=A1, number=1, agent="implementer"))
    assert await deck.status("a") is TaskStatus.IMPLEMENTING
    for node, status in (
        (Node.IMPLEMENT, TaskStatus.IMPLEMENTING),
        (Node.CHECK, TaskStatus.CHECKING),
        (Node.REVIEW, TaskStatus.REVIEWING),
        (Node.GATE, TaskStatus.GATING),
    ):
        await deck.run(ev.NodeStarted(node=node, task="a", attempt=A1))
        assert await deck.status("a") is status
    await deck.run(ev.TaskMerged(task="a", attempt=A1, commit="c0ffee"))
    (a, *_) = await deck.views.tasks(RUN)
    assert (a.status, a.commit, a.attempts, a.agent) == (TaskStatus.MERGED, "c0ffee", 1, "implementer")
    await deck.run(ev.TaskBlocked(task="b", reason="needs c"), ev.TaskCancelled(task="c"))
    assert [await deck.status(task) for task in "bc"] == [TaskStatus.BLOCKED, TaskStatus.CANCELLED]


async def test_what_is_taken_back_is_merged_no_longer(deck: _Deck) -> None:
    await deck.begin()
    await deck.run(ev.TaskDispatched(task="a", attempt=A1, number=1, agent="implementer"))
    await deck.run(ev.TaskMerged(task="a", attempt=A1, commit="c0ffee"))
    await deck.run(ev.TaskReverted(task="a", attempt=A1, commit="c0ffee", by="decaf", reason="red"))
    (a, *_) = await deck.views.tasks(RUN)
    assert (a.status, a.commit, a.reason) == (TaskStatus.GATING, None, "red")


async def test_costs_are_summed_by_attempt_and_run(deck: _Deck) -> None:
    await _story(deck)
    costs = await deck.views.costs(RUN)
    assert [(c.attempt, c.agent, c.calls, c.cost_nusd, c.estimated_calls) for c in costs] == [
        (A1, "implementer", 3, 16, 2),
        (f"{A1}.review1", "reviewer", 1, 1, 0),
    ]
    run = await deck.views.run(RUN)
    assert (run.cost_nusd, run.usage) == (17, Usage(input=30, cache_read=60, output=9))
    assert await deck.views.costs("r-none") == []


async def test_attempts_show_their_last_sign_of_life(deck: _Deck) -> None:
    await _story(deck)
    (newest,) = [record for record in [await deck.log.last(ids.attempt_stream(A1))] if record]
    view = next(view for view in await deck.views.attempts(RUN) if view.attempt == A1)
    assert (view.status, view.steps, view.last_at) == ("merged", 3, newest.at)
    await deck.attempt(B1, _started(B1, "implementer", incarnation=2))
    assert next(v.incarnation for v in await deck.views.attempts(RUN) if v.attempt == B1) == 2


async def test_waits_come_and_go(deck: _Deck) -> None:
    await _story(deck)
    (wait,) = await deck.views.waits()
    assert wait == WaitView(RUN, "b", B1, "which one?", wait.since)
    assert (await deck.views.run(RUN)).status is RunStatus.WAITING
    assert await deck.status("b") is TaskStatus.WAITING
    await deck.run(ev.RunResumed(by="me"))
    assert await deck.views.waits(RUN) == [wait], "a question stays open until it is answered"
    assert await deck.status("b") is TaskStatus.WAITING
    await deck.run(ev.RunResumed(by="me", budget_nusd=9, answer_blob="a" * 64))
    assert await deck.views.waits(RUN) == []
    assert [await deck.status(task) for task in "abc"] == [TaskStatus.MERGED, TaskStatus.PENDING, TaskStatus.PENDING]
    run = await deck.views.run(RUN)
    assert (run.status, run.budget_nusd) == (RunStatus.RUNNING, 9)
    await deck.run(ev.RunWaiting(reason="only the run"))
    assert [(w.attempt, w.question) for w in await deck.views.waits()] == [("", "only the run")]
    await deck.run(ev.RunFinished(status=RunStatus.PARTIAL, reason="r", exit_code=1, sha="5ha"))
    run = await deck.views.run(RUN)
    assert (run.status, run.exit_code, run.sha, run.finished_at is not None) == (RunStatus.PARTIAL, 1, "5ha", True)
    assert await deck.views.waits() == []


async def test_what_many_attempts_spend_at_once_is_counted_for_each_agent(deck: _Deck) -> None:
    await deck.begin()
    attempts = [ids.attempt_id(RUN, "a", number) for number in range(1, 8)]
    claims = [await deck.log.claim(ids.attempt_stream(attempt)) for attempt in attempts]
    for number in range(6):  # the last one has not begun
        await deck.log.append(claims[number], _started(attempts[number], ("ant", "bee")[number % 2]))
    await asyncio.gather(
        *(
            deck.log.append(claim, _answered(1, 10**number, estimated=number == 2), _answered(2, 0))
            for number, claim in enumerate(claims)
        )
    )
    spent = await deck.store.read("costs_by", by="agent", since="", limit=10)
    assert [(row["key"], row["calls"], row["input"], row["cost_nusd"], row["estimated_nusd"]) for row in spent] == [
        ("", 2, 20, 1_000_000, 0),
        ("bee", 6, 60, 101_010, 0),
        ("ant", 6, 60, 10_101, 100),
    ]
    assert [(cost.attempt, cost.cost_nusd) for cost in await deck.views.costs()] == [
        (attempt, 10**number) for number, attempt in enumerate(attempts)
    ]
    assert (await deck.views.runs())[0].cost_nusd == 1_111_111
    before = await deck.snapshot()
    await rebuild(deck.store)
    assert await deck.snapshot() == before


async def test_a_rebuild_finds_the_same(deck: _Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.journal.projections.REBUILD_PAGE", 5)
    await _story(deck)
    unusual = ev.SpendNoticed(about="run", name=RUN, spent_nusd=9, usual_nusd=1, bound_nusd=2, samples=5)
    await deck.run(unusual, ev.RunResumed(by="me"), ev.RunCancelled(by="me"))
    incident = ev.IncidentOpened(failure=FailureClass.AUTH, subject="p:m", reason="401")
    await deck.attempt(B1, incident)
    before = await deck.snapshot()
    assert all(before[-len(_SUMS) :])
    assert [notice.name for notice in await deck.views.notices(RUN)] == [RUN]
    await deck.store.write(lambda tx: tx.run("project_run_status", run=RUN, status="done", reason="spoilt"))
    await deck.store.write(lambda tx: tx.run("project_clear_costs"))
    assert await deck.snapshot() != before
    assert await rebuild(deck.store) == (await deck.log.verify()).records
    assert await deck.snapshot() == before


async def test_cancelled_and_paused(deck: _Deck) -> None:
    await deck.begin()
    await deck.run(ev.RunPaused(by="me"))
    assert (await deck.views.run(RUN)).status is RunStatus.PAUSED
    await deck.run(ev.RunCancelled(by="me"))
    assert (await deck.views.run(RUN)).status is RunStatus.CANCELLED
    assert {view.status for view in await deck.views.tasks(RUN)} == {TaskStatus.CANCELLED}


async def test_runs_newest_first_and_unknown_ones(deck: _Deck) -> None:
    await deck.begin()
    (run,) = await deck.views.runs()
    assert run == replace(run, run=RUN, goal="the goal", branch="quarterdeck/r-1", status=RunStatus.RUNNING)
    with pytest.raises(NotFound):
        await deck.views.run("r-none")
