"""The engine for many workers: conformance, and workers that are killed, paused, cut off and drained.

The child processes perform jobs and say on stdout what they do; what must outlive them they append to a file.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from procrastinate.exceptions import ConnectorException

from quarterdeck.engine.port import POISON_DEATHS, Job, Untaken
from quarterdeck.engine.procrastinate import ProcrastinateEngine, prepare
from quarterdeck.engine.queues import QUEUES
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Store
from quarterdeck.testing.engine_conformance import EngineConformance, defer, drain, job
from quarterdeck.testing.postgres_server import Server

pytest_plugins = ("postgres_kit",)

CHILD = Path(__file__).with_name("engine_worker.py")


class Bench:
    """One queue, and engines over it."""

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url
        self.engines: list[ProcrastinateEngine] = []

    def engine(
        self,
        pace: float = 30.0,
        capacity: int = 64,
        labels: tuple[str, ...] = (),
        queues: tuple[str, ...] = QUEUES,
        offers: Callable[[], Iterable[str]] = tuple,
        labelled: Iterable[str] = (),
    ) -> ProcrastinateEngine:
        seat = Seat(ids.new_owner_id(), "here", os.getpid(), "0", queues, labels, capacity, offers, frozenset(labelled))
        engine = ProcrastinateEngine(self.store, self.url, seat, SystemClock(), Pace(pace))
        self.engines.append(engine)
        return engine


@pytest.fixture
async def bench(workers_url: str) -> AsyncIterator[Bench]:
    store = await open_url(workers_url)
    await prepare(store)  # nothing is missing
    bench = Bench(store, workers_url)
    try:
        yield bench
    finally:
        for engine in bench.engines:
            await engine.close()
        await store.close()


class TestProcrastinate(EngineConformance):
    pass


# --- labels -----------------------------------------------------------------------------------------------


async def test_work_goes_where_its_labels_are(bench: Bench) -> None:
    plain, gifted = bench.engine(), bench.engine(labels=("gpu", "arch=arm64"))
    seen: dict[str, str] = {}

    def handler(name: str):  # type: ignore[no-untyped-def]  # one for each engine
        async def handle(one: Job) -> None:
            seen[one.key] = name

        return handle

    needing = Job("work", "heavy", "heavy", "r", runs_on=("gpu",))
    both = Job("work", "both", "both", "r", runs_on=("arch=arm64", "gpu"))
    await defer(bench, plain, needing, both, job("light", lock="x"))
    serving = asyncio.ensure_future(plain.serve({"work": handler("plain")}, until_idle=False))
    await _until(bench, plain, 2)
    await drain(gifted, {"work": handler("gifted")})
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert seen == {"light": "plain", "heavy": "gifted", "both": "gifted"}


async def _until(bench: Bench, engine: ProcrastinateEngine, left: int) -> None:
    mark = 0
    async with asyncio.timeout(30):
        while await engine.unfinished() > left:
            mark = await bench.store.changed(mark, 5.0)


async def test_what_no_worker_can_take_is_said(bench: Bench) -> None:
    engine = bench.engine(pace=0.0)
    await defer(bench, engine, Job("work", "heavy", "heavy", "r", runs_on=("gpu",)))
    assert await engine.untaken() == (Untaken(1, "work/gpu", ("gpu",)),)
    gifted = bench.engine(labels=("gpu",))
    await gifted.try_own()
    assert await bench.engine().untaken() == ()


# --- what a process is configured for -----------------------------------------------------------------------

WANTING = Job("work", "message", "message", "", priority=-1, wants="trigger/issues")


async def test_what_wants_something_is_performed_where_it_is_offered(bench: Bench) -> None:
    both = ("trigger/issues",)
    plain = bench.engine(labelled=both)
    server = bench.engine(queues=(), labels=("host=a",), offers=lambda: both, labelled=both)
    seen: dict[str, str] = {}
    done = asyncio.Event()

    def handler(name: str):  # type: ignore[no-untyped-def]  # one for each engine
        async def handle(one: Job) -> None:
            seen[one.key] = name
            if len(seen) == 3:
                done.set()

        return handle

    placed = replace(WANTING, key="placed", lock="placed", runs_on=("host=a",))
    serving = [
        asyncio.ensure_future(engine.serve({"work": handler(name)}, until_idle=False))
        for name, engine in (("plain", plain), ("server", server))
    ]
    await _until(bench, plain, 0)
    await defer(bench, plain, WANTING, placed, job("light", lock="x"))
    async with asyncio.timeout(30):
        await done.wait()
    for one in serving:
        one.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    assert seen == {"light": "plain", "message": "server", "placed": "server"}


async def test_what_nobody_offers_waits_is_said_and_is_performed_once_somebody_does(bench: Bench) -> None:
    has: list[str] = []
    done = asyncio.Event()

    async def handle(one: Job) -> None:
        done.set()

    server = bench.engine(pace=0.3, queues=(), offers=lambda: has)
    asking = bench.engine(pace=0.0)
    await server.try_own()
    assert not await asking.attended(), "it performs nothing of the runs"
    assert await asking.workers() == ()
    await defer(bench, asking, replace(WANTING, priority=0))
    assert await asking.untaken() == (Untaken(1, "for:trigger/issues", (), "trigger/issues"),)
    assert await asking.unfinished() == 0, "who cannot perform it does not wait for it"
    serving = asyncio.ensure_future(server.serve({"work": handle}, until_idle=False))
    has.append("trigger/issues")
    async with asyncio.timeout(30):
        await done.wait()
        while not await asking.attended("trigger/issues"):
            await bench.store.changed(0, 0.05)
    assert not await asking.attended("trigger/other")
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


# --- deaths -----------------------------------------------------------------------------------------------


class Fleet:
    """Worker processes over one queue."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.folder = folder
        self.engine = bench.engine()
        self._children: list[Process] = []

    async def worker(self, holds: str = "-", takeover: float = 3.0) -> Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable, CHILD, self.bench.url, self.folder / "diary", holds, str(takeover), stdout=PIPE
        )
        self._children.append(child)
        await said(child, "working")
        return child

    def diary(self) -> list[list[str]]:
        """`in` or `out`, the job's key, the process."""
        path = self.folder / "diary"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    async def close(self) -> None:
        for child in self._children:
            if child.returncode is None:
                child.kill()
            await child.communicate()


