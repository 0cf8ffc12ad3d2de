"""Decisions about a machine that is not well: patience, time, and what may be concluded from not being able to look."""

import asyncio
import errno
import os
import resource
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.assembly.descriptors import ENOUGH, as_many_as_allowed
from quarterdeck.cli import faults
from quarterdeck.delivery.gate.ledger import PAUSE, GateState, Trouble
from quarterdeck.delivery.gate.queue import PATIENCE as GATE_PATIENCE
from quarterdeck.delivery.gate.queue import delayed
from quarterdeck.engine.embedded import EmbeddedEngine
from quarterdeck.engine.illness import PATIENCE
from quarterdeck.engine.port import Job
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import UNWELL, Exit, StoreLost, StoreUnavailable
from quarterdeck.store.port import Ask, Dialect, Row, Store, Write
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.port import Limits
from quarterdeck.workplace.watchdog import Watchdog, descendants, occupied
from quarterdeck.workplace.workspaces import Process, Workspaces

pytestmark = pytest.mark.embedded("the engine over SQLite itself; test_engine_faults has the one over PostgreSQL")

T = TypeVar("T")


class _Refusing:
    """A store that takes nothing while it has a refusal to give."""

    def __init__(self, store: Store) -> None:
        self._inner = store
        self.refusal: StoreUnavailable | None = None
        self.refused = 0
        self.mended: Callable[[], bool] = lambda: False

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
        if self.refusal is not None and not self.mended():
            self.refused += 1
            raise self.refusal
        return await self._inner.write(work)

    async def read(self, statement: str, /, **parameters: Any) -> list[Row]:
        return await self._inner.read(statement, **parameters)

    async def reads(self, *asks: Ask) -> list[list[Row]]:
        return await self._inner.reads(*asks)

    def sole(self) -> AbstractAsyncContextManager[None]:
        return self._inner.sole()

    async def changed(self, since: int, timeout: float) -> int:
        return await self._inner.changed(since, timeout)

    async def close(self) -> None:
        await self._inner.close()


class _Clock(SystemClock):
    """Monotonic time that passes when it is told to, or by so much whenever it is looked at."""

    passed = 0.0
    step = 0.0

    def monotonic(self) -> float:
        self.passed += self.step
        return self.passed


@asynccontextmanager
async def served(
    root: Path, refusal: StoreUnavailable, told: Callable[[_Refusing, _Clock], None], *, patience: float = 100.0
) -> AsyncIterator[tuple[EmbeddedEngine, "asyncio.Task[None]", list[StoreUnavailable | None]]]:
    """An engine whose store refuses everything once a job has been performed. `told`: what happens when it says so."""
    inner = await SqliteStore.open(root / "deck.db", durability="normal")
    store, clock, said = _Refusing(inner), _Clock(), list[StoreUnavailable | None]()
    engine = EmbeddedEngine(store, root / "owner.lock", "o-1", clock, patience=patience)

    async def handle(_: Job) -> None:
        store.refusal = refusal

    def hear(error: StoreUnavailable | None) -> None:
        said.append(error)
        if error is not None:
            told(store, clock)

    engine.illness.told = hear
    await inner.write(lambda tx: engine.defer(tx, Job(kind="work", key="k", lock="k", run="r")))
    serving = asyncio.create_task(engine.serve({"work": handle}, until_idle=True))
    try:
        async with asyncio.timeout(30):
            yield engine, serving, said
    finally:
        store.refusal = None
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await engine.close()
        await inner.close()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.engine.illness.BACKOFF", (0.001, 0.002))


async def test_a_store_that_comes_back_in_time_is_waited_for(tmp_path: Path) -> None:
    full = StoreUnavailable("full")

    def told(store: _Refusing, clock: _Clock) -> None:
        clock.passed += 99
        store.refusal = None

    async with served(tmp_path, full, told) as (engine, serving, said):
        await serving
        assert said == [full, None]
        assert await engine.unfinished() == 0


async def test_a_database_that_is_held_for_thirty_seconds_is_within_a_decks_patience(tmp_path: Path) -> None:
    busy = StoreUnavailable("database is locked")
    stores: list[_Refusing] = []

    def told(store: _Refusing, clock: _Clock) -> None:
        stores.append(store)
        clock.step, until = 5.0, clock.passed + 30.0
        store.mended = lambda: clock.passed >= until

    async with served(tmp_path, busy, told, patience=PATIENCE) as (engine, serving, said):
        await serving
        assert said == [busy, None], "said once, not at every try"
        assert await engine.unfinished() == 0
        assert stores[0].refused >= 6, "tried again all the while"


