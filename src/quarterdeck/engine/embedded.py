"""The embedded engine: a job queue in the deck's own database, performed by one owning process.

Rules
- Ownership is a lock on a file, which dies with the process. Whoever gets it writes its name into the database, and a
  job is claimed only under that name: a process that lost the queue claims nothing any more.
- Jobs of a dead owner go back to the queue. A job whose workers died 20 times is kept as failed: it is the killer.
- Which of the waiting jobs are started is decided in `choosing`.
- While the store is unavailable nothing is claimed; running handlers go on, and their outcomes are written when it is
  back. A handler that raises StoreUnavailable is run again later: nothing is wrong with its job. That is said as soon
  as it happens; when the store stays away for longer than the engine's patience, or is lost, serving ends with that
  error, and whoever owns the queue next goes on.
- A job that is done is deleted; the newest failed ones are kept.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from quarterdeck.engine import illness
from quarterdeck.engine.choosing import Candidate, Delays, choose
from quarterdeck.engine.illness import PATIENCE, Illness
from quarterdeck.engine.ownership import OwnersLock
from quarterdeck.engine.port import KEPT_FAILURES, POISON_DEATHS, URGENT, Handler, Job, Later, Untaken, Worker, poisoned
from quarterdeck.engine.rows import IDLE_SECONDS, THROTTLE, columns_of, job_of, trace_of
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import Conflicting, MissingPart, StoreUnavailable
from quarterdeck.store.port import Row, Store, Tx

T = TypeVar("T")

_LOOK: Final = 256
"""How many waiting jobs are looked at in one turn."""
_RESERVE: Final = 16
"""Slots that only urgent jobs get."""


@dataclass(slots=True)
class _Running:
    """A job in this process's hands."""

    id: int
    job: Job
    task: "asyncio.Task[None] | None" = None
    aborted: bool = False
    settling: bool = False
    """Its handler has ended; the outcome is being written."""