@pytest.fixture
async def fleet(bench: Bench, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(bench, tmp_path)
    try:
        yield fleet
    finally:
        await fleet.close()


async def said(child: Process, words: str) -> None:
    """Wait until the child has said it."""
    assert child.stdout is not None
    async with asyncio.timeout(60):
        while line := (await child.stdout.readline()).decode():
            if line.strip() == words:
                return
    pytest.fail(f"the child ended before it said: {words}")


async def test_a_killed_workers_jobs_are_taken_over(fleet: Fleet) -> None:
    """Ten jobs, two workers, one of them killed while it holds one of each lock."""
    held = [f"k{n}" for n in range(5)]
    doomed = await fleet.worker(holds=",".join(held))
    await defer(fleet.bench, fleet.engine, *(job(f"k{n}", lock=f"l{n % 5}") for n in range(10)))
    await said(doomed, "started k4")
    survivor = await fleet.worker()
    doomed.send_signal(signal.SIGKILL)
    killed = asyncio.get_running_loop().time()
    await said(survivor, "ended k0")
    assert asyncio.get_running_loop().time() - killed < 30  # asked for 3 s; the machine may be busy
    await _until(fleet.bench, fleet.engine, 0)
    diary = fleet.diary()
    assert {key for what, key, _ in diary if what == "out"} == {f"k{n}" for n in range(10)}
    assert [key for what, key, who in diary if what == "in" and who == str(doomed.pid)] == held
    assert sum(what == "out" for what, _, _ in diary) == 10, "nothing that had ended was done again"
    assert await fleet.engine.failed() == []


async def test_a_paused_worker_that_comes_back_is_fenced(fleet: Fleet) -> None:
    paused = await fleet.worker(holds="k")
    await defer(fleet.bench, fleet.engine, job("k"))
    await said(paused, "started k")
    paused.send_signal(signal.SIGSTOP)
    heir = await fleet.worker()
    await said(heir, "ended k")
    paused.send_signal(signal.SIGCONT)
    await said(paused, "stopped k")
    await said(paused, "fenced")
    assert await paused.wait() == 7
    assert [key for what, key, _ in fleet.diary() if what == "out"] == ["k"]


async def test_who_cannot_reach_the_database_stops_its_jobs_and_begins_anew(own_server: Server) -> None:
    url = own_server.url(own_server.create())
    store = await open_url(url)
    await prepare(store)
    bench = Bench(store, url)
    engine = bench.engine(pace=3.0)
    started, stopped, seen = asyncio.Event(), asyncio.Event(), list[str]()

    async def handle(one: Job) -> None:
        seen.append(one.key)
        if len(seen) == 1:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

    await defer(bench, engine, job("k"))
    serving = asyncio.ensure_future(drain(engine, {"work": handle}))
    await started.wait()
    with own_server.down():
        async with asyncio.timeout(30):
            await stopped.wait()
    await serving
    assert seen == ["k", "k"]
    assert await engine.failed() == []
    await engine.close()
    await store.close()


async def test_who_is_asked_to_end_while_the_database_is_away_ends(own_server: Server) -> None:
    """It has nothing in hand by then: what it had begun was stopped when it was cut off."""
    url = own_server.url(own_server.create())
    store = await open_url(url)
    await prepare(store)
    bench = Bench(store, url)
    engine = bench.engine(pace=3.0)
    started, stopped = asyncio.Event(), asyncio.Event()

    async def handle(one: Job) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await defer(bench, engine, job("k"))
    serving = asyncio.create_task(engine.serve({"work": handle}, until_idle=False))
    await started.wait()
    with own_server.down():
        async with asyncio.timeout(60):
            await stopped.wait()
            for _ in range(3):  # it tries to come back
                with pytest.raises(ConnectorException):
                    await engine.standing.manager.beat()
            engine.drain(3600.0)
            await serving
    await engine.close()
    await store.close()


async def test_a_drained_worker_ends_what_it_can_and_gives_back_the_rest(fleet: Fleet) -> None:
    leaving = await fleet.worker(holds="endless", takeover=60.0)
    await defer(fleet.bench, fleet.engine, job("endless"), job("behind", lock="endless"))
    await said(leaving, "started endless")
    leaving.send_signal(signal.SIGTERM)
    await said(leaving, "stopped endless")
    assert await leaving.wait() == 0
    heir = await fleet.worker(takeover=60.0)
    await said(heir, "ended endless")
    await said(heir, "ended behind")


async def test_a_job_that_kills_its_workers_is_poison(bench: Bench) -> None:
    engine = bench.engine()
    await defer(bench, engine, job("k"), job("innocent"))

    seen: list[str] = []

    async def handle(one: Job) -> None:
        seen.append(one.key)

    await engine.try_own()
    for _ in range(POISON_DEATHS):
        doomed = bench.engine()
        await doomed.try_own()
        assert await doomed.standing.manager.fetch_job(["work"], doomed.standing.manager.worker) is not None
        await doomed.standing.manager.end()
        await engine.standing.rescue()
    await drain(engine, {"work": handle})
    assert seen == ["innocent"]
    assert "died" in {one.key: trace for one, trace in await engine.failed()}["k"]
