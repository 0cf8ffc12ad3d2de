"""How one worker stands with the others: on record, giving signs of life, struck off or cut off.

Rules
- A worker is one incarnation of one process, numbered by procrastinate. It gives a sign of life every `Pace.heartbeat`
  seconds; any other one strikes it off after `Pace.silence` seconds without, and gives its jobs back to the queue.
- It is on record with everything that others know it by, or not at all.
- Who finds itself struck off was paused or cut off, and others have its work: everything stops at once, with `Fenced`.
  Who cannot reach the database for as long stops its jobs by itself, and begins anew when it can.
- Seeing to the dead takes as long as it takes: signs of life go on beside it.
- Who counts as dead, and what a worker makes of its own signs of life: `silence`.
"""

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import Any, Final

from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from psycopg import AsyncConnection

from quarterdeck.engine import cancelling
from quarterdeck.engine.illness import Illness
from quarterdeck.engine.port import KEPT_FAILURES, POISON_DEATHS, poisoned
from quarterdeck.engine.procrastinate_manager import Manager, Settle, unavailable
from quarterdeck.engine.queues import offering
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.engine.silence import (
    Heard,
    Listened,
    Verdict,
    answered,
    forgiven,
    listened,
    silent,
    too_late,
    unanswered,
)
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import Fenced, StoreUnavailable
from quarterdeck.store.port import Store, Tx
from quarterdeck.store.session import address

_log = logging.getLogger(__name__)

