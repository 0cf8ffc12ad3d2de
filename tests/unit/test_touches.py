"""What attempts change, in the read tables: who sees whom, from when, and until when."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_kit import open_at

from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Claim
from quarterdeck.journal.projections import rebuild
from quarterdeck.journal.touches import Spot, Touches
from quarterdeck.kernel import events as ev
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.entities import Harness, Plan, Task
from quarterdeck.kernel.events import Node, Outcome, RunStatus
from quarterdeck.store.port import Store
from quarterdeck.testing import stories


class Ticking(SystemClock):
    """A clock whose every look is a second later."""

    now = 1_000.0

    def wall(self) -> float:
        self.now += 1.0
        return self.now


class _Deck:
    """Runs on one target, written through the real journal."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.log = Log(store, Ticking())
        self.touches = Touches(store)
        self.claims: dict[str, Claim] = {}

    async def say(self, stream: str, *events: ev.EventBase) -> None:
        if stream not in self.claims:
            self.claims[stream] = await self.log.claim(stream)
        await self.log.append(self.claims[stream], *events)

    async def run(self, run: str, *tasks: str, target: str = "t", base: str = "base") -> None:
        blob = await self.log.put(b"goal")
        created = stories.created(run, goal_blob=blob, config_blob=blob, target=target, base=base, into="main")
        planned = [Task(id=name, title=f"Task {name}", instructions=f"Do {name}.", paths=("*",)) for name in tasks]
        plan_blob = await self.log.put(Plan(goal="g", tasks=tuple(planned)).model_dump_json().encode())
        await self.say(ids.run_stream(run), created, ev.RunPlanned(plan_blob=plan_blob, tasks=len(planned)))

    async def begin(self, attempt: str, *, base: str = "base", incarnation: int = 1) -> None:
        run, task, number = ids.split_attempt(attempt)
        if incarnation == 1 and attempt == ids.attempt_id(run, task, number):
            dispatched = ev.TaskDispatched(task=task, attempt=attempt, number=number, agent="bee")
            await self.say(ids.run_stream(run), dispatched)
        started = ev.AttemptStarted(
            run=run,
            task=task,
            number=number,
            agent="bee",
            harness=Harness.NATIVE,
            incarnation=incarnation,
            base=base,
            workspace="w",
        )
        await self.say(ids.attempt_stream(attempt), started)

    async def touch(self, attempt: str, path: str, *names: str) -> None:
        lines = tuple(range(1, len(names) + 1))
        event = ev.AttemptTouched(path=path, entities=names, first=lines, last=lines)
        await self.say(ids.attempt_stream(attempt), event)

    async def land(self, attempt: str, commit: str, target: str = "t") -> None:
        run, task, _ = ids.split_attempt(attempt)
        await self.say(ids.gate_stream(target), ev.ChangeLanded(attempt=attempt, old="", new=commit))
        await self.say(ids.run_stream(run), ev.TaskMerged(task=task, attempt=attempt, commit=commit))

    async def seen(self, attempt: str, base: str = "base") -> list[tuple[str, str, bool]]:
        """(task, path, landed) of what that attempt sees beside it."""
        since = await self.touches.since(attempt, base)
        names = {spot.name for spots in (await self.touches.of(attempt)).values() for spot in spots}
        return sorted((row.task, row.path, row.landed) for row in await self.touches.beside(attempt, since, names))


@pytest.fixture
async def deck(tmp_path: Path) -> AsyncIterator[_Deck]:
    store = await open_at(tmp_path / "deck.db")
    yield _Deck(store)
    await store.close()


async def test_attempts_of_one_target_see_each_other_in_the_same_files_and_no_others(deck: _Deck) -> None:
    await deck.run("r-1", "a", "b")
    await deck.run("r-2", "c")
    await deck.run("r-3", "d", target="elsewhere")
    for attempt in ("r-1.a.1", "r-1.b.1", "r-2.c.1", "r-3.d.1"):
        await deck.begin(attempt)
        await deck.touch(attempt, "a.py", "mean")
    await deck.touch("r-1.b.1", "b.py", "x")
    await deck.touch("r-2.c.1", "a.py", 'odd "name"', "mean")
    await deck.touch("r-2.c.1", "b.py", "y")
    assert await deck.seen("r-1.a.1") == [("b", "a.py", False), ("c", "a.py", False)]
    assert await deck.seen("r-3.d.1") == []
    await deck.touch("r-1.a.1", "a.py")
    assert await deck.seen("r-1.b.1") == [("c", "a.py", False)]
    row, _ = sorted(await deck.touches.under_way("r-1", "b"), key=lambda each: each.path)
    assert (row.task, row.title, row.spots[1]) == ("c", "Task c", Spot("mean", 2, 2))


