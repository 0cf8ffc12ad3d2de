"""Whose turn it is to tell the journal, and how far it has been told.

Rules
- Of all processes of a deck one tells at a time. In a deck that lies in a home that is the one that owns it, and a file
  of the home says how far it came. Where several share a database, that stands there, and a turn is a lease: who does
  not say that it lives for a while, or was struck off as a worker, has lost it, and another one goes on where the last
  one was settled.
- A process with a port from which figures are read goes before one without: what it is told can be asked for there.
- Where nothing was told yet, telling begins with what happens from now on.
- Whether it is still its turn is asked before anything is told, once it has not said that it lives for half a lease: a
  process that was paused tells no more than it had begun.
"""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final, Protocol

from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.store.port import Row, Store, Tx
from quarterdeck.telemetry.position import read_position, write_position

_log = logging.getLogger(__name__)

LEASE: Final = 15.0
"""Seconds that a turn lasts without a sign of life."""
_EVERY: Final = 5.0
_HOME_EVERY: Final = 3600.0
_NAME: Final = "journal"


class Turn(Protocol):
    """Of one process."""

    every: float
    """Seconds between two signs of life, and between two questions whether it is one's turn."""

    async def mark(self) -> None:
        """Where nothing was told yet, tell what happens from here on, whoever will do it."""
        ...

    async def take(self, *, shows: bool) -> int | None:
        """Have the turn; the last record that was told, None = it is another one's. `shows`: this process has a port
        from which figures are read. Raises StoreUnavailable."""
        ...

    async def told(self, position: int) -> None:
        """So far everything is settled."""
        ...

    async def keep(self, position: int) -> bool:
        """Say that this process lives and how far everything is settled; whether it is still its turn. Raises
        StoreUnavailable."""
        ...

    async def sure(self, position: int) -> bool:
        """Whether it is still its turn, by what is known. Raises StoreUnavailable."""
        ...

    async def give(self, position: int) -> None:
        """The turn is over, and so far everything is settled. Raises StoreUnavailable."""
        ...


async def newest(store: Store) -> int:
    """The last record of the journal."""
    return int((await store.read("event_last"))[0]["last"])


class HomeTurn:
    """Where one process at a time works on the deck: it is always its turn."""

    every = _HOME_EVERY

    def __init__(self, home: Path, store: Store) -> None:
        self._home = home
        self._store = store
        self._saved = -1

    async def mark(self) -> None:
        if read_position(self._home) is None:
            await self.told(await newest(self._store))

    async def take(self, *, shows: bool) -> int:
        last, known = await newest(self._store), read_position(self._home)
        return last if known is None or known > last else known

    async def told(self, position: int) -> None:
        if position == self._saved:
            return
        try:
            await asyncio.to_thread(write_position, self._home, position)
            self._saved = position
        except OSError as error:
            _log.warning("how far telemetry has come could not be kept: %s", error)

    async def keep(self, position: int) -> bool:
        await self.told(position)
        return True

    async def sure(self, position: int) -> bool:
        return True

    async def give(self, position: int) -> None:
        await self.told(position)


class SharedTurn:
    """Where several processes share the deck's database. holder: this process's incarnation."""

    every = _EVERY

    def __init__(self, store: Store, holder: str) -> None:
        self._store = store
        self._holder = holder
        self._kept_at = float("-inf")

    async def mark(self) -> None:
        with suppress(StoreUnavailable):  # one who may only look marks nothing; who is to tell does it then
            await self._stands()

    async def _stands(self) -> Row:
        if not (rows := await self._store.read("telling_get", name=_NAME)):
            last = await newest(self._store)
            await self._store.write(lambda tx: tx.run("telling_mark", name=_NAME, position=last))
            rows = await self._store.read("telling_get", name=_NAME)
        return rows[0]

    async def take(self, *, shows: bool) -> int | None:
        stands = await self._stands()
        now = float((await self._store.read("deck_now"))[0]["now"])
        gone = stands["holder"] if stands["holder"] and not await self._works(stands["holder"]) else ""
        if stands["until"] > now and not gone:
            if shows and not stands["shows"]:
                await self._store.write(lambda tx: tx.run("telling_ask", name=_NAME, until=_now(tx) + LEASE))
            return None
        if stands["asked"] > now and not shows:
            return None
        began = monotonic()

        def work(tx: Tx) -> int | None:
            at = _now(tx)
            rows = tx.run(
                "telling_take",
                name=_NAME,
                holder=self._holder,
                gone=gone,
                shows=int(shows),
                now=at,
                until=at + LEASE,
            )
            return int(rows[0]["position"]) if rows else None

        position = await self._store.write(work)
        if position is None:
            return None
        self._kept_at = began
        return min(position, await newest(self._store))

    async def _works(self, holder: str) -> bool:
        """Whether that process performs jobs yet: of an embedded deck there is one, and that is this one."""
        return self._store.dialect == "postgres" and bool(await self._store.read("worker_of", owner=holder))

    async def told(self, position: int) -> None:
        """It is said with the next sign of life."""

    async def keep(self, position: int) -> bool:
        began = monotonic()

        def work(tx: Tx) -> bool:
            at = _now(tx)
            rows = tx.run("telling_keep", name=_NAME, holder=self._holder, position=position, until=at + LEASE)
            return bool(rows) and (bool(rows[0]["shows"]) or rows[0]["asked"] <= at)

        mine = await self._store.write(work)
        self._kept_at = began if mine else float("-inf")
        return mine

    async def sure(self, position: int) -> bool:
        return monotonic() - self._kept_at < LEASE / 2 or await self.keep(position)

    async def give(self, position: int) -> None:
        await self._store.write(lambda tx: tx.run("telling_give", name=_NAME, holder=self._holder, position=position))


def _now(tx: Tx) -> float:
    return float(tx.run("deck_now")[0]["now"])
