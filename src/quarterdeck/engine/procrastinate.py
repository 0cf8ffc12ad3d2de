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
- How a worker stands with the others, and how its death is found: `procrastinate_standing`. What it has in its hands
  without knowing: `procrastinate_hands`.
- A drained worker says so, claims nothing more, and gives back what has not ended in time. Whoever is struck off or cut
  off meanwhile stops at once, like any other; who is asked to while it is cut off, too: nothing is in its hands.
- A delayed job waits no longer than was asked for, also where the database's clock steps back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast

from procrastinate import App, JobContext
from procrastinate import jobs as theirs
from procrastinate.job_context import AbortReason
from procrastinate.worker import Worker

from quarterdeck.engine import illness
from quarterdeck.engine.illness import PATIENCE, Illness
from quarterdeck.engine.port import KEPT_FAILURES, Handler, Job, Later, Untaken
from quarterdeck.engine.port import Worker as Colleague
from quarterdeck.engine.procrastinate_hands import Hands
from quarterdeck.engine.procrastinate_schema import foundations
from quarterdeck.engine.procrastinate_standing import Standing
from quarterdeck.engine.queues import (
    BACKGROUND,
    NOTHING,
    QUEUES,
    Waiting,
    needs_of,
    offered,
    offering,
    queue_of,
    served,
    taken_by,
    untaken,
    urgent,
)
from quarterdeck.engine.rows import IDLE_SECONDS, THROTTLE, columns_of, job_of, trace_of, worker_of
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import MissingPart, StoreUnavailable
from quarterdeck.store.foundations import Foundation
from quarterdeck.store.port import Laid, Row, Store, Tx

_URGENT_AT_ONCE: Final = 16
"""Short, urgent jobs of one process at the same time, beyond its capacity."""
_POLL_SECONDS: Final = 2.0
"""Workers look for jobs so often even if nobody told them of any."""
_PROMOTED: Final = 256
_NEVER: Final = 1e9

Outcome = Callable[[Tx], list[Row]]
"""Writes the end of a job down; its row says whether the job was this worker's."""


class Layable(Protocol):
    """A store that takes foundations: one over PostgreSQL."""

    async def lay(self, foundations: Sequence[Foundation]) -> tuple[Laid, ...]: ...


