"""What may go wrong between workers and their database, one thing at a time: nothing is lost, and nobody is blamed.

What the network or another process would do is done here by procrastinate's own calls, or by setting what the database
has.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from procrastinate.manager import JobManager
from test_engine_workers import Bench, bench

from quarterdeck.assembly.parts import make
from quarterdeck.engine.port import Handler, Job, Later
from quarterdeck.engine.procrastinate import ProcrastinateEngine
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import Fenced, StoreUnavailable
from quarterdeck.settings import Settings
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Ask, Dialect, Row, Store, Write
from quarterdeck.testing.engine_conformance import defer, drain, job

__all__ = ["bench"]
pytest_plugins = ("postgres_kit",)

T = TypeVar("T")


class _Clock(SystemClock):
    """It goes on by itself, and as far ahead as it is told."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class _Through(Store):
    """A store that counts its writes, and fails before or after one of them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.writes = 0
        self.fails: Callable[[int], str] = lambda number: ""

    @property
    def dialect(self) -> Dialect:
        return self.store.dialect

    @property
    def where(self) -> str:
        return self.store.where

    @property
    def came_from(self) -> int:
        return self.store.came_from

    async def write(self, work: Write[T]) -> T:
        self.writes += 1
        how = self.fails(self.writes)
        if how == "before":
            raise StoreUnavailable("for the test")
        value = await self.store.write(work)
        if how == "after":
            raise StoreUnavailable("for the test")
        return value

    async def read(self, statement: str, /, **parameters: object) -> list[Row]:
        return await self.store.read(statement, **parameters)

    async def reads(self, *asks: Ask) -> list[list[Row]]:
        return await self.store.reads(*asks)

    def sole(self) -> AbstractAsyncContextManager[None]:
        return self.store.sole()

    async def changed(self, since: int, timeout: float) -> int:
        return await self.store.changed(since, timeout)

    async def close(self) -> None:
        await self.store.close()


def engine_on(bench: Bench, store: Store, clock: SystemClock | None = None, pace: float = 30.0) -> ProcrastinateEngine:
    seat = Seat(ids.new_owner_id(), "here", 1, "0")
    engine = ProcrastinateEngine(store, bench.url, seat, clock or SystemClock(), Pace(pace))
    bench.engines.append(engine)
    return engine


@asynccontextmanager
async def serving(engine: ProcrastinateEngine, handler: Handler) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(engine.serve({"work": handler}, until_idle=False))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def tell(bench: Bench, sql: str) -> None:
    """Set what the database has."""
    with psycopg.connect(bench.url, autocommit=True) as connection:
        connection.execute(sql)


async def nothing(one: Job) -> None:
    """Performs any job."""


# --- who is dead, and who is not ----------------------------------------------------------------------------


async def test_who_was_struck_off_takes_no_stream_from_its_heir(bench: Bench, tmp_path: Path) -> None:
    """As a process that stood still in the middle of a job, and has not noticed yet."""
    settings = Settings(home=tmp_path / "home", user="ada", path="", database_url=bench.url)
    heir = Log(bench.store, SystemClock())
    parts = await make(settings)
    try:
        await parts.engine.try_own()
        await parts.journal.claim("attempt/r-1.a.1")
        (worker,) = await bench.store.read("workers_heard")
        await bench.store.write(lambda tx: tx.run("worker_strike", worker=worker["id"], beat=worker["beat"]))
        claim = await heir.claim("attempt/r-1.a.1")
        with pytest.raises(Fenced):
            await parts.journal.claim("attempt/r-1.a.1")
        await heir.append(claim, e.NoteRecorded(task="a", text="at work"))
    finally:
        await parts.close()


async def test_a_database_that_was_away_is_looked_for_as_often_as_somebody_needs_it(bench: Bench) -> None:
    """The pool's own way is to try after 1, 2, 4, 8 seconds and so on, for five minutes, and only then anew."""
    engine = bench.engine(pace=3.0)
    await engine.try_own()
    pool = engine.standing.connector.pool
    assert pool.reconnect_timeout <= Pace(3.0).silence


async def test_where_the_server_has_no_connection_left_that_is_said_and_waited_for(bench: Bench) -> None:
    role = f"few_{secrets.token_hex(4)}"
    tell(bench, f"CREATE ROLE {role} LOGIN IN ROLE postgres")
    url = bench.url.replace("postgres@", f"{role}@", 1)
    store = await open_url(url)
    few = Bench(store, url)
    engine, heard = few.engine(pace=3.0), list[StoreUnavailable | None]()
    engine.illness.told = heard.append
    try:
        await defer(few, engine, job("k"))
        tell(bench, f"ALTER ROLE {role} CONNECTION LIMIT 1")
        await engine.try_own()
        await engine.standing.sign_of_life()
        assert isinstance(heard[0], StoreUnavailable) and "max_connections" in heard[0].fix
        tell(bench, f"ALTER ROLE {role} CONNECTION LIMIT -1")
        await drain(engine, {"work": nothing})
        assert (await few.engine().unfinished(), await few.engine().failed()) == (0, [])
    finally:
        await engine.close()
        await store.close()
        tell(bench, f"DROP ROLE {role}")


