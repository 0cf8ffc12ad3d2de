"""One limiter per provider's server and key: what one caller is told, the whole fleet heeds, the gateway's included.

Rules
- What the provider asks for (a retry-after, a limit of which nothing is left) holds every call there until it is over;
  no hold is longer than an hour.
- When a hold is over, calls leave one after the other: `SPACING` seconds apart at first, because a burst right after a
  rate limit is what the provider limits next, and twice as many every `DOUBLES` seconds, because a thousand agents
  that wait are more than ever go through at the first pace.
- Slow start: where the provider finds that its use grew too fast, calls leave a second apart, or twice as far as they
  already do; each answer brings them a quarter closer, until they need not be kept apart.
- An outage is several calls in a row, of whomever, that failed for no reason of their own. Then calls leave one by one,
  ever more rarely while it lasts; with the first answer a second apart, and from there on as after a slow start.
- First come, first served. Time and sleep are passed in.
- Leave is given to a call once (`Leave`). A call that could not use it yet, because its money is not there, comes back
  without standing in line again and without taking another's turn; it stands in line anew only where the provider asked
  meanwhile to be left alone, and takes nothing twice out of what all processes share. A slow start or an outage that
  began meanwhile does not hold it back: as many go then as there is money for, and no line is used up by looking.
- Where several processes share a provider (`Shared`), what one of them was told holds for all, calls leave at the rate
  that all of them have together, and no more are under way than all of them may have.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Final, Protocol

from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import FailureClass, ModelFailed

SPACING: Final = 0.05
DOUBLES: Final = 1.0
"""Seconds after which calls may leave twice as fast, once a hold is over."""
FIRST_GAP: Final = 1.0
LARGEST_GAP: Final = 30.0
CLOSER: Final = 0.75
OUTAGE: Final = 6
"""Failures in a row that are one. More than a single call is tried at one place before it is given up."""
LONGEST_PROBE: Final = 15.0
"""Seconds between two calls while it lasts."""
LONGEST_HOLD: Final = 3600.0
"""Seconds."""

_LOOK: Final = 30.0
"""Seconds after which a call that is held back looks whether the provider wants to be left alone for longer."""
_SPREAD_OUT: Final = 8
"""Doublings after which calls need not be kept apart."""
_TICK: Final = 1e-6
"""Seconds that are not worth a sleep."""


def wider(gap: float) -> float:
    """The gap after one more complaint that use grew too fast, seconds. Pure."""
    return min(LARGEST_GAP, max(FIRST_GAP, 2 * gap))


def closer(gap: float) -> float:
    """The gap after one more answer, seconds; 0 = calls need not be kept apart. Pure."""
    return gap * CLOSER if gap * CLOSER >= SPACING else 0.0


def spread(since: float) -> float:
    """The gap `since` seconds after the end of a hold, seconds; 0 = calls need not be kept apart. Pure."""
    doubled = max(0.0, since) / DOUBLES
    return SPACING * 0.5**doubled if doubled < _SPREAD_OUT else 0.0


@dataclass(frozen=True, slots=True)
class Flow:
    """How calls may leave, as far as it follows from how those before them ended. Pure."""

    gap: float = 0.0
    """Seconds between two calls; 0 = they need not be kept apart."""
    failed: int = 0
    """Calls in a row that failed for no reason of their own."""
    widened: float = -math.inf
    """When the gap became wider because of an outage, by the clock."""

    @property
    def out(self) -> bool:
        """The provider seems to be out."""
        return self.failed >= OUTAGE

    def answered(self) -> "Flow":
        """After an answer."""
        return Flow(FIRST_GAP if self.out else closer(self.gap))

    def complained(self) -> "Flow":
        """After the complaint that use grew too fast."""
        return replace(self, gap=wider(self.gap))

    def broke(self, now: float) -> "Flow":
        """After a failure at `now`. Of those that left at about the same time, one makes the gap wider."""
        failed = min(OUTAGE, self.failed + 1)
        if failed < OUTAGE or now < self.widened + self.gap:
            return replace(self, failed=failed)
        return Flow(max(self.gap, min(LONGEST_PROBE, max(FIRST_GAP, 2 * self.gap))), failed, now)


class Shared(Protocol):
    """What the processes of a deck agree on about one provider's server and key."""

    async def wait(self) -> float:
        """Seconds for which the provider wants to be left alone, as any process heard."""
        ...

    async def leave(self) -> float:
        """Take one call out of what may leave in these seconds; 0.0 = it may leave, else seconds until the next try."""
        ...

    def place(self, at_most: float) -> AbstractAsyncContextManager[bool]:
        """A place among the calls that may be under way at the same time; False where none was free for so long."""
        ...

    def heard(self, seconds: float) -> None:
        """The provider wants to be left alone for so many seconds: the other processes are to know."""
        ...


@dataclass(slots=True)
class Leave:
    """One call's leave to go: given once, and kept until it has gone."""

    given: float = -math.inf
    """When, by the clock; -inf = not yet."""


