"""What an engine does about a store that does not answer: it waits, says so, and gives up in the end.

Rules
- That the store is away is said once, at once; that it is back is said once too.
- Waiting ends where the store is lost, or was away for longer than the patience.
"""

import random
from collections.abc import Callable
from typing import Final

from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import StoreLost, StoreUnavailable

BACKOFF: Final = (0.1, 5.0)
"""First and longest pause while the store is unavailable, seconds."""
PATIENCE: Final = 600.0
"""Seconds without the store after which serving ends."""

Told = Callable[[StoreUnavailable | None], None]
"""Called when the store becomes unavailable, and with None when it is back."""


class Illness:
    """Since when the store has not answered. patience: seconds."""

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self.told: Told | None = None
        """Who hears when the store becomes unavailable and when it is back."""
        self._since: float | None = None
        self.given_up = False
        self._pause = 0.0

    def begin(self) -> None:
        """Serving begins: what was before counts no longer."""
        self._since, self.given_up, self._pause = None, False, 0.0

    @property
    def ill(self) -> bool:
        return self._since is not None

    def note(self, error: StoreUnavailable) -> None:
        """The store did not take something. Raises `error` where waiting does not help, or helped for too long."""
        now = self._clock.monotonic()
        if self._since is None:
            self._since = now
            if self.told is not None:
                self.told(error)
        if isinstance(error, StoreLost) or now - self._since > self._patience:
            self.given_up = True
            raise error

    def well(self) -> None:
        """The store answers."""
        self._pause = 0.0
        if self._since is not None:
            self._since = None
            if self.told is not None:
                self.told(None)

    def pause(self) -> float:
        """Seconds until the next try; longer each time."""
        self._pause = min(max(BACKOFF[0], self._pause * 2), BACKOFF[1])
        return self._pause * random.uniform(0.5, 1.0)
