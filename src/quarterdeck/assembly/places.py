"""How many calls to a provider may be under way at the same time, over all processes of a deck: places in its database.

Rules
- A place is taken and given back in transactions of the deck, one after the other over all processes: there are never
  more than the operator says. Where nothing is said, nothing is asked.
- A process that dies gives nothing back: its places are free again once it has not said for `LEASE` seconds that it
  lives. One that is cut off from the database for as long keeps none; what it began goes on, nothing more begins.
- Who finds none waits until somebody gives one back. Processes take turns as it happens, not in the order of asking.
"""

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.store.port import Store, Tx

_log = logging.getLogger(__name__)

LEASE: Final = 60.0
"""Seconds."""
_KEEP: Final = LEASE / 4
_LOOK: Final = 5.0
"""Seconds after which it is looked again even if nothing was committed: a dead process commits nothing."""
_PAUSES: Final = (0.05, 0.25)
"""Between two looks, seconds; at random, so that those who wait do not all ask at once."""


class Places:
    """The places of one process. holder: its incarnation, never used before or again. most: how many a provider has
    now; None = nothing is said."""

    def __init__(self, store: Store, holder: str, clock: Clock, most: Callable[[str], Awaitable[int | None]]) -> None:
        self._store = store
        self._holder = holder
        self._clock = clock
        self._most = most
        self._numbers = count(1)
        self._held: set[str] = set()
        self._keeping: asyncio.Task[None] | None = None
        self._giving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def place(self, provider: str, at_most: float = math.inf) -> AsyncIterator[bool]:
        """A place for one call; False where none was free for `at_most` seconds."""
        if await self._most(provider) is None:
            yield True
            return
        place = await self._taken(provider, at_most)
        try:
            yield place is not None
        finally:
            if place is not None:
                self._give(place)

    async def close(self) -> None:
        """Give everything back. Idempotent."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        await asyncio.gather(*self._giving, return_exceptions=True)

    # --- taking -------------------------------------------------------------------------------------------------

    async def _taken(self, provider: str, at_most: float) -> str | None:
        until, mark = self._clock.monotonic() + at_most, 0
        while True:
            place = f"{self._holder}/{next(self._numbers)}"
            most = await self._most(provider)
            if await self._took(provider, place, most):
                return place
            left = until - self._clock.monotonic()
            if left <= 0:
                return None
            try:
                mark = await self._store.changed(mark, min(_LOOK, left))
            except StoreUnavailable:  # it is closed
                return None
            await asyncio.sleep(min(left, random.uniform(*_PAUSES)))

    async def _took(self, provider: str, place: str, most: int | None) -> bool:
        """Whether the place is this call's. False where none is free, or the database is away."""

        def work(tx: Tx) -> bool:
            now = float(tx.run("deck_now")[0]["now"])
            tx.run("places_forget", name=provider, now=now)
            if most is not None and int(tx.run("places_taken", name=provider, now=now)[0]["n"]) >= most:
                return False
            tx.run("place_take", place=place, name=provider, holder=self._holder, until=now + LEASE)
            return True

        taking = asyncio.ensure_future(self._store.write(work))
        try:
            taken = await asyncio.shield(taking)
        except StoreUnavailable:
            self._give(place)  # the answer may be what was lost
            return False
        except asyncio.CancelledError:
            taking.add_done_callback(lambda done: self._give(place))
            raise
        if taken:
            self._held.add(place)
            if self._keeping is None or self._keeping.done():
                self._keeping = asyncio.create_task(self._keep())
        return taken

    async def _keep(self) -> None:
        """Say that this process lives, as long as it has places."""
        while self._held:
            await asyncio.sleep(_KEEP)
            try:
                await self._store.write(self._kept)
            except StoreUnavailable as error:  # said by the engine; they are free for others once that lasts
                _log.info("it could not be said that places are in use: %s", error)

    def _kept(self, tx: Tx) -> None:
        tx.run("places_keep", holder=self._holder, until=float(tx.run("deck_now")[0]["now"]) + LEASE)

    # --- giving back --------------------------------------------------------------------------------------------

    def _give(self, place: str) -> None:
        self._held.discard(place)
        task = asyncio.get_running_loop().create_task(self._given(place))
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)

    async def _given(self, place: str) -> None:
        """Give it back, as long as that is to be expected to help: then its time is over."""
        until = self._clock.monotonic() + LEASE
        while self._clock.monotonic() < until:
            try:
                await self._store.write(lambda tx: tx.run("place_give", place=place))
                return
            except StoreUnavailable as error:
                _log.info("a place could not be given back: %s", error)
                if self._keeping is None:
                    return  # this process ends
                await asyncio.sleep(_LOOK)
