"""Who a worker is among others, and how soon its death is found.

Rules
- Every machine of a deck has to have the same pace: who is slower would be taken for dead.
"""

from dataclasses import dataclass
from typing import Final

from quarterdeck.engine.queues import QUEUES

CONCURRENCY: Final = 1000
"""Jobs at the same time. Attempts are bounded by each run's `max_parallel`, checks by `checks.parallel`."""


@dataclass(frozen=True, slots=True)
class Place:
    """What this process takes of the deck's work."""

    queues: tuple[str, ...] = QUEUES
    labels: tuple[str, ...] = ()
    capacity: int = CONCURRENCY


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon the death of a worker is found. takeover: seconds from its last sign of life until others have its
    jobs, at the most."""

    takeover: float = 30.0

    @property
    def heartbeat(self) -> float:
        """Seconds between two signs of life."""
        return self.takeover / 6

    @property
    def silence(self) -> float:
        """Seconds without one after which a worker is struck off: one heartbeat is for noticing, one to spare."""
        return self.takeover - 2 * self.heartbeat


@dataclass(frozen=True, slots=True)
class Seat:
    """Who this worker is, and what it takes."""

    owner: str
    """This process incarnation, never used before or again."""
    host: str = ""
    pid: int = 0
    version: str = ""
    queues: tuple[str, ...] = QUEUES
    labels: tuple[str, ...] = ()
    capacity: int = 64
    """Most jobs at the same time; short, urgent ones get some places beyond it."""
