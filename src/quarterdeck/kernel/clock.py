"""Time as a value that is passed in, so that every decision over time can be tested.

Rules
- `wall` is for people and records; `monotonic` is for deadlines and leases, because the wall clock can step.
- Processes on several machines that compare moments share one wall clock, which each of them keeps a copy of.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def wall(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never steps back."""
        ...


class SystemClock:
    """The machine's clock."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class CopiedClock:
    """A copy of a wall clock that several machines share. It goes by this machine's monotonic clock from when it was
    last `set`; until then, by this machine's wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shift: float | None = None
        self._unsure = 0.0

    def wall(self) -> float:
        """Seconds since the epoch, as the shared clock has it."""
        return self._clock.wall() if self._shift is None else self._clock.monotonic() + self._shift

    def monotonic(self) -> float:
        """This machine's."""
        return self._clock.monotonic()

    @property
    def ahead(self) -> float:
        """Seconds by which this machine's own wall clock is ahead of the shared one."""
        return self._clock.wall() - self.wall()

    def set(self, shared: float, at: float, unsure: float = 0.0) -> None:
        """The shared clock had `shared` seconds since the epoch when this machine's monotonic one had `at`, give or
        take `unsure` seconds. What is known better already, and may be the same, is kept."""
        shift = shared - at
        if self._shift is None or unsure <= self._unsure or abs(shift - self._shift) > unsure + self._unsure:
            self._shift, self._unsure = shift, unsure
