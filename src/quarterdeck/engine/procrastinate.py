"""The engine for many workers: procrastinate's queue in the deck's PostgreSQL database.

Theirs
- The tables and the functions that change a job's state; claiming with SKIP LOCKED, one job a lock; the workers that
  hold the jobs in hand; LISTEN and NOTIFY; registration and heartbeats of workers; striking off silent ones and finding
  their jobs; requests to abort.

Ours
- A job is deferred by procrastinate's function inside the deck's own transaction, and its end is written in one too,
  where others are committed with it. Both merge with a job that already waits under the same key.
- The fence: whoever is not on record as the worker of a job cannot end it or give it back.
- A delayed job waits in a queue that nobody claims from, and moves when it is due: procrastinate would hold up every
  later job of its lock until then. Time is the database's clock alone, so no worker's clock matters.
- Deaths are counted for each job, traces are kept, and only the newest failed jobs.

Rules
- How a worker stands with the others, and how its death is found: `procrastinate_standing`.
- A drained worker claims nothing more, and gives back what has not ended in time.
"""

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from procrastinate import App, JobContext
from procrastinate import jobs as theirs
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker

from quarterdeck.engine import illness
from quarterdeck.engine.illness import PATIENCE, Illness, Told
from quarterdeck.engine.port import KEPT_FAILURES, MAX_TRACE, Handler, Job, Later
from quarterdeck.engine.procrastinate_schema import foundations
from quarterdeck.engine.procrastinate_standing import Standing
from quarterdeck.engine.queues import CONTROL, Waiting, queue_of, served, untaken
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import MissingPart, StoreUnavailable
from quarterdeck.store.foundations import Foundation
from quarterdeck.store.port import Row, Store, Tx

_URGENT_AT_ONCE: Final = 16
"""Short, urgent jobs of one process at the same time, beyond its capacity."""
_POLL_SECONDS: Final = 2.0
"""Workers look for jobs so often even if nobody told them of any."""
_IDLE_SECONDS: Final = 60.0
_THROTTLE: Final = 0.05
_PROMOTED: Final = 256
_NEVER: Final = 1e9

Outcome = Callable[[Tx], list[Row]]
"""Writes the end of a job down; its row says whether the job was this worker's."""


class Layable(Protocol):
    """A store that takes foundations: one over PostgreSQL."""

    async def lay(self, foundations: Sequence[Foundation]) -> None: ...


async def prepare(store: Store) -> None:
    """Bring the engine's part of the database up to date. Raises StoreUnavailable."""
    await cast(Layable, store).lay(foundations())


