"""Runs that have lost their jobs: who is woken, how often, and that one that cannot be keeps no other one asleep."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from store_kit import open_at

from quarterdeck.assembly.waking import PAUSES, Waking
from quarterdeck.delivery import jobs
from quarterdeck.engine.embedded import EmbeddedEngine
from quarterdeck.engine.port import POISON_DEATHS
from quarterdeck.journal.log import Log
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.store.port import Store, Tx
from quarterdeck.testing import stories

pytestmark = pytest.mark.embedded("which jobs an engine has left is the engines' own test")


class _Clock(SystemClock):
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class _Deck:
    """Runs without any job."""

    def __init__(self, store: Store, lock: Path) -> None:
        self.store = store
        self.lock = lock
        self.clock = _Clock()
        self.engine = EmbeddedEngine(store, lock, "o-1", self.clock)
        self.broken = ""
        self.woken: list[str] = []
        self.waking = Waking(Views(store), self.engine, self.revive, self.clock)

    async def revive(self, run: str) -> None:
        self.woken.append(run)
        if run == self.broken:
            raise LookupError(run)

    async def order(self, run: str) -> None:
        log = Log(self.store, SystemClock())
        await log.append(await log.claim(ids.run_stream(run)), stories.created(run))

    async def look(self, after: float = 0.0) -> list[str]:
        """Who is woken by the look that is taken so much later."""
        self.clock.now += after
        self.woken.clear()
        await self.waking.look()
        return self.woken


@pytest.fixture
async def deck(tmp_path: Path) -> AsyncIterator[_Deck]:
    store = await open_at(tmp_path / "deck.db")
    made = _Deck(store, tmp_path / "owner.lock")
    yield made
    await made.engine.close()
    await store.close()


async def test_a_run_that_stands_still_again_is_woken_again(deck: _Deck) -> None:
    await deck.order("r-1")
    assert await deck.look() == ["r-1"]
    assert await deck.look(PAUSES[0] - 1) == []
    assert await deck.look(1) == ["r-1"]
    assert await deck.look(PAUSES[0]) == [], "ever more rarely"
    for _ in range(10):
        await deck.look(PAUSES[1])
    assert await deck.look(PAUSES[1]) == ["r-1"], "but once an hour at least"
    await deck.store.write(lambda tx: deck.engine.defer(tx, jobs.advance("r-1")))
    assert await deck.look(PAUSES[1]) == [], "it has a job"
    await deck.engine.serve({jobs.ADVANCE: _done}, until_idle=True)
    assert await deck.look() == ["r-1"], "it went on by itself since"


async def test_one_that_cannot_be_woken_keeps_no_other_one_asleep(deck: _Deck) -> None:
    for number in range(3):
        await deck.order(f"r-{number}")
    deck.broken = "r-1"
    assert sorted(await deck.look()) == ["r-0", "r-1", "r-2"]


async def test_a_run_that_kills_its_process_is_not_woken_for_ever(deck: _Deck) -> None:
    await deck.order("r-1")
    await deck.store.write(lambda tx: deck.engine.defer(tx, jobs.advance("r-1")))
    for number in range(POISON_DEATHS):
        await deck.store.write(partial(_take, f"dead-{number}"))
        heir = EmbeddedEngine(deck.store, deck.lock, f"heir-{number}", deck.clock)
        assert await heir.try_own()
        await heir.close()
    assert len(await deck.engine.failed()) == 1
    assert await deck.look() == ["r-1"]
    assert await deck.look(PAUSES[1]) == []


def _take(owner: str, tx: Tx) -> None:
    """As a process does that is killed then."""
    tx.run("owner_set", owner=owner)
    assert tx.run("job_claim", id=1, owner=owner)


async def _done(job: object) -> None:
    """Nothing is left to do."""


async def test_a_run_that_was_cancelled_is_brought_to_its_end(deck: _Deck) -> None:
    await deck.order("r-1")
    log = Log(deck.store, SystemClock())
    claim = await log.claim(ids.run_stream("r-1"))
    await log.append(claim, e.RunCancelled(by="ada"))
    assert await deck.look() == ["r-1"]
    await log.append(claim, e.RunFinished(status=e.RunStatus.CANCELLED, exit_code=130, sha="0" * 40))
    assert await deck.look(PAUSES[1]) == []


async def test_who_waits_for_a_person_is_left_alone(deck: _Deck) -> None:
    await deck.order("r-1")
    log = Log(deck.store, SystemClock())
    await log.append(await log.claim(ids.run_stream("r-1")), e.RunPaused(by="ada"))
    assert await deck.look() == []
