"""How fast the processes of a deck may call a provider, all together: agreed on in the deck's database.

Rules
- What one process was told (a retry-after) is written down, and the others look every few seconds.
- Where the operator set a rate, no more calls get leave within any minute than it says, over all processes. Who then
  waits for money goes later than it was counted.
- A process takes some calls of the present slice of time at once and lets them leave from that, so that most calls cost
  no transaction; what it does not use is lost with the slice. A slice is given no more than what the slices of the
  minute before it left over, and no more than its share.
- Time is the database's clock, so that the machines need not agree on theirs. What was given out, or heard, by a clock
  that was ahead holds nobody.
- While the database is away, what was known last holds; nothing leaves beyond what was taken.
- The operator's rates and places are a provider's, whichever key and server of it is called, and whichever machine's
  file says so (`agreed`); what a provider wants is that key's.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from quarterdeck.assembly.places import Places
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.models.limiter import LONGEST_HOLD
from quarterdeck.store.port import Store, Tx

_log = logging.getLogger(__name__)

SLICE: Final = 4.0
"""Seconds."""
MINUTE: Final = 15
"""Slices that are one. A minute meets one more, so these together have what a minute may have."""
_PARTS: Final = 4
"""Into how many parts the processes cut a slice's share."""
_LOOK: Final = 5.0
"""Seconds after which it is looked again what others heard."""
_LATEST: Final = LONGEST_HOLD + 60.0
"""Seconds from now beyond which nobody can have been told to wait: another clock said so."""
_PAUSE: Final = 1.0
_SOON: Final = 0.01


@dataclass(frozen=True, slots=True)
class Granted:
    """What a process may use of a slice."""

    calls: int
    rest: float
    """Seconds until the slice is over; of none, until there may be some."""
    number: int


def grant(now: float, per_minute: int, taken: Mapping[int, int]) -> Granted:
    """A part of the slice at `now` (seconds since the epoch). `taken`: how many calls of which slice were taken before,
    as far as that is remembered. Pure."""
    number = int(now // SLICE)
    share = -(-per_minute // (MINUTE + 1))
    calls = min(max(1, share // _PARTS), share - taken.get(number, 0), per_minute - _lately(taken, number))
    if calls > 0:
        return Granted(calls, (number + 1) * SLICE - now, number)
    later = range(number + 1, number + MINUTE + 2)
    free = next((each for each in later if _lately(taken, each) < per_minute), later[-1])
    return Granted(0, free * SLICE - now, number)


def _lately(taken: Mapping[int, int], number: int) -> int:
    """How many calls were taken of that slice and of those that a minute which ends in it meets."""
    return sum(calls for each, calls in taken.items() if number - MINUTE <= each <= number)


@dataclass(frozen=True, slots=True)
class Hand:
    """What a process holds. Times are those of its own clock."""

    left: int = 0
    until: float = -math.inf

    @staticmethod
    def of(granted: Granted, asked: float) -> "Hand":
        """What was granted to who asked at `asked`. The answer takes its time, and the slice ends when it does."""
        return Hand(granted.calls, asked + granted.rest)

    def used(self, now: float) -> "Hand | None":
        """With one call less; None = nothing is left."""
        return replace(self, left=self.left - 1) if self.left and now < self.until else None


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
        self._hand = Hand()
        self._dry = 0
        """The rate at which nothing is to be had until the hand is over; 0 = that is not known."""
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
        seconds = max(0.0, rows[0]["seconds"]) if rows else 0.0
        return seconds if seconds <= _LATEST else 0.0

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
        if (hand := self._hand.used(now)) is None:
            if self._dry == per_minute and now < self._hand.until:
                return self._hand.until - now
            try:
                granted = await self._store.write(lambda tx: self._take(tx, per_minute))
            except StoreUnavailable:
                return _PAUSE
            self._hand, self._dry = Hand.of(granted, now), 0 if granted.calls else per_minute
            now = self._clock.monotonic()
            if self._dry:
                return max(self._hand.until - now, _SOON)
            if (hand := self._hand.used(now)) is None:
                return _SOON  # the answer came when the slice was over
        self._hand = hand
        return 0.0

    def _take(self, tx: Tx, per_minute: int) -> Granted:
        now = float(tx.run("deck_now")[0]["now"])
        taken = {int(row["slice"]): int(row["calls"]) for row in tx.run("granted_of", name=self._provider)}
        granted = grant(now, per_minute, taken)
        if granted.calls:
            oldest = granted.number - MINUTE
            tx.run("granted_forget", name=self._provider, oldest=oldest, newest=granted.number)
            tx.run("granted_add", name=self._provider, slice=granted.number, calls=granted.calls)
        return granted

    def heard(self, seconds: float) -> None:
        """`Shared.heard`."""
        task = asyncio.get_running_loop().create_task(self._tell(seconds))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self, seconds: float) -> None:
        def work(tx: Tx) -> None:
            now = float(tx.run("deck_now")[0]["now"])
            tx.run("rate_heard", name=self._name, until=now + seconds, latest=now + _LATEST)

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
        most: Callable[[str], Awaitable[int | None]],
        places: Places | None = None,
    ) -> None:
        """most: calls in a minute that a provider may get now; None = nothing is said."""
        self._store = store
        self._clock = clock
        self._most = most
        self._places = places

    def __call__(self, provider: str, place: str) -> SharedPace:
        name = f"{provider}/{ids.digest(place.encode())[:16]}"  # a place may hold a key
        return SharedPace(self._store, name, self._clock, partial(self._most, provider), self._places)

    async def close(self) -> None:
        """Give back what this process has taken. Idempotent."""
        if self._places is not None:
            await self._places.close()