# --- jobs that nobody performs ------------------------------------------------------------------------------


async def test_a_claim_whose_answer_was_lost_is_given_back(bench: Bench) -> None:
    engine, gifted = bench.engine(pace=3.0), bench.engine(labels=("gpu",))
    lost = Job("work", "lost", "l", "r", runs_on=("gpu",))
    behind = Job("work", "behind", "l", "r", runs_on=("gpu",))
    manager = engine.standing.manager
    async with serving(engine, nothing):
        await defer(bench, engine, job("first"))
        await _gone(bench, engine)
        await defer(bench, engine, lost, behind)
        claimed = await JobManager.fetch_job(manager, ["work/gpu"], manager.worker)
        assert claimed is not None, "as if the answer had never arrived"
        async with asyncio.timeout(30):
            await drain(gifted, {"work": nothing})
    assert await engine.unfinished() == 0
    assert await engine.failed() == []


async def _gone(bench: Bench, engine: ProcrastinateEngine) -> None:
    mark = 0
    async with asyncio.timeout(30):
        while await engine.unfinished():
            mark = await bench.store.changed(mark, 1.0)


async def test_a_job_that_has_not_begun_is_not_told_to_end(bench: Bench) -> None:
    manager, heard = bench.engine().standing.manager, list[int]()

    async def ear(*, channel: str, notification: object) -> None:
        heard.append(notification["job_id"])  # type: ignore[index]  # as procrastinate writes it

    listening = asyncio.create_task(manager.listen_for_jobs(on_notification=ear, queues=["work"]))
    await asyncio.sleep(0)
    for job_id in (5, 6):
        if job_id == 6:
            manager.begun(6)
        await manager.hear(
            channel="procrastinate_queue_v1#work", notification={"type": "abort_job_requested", "job_id": job_id}
        )
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    assert heard == [6]


async def test_an_end_that_cannot_be_written_ends_the_worker(bench: Bench) -> None:
    """Rather than leaving a job that holds its lock for as long as the worker lives."""
    through = _Through(bench.store)
    engine = engine_on(bench, through)

    async def handle(one: Job) -> None:
        def fails(number: int) -> str:
            through.fails = lambda number: ""
            raise ZeroDivisionError("a fault of ours")

        through.fails = fails

    await defer(bench, engine, job("k"))
    with pytest.raises(ZeroDivisionError):
        await drain(engine, {"work": handle})


async def test_what_waits_behind_a_job_that_comes_later_is_told_at_once(bench: Bench) -> None:
    engine, order = bench.engine(), list[str]()

    async def handle(one: Job) -> None:
        order.append(one.key)
        if one.key == "waits" and order.count("waits") == 1:
            began.append(asyncio.get_running_loop().time())
            raise Later(30.0, "not yet")
        if one.key == "behind":
            began.append(asyncio.get_running_loop().time())
            done.set()

    began, done = list[float](), asyncio.Event()
    await defer(bench, engine, job("waits", lock="l"), job("behind", lock="l"))
    async with serving(engine, handle):
        async with asyncio.timeout(30):
            await done.wait()
    assert order == ["waits", "behind"]
    assert (await bench.store.read("jobs_unfinished", run="r"))[0]["n"] == 1


async def test_what_is_written_down_about_a_job_does_not_grow_with_its_tries(bench: Bench) -> None:
    engine, tries = bench.engine(), list[int]()

    async def handle(one: Job) -> None:
        tries.append(1)
        if len(tries) < 6:
            raise Later(0.0, "again")
        with psycopg.connect(bench.url) as connection:
            found = connection.execute("SELECT count(*) FROM procrastinate_events").fetchone()
        counted.append(found[0] if found else -1)

    counted: list[int] = []
    await defer(bench, engine, job("k"))
    await drain(engine, {"work": handle})
    assert counted == [2], "that it was deferred, and that it began"


async def test_labels_may_be_long(bench: Bench) -> None:
    labels = tuple(f"label{n}={'x' * 50}" for n in range(3))
    plain, gifted, seen = bench.engine(pace=0.0), bench.engine(labels=labels), list[str]()

    async def handle(one: Job) -> None:
        seen.append(one.key)

    await defer(bench, plain, Job("work", "k", "k", "r", runs_on=labels))
    assert (await plain.untaken())[0].needs == labels
    await drain(gifted, {"work": handle})
    assert seen == ["k"]


# --- time -------------------------------------------------------------------------------------------------


