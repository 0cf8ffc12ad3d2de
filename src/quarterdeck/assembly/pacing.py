"""How fast the processes of a deck may call a provider, all together: agreed on in the deck's database.

Rules
- What one process was told (a retry-after) is written down, and the others look every few seconds.
- Where the operator set a rate, each slice of time has so many calls. A process takes a part of a slice at once and
  lets its calls leave from that, so that most calls cost no transaction; what it does not use is lost with the slice.
- Time is the database's clock, so that the machines need not agree on theirs.
- While the database is away, what was known last holds; nothing leaves beyond what was taken.
- The operator's rates and places are a provider's, whichever key and server of it is called, and whichever machine's
  file says so (`agreed`); what a provider wants is that key's.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from quarterdeck.assembly.agreed import Agreed
from quarterdeck.assembly.places import Places
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.store.port import Store, Tx

_log = logging.getLogger(__name__)

SLICE: Final = 10.0
"""Seconds; where a rate gives less than one call to that, as long as one call takes. So within any minute there are at
most a slice's calls more than the rate says."""
_PARTS: Final = 8
"""Into how many parts the processes cut a slice."""
_LOOK: Final = 5.0
"""Seconds after which it is looked again what others heard."""
_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Granted:
    """What a process may use of a slice."""

    calls: int
    rest: float
    """Seconds until the slice is over."""
    number: int
    used: int
    """Of the slice, by all."""


def grant(now: float, per_minute: int, number: int, used: int) -> Granted:
    """A part of the slice at `now` (seconds since the epoch), where `used` calls of the slice `number` were taken
    before. Pure."""
    length = max(SLICE, 60.0 / per_minute)
    most = max(1, int(per_minute * length / 60.0))
    current = int(now // length)
    before = used if number == current else 0
    calls = max(0, min(max(1, most // _PARTS), most - before))
    return Granted(calls, (current + 1) * length - now, current, before + calls)


class SharedPace:
    """One provider's server and key. name: theirs. per_minute: the operator's rate now, None = there is none. places:
    of calls under way at the same time; None = as many as there are."""

    def __init__(
        self,
        store: Store,
        name: str,
        clock: Clock,
        per_minute: Callable[[], Awaitable[int | None]],
        places: Places | None = None,
    ) -> None:
        self._store = store
        self._name = name
        self._provider = name.partition("/")[0]
        self._places = places
        self._clock = clock
        self._per_minute = per_minute
        self._looked = float("-inf")
        self._left = 0
        self._dry = False
        """The slice has no calls any more."""
        self._until = 0.0
        """When the slice ends, by the monotonic clock."""
        self._asking = asyncio.Lock()
        self._telling: set[asyncio.Task[None]] = set()

    async def wait(self) -> float:
        """`Shared.wait`."""
        now = self._clock.monotonic()
        if now - self._looked < _LOOK:
            return 0.0
        self._looked = now
        try:
            rows = await self._store.read("rate_hold", name=self._name)
        except StoreUnavailable:  # what this process heard itself holds
            return 0.0
        return max(0.0, rows[0]["seconds"]) if rows else 0.0

    async def leave(self) -> float:
        """`Shared.leave`."""
        per_minute = await self._per_minute()
        if per_minute is None:
            return 0.0
        async with self._asking:
            return await self._leave(per_minute)

    @asynccontextmanager
    async def place(self, at_most: float = math.inf) -> AsyncIterator[bool]:
        """`Shared.place`."""
        if self._places is None:
            yield True
            return
        async with self._places.place(self._provider, at_most) as there:
            yield there

    async def _leave(self, per_minute: int) -> float:
        now = self._clock.monotonic()
        if now >= self._until:
            self._left, self._dry = 0, False
        if self._dry:
            return self._until - now
        if not self._left:
            try:
                granted = await self._store.write(lambda tx: self._take(tx, per_minute))
            except StoreUnavailable:
                return _PAUSE
            self._left, self._until = granted.calls, self._clock.monotonic() + granted.rest
            self._dry = not granted.calls
            if self._dry:
                return granted.rest
        self._left -= 1
        return 0.0

    def _take(self, tx: Tx, per_minute: int) -> Granted:
        rows = tx.run("rate_get", name=self._provider)
        now = float(tx.run("deck_now")[0]["now"])
        granted = grant(now, per_minute, rows[0]["slice"] if rows else 0, rows[0]["used"] if rows else 0)
        tx.run("rate_set", name=self._provider, slice=granted.number, used=granted.used)
        return granted

    def heard(self, seconds: float) -> None:
        """`Shared.heard`."""
        task = asyncio.get_running_loop().create_task(self._tell(seconds))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, seconds: float) -> None:
        def work(tx: Tx) -> None:
            tx.run("rate_heard", name=self._name, until=float(tx.run("deck_now")[0]["now"]) + seconds)

        try:
            await self._store.write(work)
        except StoreUnavailable as error:  # the others will be told by the provider itself
            _log.info("the other workers do not know of a provider's wish: %s", error)


class Pacing:
    """Makes the shared pace of each provider's server and key."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rates: Callable[[], dict[str, int]],
        places: Places | None = None,
        holder: str = "",
    ) -> None:
        """rates: provider to calls in a minute, as this machine's file has it. holder: this process's incarnation."""
        self._store = store
        self._clock = clock
        self._agreed = Agreed(store, holder or ids.new_owner_id(), clock, "calls_per_minute", rates)
        self._places = places

    def __call__(self, provider: str, place: str) -> SharedPace:
        name = f"{provider}/{ids.digest(place.encode())[:16]}"  # a place may hold a key
        return SharedPace(self._store, name, self._clock, partial(self._agreed.most, provider), self._places)

    async def close(self) -> None:
        """Give back what this process has taken. Idempotent."""
        if self._places is not None:
            await self._places.close()