async def test_what_landed_after_the_base_is_seen_and_what_the_base_holds_is_not(deck: _Deck) -> None:
    await deck.run("r-1", "a", "b", "c", "d")
    for attempt in ("r-1.a.1", "r-1.b.1"):
        await deck.begin(attempt)
        await deck.touch(attempt, "a.py", "mean")
    await deck.land("r-1.a.1", "one")
    assert await deck.seen("r-1.b.1") == [("a", "a.py", True)]
    await deck.begin("r-1.c.1", base="one")
    await deck.touch("r-1.c.1", "a.py", "mean")
    await deck.land("r-1.b.1", "two")
    assert await deck.seen("r-1.c.1", "one") == [("b", "a.py", True)]
    await deck.begin("r-1.d.1", base="of somebody else")
    await deck.touch("r-1.d.1", "a.py", "mean")
    assert await deck.seen("r-1.d.1", "of somebody else") == [("c", "a.py", False)]


async def test_what_ended_without_landing_is_not_seen_nor_an_earlier_attempt(deck: _Deck) -> None:
    await deck.run("r-1", "a", "b")
    for attempt in ("r-1.a.1", "r-1.b.1"):
        await deck.begin(attempt)
        await deck.touch(attempt, "a.py", "mean")
    await deck.begin("r-1.b.2")
    assert await deck.seen("r-1.a.1") == []
    await deck.touch("r-1.b.2", "a.py", "mean")
    assert await deck.seen("r-1.a.1") == [("b", "a.py", False)]
    await deck.say(ids.run_stream("r-1"), ev.TaskFailed(task="b", reason="no"))
    assert await deck.seen("r-1.a.1") == []


async def test_a_sub_agent_counts_as_its_parent_and_a_fresh_workspace_as_nothing_changed(deck: _Deck) -> None:
    await deck.run("r-1", "a", "b")
    for attempt in ("r-1.a.1", "r-1.b.1", "r-1.b.1.sub1"):
        await deck.begin(attempt)
    await deck.touch("r-1.a.1", "a.py", "mean")
    await deck.touch("r-1.b.1.sub1", "a.py", "mean")
    assert await deck.seen("r-1.a.1") == [("b", "a.py", False)]
    assert await deck.seen("r-1.b.1.sub1") == [("a", "a.py", False)]
    await deck.begin("r-1.a.1", incarnation=2)
    assert await deck.touches.of("r-1.a.1") == {}


async def test_what_a_task_means_is_its_instructions_and_its_newest_notes(deck: _Deck) -> None:
    await deck.run("r-1", "a")
    await deck.begin("r-1.a.1")
    for number in range(5):
        await deck.say(ids.attempt_stream("r-1.a.1"), ev.NoteRecorded(task="a", text=f"note {number}"))
    assert await deck.touches.meant("r-1", "a") == ("Do a.", ("note 2", "note 3", "note 4"))
    assert await deck.touches.meant("r-1", "unknown") == ("", ())


async def test_a_run_that_ends_leaves_what_landed_as_long_as_another_has_the_same_target(deck: _Deck) -> None:
    await deck.run("r-1", "a", "b")
    await deck.run("r-2", "c")
    for attempt in ("r-1.a.1", "r-1.b.1", "r-2.c.1"):
        await deck.begin(attempt)
        await deck.touch(attempt, "a.py", "mean")
    await deck.land("r-1.a.1", "one")
    ended = ev.NodeFinished(node=Node.GATE, outcome=Outcome.OK, task="a", attempt="r-1.a.1", commit="one")
    await deck.say(ids.attempt_stream("r-1.a.1"), ended)
    done = ev.RunFinished(status=RunStatus.PARTIAL, sha="one", reason="b", exit_code=1)
    await deck.say(ids.run_stream("r-1"), done)
    assert await deck.seen("r-2.c.1") == [("a", "a.py", True)]
    before = [await deck.touches.of(attempt) for attempt in ("r-1.a.1", "r-1.b.1", "r-2.c.1")]
    assert [bool(each) for each in before] == [True, False, True]
    await rebuild(deck.store)
    assert [await deck.touches.of(attempt) for attempt in ("r-1.a.1", "r-1.b.1", "r-2.c.1")] == before
    await deck.say(ids.run_stream("r-2"), done)
    assert await deck.store.read("touches_of", attempt="r-1.a.1") == []
