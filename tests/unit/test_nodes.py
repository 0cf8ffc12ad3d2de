"""A node whose end is on record is not performed again, and its run hears of that end."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from store_kit import open_at

from quarterdeck.delivery import jobs
from quarterdeck.delivery.briefing import Briefings
from quarterdeck.delivery.nodes.node import Duty, Nodes, Result
from quarterdeck.engine.embedded import EmbeddedEngine
from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.testing import stories

pytestmark = pytest.mark.embedded("what an engine does with the job that is deferred is its own test")

ATTEMPT = "r-1.a.1"
END = e.NodeFinished(node=Node.CHECK, outcome=Outcome.OK, task="a", attempt=ATTEMPT)


@dataclass
class _Place:
    journal: Log
    engine: EmbeddedEngine
    nodes: Nodes
    performed: list[str]

    async def said(self) -> list[e.EventBase]:
        return [record.event for record in await self.journal.read(ids.attempt_stream(ATTEMPT))]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[_Place]:
    store = await open_at(tmp_path / "deck.db")
    journal, engine = Log(store, SystemClock()), EmbeddedEngine(store, tmp_path / "lock", "o-1", SystemClock())
    config = await journal.put(RunConfig(deck=DeckConfig()).model_dump_json().encode())
    await journal.append(await journal.claim(ids.run_stream("r-1")), stories.created("r-1", config_blob=config))
    performed: list[str] = []

    async def perform(duty: Duty) -> Result:
        performed.append(duty.attempt)
        return Result(Outcome.OK)

    yield _Place(journal, engine, Nodes(journal, engine, Briefings(journal), {Node.CHECK: perform}), performed)
    await store.close()


@pytest.mark.parametrize("behind", [(), (e.WorkReleased(),)])
async def test_an_end_that_is_on_record_is_heard_whatever_came_behind_it(
    place: _Place, behind: tuple[e.EventBase, ...]
) -> None:
    claim = await place.journal.claim(ids.attempt_stream(ATTEMPT))
    await place.journal.append(claim, END, *behind)
    await place.nodes.work(jobs.work("r-1", Node.CHECK, ATTEMPT))
    assert place.performed == []
    assert await place.engine.unfinished("r-1") == 1, "the run is woken"
    assert (await place.said())[-1] == END, "what a run looks at is the newest record"
    said = await place.said()
    await place.nodes.work(jobs.work("r-1", Node.CHECK, ATTEMPT))
    assert await place.said() == said, "once is enough"


async def test_the_end_of_a_later_node_stays_the_newest_record(place: _Place) -> None:
    later = e.NodeFinished(node=Node.REVIEW, outcome=Outcome.OK, task="a", attempt=ATTEMPT)
    await place.journal.append(await place.journal.claim(ids.attempt_stream(ATTEMPT)), END, later)
    await place.nodes.work(jobs.work("r-1", Node.CHECK, ATTEMPT))
    assert await place.said() == [END, later]