class Limiter:
    """Holds the calls to one provider back. shared: None = this process is alone."""

    def __init__(
        self, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, shared: Shared | None = None
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._shared = shared
        self._until = -math.inf
        self._eased = -math.inf
        """When the last hold ends or ended, the provider's or one of our own."""
        self._left = -math.inf
        """When the last call left."""
        self.flow = Flow()
        self._door = asyncio.Lock()

    def heard(self, retry_after: float) -> None:
        """The provider wants to be left alone for that many seconds."""
        seconds = min(retry_after, LONGEST_HOLD)
        self._hold(seconds)
        if self._shared is not None:
            self._shared.heard(seconds)

    def _hold(self, seconds: float) -> None:
        self._until = max(self._until, self._clock.monotonic() + seconds)
        self._eased = max(self._eased, self._until)

    def too_fast(self) -> None:
        """The provider finds that its use grew too fast."""
        self.flow = self.flow.complained()

    def answered(self) -> None:
        """The provider answered a call."""
        kept_apart, self.flow = self.flow.gap > 0.0, self.flow.answered()
        if kept_apart and not self.flow.gap:
            self._eased = max(self._eased, self._clock.monotonic())

    def failed(self, failure: ModelFailed) -> None:
        """A call failed: what that says to everybody."""
        if failure.ramp:
            self.too_fast()
        if failure.kind is not FailureClass.TRANSIENT:
            return
        if failure.retry_after:
            self.heard(failure.retry_after)
        elif not failure.ramp:
            self.flow = self.flow.broke(self._clock.monotonic())

    def place(self, at_most: float = math.inf) -> AbstractAsyncContextManager[bool] | None:
        """A place for one call while it is under way; False where none was free for `at_most` seconds. Taken before the
        call enters. None = there are as many as are wanted."""
        return None if self._shared is None else self._shared.place(at_most)

    def wait(self) -> float:
        """Seconds for which the provider wants to be left alone from now on."""
        return max(0.0, self._until - self._clock.monotonic())

    async def enter(
        self, at_most: float = math.inf, longest_hold: float = math.inf, leave: Leave | None = None
    ) -> float:
        """Return when a call may leave, or when it was held back for `at_most` seconds; the answer is for how many.

        It also returns where the provider asks meanwhile to be left alone for longer than `longest_hold` seconds.
        `leave`: that of a call that may have to come back; None = it does not.
        """
        began, leave = self._clock.monotonic(), leave or Leave()
        if leave.given > -math.inf and await self._still(leave):
            return 0.0
        in_line = self._door.locked()
        if in_line and at_most < math.inf:
            try:
                async with asyncio.timeout(at_most):
                    await self._door.acquire()
            except TimeoutError:
                return self._clock.monotonic() - began
        else:
            await self._door.acquire()
        try:
            while True:
                due, now = await self._next(in_line or began < self._eased, leave), self._clock.monotonic()
                if due <= now + _TICK:
                    self._left = leave.given = now
                    break
                patience = began + at_most - now
                if patience <= 0 or self.wait() > longest_hold:
                    break
                await self._sleep(min(due - now, patience, _LOOK))
        finally:
            self._door.release()
        return now - began

    async def _still(self, leave: Leave) -> bool:
        """Whether it holds: the provider did not ask to be left alone after it was given."""
        await self._listen()
        return self._until <= leave.given

    async def _listen(self) -> None:
        """Hear what the other processes heard."""
        if self._shared is not None and (held := await self._shared.wait()) > 0.0:
            self._hold(held)

    async def _next(self, waited: bool, leave: Leave) -> float:
        """When the next call may leave, by the clock: by what this process knows, then by what all of them share.
        waited: with others, or for the end of a hold."""
        shared = self._shared
        if shared is None:
            return self._due(waited)
        await self._listen()
        if (due := self._due(waited)) > self._clock.monotonic() + _TICK or leave.given > -math.inf:
            return due
        later = await shared.leave()
        if not later:
            return -math.inf  # what was taken is used, whatever the clock says by now
        self._eased = max(self._eased, self._clock.monotonic() + later)
        return self._clock.monotonic() + later

    def _due(self, waited: bool) -> float:
        """When the next call may leave, by the clock."""
        gap = self.flow.gap or (spread(self._clock.monotonic() - self._eased) if waited else 0.0)
        return max(self._until, self._left + gap)


class Limiters:
    """The limiters of a deck."""

    def __init__(
        self,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        sharing: Callable[[str, str], Shared] | None = None,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._sharing = sharing
        self._limiters: dict[tuple[str, str], Limiter] = {}

    def of(self, model: str, place: str = "") -> Limiter:
        """The limiter for `provider:model` at a `place`: whatever tells one server and key from another."""
        key = model.partition(":")[0], place
        if key not in self._limiters:
            shared = self._sharing(*key) if self._sharing is not None else None
            self._limiters[key] = Limiter(self._clock, self._sleep, shared)
        return self._limiters[key]