class EmbeddedEngine:
    """An `Engine` over the deck's store.

    lock_path: the file whose lock means ownership. owner: this process incarnation, never used before or again.
    concurrency: most handlers at the same time; short, urgent jobs get some slots beyond it. patience: seconds that it
    goes on without the store.
    """

    def __init__(
        self,
        store: Store,
        lock_path: Path,
        owner: str,
        clock: Clock,
        concurrency: int = 64,
        patience: float = PATIENCE,
    ) -> None:
        self._store = store
        self._lock = OwnersLock(lock_path)
        self._owner = owner
        self._clock = clock
        self._concurrency = concurrency
        self.illness = Illness(clock, patience)
        self._drained_by: float | None = None
        """No further jobs are taken, and serving ends by this moment of the monotonic clock."""
        self._owns = False
        self._running: dict[int, _Running] = {}
        self._delays = Delays()
        self._look = asyncio.Event()
        self._touched = False
        """Something of this process changed the queue: look without throttling."""

    # --- what may happen in any process -----------------------------------------------------------------------

    def defer(self, tx: Tx, job: Job) -> None:
        self._touched = True
        columns = columns_of(job)
        delay = columns["delay"]
        tx.run("job_defer", **columns, due=self._clock.wall() + delay if delay else 0.0)

    def abort(self, tx: Tx, run: str) -> None:
        self._touched = True
        spare = ids.run_stream(run)
        tx.run("jobs_abort_waiting", run=run, spare=spare)
        tx.run("jobs_abort_running", run=run, spare=spare)

    def fence(self, tx: Tx) -> None:
        """Nobody is taken for dead here: a process that stands still holds the lock all the same."""

    async def unfinished(self, run: str = "") -> int:
        rows = await self._store.read("jobs_unfinished", run=run)
        return int(rows[0]["n"])

    async def untaken(self) -> tuple[Untaken, ...]:
        return ()  # the owner takes everything

    def release(self, tx: Tx, queue: str) -> None:
        """Nothing waits here for another process."""

    async def workers(self) -> tuple[Worker, ...]:
        return ()

    async def overtakes(self, job: Job) -> bool:
        return bool((await self._store.read("jobs_ahead", run=job.run, lock=job.lock, kind=job.kind))[0]["n"])

    async def failed(self) -> list[tuple[Job, str]]:
        return [(job_of(row), row["trace"]) for row in await self._store.read("jobs_failed")]

    # --- ownership ------------------------------------------------------------------------------------------

    async def try_own(self) -> bool:
        if self._owns:
            return True
        if not self._lock.take():
            return False
        try:
            await self._store.write(self._take_over)
        except BaseException:
            self._drop_lock()
            raise
        self._owns = True
        return True

    async def attended(self, wants: str = "") -> bool:
        return self._lock.taken()

    def _drop_lock(self) -> None:
        self._lock.drop()
        self._owns = False

    def _take_over(self, tx: Tx) -> None:
        """Write this incarnation's name down and give the jobs of the dead one back."""
        tx.run("owner_set", owner=self._owner)
        for row in tx.run("jobs_orphaned"):
            if row["owner"] != self._owner:
                tx.run("job_died", id=row["id"])
            if row["aborted"]:
                tx.run("job_done", id=row["id"], owner=row["owner"])
            elif row["deaths"] + 1 >= POISON_DEATHS:
                self._keep_failed(tx, row["id"], row["owner"], poisoned())
            else:
                _give_back(tx, row["id"], row["owner"], 0.0, 0.0)

    async def close(self) -> None:
        self._drop_lock()

    # --- performing -----------------------------------------------------------------------------------------

    def drain(self, deadline: float) -> None:
        self._drained_by = self._clock.monotonic() + deadline
        self._look.set()

    def _drained(self) -> bool:
        by = self._drained_by
        return by is not None and (not self._running or self._clock.monotonic() >= by)

    async def serve(self, handlers: Mapping[str, Handler], *, until_idle: bool) -> None:
        if not await self.try_own():
            raise Conflicting("Another process performs the jobs of this deck")
        watcher = asyncio.create_task(self._watch())
        self.illness.begin()
        self._drained_by = None
        try:
            while True:
                self._look.clear()
                try:
                    next_due = await self._turn(handlers)
                    if self._drained():
                        return
                    if until_idle and not self._running and not await self.unfinished():
                        return
                except StoreUnavailable as error:
                    if self.illness.given_up:
                        raise
                    self.illness.note(error)
                    next_due = self.illness.pause()
                await _event(self._look, IDLE_SECONDS if next_due is None else next_due)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
            await self._give_all_back()

    async def _watch(self) -> None:
        """Ask for a look whenever something was committed; rarely, where it was probably not about jobs."""
        mark = 0
        while True:
            mark = await self._store.changed(mark, IDLE_SECONDS)
            if not self._touched:
                await asyncio.sleep(THROTTLE)
            self._look.set()

    async def _turn(self, handlers: Mapping[str, Handler]) -> float | None:
        """Cancel what was aborted, start what is due; returns in how many seconds it has to be looked
        again."""
        self._touched = False
        self._raise_fault()
        if self._running:
            for row in await self._store.read("jobs_aborted"):
                await self._abort(row["id"])
        if self._drained_by is not None:
            return max(0.0, self._drained_by - self._clock.monotonic())
        urgent = sum(running.job.priority >= URGENT for running in self._running.values())
        reserve = max(0, _RESERVE - urgent)
        free = max(0, self._concurrency - (len(self._running) - min(urgent, _RESERVE)))
        if free + reserve == 0:
            return None
        delayed = await self._store.read("jobs_delayed", limit=10_000)
        due, next_due = self._delays.split(delayed, self._clock.wall(), self._clock.monotonic())
        ready = await self._store.read("jobs_ready", limit=_LOOK)
        due += [Candidate(row["id"], row["lock"], row["priority"]) for row in ready]
        chosen = choose(due, {running.job.lock for running in self._running.values()}, free, reserve)
        if chosen:
            await self._claim(chosen, handlers)
        return next_due

    async def _claim(self, chosen: list[Candidate], handlers: Mapping[str, Handler]) -> None:
        def work(tx: Tx) -> list[Row]:
            return [row for one in chosen for row in tx.run("job_claim", id=one.id, owner=self._owner)]

        writing = asyncio.ensure_future(self._store.write(work))
        try:
            rows = await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The claim may be committed although nobody waits for it any more: these jobs have to be given back.
            for row in await _result(writing, []):
                self._running[row["id"]] = _Running(row["id"], job_of(row))
            raise
        self.illness.well()
        for row in rows:
            running = _Running(row["id"], job_of(row))
            self._running[running.id] = running
            running.task = asyncio.create_task(self._perform(running, handlers), name=f"job {running.job.key}")
            running.task.add_done_callback(lambda _: self._look.set())

    async def _abort(self, id: int) -> None:
        running = self._running.get(id)
        if running is None or running.task is None or running.settling:
            return
        if running.task.done():  # cancelled before its first step: it could not write its end itself
            await self._store.write(self._done(running))
            self._running.pop(id, None)
        elif not running.aborted:
            running.aborted = True
            running.task.cancel()

    def _raise_fault(self) -> None:
        """A fault of the engine itself ends `serve`, rather than leaving a job that never ends."""
        for running in list(self._running.values()):
            task = running.task
            if task is not None and task.done() and not task.cancelled() and (fault := task.exception()) is not None:
                raise fault

    async def _perform(self, running: _Running, handlers: Mapping[str, Handler]) -> None:
        """Run the handler and write down how it ended. Cancelled by the end of `serve` it writes nothing: `serve`
        does."""
        try:
            outcome = await self._outcome(running, handlers)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if running.aborted:
                outcome = self._done(running)
            elif task is not None and task.cancelling():
                raise
            else:
                outcome = self._failure(running, error)  # the handler let a cancellation of its own get out
        running.settling = True
        await self._settle(outcome)
        self._running.pop(running.id, None)
        self._touched = True

    async def _outcome(self, running: _Running, handlers: Mapping[str, Handler]) -> Callable[[Tx], None]:
        try:
            handler = handlers.get(running.job.kind)
            if handler is None:
                raise MissingPart(f"Nothing performs jobs of the kind {running.job.kind}")
            await handler(running.job)
        except Later as later:
            return self._again(running, later.delay)
        except StoreUnavailable as error:
            self.illness.note(error)
            return self._again(running, illness.BACKOFF[1])
        except Exception as error:  # noqa: BLE001 - recorded with its trace
            return self._failure(running, error)
        return self._done(running)

    def _failure(self, running: _Running, error: BaseException) -> Callable[[Tx], None]:
        trace = trace_of(error)
        return lambda tx: self._keep_failed(tx, running.id, self._owner, trace)

    def _done(self, running: _Running) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            tx.run("job_done", id=running.id, owner=self._owner)

        return work

    def _again(self, running: _Running, delay: float) -> Callable[[Tx], None]:
        delay = max(delay, 0.0)
        due = self._clock.wall() + delay if delay else 0.0
        return lambda tx: _give_back(tx, running.id, self._owner, due, delay)

    def _keep_failed(self, tx: Tx, id: int, owner: str, trace: str) -> None:
        tx.run("job_failed", id=id, owner=owner, trace=trace)
        tx.run("jobs_forget_failed", keep=KEPT_FAILURES)

    async def _settle(self, outcome: Callable[[Tx], None]) -> None:
        """Write an outcome down, as long as there is hope for the store."""
        while True:
            try:
                await self._store.write(outcome)
                self.illness.well()
                return
            except StoreUnavailable as error:
                self.illness.note(error)
                await asyncio.sleep(self.illness.pause())

    async def _give_all_back(self) -> None:
        """`serve` ends: stop the handlers and give their jobs back to the queue."""
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left = list(self._running.values())
        self._running.clear()
        self._delays = Delays()
        if not left:
            return

        def work(tx: Tx) -> None:
            for running in left:
                _give_back(tx, running.id, self._owner, 0.0, 0.0)

        try:
            await self._store.write(work)
        except StoreUnavailable:
            # They stay on record as running: whoever owns the queue next finds them, this process included.
            self._owns = False


def _give_back(tx: Tx, id: int, owner: str, due: float, delay: float) -> None:
    """Back to the queue, or into the job of the same key that was deferred meanwhile. One that was to be cancelled has
    ended: it must not wait there, or whoever defers its key anew would be cancelled with it."""
    if tx.run("job_cancelled", id=id, owner=owner):
        return
    if tx.run("job_hurry_twin", id=id, owner=owner, due=due, delay=delay):
        tx.run("job_done", id=id, owner=owner)
    else:
        tx.run("job_back", id=id, owner=owner, due=due, delay=delay)


async def _event(event: asyncio.Event, timeout: float) -> None:
    """Wait for the event, at most `timeout` seconds."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((waiting,), timeout=timeout)
    finally:
        waiting.cancel()


async def _result(future: "asyncio.Future[T]", otherwise: T) -> T:
    try:
        return await asyncio.shield(future)
    except StoreUnavailable:
        return otherwise
