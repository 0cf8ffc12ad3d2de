"""One limiter per provider: what one agent is told, all of its agents heed.

Rules
- A retry-after heard by one agent holds every agent of that provider until it is over.
- After a hold, agents leave one after the other, `spacing` seconds apart: a burst right after a rate limit is what the
  provider limits next.
- Time and sleep are passed in.
"""

import asyncio
from collections.abc import Awaitable, Callable

from quarterdeck.kernel.clock import Clock


class Limiter:
    """Holds the calls to one provider back."""

    def __init__(
        self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, spacing: float = 0.05
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._spacing = spacing
        self._until = float("-inf")
        self._slot = float("-inf")
        """When the last of those that wait may leave."""

    def heard(self, retry_after: float) -> None:
        """The provider wants to be left alone for that many seconds."""
        self._until = max(self._until, self._clock.monotonic() + retry_after)

    def wait(self) -> float:
        """Seconds that a call would be held back now."""
        return max(0.0, self._until - self._clock.monotonic())

    async def enter(self) -> float:
        """Return when a call may leave; the answer is how many seconds it was held back."""
        began = self._clock.monotonic()
        while self.wait() > 0:
            hold = self._until
            self._slot = max(hold, self._slot + self._spacing)
            await self._sleep(self._slot - self._clock.monotonic())
            if self._until == hold:
                break
        return self._clock.monotonic() - began


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
