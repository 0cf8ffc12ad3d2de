"""How long one attempt has been at work, against its bound.

Rules
- What was recorded before a crash counts; the time in which a person was waited for does not.
"""

from quarterdeck.agents.word import Stopwatch
from quarterdeck.kernel.clock import Clock


class WorkTime:
    """Seconds at work. bound: how many the attempt has."""

    def __init__(self, bound: float, clock: Clock) -> None:
        self._bound = bound
        self._clock = clock
        self._began = clock.monotonic()
        self.waiting = Stopwatch(clock)
        """The time in which people are waited for."""
        self.before = 0.0
        """Recorded before this process took the attempt up."""

    def used(self) -> float:
        """So far."""
        return self.before + self._clock.monotonic() - self._began - self.waiting.seconds

    def left(self) -> float:
        """Until the bound; below 0 = beyond it."""
        return self._bound - self.used()
