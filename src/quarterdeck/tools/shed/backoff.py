"""When a server that failed is started again. Pure.

Rules
- The first pause is a second, each further one twice as long, a minute at most.
- After so many failures in a row it is given up, until somebody asks for it anew: an attempt that begins.
- A server that answered, or lived for a while, is well again.
"""

from dataclasses import dataclass
from typing import Final

FIRST: Final = 1.0
LONGEST: Final = 60.0
GIVE_UP: Final = 6
"""Failures in a row."""
WELL: Final = 60.0
"""Seconds after which a server that ends has not failed at starting."""


@dataclass(frozen=True, slots=True)
class Health:
    """How often a server failed in a row, and when it may be started again."""

    failures: int = 0
    not_before: float = 0.0
    """On the monotonic clock, seconds."""

    @property
    def given_up(self) -> bool:
        return self.failures >= GIVE_UP

    def wait(self, now: float) -> float | None:
        """Seconds until it may be started; None = it has been given up."""
        return None if self.given_up else max(0.0, self.not_before - now)


def failed(health: Health, now: float, lived: float = 0.0) -> Health:
    """After a failure. `lived`: seconds that the server had been there."""
    failures = 1 if lived >= WELL else health.failures + 1
    return Health(failures, now + min(LONGEST, FIRST * 2.0 ** (failures - 1)))


def asked(health: Health) -> Health:
    """After somebody asked anew: what was given up gets another chance at once."""
    return Health() if health.given_up else health
