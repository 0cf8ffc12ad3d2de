"""How one worker stands with the others: on record, giving signs of life, struck off or cut off.

Rules
- A worker is one incarnation of one process, numbered by procrastinate. It gives a sign of life every `Pace.heartbeat`
  seconds; any other one strikes it off after `Pace.silence` seconds without, and gives its jobs back to the queue.
- Who finds itself struck off was paused or cut off, and others have its work: everything stops at once, with `Fenced`.
  Who cannot reach the database for as long stops its jobs by itself, and begins anew when it can.
- Who was silent itself lets the others speak first, and strikes nobody off until its next sign of life.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from psycopg import AsyncConnection

from quarterdeck.engine.illness import Illness
from quarterdeck.engine.port import KEPT_FAILURES, POISON_DEATHS, poisoned
from quarterdeck.engine.procrastinate_manager import Manager, Settle, unavailable
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import Fenced, StoreUnavailable
from quarterdeck.store.port import Store, Tx
from quarterdeck.store.session import address

_CONNECTIONS: Final = 4
_LAST_WORD: Final = 2.0
"""Seconds for a sign of life that is overdue: it tells what others think by now."""


class Standing:
    """Of one process. settle: writes down how a job ended."""

    def __init__(
        self, store: Store, url: str, seat: Seat, clock: Clock, pace: Pace, illness: Illness, settle: Settle
    ) -> None:
        self._store = store
        self._seat = seat
        self._clock = clock
        self._pace = pace
        self._illness = illness
        self.connector = PsycopgConnector(
            conninfo=address(url).conninfo,
            kwargs={"application_name": f"quarterdeck {seat.owner}"},
            configure=_configured,
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=max(1.0, pace.silence / 2),
        )
        self.manager = Manager(self.connector, settle, self.ill, self.sign_of_life)
        self._beating: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        """When the last sign of life that arrived was sent, by the monotonic clock."""
        self.ended = asyncio.Event()
        """Nothing may be performed any more: struck off, cut off, or given up."""
        self.why: Exception | None = None
        """What ended it for good."""
        self.cut_off = False
        self._late = 0.0
        """Where it was cut off: after how many seconds of silence it learnt that, if that was too late."""

    async def take(self) -> None:
        """Be on record as a worker. Raises StoreUnavailable."""
        if self.manager.worker:
            return
        for name in ("procrastinate", "psycopg.pool"):  # what they have to say is on record, or said by us
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            await self.connector.open_async()
            await self.manager.begin()
        except (ConnectorException, OSError) as error:
            raise unavailable(error) from error
        await self._store.write(self._introduce)
        self._begin()
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())

    def _introduce(self, tx: Tx) -> None:
        seat = self._seat
        tx.run(
            "worker_seat",
            worker=self.manager.worker,
            owner=seat.owner,
            host=seat.host,
            pid=seat.pid,
            version=seat.version,
            queues=" ".join(seat.queues),
            labels=" ".join(seat.labels),
            capacity=seat.capacity,
        )

    def _begin(self) -> None:
        self._heard_at = self._clock.monotonic()
        self.ended.clear()
        self.why, self.cut_off, self.manager.closed = None, False, False

    async def leave(self) -> None:
        """Be on record no longer. Idempotent."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None
        with suppress(ConnectorException):  # it is struck off by others then
            await self.manager.end()
        with suppress(ConnectorException):
            await self.connector.close_async()

    async def come_back(self) -> None:
        """The database was out of reach for so long that others may have taken this one for dead. Begin anew once it is
        back. Raises StoreUnavailable where it stays away."""
        while True:
            try:
                if not await self._known():
                    if self._late:
                        self._fence(self._late)
                        return
                    self.manager.worker = 0
                await self.take()
                self._begin()
                self._illness.well()
                return
            except StoreUnavailable as error:
                self._illness.note(error)
                await asyncio.sleep(self._illness.pause())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._pace.heartbeat)
            if self.manager.worker:
                try:
                    await self.sign_of_life()
                except Exception as error:
                    self._end(error)  # a fault of ours must not leave a worker that nobody can tell from a dead one
                    raise

    async def sign_of_life(self) -> None:
        """Give one, learn whether this worker is still on record, and see to those that give none."""
        sent = self._clock.monotonic()
        left = self._pace.silence - (sent - self._heard_at)
        try:
            async with asyncio.timeout(left if left > 0 else _LAST_WORD):
                if not await self._known():
                    self._fence(sent - self._heard_at)
                    return
                was_silent, self._heard_at = sent - self._heard_at, sent
                if was_silent < self._pace.heartbeat * 2:
                    await self.rescue()
        except (ConnectorException, StoreUnavailable, TimeoutError) as error:
            silent = self._clock.monotonic() - self._heard_at
            if silent >= self._pace.silence:
                self.cut_off = self.manager.closed = True
                self._late = silent if silent > self._pace.silence + self._pace.heartbeat else 0.0
                self.ended.set()
            self.ill(error if isinstance(error, StoreUnavailable) else unavailable(error))

    async def _known(self) -> bool:
        """Give a sign of life; whether this worker is on record, so that it counts. Raises StoreUnavailable."""
        try:
            await self.manager.beat()
        except ConnectorException as error:
            raise unavailable(error) from error
        return bool(await self._store.read("worker_known", worker=self.manager.worker))

    async def rescue(self) -> None:
        """Strike off who is silent, and give their jobs back. Raises ConnectorException, StoreUnavailable."""
        for job in await self.manager.stalled(self._pace.silence):
            await self._store.write(
                lambda tx, job=job: tx.run(  # type: ignore[misc]  # bound to this one
                    "job_rescue", job=job, poison=POISON_DEATHS, trace=poisoned(), keep=KEPT_FAILURES
                )
            )

    def _fence(self, silent: float) -> None:
        if self.manager.worker:
            self.manager.worker = 0
            why = f"it gave no sign of life for {silent:.0f} s, and others have taken over its work"
            self._end(Fenced(why=why, fix="start it again"))

    def ill(self, error: StoreUnavailable) -> None:
        """The database did not answer. Ends everything where it stays away for too long."""
        try:
            self._illness.note(error)
        except StoreUnavailable as lost:
            self._end(lost)

    def _end(self, why: Exception) -> None:
        self.why = self.why or why
        self.manager.closed = True
        self.ended.set()


async def _configured(connection: AsyncConnection[Any]) -> None:
    # What procrastinate asks is one statement each time: no transaction has to be begun and ended around it.
    await connection.set_autocommit(True)
