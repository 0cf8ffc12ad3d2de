"""Who a worker is among others, and how soon its death is found.

Rules
- A worker's pace is on record with it, and the others judge it by that: machines need not have the same.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from quarterdeck.engine.queues import QUEUES

CONCURRENCY: Final = 1000
"""Jobs at the same time, for a process that performs everything alone. Attempts are bounded by each run's
`max_parallel`, checks by `checks.parallel`."""
A_CORE: Final = 16
"""Jobs at the same time for each core, for one worker among others."""
_JOB_BYTES: Final = 64 * 1024 * 1024
"""Memory that one of them is counted with: its sandbox, and a little of what its commands take."""


def fair(cores: int, memory: int) -> int:
    """How many jobs a worker takes at the same time where nobody says so, by what its machine has. Pure. memory:
    bytes."""
    return max(1, min(A_CORE * max(1, cores), memory // _JOB_BYTES))


def own_capacity() -> int:
    """How many jobs this machine is good for at the same time."""
    return fair(len(os.sched_getaffinity(0)), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@dataclass(frozen=True, slots=True)
class Place:
    """What this process takes of the deck's work."""

    queues: tuple[str, ...] = QUEUES
    """None at all: only what wants something that this process offers."""
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
    offers: Callable[[], Iterable[str]] = tuple
    """What this process is configured for now, beside the work of runs."""
    labelled: frozenset[str] = frozenset()
    """What of that a job may want that names labels, too; the same in all processes of a deck."""