async def prepare(store: Store) -> tuple[Laid, ...]:
    """Bring the engine's part of the database up to date; what was laid. Raises StoreUnavailable."""
    return await cast(Layable, store).lay(foundations())


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
        self.illness = Illness(clock, patience)
        self._offers = tuple(sorted(seat.offers()))
        self._offered = True
        """The others know of it."""
        self.standing = Standing(store, url, seat, clock, self._pace, self.illness, self._settle)
        self._manager = self.standing.manager
        self._hands = Hands(store, self._manager)
        self._draining = asyncio.Event()
        """For good: who was asked to end takes nothing more."""
        self._drain = 0.0
        """Seconds that what is in hand gets then."""
        self._leaving = False
        self._stop: asyncio.Future[BaseException]
        """What a handler raised that is no failure of its job: it ends serving."""
        self._workers: list[Worker] = []
        self._outcomes: dict[int, Outcome] = {}

    # --- what may happen in any process -----------------------------------------------------------------------

    def defer(self, tx: Tx, job: Job) -> None:
        tx.run("job_defer", **columns_of(job), queue=queue_of(job, self._seat.labelled), needs=needs_of(job))

    def abort(self, tx: Tx, run: str) -> None:
        tx.run("jobs_abort", run=run, spare=ids.run_stream(run))

    def fence(self, tx: Tx) -> None:
        self.standing.fence(tx)

    async def unfinished(self, run: str = "") -> int:
        rows = await self._store.read("jobs_unfinished_here", run=run, mine=" ".join(self._long()))
        return int(rows[0]["n"])

    async def overtakes(self, job: Job) -> bool:
        return bool((await self._store.read("jobs_ahead", run=job.run, lock=job.lock, kind=job.kind))[0]["n"])

    async def failed(self) -> list[tuple[Job, str]]:
        return [(job_of(row), row["trace"]) for row in await self._store.read("jobs_failed")]

    async def attended(self, wants: str = "") -> bool:
        alive = await self._store.read("workers_alive")
        return any(not row["draining"] and offered(row["queues"].split(), wants) for row in alive)

    async def untaken(self) -> tuple[Untaken, ...]:
        alive = await self._store.read("workers_alive")
        waiting = [
            Waiting(row["queue"], row["needs"], row["n"], row["seconds"])
            for row in await self._store.read("queues_waiting")
        ]
        taken = {
            queue
            for row in alive
            for queue in taken_by(row["queues"].split(), row["labels"].split(), self._seat.labelled)
        }
        return untaken(waiting, taken, self._pace.takeover)

    def release(self, tx: Tx, queue: str) -> None:
        tx.run("jobs_release", queue=queue, into=BACKGROUND)

    async def workers(self) -> tuple[Colleague, ...]:
        alive = await self._store.read("workers_alive")
        return tuple(worker_of(row) for row in alive if not set(QUEUES).isdisjoint(row["queues"].split()))

    # --- being a worker -------------------------------------------------------------------------------------

    async def try_own(self) -> bool:
        await self.standing.take()
        return True

    async def close(self) -> None:
        await self.standing.leave()

    # --- performing -----------------------------------------------------------------------------------------

    def drain(self, deadline: float) -> None:
        self._manager.closed = True
        self._drain = deadline
        self._draining.set()

    async def serve(self, handlers: Mapping[str, Handler], *, until_idle: bool) -> None:
        self.illness.begin()
        await self.try_own()
        self._manager.closed = self._draining.is_set()
        self._stop = asyncio.get_running_loop().create_future()
        while True:
            await self._shift(handlers, until_idle)
            again = self.standing.cut_off and self.standing.why is None
            if again:
                await self.standing.come_back(self._draining)
            if self.standing.why is not None:
                raise self.standing.why
            if not again or self._draining.is_set():
                return

    async def _shift(self, handlers: Mapping[str, Handler], until_idle: bool) -> None:
        """Perform jobs until the queue is idle, drained or out of reach, or this process is fenced or given up."""
        app = App(connector=self.standing.connector)
        app.job_manager = self._manager
        for kind, handler in handlers.items():
            app.task(name=kind, pass_context=True)(self._task(handler))
        places = ((self._long(), self._seat.capacity), (urgent(self._seat.queues, self._seat.labels), _URGENT_AT_ONCE))
        self._workers = [self._worker(app, queues, most) for queues, most in places if queues]
        self._leaving = False
        await self._hands.give_back()  # what an earlier shift of this incarnation held when it was cut off
        performing = [asyncio.create_task(self._run(worker)) for worker in self._workers]
        beside = [self._listen(), self._promote(), self._look(), self._ended(), self._drained(), self._stopped()]
        if until_idle:
            beside.append(self._idle())
        tasks = [*performing, *(asyncio.create_task(one) for one in beside)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (fault := task.exception()) is not None:
                    raise fault
        finally:
            self._leaving = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._workers = []
            if not self.standing.ended.is_set():
                with suppress(StoreUnavailable):  # they stay on record, and are taken for a dead worker's
                    await self._hands.give_back()
            self._manager.forget()
            self._outcomes.clear()

    def _long(self) -> tuple[str, ...]:
        """The queues that this worker takes long jobs from now."""
        queues = offering(self._seat.queues, self._offers)
        return served(queues, self._seat.labels, self._seat.labelled) or (() if self._seat.queues else (NOTHING,))

    async def _offer(self) -> None:
        """What is configured may have changed: take what is wanted now, and have the others know."""
        offers = tuple(sorted(self._seat.offers()))
        if offers != self._offers:
            self._offers, self._offered = offers, False
            if self._workers and (long := self._long()):
                self._workers[0].queues = list(long)
        if not self._offered:
            await self._store.write(self.standing.offer)
            self._offered = True

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
        await worker.run()  # type: ignore[no-untyped-call]  # procrastinate has no types for it

    async def _ended(self) -> None:
        await self.standing.ended.wait()

    async def _stopped(self) -> None:
        raise await asyncio.shield(self._stop)  # a shift that is over must not take it away from the next one

    async def _listen(self) -> None:
        await self._manager.listen([queue for worker in self._workers for queue in worker.queues or ()])

    async def _drained(self) -> None:
        """Once no more jobs are to be taken: until those in hand have ended, or their time is over."""
        await self._draining.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain):
                await self._asked(self.standing.drain())
                while self._manager.held or self._manager.claims:
                    self._manager.moved.clear()
                    await self._manager.moved.wait()

    async def _idle(self) -> None:
        mark = 0
        while self._manager.held or await self._asked(self.unfinished()) != 0:
            mark = await self._asked(self._store.changed(mark, IDLE_SECONDS)) or 0
            await asyncio.sleep(THROTTLE)

    async def _look(self) -> None:
        """Set right what nobody would notice: jobs in hand that were never heard of, delays that became longer."""
        while True:
            await asyncio.sleep(self._pace.heartbeat)
            await self._asked(self._hands.look())
            await self._asked(self._offer())
            late = await self._asked(self._store.read("jobs_put_off"))
            if late and late[0]["n"]:
                await self._asked(self._store.write(lambda tx: tx.run("jobs_pull_in")))
                self._manager.later.set()

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
                    await asyncio.sleep(THROTTLE)

    async def _asked(self, asking: Awaitable[Any]) -> Any:
        """The answer; None, after a pause, where the store is unavailable."""
        try:
            return await asking
        except StoreUnavailable as error:
            self.standing.ill(error)
            await asyncio.sleep(self.illness.pause())
            return None

    # --- one job --------------------------------------------------------------------------------------------

    def _task(self, handler: Handler) -> Callable[..., Awaitable[None]]:
        async def perform(context: JobContext, **said: Any) -> None:
            assert context.job.id is not None
            self._manager.begun(context.job.id)
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
        except asyncio.CancelledError as error:
            # What was asked for is done by having ended. A cancellation that nobody asked for is the handler's own.
            reason = context.abort_reason()
            if reason is AbortReason.USER_REQUEST:
                return self._done(context.job)
            return self._failed(context.job, trace_of(error)) if reason is None else self._back(context.job, 0.0)
        except Exception as error:  # noqa: BLE001 - recorded with its trace
            return self._failed(context.job, trace_of(error))
        except BaseException as stop:  # noqa: BLE001 - raised by `serve`
            self._manager.closed = True
            if not self._stop.done():
                self._stop.set_result(stop)
            return self._back(context.job, 0.0)
        return self._done(context.job)

    def _done(self, job: theirs.Job) -> Outcome:
        return lambda tx: tx.run("job_settle_done", job=job.id, worker=self._manager.worker)

    def _back(self, job: theirs.Job, delay: float) -> Outcome:
        return lambda tx: tx.run("job_settle_back", job=job.id, worker=self._manager.worker, delay=delay)

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
        try:
            await self._write(outcome)
        except Exception as error:
            self.standing.end(error)  # a job that never ends would hold its lock for as long as this worker lives
            raise
        self._manager.ended(job.id)

    async def _write(self, outcome: Outcome) -> None:
        while not self.standing.ended.is_set():
            try:
                mine = (await self._store.write(outcome))[0]["mine"]
                self.illness.well()
                self._manager.later.set()
                if not mine:
                    await self.standing.sign_of_life()  # it was taken away: am I still on record?
                break
            except StoreUnavailable as error:
                self.standing.ill(error)
                if self._leaving:
                    break
                await asyncio.sleep(self.illness.pause())


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