async def test_patience_ends_and_the_job_is_still_there(tmp_path: Path) -> None:
    full = StoreUnavailable("full")

    def told(_: _Refusing, clock: _Clock) -> None:
        clock.passed += 101

    async with served(tmp_path, full, told) as (engine, serving, said):
        with pytest.raises(StoreUnavailable) as caught:
            await serving
        assert caught.value is full
        assert said == [full]
        assert await engine.unfinished() == 1, "its end is not on record, so it is run again by whoever comes next"


async def test_a_lost_store_is_not_waited_for(tmp_path: Path) -> None:
    async with served(tmp_path, StoreLost(), lambda _, __: None) as (_, serving, said):
        with pytest.raises(StoreLost):
            await serving
        assert len(said) == 1


async def test_a_database_in_another_file_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "deck.db"
    store = await SqliteStore.open(path)
    await store.write(lambda tx: tx.run("stream_claim", stream="run/a"))
    path.rename(tmp_path / "moved")
    for problem in ("was deleted", "was replaced"):
        with pytest.raises(StoreLost, match=problem):
            await store.write(lambda tx: tx.run("stream_claim", stream="run/a"))
        with pytest.raises(StoreLost, match=problem):
            await store.read("stream_names", prefix="")
        path.touch()
    (tmp_path / "moved").rename(path)
    assert await store.write(lambda tx: tx.run("stream_claim", stream="run/a")) == [{"epoch": 2}]
    await store.close()


# --- time -----------------------------------------------------------------------------------------------------

hours = st.floats(-3 * 3600, 3 * 3600)


@given(st.floats(0, 10_000), hours)
def test_a_step_of_the_clock_prolongs_no_pause_of_the_gate(row: float, step: float) -> None:
    trouble = Trouble(since=1e9, last=1e9 + row, reason="r")
    assert 0 <= trouble.due(trouble.last + step) <= PAUSE[1]


@given(st.floats(0, GATE_PATIENCE), hours)
def test_a_step_of_the_clock_ends_no_patience_of_the_gate(row: float, step: float) -> None:
    """It may begin anew, never end: a step forward looks as if nobody had tried in between."""
    stall = Trouble(since=1e9, last=1e9 + row, reason="r")
    now = stall.last + step
    event = delayed(GateState(stall=stall), now, "r", worked=False)
    if event is None:
        assert GATE_PATIENCE < now - stall.since <= 2 * GATE_PATIENCE
    else:
        assert PAUSE[0] <= event.seconds <= PAUSE[1]


# --- not being able to look -----------------------------------------------------------------------------------


@contextmanager
def no_descriptor() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_without_a_descriptor_nobody_counts_as_dead(tmp_path: Path) -> None:
    """Else the workspace of a living process would be removed, and a sandbox be without limits."""
    ground = Ground(tmp_path / "home")
    if os.geteuid() != 0:
        ground.prepare()
    else:
        ground = Ground(tmp_path / "home", shared=tmp_path / "shared").prepare()
    workspaces = Workspaces(ground)
    workspace = workspaces.create("w")
    workspaces.occupy("w", os.getpid())
    watchdog = Watchdog(os.getpid(), workspace, Limits())
    looks: tuple[Callable[[], object], ...] = (
        lambda: Process.of(os.getpid()),
        lambda: workspaces.occupation("w"),
        lambda: descendants(os.getpid()),
        watchdog.look,
        lambda: watchdog.kill(frozenset()),
    )
    found = []
    with no_descriptor():
        for look in looks:
            try:
                found.append(repr(look()))
            except OSError as error:
                found.append(errno.errorcode[error.errno or 0])
        used, unknown = occupied(workspace)
    assert found == ["EMFILE"] * len(looks)
    assert (used, unknown) == (0, 1)
    assert workspaces.occupation("w") is not None


# --- what is said ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(UNWELL))
@pytest.mark.parametrize("run", [None, "r-1"])
def test_what_the_machine_refuses_is_no_bug_of_ours(number: int, run: str | None) -> None:
    fault = faults.of_machine(OSError(number, os.strerror(number), "/some/file"), run)
    said = " ".join(text for _, text in faults.paragraphs(fault))
    assert fault.exit_code == Exit.FAILED
    assert os.strerror(number) in said
    assert "/some/file" in said
    assert "bug" not in said
    assert ("quarterdeck resume r-1" in said) == (run is not None)


def test_a_deck_takes_as_many_descriptors_as_it_may_have() -> None:
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))
        taken = as_many_as_allowed()
        assert taken == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(most, ENOUGH)
        assert as_many_as_allowed() == taken
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))
