"""The embedded engine: conformance, ownership, deaths, clocks, and an ill store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_kit import open_at

from quarterdeck.engine.choosing import Candidate, choose, remaining
from quarterdeck.engine.embedded import EmbeddedEngine
from quarterdeck.engine.port import POISON_DEATHS, URGENT, Job
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import Conflicting, StoreUnavailable
from quarterdeck.store.port import Ask, Dialect, Row, Store, Tx, Write
from quarterdeck.testing.engine_conformance import EngineConformance, defer, drain, job

pytestmark = pytest.mark.embedded("the engine over SQLite itself; test_engine_workers has the one over PostgreSQL")

T = TypeVar("T")


class _Clock(SystemClock):
    """A wall clock that can step; the monotonic one goes on."""

    def __init__(self) -> None:
        self.step = 0.0

    def wall(self) -> float:
        return super().wall() + self.step


class _Bench:
    def __init__(self, store: Store, lock: Path) -> None:
        self.store = store
        self.clock = _Clock()
        self.engines: list[EmbeddedEngine] = []
        self._lock = lock

    def engine(self, store: Store | None = None, concurrency: int = 64) -> EmbeddedEngine:
        owner = f"o-{len(self.engines)}"
        engine = EmbeddedEngine(store or self.store, self._lock, owner, self.clock, concurrency)
        self.engines.append(engine)
        return engine


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[_Bench]:
    store = await open_at(tmp_path / "deck.db")
    bench = _Bench(store, tmp_path / "owner.lock")
    yield bench
    for engine in bench.engines:
        await engine.close()
    await store.close()


class TestEmbedded(EngineConformance):
    pass


async def test_one_owner_at_a_time(bench: _Bench) -> None:
    one, other = bench.engine(), bench.engine()
    assert await one.try_own()
    assert await one.try_own()
    assert not await other.try_own()
    with pytest.raises(Conflicting):
        await other.serve({}, until_idle=True)
    await one.close()
    assert await other.try_own()
    assert not await one.try_own()


async def _die_holding(bench: _Bench, key: str) -> None:
    """What `kill -9` leaves behind: the job is running under a name whose lock is free."""
    store = _Refusing(bench.store)
    engine = bench.engine(store)
    started = asyncio.Event()

    async def handle(one: Job) -> None:
        if one.key == key:
            started.set()
        await asyncio.Event().wait()

    serving = asyncio.ensure_future(engine.serve({"work": handle}, until_idle=False))
    await started.wait()

    store.down = True
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    await engine.close()


class _Refusing:
    """A store that can be switched off."""

    def __init__(self, store: Store) -> None:
        self._inner = store
        self.down = False
        self.refused = asyncio.Event()

    def _check(self) -> None:
        if self.down:
            self.refused.set()
            raise StoreUnavailable

    @property
    def dialect(self) -> Dialect:
        return self._inner.dialect

    @property
    def where(self) -> str:
        return self._inner.where

    @property
    def came_from(self) -> int:
        return 0

    async def write(self, work: Write[T]) -> T:
        self._check()
        return await self._inner.write(work)

    async def read(self, statement: str, /, **parameters: Any) -> list[Row]:
        self._check()
        return await self._inner.read(statement, **parameters)

    async def reads(self, *asks: Ask) -> list[list[Row]]:
        self._check()
        return await self._inner.reads(*asks)

    def sole(self) -> AbstractAsyncContextManager[None]:
        return self._inner.sole()

    async def changed(self, since: int, timeout: float) -> int:
        return await self._inner.changed(since, timeout)

    async def close(self) -> None:
        await self._inner.close()


async def test_jobs_of_a_dead_owner_run_again(bench: _Bench) -> None:
    await defer(bench, bench.engine(), job("k"), job("behind", lock="k"))
    await _die_holding(bench, "k")
    seen: list[str] = []

    async def handle(one: Job) -> None:
        seen.append(one.key)

    await drain(bench.engine(), {"work": handle})
    assert seen == ["k", "behind"]


async def test_a_dead_owners_job_that_was_deferred_again_runs_once(bench: _Bench) -> None:
    await defer(bench, bench.engine(), job("k"))
    await _die_holding(bench, "k")
    await defer(bench, bench.engine(), job("k"))
    seen: list[str] = []

    async def handle(one: Job) -> None:
        seen.append(one.key)

    await drain(bench.engine(), {"work": handle})
    assert seen == ["k"]


async def test_a_job_that_kills_its_owners_is_poison(bench: _Bench) -> None:
    await defer(bench, bench.engine(), job("k"), job("innocent"))
    for _ in range(POISON_DEATHS):
        await _die_holding(bench, "k")
    survivor = bench.engine()
    seen: list[str] = []

    async def handle(one: Job) -> None:
        seen.append(one.key)

    await drain(survivor, {"work": handle})
    assert "k" not in seen
    assert "died" in {one.key: trace for one, trace in await survivor.failed()}["k"]


async def test_an_owner_that_lost_the_queue_claims_nothing(bench: _Bench) -> None:
    """As after somebody deleted the lock file: the name in the database decides."""
    old, new = bench.engine(), bench.engine()
    assert await old.try_own()
    await bench.store.write(lambda tx: tx.run("owner_set", owner="o-new"))
    await defer(bench, old, job("k"))
    seen: list[str] = []

    async def handle(one: Job) -> None:
        seen.append(one.key)

    serving = asyncio.ensure_future(old.serve({"work": handle}, until_idle=False))
    for _ in range(20):
        await bench.store.changed(0, 0)
        await bench.store.write(lambda tx: None)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert seen == []
    await old.close()
    await drain(new, {"work": handle})
    assert seen == ["k"]


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
async def test_a_step_of_the_wall_clock_holds_no_job_back(bench: _Bench, step: float) -> None:
    engine = bench.engine()
    seen: list[str] = []

    async def handle(one: Job) -> None:
        seen.append(one.key)

    await defer(bench, engine, job("k", delay=0.05))
    bench.clock.step = step
    await defer(bench, engine, job("after", lock="k"))
    await drain(engine, {"work": handle})
    assert sorted(seen) == ["after", "k"]


async def test_while_the_store_is_ill_nothing_is_lost(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.engine.illness.BACKOFF", (0.01, 0.02))
    store = _Refusing(bench.store)
    engine = bench.engine(store)
    seen: list[str] = []
    go = asyncio.Event()

    async def handle(one: Job) -> None:
        seen.append(one.key)
        if one.key == "first":
            store.down = True
            go.set()

    await defer(bench, engine, job("first"))
    serving = asyncio.ensure_future(drain(engine, {"work": handle}))
    await go.wait()
    await store.refused.wait()
    await defer(bench, engine, job("second"))
    assert not serving.done()
    store.down = False
    await serving
    assert seen == ["first", "second"]
    assert await engine.unfinished() == 0


async def test_concurrency_is_bounded(bench: _Bench) -> None:
    engine = bench.engine(concurrency=3)
    inside, most = 0, 0

    async def handle(one: Job) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        for _ in range(10):
            await asyncio.sleep(0)
        inside -= 1

    await defer(bench, engine, *(job(f"k{n}") for n in range(20)))
    await drain(engine, {"work": handle})
    assert most == 3


async def test_an_abort_before_the_first_step_ends_the_job(bench: _Bench) -> None:
    """The owner sees the abort in the same turn in which the handler's task is made."""
    engine = bench.engine()

    async def forever(one: Job) -> None:
        def abort(tx: Tx) -> None:
            engine.abort(tx, "r")

        await bench.store.write(abort)
        await asyncio.Event().wait()

    await defer(bench, engine, *(job(f"k{n}") for n in range(10)))
    await drain(engine, {"work": forever})
    assert await engine.unfinished() == 0


