"""procrastinate's dealings with its tables, as its workers in this process see them.

Rules
- What it asks of the database is procrastinate's own: heartbeats, claiming, listening, requests to abort.
- A request to abort reaches a job that has begun only: one that is cancelled before its first step could not write its
  end down. What was asked for earlier is found by looking.
- A database that is away is no reason for a worker to end: nothing is claimed meanwhile, and listening begins anew.
- All workers of a process are one incarnation: they share a registration, and a connection to listen on.
- How a job ended is written down elsewhere, in the deck's own transactions.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from typing import Final

from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Notification, Status
from procrastinate.manager import JobManager, NotificationCallback, get_channel_for_queues
from psycopg.errors import ForeignKeyViolation

from quarterdeck.engine import cancelling
from quarterdeck.engine.queues import LATER
from quarterdeck.kernel.failures import StoreUnavailable, StoreUnreachable

_log = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 0.5

Settle = Callable[[Job], Awaitable[None]]
"""Writes down how a job ended."""


def unavailable(error: BaseException) -> StoreUnreachable:
    """What went wrong, in our words."""
    why = (str(error.__cause__ or error).strip().splitlines() or [type(error).__name__])[0]
    fix = "see whether PostgreSQL runs and answers, and has a connection left (max_connections)"
    return StoreUnreachable("The database cannot be reached", why=why, fix=fix)


class Manager(JobManager):
    """What procrastinate's workers in this process ask of the database."""

    def __init__(
        self,
        connector: BaseConnector,
        settle: Settle,
        ill: Callable[[StoreUnavailable], None],
        doubt: Callable[[], Awaitable[None]],
    ) -> None:
        """ill: hears that the database is away; doubt: that this worker may have been struck off."""
        super().__init__(connector)
        self._settle = settle
        self._ill = ill
        self._doubt = doubt
        self.worker = 0
        """procrastinate's number for this incarnation; 0 = it has none yet."""
        self.closed = False
        """Nothing is claimed any more."""
        self.held: dict[int, Job] = {}
        """The jobs in this process's hands."""
        self.claims: set[int] = set()
        """The claims that the database has not answered yet."""
        self.moved = asyncio.Event()
        """Something came into this process's hands, or left them."""
        self.later = asyncio.Event()
        """A delayed job may have become the next one."""
        self._ears: dict[str, list[NotificationCallback]] = {}
        self._begun: set[int] = set()
        self._claimed = count()

    # --- as a worker of procrastinate calls it --------------------------------------------------------------

    async def register_worker(self) -> int:
        return self.worker

    async def unregister_worker(self, worker_id: int) -> None:
        return

    async def update_heartbeat(self, worker_id: int) -> None:
        return

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:
        return []

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        if self.closed:
            return None
        claim = next(self._claimed)
        self.claims.add(claim)
        try:
            return await self._claim(queues, worker_id)
        finally:
            self.claims.discard(claim)
            self.moved.set()

    async def _claim(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        try:
            job = await super().fetch_job(queues=queues, worker_id=worker_id)
        except UniqueViolation:
            await self.wake(queues or ())  # another worker was faster with a job of the same lock
            return None
        except ConnectorException as error:
            if isinstance(error.__cause__, ForeignKeyViolation):  # a job for a worker that is not on record
                await self._doubt()
            else:
                self._ill(unavailable(error))
            return None
        if job is not None and job.id is not None:
            self.held[job.id] = job
        return job

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        await self._settle(job)

    async def list_jobs_to_abort_async(self, queue: str | None = None) -> Iterable[int]:
        return [job for job in await super().list_jobs_to_abort_async(queue) if job in self._begun]

    async def listen_for_jobs(
        self, *, on_notification: NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        channels = list(get_channel_for_queues(queues))
        for channel in channels:
            self._ears.setdefault(channel, []).append(on_notification)
        try:
            await asyncio.Event().wait()
        finally:
            for channel in channels:
                self._ears[channel].remove(on_notification)

    # --- as the engine calls it -----------------------------------------------------------------------------

    def begin(self, worker: int) -> None:
        """This incarnation is on record under that number."""
        self.worker, self.closed = worker, False

    async def end(self) -> None:
        """Strike this incarnation off. Raises ConnectorException."""
        worker, self.worker = self.worker, 0
        if worker:
            await super().unregister_worker(worker)

    async def beat(self) -> None:
        """Give a sign of life. Raises ConnectorException."""
        await super().update_heartbeat(self.worker)

    def begun(self, job: int) -> None:
        """A handler performs the job: from now on it may be asked to end."""
        self._begun.add(job)

    def ended(self, job: int) -> None:
        """The job is in this process's hands no longer."""
        self.held.pop(job, None)
        self._begun.discard(job)
        self.moved.set()

    def forget(self) -> None:
        """Nothing is in this process's hands any more."""
        self.held.clear()
        self._begun.clear()

    async def listen(self, queues: Iterable[str]) -> None:
        """Hear of new jobs in these queues, and of delayed ones, until cancelled."""
        listening = asyncio.create_task(self._listen([*queues, LATER]))
        try:
            await asyncio.wait([listening])
            await listening
        finally:
            await cancelling.end(listening)

    async def _listen(self, wanted: list[str]) -> None:
        while True:
            try:
                await super().listen_for_jobs(on_notification=self.hear, queues=wanted)
            except ConnectorException as error:
                _log.info("listening for jobs broke off: %s", error)
            await asyncio.sleep(_AGAIN_SECONDS)
            await self.wake(wanted)

    async def wake(self, queues: Iterable[str]) -> None:
        """Have the workers of these queues look for jobs."""
        for channel in get_channel_for_queues(list(queues)):
            await self.hear(channel=channel, notification={"type": "job_inserted", "job_id": 0})

    async def hear(self, *, channel: str, notification: Notification) -> None:
        """Tell the workers of that channel."""
        if notification["type"] == "abort_job_requested" and notification["job_id"] not in self._begun:
            return
        if channel in get_channel_for_queues([LATER]):
            self.later.set()
        for ear in list(self._ears.get(channel, ())):
            await ear(channel=channel, notification=notification)
