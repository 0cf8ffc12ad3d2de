"""One limiter per provider: what one agent is told, all of its agents heed.

Rules
- A retry-after heard by one agent holds every agent of that provider until it is over; no hold is longer than an hour.
- Calls that had to wait leave one after the other, `SPACING` seconds apart: a burst right after a rate limit is what
  the provider limits next.
- Slow start: where the provider finds that its use grew too fast, calls leave a second apart, or twice as far as they
  already do; each answer brings them a quarter closer, until they need not be kept apart.
- First come, first served. Time and sleep are passed in.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from quarterdeck.kernel.clock import Clock

SPACING: Final = 0.05
FIRST_GAP: Final = 1.0
LARGEST_GAP: Final = 30.0
CLOSER: Final = 0.75
LONGEST_HOLD: Final = 3600.0
"""Seconds."""

_LOOK: Final = 30.0
"""Seconds after which a call that is held back looks whether the provider wants to be left alone for longer."""
_TICK: Final = 1e-6
"""Seconds that are not worth a sleep."""


def wider(gap: float) -> float:
    """The gap after one more complaint that use grew too fast, seconds. Pure."""
    return min(LARGEST_GAP, max(FIRST_GAP, 2 * gap))


def closer(gap: float) -> float:
    """The gap after one more answer, seconds; 0 = calls need not be kept apart. Pure."""
    return gap * CLOSER if gap * CLOSER >= SPACING else 0.0


class Limiter:
    """Holds the calls to one provider back."""

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._until = -math.inf
        self._left = -math.inf
        """When the last call left."""
        self._gap = 0.0
        self._door = asyncio.Lock()

    def heard(self, retry_after: float) -> None:
        """The provider wants to be left alone for that many seconds."""
        self._until = max(self._until, self._clock.monotonic() + min(retry_after, LONGEST_HOLD))

    def too_fast(self) -> None:
        """The provider finds that its use grew too fast."""
        self._gap = wider(self._gap)

    def answered(self) -> None:
        """The provider answered a call."""
        self._gap = closer(self._gap)

    def wait(self) -> float:
        """Seconds for which the provider wants to be left alone from now on."""
        return max(0.0, self._until - self._clock.monotonic())

    async def enter(self, at_most: float = math.inf, longest_hold: float = math.inf) -> float:
        """Return when a call may leave, or when it was held back for `at_most` seconds; the answer is for how many.

        It also returns where the provider asks meanwhile to be left alone for longer than `longest_hold` seconds.
        """
        began = now = self._clock.monotonic()
        waits = self._door.locked()
        try:
            async with asyncio.timeout(at_most if waits and at_most < math.inf else None):
                await self._door.acquire()
        except TimeoutError:
            return self._clock.monotonic() - began
        try:
            if waits:
                now = self._clock.monotonic()
            while (due := self._due(waits)) > now + _TICK:
                patience = began + at_most - now
                if patience <= 0 or self.wait() > longest_hold:
                    return now - began
                waits = True
                await self._sleep(min(due - now, patience, _LOOK))
                now = self._clock.monotonic()
            self._left = now
        finally:
            self._door.release()
        return now - began

    def _due(self, waits: bool) -> float:
        """When the next call may leave, by the clock."""
        gap = self._gap or (SPACING if waits else 0.0)
        return max(self._until, self._left + gap)


class Limiters:
    """The limiters of all providers."""

    def __init__(self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._limiters: dict[str, Limiter] = {}

    def of(self, model: str) -> Limiter:
        """The limiter for `provider:model`."""
        provider = model.partition(":")[0]
        if provider not in self._limiters:
            self._limiters[provider] = Limiter(self._clock, self._sleep)
        return self._limiters[provider]