_candidates = st.lists(
    st.builds(Candidate, st.integers(1, 50), st.sampled_from("abcd"), st.integers(0, 3)), unique_by=lambda c: c.id
)


@given(_candidates, st.sets(st.sampled_from("abcd")), st.integers(0, 5))
def test_choosing_keeps_locks_and_order(candidates: list[Candidate], busy: set[str], free: int) -> None:
    chosen = choose(candidates, busy, free)
    locks = [one.lock for one in chosen]
    assert len(chosen) <= free
    assert len(set(locks)) == len(locks)
    assert not busy & set(locks)
    for one in candidates:
        passed_over = one not in chosen and one.lock not in busy
        if passed_over and len(chosen) < free:
            assert any(c.lock == one.lock and (-c.priority, c.id) < (-one.priority, one.id) for c in chosen)


@given(st.floats(0, 1e6), st.floats(-1e5, 1e5))
def test_a_delay_is_never_prolonged(delay: float, step: float) -> None:
    deferred_at = 1e9
    assert 0 <= remaining(deferred_at + delay, delay, deferred_at + step) <= delay


def test_urgent_jobs_are_chosen_beyond_the_slots_of_long_ones() -> None:
    long = [Candidate(number, f"long {number}", 0) for number in range(5)]
    urgent = [Candidate(10 + number, f"urgent {number}", URGENT) for number in range(3)]
    assert [one.id for one in choose([*long, *urgent], set(), free=0, reserve=2)] == [10, 11]
    assert [one.id for one in choose([*long, *urgent], set(), free=2, reserve=2)] == [10, 11, 12, 0]
    assert choose(long, set(), free=0, reserve=2) == []
