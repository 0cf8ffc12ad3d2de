"""Which queue a job waits in, and which queues a worker takes jobs from. Pure.

Rules
- Short, urgent jobs decide what happens next: they wait in a queue of their own, so that long ones never keep them
  waiting. Jobs in the background have one too. Everything else is work.
- What names labels waits in a queue named after them all; a worker takes it where it has each of them.
- The server tells workers of a queue by its name, which has to be short for that: longer ones are a digest.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from quarterdeck.engine.port import URGENT, Job, Untaken
from quarterdeck.kernel.failures import BadInput

CONTROL: Final = "control"
WORK: Final = "work"
BACKGROUND: Final = "background"
QUEUES: Final = (CONTROL, WORK, BACKGROUND)
"""What a worker can be told to take jobs from."""

LATER: Final = "later"
"""Where a delayed job waits until it is due. No worker takes jobs from it."""
_LONGEST: Final = 40
"""Characters of a queue's name: the channel on which the server tells of it has 63, 23 of them procrastinate's own."""


def queue_of(job: Job) -> str:
    """The queue that the job waits in once it is due."""
    if job.priority >= URGENT:
        return _named(CONTROL, job.runs_on)
    return _named(BACKGROUND if job.priority < 0 else WORK, job.runs_on)


def served(queues: Iterable[str], labels: Iterable[str]) -> tuple[str, ...]:
    """The queues of long jobs that a worker takes jobs from. Raises BadInput."""
    chosen = set(queues)
    if unknown := chosen - set(QUEUES):
        raise BadInput(f"there is no queue {min(unknown)}", fix=f"one of: {', '.join(QUEUES)}")
    has = tuple(labels)
    return tuple(name for base in (WORK, BACKGROUND) if base in chosen for name in _every(base, has))


def urgent(queues: Iterable[str], labels: Iterable[str]) -> tuple[str, ...]:
    """The queues of urgent jobs that a worker takes jobs from."""
    return _every(CONTROL, labels) if CONTROL in set(queues) else ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in one queue."""

    queue: str
    needs: str
    """The labels it asks for, with `+` between them."""
    jobs: int
    seconds: float
    """How long the oldest of them has."""


def untaken(waiting: Iterable[Waiting], taken: Collection[str], patience: float) -> tuple[Untaken, ...]:
    """What waits for longer than `patience` seconds where no living worker takes jobs."""
    return tuple(
        Untaken(each.jobs, each.queue, tuple(filter(None, each.needs.split("+"))))
        for each in waiting
        if each.queue not in taken and each.seconds >= patience
    )


def needs_of(job: Job) -> str:
    """The labels that the job asks for, each once, with `+` between them."""
    return "+".join(sorted(set(job.runs_on)))


def _every(base: str, labels: Iterable[str]) -> tuple[str, ...]:
    has = sorted(set(labels))
    return tuple(_named(base, some) for size in range(len(has) + 1) for some in combinations(has, size))


def _named(base: str, labels: Iterable[str]) -> str:
    name = "/".join(filter(None, (base, "+".join(sorted(set(labels))))))
    return name if len(name) <= _LONGEST else f"{base}/{hashlib.sha256(name.encode()).hexdigest()[:24]}"