class ProcrastinateEngine:
    """An `Engine` over procrastinate's tables in the store's database.

    store: over PostgreSQL, with the engine's schema applied. url: of the same database. patience: seconds that it goes
    on without the store.
    """

    def __init__(
        self, store: Store, url: str, seat: Seat, clock: Clock, pace: Pace | None = None, patience: float = PATIENCE
    ) -> None:
        self._store = store
        self._seat = seat
        self._pace = pace or Pace()
        self._illness = Illness(clock, patience)
        self._work = served(seat.queues, seat.labels)
        self.standing = Standing(store, url, seat, clock, self._pace, self._illness, self._settle)
        self._manager = self.standing.manager
        self._leaving = False
        self._workers: list[Worker] = []
        self._outcomes: dict[int, Outcome] = {}

    @property
    def told(self) -> Told | None:
        """Who hears when the store becomes unavailable and when it is back."""
        return self._illness.told

    @told.setter
    def told(self, told: Told | None) -> None:
        self._illness.told = told

    # --- what may happen in any process -----------------------------------------------------------------------

    def defer(self, tx: Tx, job: Job) -> None:
        tx.run(
            "job_defer",
            kind=job.kind,
            key=job.key,
            lock=job.lock,
            run=job.run,
            payload=json.dumps(dict(job.payload)),
            priority=job.priority,
            delay=max(job.delay, 0.0),
            queue=queue_of(job),
        )

    def abort(self, tx: Tx, run: str) -> None:
        tx.run("jobs_abort", run=run, spare=ids.run_stream(run))

    async def unfinished(self, run: str = "") -> int:
        rows = await self._store.read("jobs_unfinished", run=run)
        return int(rows[0]["n"])

    async def failed(self) -> list[tuple[Job, str]]:
        return [(_kept(row), row["trace"]) for row in await self._store.read("jobs_failed")]

    async def attended(self) -> bool:
        return any(not row["draining"] for row in await self._store.read("workers_alive", within=self._pace.silence))

    async def untaken(self) -> tuple[str, ...]:
        alive = await self._store.read("workers_alive", within=self._pace.silence)
        waiting = [Waiting(row["queue"], row["n"], row["seconds"]) for row in await self._store.read("queues_waiting")]
        taken = {
            queue for row in alive for queue in (*served(row["queues"].split(), row["labels"].split()), *_control(row))
        }
        return untaken(waiting, taken, self._pace.takeover)

    async def workers(self) -> tuple[str, ...]:
        return tuple(_told(row) for row in await self._store.read("workers_alive", within=self._pace.silence))

    # --- being a worker -------------------------------------------------------------------------------------

    async def try_own(self) -> bool:
        await self.standing.take()
        return True

    async def close(self) -> None:
        await self.standing.leave()

    # --- performing -----------------------------------------------------------------------------------------

    def drain(self, deadline: float) -> None:
        self._manager.closed = True
        for worker in self._workers:
            worker.shutdown_graceful_timeout = deadline
            worker.stop()  # type: ignore[no-untyped-call]  # as it is shipped

    async def serve(self, handlers: Mapping[str, Handler], *, until_idle: bool) -> None:
        self._illness.begin()
        await self.try_own()
        self._manager.closed = False
        while True:
            await self._shift(handlers, until_idle)
            if self.standing.why is not None:
                raise self.standing.why
            if not self.standing.cut_off:
                return
            await self.standing.come_back()
            if self.standing.why is not None:
                raise self.standing.why

    async def _shift(self, handlers: Mapping[str, Handler], until_idle: bool) -> None:
        """Perform jobs until the queue is idle, drained or out of reach, or this process is fenced or given up."""
        app = App(connector=self.standing.connector)
        app.job_manager = self._manager
        for kind, handler in handlers.items():
            app.task(name=kind, pass_context=True)(self._task(handler))
        places = [(self._work, self._seat.capacity), ((CONTROL,), _URGENT_AT_ONCE)]
        self._workers = [
            self._worker(app, queues, places) for queues, places in places if queues and self._takes(queues)
        ]
        self._leaving = False
        await self._give_back()  # what an earlier shift of this incarnation held when it was cut off
        performing = [asyncio.create_task(self._run(worker)) for worker in self._workers]
        beside = [asyncio.create_task(self._listen()), asyncio.create_task(self._promote())]
        ends = [asyncio.create_task(self._stopped())]
        if until_idle:
            ends.append(asyncio.create_task(self._idle()))
        try:
            await asyncio.wait([*performing, *ends, *beside], return_when=asyncio.FIRST_COMPLETED)
            if self._manager.closed and not self.standing.ended.is_set():
                await asyncio.wait(performing)  # drained
            for task in (*performing, *ends, *beside):
                if task.done() and (fault := task.exception()) is not None:
                    raise fault
        finally:
            self._leaving = True
            for task in (*performing, *ends, *beside):
                task.cancel()
            await asyncio.gather(*performing, *ends, *beside, return_exceptions=True)
            self._workers = []
            if not self.standing.ended.is_set():
                with suppress(StoreUnavailable):  # they stay on record, and are taken for a dead worker's
                    await self._give_back()
            self._manager.held.clear()
            self._outcomes.clear()

    def _takes(self, queues: tuple[str, ...]) -> bool:
        return queues != (CONTROL,) or CONTROL in self._seat.queues

    def _worker(self, app: App, queues: tuple[str, ...], places: int) -> Worker:
        return Worker(
            app,
            queues=list(queues),
            name=self._seat.owner,
            concurrency=places,
            fetch_job_polling_interval=_POLL_SECONDS,
            abort_job_polling_interval=_POLL_SECONDS,
            shutdown_graceful_timeout=0.0,
            install_signal_handlers=False,
            update_heartbeat_interval=_NEVER,
            stalled_worker_timeout=_NEVER,
        )

    async def _run(self, worker: Worker) -> None:
        await worker.run()  # type: ignore[no-untyped-call]  # as it is shipped

    async def _stopped(self) -> None:
        await self.standing.ended.wait()

    async def _listen(self) -> None:
        await self._manager.listen([queue for worker in self._workers for queue in worker.queues or ()])

    async def _idle(self) -> None:
        mark = 0
        while self._manager.held or await self._asked(self.unfinished()) != 0:
            mark = await self._asked(self._store.changed(mark, _IDLE_SECONDS)) or 0
            await asyncio.sleep(_THROTTLE)

    async def _promote(self) -> None:
        """Move delayed jobs when they are due."""
        while True:
            self._manager.later.clear()
            rows = await self._asked(self._store.read("jobs_next_due"))
            seconds = rows[0]["seconds"] if rows else _POLL_SECONDS
            if seconds is not None and seconds <= 0:
                await self._asked(self._store.write(lambda tx: tx.run("jobs_promote", limit=_PROMOTED)))
                continue
            with suppress(TimeoutError):
                # Looked at now and then: what was said before this process listened was not heard.
                async with asyncio.timeout(_POLL_SECONDS if seconds is None else min(seconds, _POLL_SECONDS)):
                    await self._manager.later.wait()
                    await asyncio.sleep(_THROTTLE)

    async def _asked(self, asking: Awaitable[Any]) -> Any:
        """The answer; None, after a pause, where the store is unavailable."""
        try:
            return await asking
        except StoreUnavailable as error:
            self.standing.ill(error)
            await asyncio.sleep(self._illness.pause())
            return None

    # --- one job --------------------------------------------------------------------------------------------

    def _task(self, handler: Handler) -> Callable[..., Awaitable[None]]:
        async def perform(context: JobContext, **said: Any) -> None:
            assert context.job.id is not None
            self._outcomes[context.job.id] = await self._outcome(context, handler)

        return perform

    async def _outcome(self, context: JobContext, handler: Handler) -> Outcome:
        try:
            await handler(_job(context.job))
        except Later as later:
            return self._back(context.job, max(later.delay, 0.0))
        except StoreUnavailable as error:
            self.standing.ill(error)
            return self._back(context.job, illness.BACKOFF[1])
        except asyncio.CancelledError:
            # What was asked for is done by having ended. A cancellation that nobody asked for is the handler's own.
            reason = context.abort_reason()
            if reason is AbortReason.USER_REQUEST:
                return self._done(context.job)
            return self._failure(context.job) if reason is None else self._back(context.job, 0.0)
        except Exception:  # noqa: BLE001 - recorded with its trace
            return self._failure(context.job)
        return self._done(context.job)

    def _done(self, job: theirs.Job) -> Outcome:
        return lambda tx: tx.run("job_settle_done", job=job.id, worker=self._manager.worker)

    def _back(self, job: theirs.Job, delay: float) -> Outcome:
        return lambda tx: tx.run("job_settle_back", job=job.id, worker=self._manager.worker, delay=delay)

    def _failure(self, job: theirs.Job) -> Outcome:
        trace = traceback.format_exc()[-MAX_TRACE:]
        return self._failed(job, trace)

    def _failed(self, job: theirs.Job, trace: str) -> Outcome:
        return lambda tx: tx.run(
            "job_settle_failed", job=job.id, worker=self._manager.worker, trace=trace, keep=KEPT_FAILURES
        )

    async def _settle(self, job: theirs.Job) -> None:
        """Write the end of a job down, as long as there is hope for the store and the job is this process's."""
        assert job.id is not None
        outcome = self._outcomes.pop(job.id, None)
        if outcome is None:
            missing = MissingPart(f"Nothing performs jobs of the kind {job.task_name}")
            outcome = self._failed(job, f"{type(missing).__name__}: {missing}")
        while not self.standing.ended.is_set():
            try:
                mine = (await self._store.write(outcome))[0]["mine"]
                self._illness.well()
                self._manager.later.set()
                if not mine:
                    await self.standing.sign_of_life()  # it was taken away: am I still on record?
                break
            except StoreUnavailable as error:
                self.standing.ill(error)
                if self._leaving:
                    break
                await asyncio.sleep(self._illness.pause())
        self._manager.held.pop(job.id, None)

    async def _give_back(self) -> None:
        """Give back what the database takes for being in this process's hands. Raises StoreUnavailable."""
        worker = self._manager.worker
        for row in await self._store.read("jobs_in_hand", worker=worker):
            back = {"job": row["id"], "worker": worker, "delay": 0.0}
            await self._store.write(lambda tx, back=back: tx.run("job_settle_back", **back))  # type: ignore[misc]  # bound


def _told(worker: Row) -> str:
    labels = f" ({', '.join(worker['labels'].split())})" if worker["labels"] else ""
    state = ", ends" if worker["draining"] else ""
    return f"{worker['host']} {worker['pid']}{labels}: {worker['busy']} of {worker['capacity']}{state}"


def _control(worker: Row) -> tuple[str, ...]:
    return (CONTROL,) if CONTROL in worker["queues"].split() else ()


def _job(job: theirs.Job) -> Job:
    said: Mapping[str, Any] = job.task_kwargs
    return Job(
        kind=job.task_name,
        key=said["key"],
        lock=said["lock"],
        run=said["run"],
        payload=said["payload"],
        priority=job.priority,
    )


def _kept(row: Row) -> Job:
    return Job(
        kind=row["kind"],
        key=row["key"],
        lock=row["lock"],
        run=row["run"],
        payload=json.loads(row["payload"]),
        priority=row["priority"],
    )
