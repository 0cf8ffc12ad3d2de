"""Time as a value that is passed in, so that every decision over time can be tested.

Rules
- `wall` is for people and records; `monotonic` is for deadlines and leases, because the wall clock can step.
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