async def test_a_step_of_the_databases_clock_strikes_nobody_off(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    clock = _Clock()
    onlooker, other = engine_on(bench, bench.store, clock), bench.engine()
    await onlooker.try_own()
    await other.try_own()
    tell(bench, "UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 hour'")
    await onlooker.standing.rescue()
    assert await bench.store.read("worker_known", worker=other.standing.manager.worker)
    clock.ahead = 9.0  # two heartbeats are ten seconds
    await other.standing.sign_of_life()
    await onlooker.standing.rescue()
    assert await bench.store.read("worker_known", worker=other.standing.manager.worker)
    assert "struck off" not in caplog.text
    clock.ahead = 45.0
    await onlooker.standing.rescue()
    assert not await bench.store.read("worker_known", worker=other.standing.manager.worker)
    assert f"(process {os.getpid()}) gives no sign of life and was struck off" in caplog.text


async def test_a_sign_of_life_from_the_future_saves_no_dead_worker(bench: Bench) -> None:
    clock = _Clock()
    onlooker, dead = engine_on(bench, bench.store, clock), bench.engine()
    await onlooker.try_own()
    await dead.try_own()
    worker = dead.standing.manager.worker
    tell(bench, f"UPDATE procrastinate_workers SET last_heartbeat = now() + interval '1 hour' WHERE id = {worker}")
    await onlooker.standing.rescue()
    clock.ahead = 30.0
    await onlooker.standing.rescue()
    assert not await bench.store.read("worker_known", worker=worker)
    assert len(await onlooker.workers()) == 1


async def test_a_delayed_job_waits_no_longer_where_the_databases_clock_steps_back(bench: Bench) -> None:
    engine, done = bench.engine(pace=3.0), asyncio.Event()

    async def handle(one: Job) -> None:
        done.set()

    await defer(bench, engine, job("k", delay=2.0))
    tell(bench, "UPDATE procrastinate_jobs SET scheduled_at = scheduled_at + interval '1 hour'")
    async with serving(engine, handle), asyncio.timeout(30):
        await done.wait()


# --- the dead, and who is taken for dead --------------------------------------------------------------------


async def test_the_jobs_of_the_dead_cost_few_transactions(bench: Bench) -> None:
    doomed, seen = bench.engine(), set[str]()
    await defer(bench, doomed, *(job(f"k{n}") for n in range(300)))
    await doomed.try_own()
    for _ in range(300):
        assert await doomed.standing.manager.fetch_job(["work"], doomed.standing.manager.worker) is not None
    await doomed.standing.manager.end()
    through = _Through(bench.store)
    heir = engine_on(bench, through)
    await heir.try_own()
    before = through.writes
    await heir.standing.rescue()
    assert through.writes - before <= 2

    async def handle(one: Job) -> None:
        seen.add(one.key)

    await drain(heir, {"work": handle})
    assert len(seen) == 300


async def test_a_worker_is_on_record_whole_or_not_at_all(bench: Bench) -> None:
    through = _Through(bench.store)
    engine = engine_on(bench, through)
    through.fails = lambda number: "before" if number == 1 else ""
    with pytest.raises(StoreUnavailable):
        await engine.try_own()
    assert not await engine.attended()
    await engine.try_own()
    assert await engine.attended()
    assert len(await engine.workers()) == 1


async def test_who_is_struck_off_while_it_is_drained_stops_at_once(bench: Bench) -> None:
    engine, other = bench.engine(), bench.engine()
    started, stopped = asyncio.Event(), asyncio.Event()

    async def handle(one: Job) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await other.try_own()
    await defer(bench, engine, job("k"))
    task = asyncio.create_task(engine.serve({"work": handle}, until_idle=False))
    async with asyncio.timeout(30):
        await started.wait()
        engine.drain(3600.0)
        while not any(one.ends for one in await other.workers()):
            await bench.store.changed(0, 1.0)
        assert await other.attended(), "the other one"
        await JobManager.unregister_worker(other.standing.manager, engine.standing.manager.worker)
        await engine.standing.sign_of_life()
        with pytest.raises(Fenced):
            await task
    assert stopped.is_set()


async def test_a_drained_worker_ends_when_its_jobs_have(bench: Bench) -> None:
    engine, started, go = bench.engine(), asyncio.Event(), asyncio.Event()

    async def handle(one: Job) -> None:
        started.set()
        await go.wait()

    await defer(bench, engine, job("k"), *(job(f"behind{n}", lock="k") for n in range(20)))
    task = asyncio.create_task(engine.serve({"work": handle}, until_idle=False))
    async with asyncio.timeout(60):
        await started.wait()
        engine.drain(3600.0)
        go.set()
        await task
    assert await engine.unfinished() >= 19, "it took nothing more, but what it may have asked for before"