_CONNECTIONS: Final = 4
_LAST_WORD: Final = 2.0
"""Seconds for a sign of life that is overdue: it tells what others think by now."""
_RESCUED: Final = 200
"""Most jobs of the dead that one transaction gives back."""


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
        patience = max(1.0, pace.silence / 2)
        self.connector = PsycopgConnector(
            conninfo=address(url).conninfo,
            kwargs={"application_name": f"quarterdeck {seat.owner}"},
            configure=_configured,
            min_size=0,  # nothing is waited for where it is opened; whoever needs a connection hears that there is none
            max_size=_CONNECTIONS,
            timeout=patience,
            # As long as somebody waits. By itself the pool tries for minutes, ever more rarely, and nobody else may
            # meanwhile: it would find a database that was away after as long again.
            reconnect_timeout=patience,
        )
        self.manager = Manager(self.connector, settle, self.ill, self.sign_of_life)
        self._beating: asyncio.Task[None] | None = None
        self._rescuing: asyncio.Task[None] | None = None
        self._listened: Listened = {}
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
        except (ConnectorException, OSError) as error:
            raise unavailable(error) from error
        worker = await self._store.write(self._introduce)
        self._begin()
        self.manager.begin(worker)
        if self._beating is None:
            self._beating = asyncio.create_task(self._beat())

    def offer(self, tx: Tx) -> None:
        """Have it on record what this worker takes jobs from now."""
        tx.run("worker_offers", worker=self.manager.worker, queues=self._queues())

    def _queues(self) -> str:
        return " ".join(offering(self._seat.queues, self._seat.offers()))

    def _introduce(self, tx: Tx) -> int:
        seat = self._seat
        rows = tx.run(
            "worker_seat",
            owner=seat.owner,
            host=seat.host,
            pid=seat.pid,
            version=seat.version,
            queues=self._queues(),
            labels=" ".join(seat.labels),
            capacity=seat.capacity,
            takeover=self._pace.takeover,
        )
        return int(rows[0]["id"])

    def _begin(self) -> None:
        self._heard_at = self._clock.monotonic()
        self._listened = {}
        self.ended.clear()
        self.why, self.cut_off, self.manager.closed = None, False, False

    async def leave(self) -> None:
        """Be on record no longer. Idempotent."""
        await cancelling.end(*(task for task in (self._beating, self._rescuing) if task is not None))
        self._beating = self._rescuing = None
        with suppress(ConnectorException):  # it is struck off by others then
            await self.manager.end()
        with suppress(ConnectorException):
            await self.connector.close_async()

    async def come_back(self, unless: asyncio.Event) -> None:
        """The database was out of reach for so long that others may have taken this one for dead. Begin anew once it is
        back, unless that is set before. Raises StoreUnavailable where it stays away."""
        coming, ending = asyncio.create_task(self._come_back()), asyncio.create_task(unless.wait())
        try:
            await asyncio.wait((coming, ending), return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                coming.result()
        finally:
            await cancelling.end(coming, ending)

    async def _come_back(self) -> None:
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

    def fence(self, tx: Tx) -> None:
        """`Engine.fence`: so that who comes back takes nothing from its heir before it has noticed."""
        worker = self.manager.worker
        if worker and not tx.run("worker_known", worker=worker):
            raise Fenced(why="it gave no sign of life, and others have taken over its work", fix="start it again")

    async def drain(self) -> None:
        """Have it on record that this worker takes no further jobs. Raises StoreUnavailable."""
        await self._store.write(lambda tx: tx.run("worker_draining", worker=self.manager.worker))

    # --- signs of life --------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._pace.heartbeat)
            if self.manager.worker:
                try:
                    await self.sign_of_life()
                except Exception as error:
                    self.end(error)  # a fault of ours must not leave a worker that nobody can tell from a dead one
                    raise

    async def sign_of_life(self) -> None:
        """Give one, learn whether this worker is still on record, and have the dead seen to."""
        if self.cut_off:
            return  # it begins anew once what it performed has ended
        sent = self._clock.monotonic()
        left = self._pace.silence - (sent - self._heard_at)
        try:
            async with asyncio.timeout(left if left > 0 else _LAST_WORD):
                on_record = await self._known()
        except (ConnectorException, StoreUnavailable, TimeoutError) as error:
            silent_for = self._clock.monotonic() - self._heard_at
            if unanswered(self._pace, silent_for) is Verdict.CUT_OFF:
                self.cut_off = self.manager.closed = True
                self._late = silent_for if too_late(self._pace, silent_for) else 0.0
                self.ended.set()
            self.ill(error if isinstance(error, StoreUnavailable) else unavailable(error))
            return
        silent_for = sent - self._heard_at
        match answered(self._pace, silent_for, on_record):
            case Verdict.FENCED:
                self._fence(silent_for)
                return
            case Verdict.LISTENS:
                self._see_to_the_dead()
            case _:
                self._listened = forgiven(self._listened, silent_for - self._pace.heartbeat)
        self._heard_at = sent

    async def _known(self) -> bool:
        """Give a sign of life; whether this worker is on record, so that it counts. Raises StoreUnavailable."""
        try:
            await self.manager.beat()
        except ConnectorException as error:
            raise unavailable(error) from error
        return bool(await self._store.read("worker_known", worker=self.manager.worker))

    # --- the dead -------------------------------------------------------------------------------------------

    def _see_to_the_dead(self) -> None:
        if self._rescuing is None or self._rescuing.done():
            self._rescuing = asyncio.create_task(self._rescue())

    async def _rescue(self) -> None:
        try:
            await self.rescue()
        except StoreUnavailable as error:
            self.ill(error)
        except Exception as error:
            self.end(error)
            raise

    async def rescue(self) -> None:
        """Strike off who is silent, and give their jobs back. Raises StoreUnavailable."""
        heard = [
            Heard(row["id"], row["beat"], row["age"], Pace(row["takeover"]))
            for row in await self._store.read("workers_heard")
            if row["id"] != self.manager.worker
        ]
        now = self._clock.monotonic()
        self._listened = listened(self._listened, heard, now)
        dead = silent(self._listened, heard, now)
        if not dead and not (await self._store.read("jobs_of_the_dead"))[0]["n"]:
            return
        while True:
            told, tried = await self._store.write(partial(self._strike, dead=dead))
            for text in told:
                _log.warning("%s gives no sign of life and was struck off; what it had begun goes on elsewhere", text)
            if tried < _RESCUED:
                return
            dead = ()

    def _strike(self, tx: Tx, dead: tuple[Heard, ...]) -> tuple[list[str], int]:
        """Strike these off, as long as they are still silent, and give back what the dead had in their hands: the
        workers' names, and of how many jobs that was tried."""
        told = [
            f"the worker on {row['host']} (process {row['pid']})"
            for one in dead
            for row in tx.run("worker_strike", worker=one.worker, beat=one.beat)
        ]
        tried = tx.run("jobs_rescue", poison=POISON_DEATHS, trace=poisoned(), keep=KEPT_FAILURES, limit=_RESCUED)
        return told, len(tried)

    # --- its end --------------------------------------------------------------------------------------------

    def _fence(self, silent_for: float) -> None:
        if self.manager.worker:
            self.manager.worker = 0
            why = f"it gave no sign of life for {silent_for:.0f} s, and others have taken over its work"
            self.end(Fenced(why=why, fix="start it again"))

    def ill(self, error: StoreUnavailable) -> None:
        """The database did not answer. Ends everything where it stays away for too long."""
        try:
            self._illness.note(error)
        except StoreUnavailable as lost:
            self.end(lost)

    def end(self, why: Exception) -> None:
        """Nothing may be performed any more, for good."""
        self.why = self.why or why
        self.manager.closed = True
        self.ended.set()


async def _configured(connection: AsyncConnection[Any]) -> None:
    # What procrastinate asks is one statement each time: no transaction has to be begun and ended around it.
    await connection.set_autocommit(True)
