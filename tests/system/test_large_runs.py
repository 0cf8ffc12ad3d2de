"""Runs of a thousand tasks, and gates that are years old: their end takes a time in proportion to what happened."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deck_kit import Place, place_at, task

from quarterdeck.assembly import open_deck
from quarterdeck.assembly.deck import Deck
from quarterdeck.delivery.nodes.ending import Endings
from quarterdeck.delivery.nodes.node import Duty
from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.attempts import AttemptState
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.events import Node, Outcome

TASKS = 1_000


class _Then(SystemClock):
    """The clock of a process that worked here so many seconds ago."""

    def __init__(self, ago: float) -> None:
        self.ago = ago

    def wall(self) -> float:
        return super().wall() - self.ago


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


async def _told(deck: Deck, run: str) -> str:
    """The retrospective of the run."""
    parts = deck._parts
    attempt = ids.attempt_id(run, "_end", 1)
    duty = Duty(
        node=Node.RETROSPECTIVE,
        attempt=attempt,
        number=1,
        claim=await parts.journal.claim(ids.attempt_stream(attempt)),
        briefing=await parts.briefings.run(run),
        plan=None,
        plan_blob=None,
        task=None,
        state=AttemptState(),
        agent=None,
        tier=None,
        feedback=(),
        carry=None,
        since=0.0,
    )
    result = await Endings(parts.journal, parts.views, parts.workshop).retrospective(duty)
    return (await parts.journal.get(result.result_blob or "")).decode()


def _story(name: str, attempt: str, findings: str) -> Iterator[e.EventBase]:
    yield e.TaskDispatched(task=name, attempt=attempt, number=1, agent="shell")
    for node in (Node.IMPLEMENT, Node.CHECK, Node.GATE):
        if node is not Node.IMPLEMENT:
            yield e.NodeStarted(node=node, task=name, attempt=attempt)
        blob = findings if node is Node.CHECK else None
        yield e.NodeFinished(node=node, outcome=Outcome.OK, task=name, attempt=attempt, findings_blob=blob)
    yield e.TaskMerged(task=name, attempt=attempt, commit="")


async def test_a_thousand_tasks_are_told_of_in_a_time_in_proportion(place: Place) -> None:
    place.begin()
    async with open_deck(place.settings) as deck:
        run, journal = await deck.create(place.order(task("a", "true"), sandbox="none")), deck._parts.journal
        names = [f"t{number}" for number in range(TASKS)]
        plan = Plan(goal="g", tasks=tuple(Task(id=name, title=name, paths=(name,)) for name in names))
        planned = e.RunPlanned(plan_blob=await journal.put(plan.model_dump_json().encode()), tasks=TASKS)
        findings = await journal.put(b"[]")
        claim = await journal.claim(ids.run_stream(run))
        await journal.append(claim, planned)
        for name in names:
            journal.append_soon(claim, *_story(name, ids.attempt_id(run, name, 1), findings))
        await journal.append(claim, e.WorkReleased())
        began = time.process_time()
        said = await _told(deck, run)
        assert time.process_time() - began < 6.0
        assert "every task merged at its first attempt" in said


async def test_of_an_old_gate_what_came_while_the_run_was_there_is_told(place: Place) -> None:
    place.begin()
    async with open_deck(place.settings) as deck:
        run, parts = await deck.create(place.order(task("a", "true"), sandbox="none")), deck._parts
        stream = ids.gate_stream((await parts.briefings.run(run)).created.target)
        for ago, name in ((400_000.0, "old"), (0.0, "new")):
            log = Log(parts.store, _Then(ago))
            claim = await log.claim(stream)
            for number in range(6_000):
                log.append_soon(claim, e.GateDelayed(reason="busy", seconds=1.0, number=number + 1))
            await log.append(claim, e.FlakeSeen(tree="f" * 40, check="x.1", reason=f"the {name} flake"))
        said = await _told(deck, run)
        assert "the new flake" in said
        assert "the old flake" not in said
