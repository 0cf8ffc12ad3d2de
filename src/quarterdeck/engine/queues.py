"""Which queue a job waits in, and which queues a worker takes jobs from. Pure.

Rules
- Short, urgent jobs decide what happens next: they wait in a queue of their own, so that long ones never keep them
  waiting. Jobs in the background have one too. Everything else is work.
- What names labels waits in a queue named after them all; a worker takes it where it has each of them.
- What wants a process that is configured for something waits in a queue named after that, which has one such name at
  most: only those take it that offer that. Who takes nothing else performs no work of the deck's runs.
- A worker has a queue for each choice of its labels, because a job may name any of them. What wants something names no
  labels, but for the few wants that are said to: a worker with all labels would else have hundreds for each trigger.
- The server tells workers of a queue by its name, which has to be short for that: longer ones are a digest.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
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

_FOR: Final = "for:"
"""What the queue of jobs begins with that want something."""
NOTHING: Final = _FOR
"""A queue in which nothing ever waits: of a worker that has nothing to offer yet."""

LATER: Final = "later"
"""Where a delayed job waits until it is due. No worker takes jobs from it."""
_LONGEST: Final = 40
"""Characters of a queue's name: the channel on which the server tells of it has 63, 23 of them procrastinate's own."""


def queue_of(job: Job, labelled: Collection[str] = ()) -> str:
    """The queue that the job waits in once it is due. labelled: the wants whose jobs may name labels. Raises
    ValueError for a job that nobody would ever take."""
    if job.wants and job.runs_on and job.wants not in labelled:
        raise ValueError(f"what wants {job.wants} names no labels")
    if job.wants:
        return _named(f"{_FOR}{job.wants}", job.runs_on)
    if job.priority >= URGENT:
        return _named(CONTROL, job.runs_on)
    return _named(BACKGROUND if job.priority < 0 else WORK, job.runs_on)


def served(queues: Iterable[str], labels: Iterable[str], labelled: Collection[str] = ()) -> tuple[str, ...]:
    """The queues of long jobs that a worker takes jobs from. labelled: the wants whose jobs may name labels. Raises
    BadInput."""
    chosen = tuple(queues)
    outside = tuple(name for name in chosen if name.startswith(_FOR))
    if unknown := set(chosen) - {*QUEUES, *outside}:
        raise BadInput(f"there is no queue {min(unknown)}", fix=f"one of: {', '.join(QUEUES)}")
    has = tuple(labels)
    every = {WORK, BACKGROUND, *(f"{_FOR}{name}" for name in labelled)}
    bases = (*(base for base in (WORK, BACKGROUND) if base in chosen), *outside)
    return tuple(name for base in bases for name in _every(base, has if base in every else ()))


def offering(queues: Sequence[str], offers: Iterable[str]) -> tuple[str, ...]:
    """These queues, and those of what a process offers to jobs that want it: so that one has it that takes what is in
    the background, or nothing else."""
    if queues and BACKGROUND not in queues:
        return tuple(queues)
    return (*queues, *(f"{_FOR}{name}" for name in sorted(set(offers))))


def offered(queues: Iterable[str], wants: str) -> bool:
    """Whether a worker of these queues takes jobs that want that; "" = jobs that want nothing."""
    return f"{_FOR}{wants}" in queues if wants else any(not name.startswith(_FOR) for name in queues)


def urgent(queues: Iterable[str], labels: Iterable[str]) -> tuple[str, ...]:
    """The queues of urgent jobs that a worker takes jobs from."""
    return _every(CONTROL, labels) if CONTROL in set(queues) else ()


def taken_by(queues: Collection[str], labels: Collection[str], labelled: Collection[str] = ()) -> tuple[str, ...]:
    """All queues that a worker takes jobs from. Raises BadInput."""
    return (*served(queues, labels, labelled), *urgent(queues, labels))


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in one queue."""

    queue: str
    needs: str
    """The labels it asks for, and what it wants, with `+` between them."""
    jobs: int
    seconds: float
    """How long the oldest of them has."""


def untaken(waiting: Iterable[Waiting], taken: Collection[str], patience: float) -> tuple[Untaken, ...]:
    """What waits for longer than `patience` seconds where no living worker takes jobs."""
    return tuple(_untaken(each) for each in waiting if each.queue not in taken and each.seconds >= patience)


def _untaken(one: Waiting) -> Untaken:
    needs = tuple(filter(None, one.needs.split("+")))
    labels = tuple(name for name in needs if not name.startswith(_FOR))
    wants = next((name.removeprefix(_FOR) for name in needs if name.startswith(_FOR)), "")
    return Untaken(one.jobs, one.queue, labels, wants)


def needs_of(job: Job) -> str:
    """The labels that the job asks for, each once, and what it wants, with `+` between them."""
    return "+".join(sorted({*job.runs_on, *((f"{_FOR}{job.wants}",) if job.wants else ())}))


def _every(base: str, labels: Iterable[str]) -> tuple[str, ...]:
    has = sorted(set(labels))
    return tuple(_named(base, some) for size in range(len(has) + 1) for some in combinations(has, size))


def _named(base: str, labels: Iterable[str]) -> str:
    name = "/".join(filter(None, (base, "+".join(sorted(set(labels))))))
    if len(name) <= _LONGEST:
        return name
    return f"{base.partition(':')[0]}{':' if ':' in base else '/'}{hashlib.sha256(name.encode()).hexdigest()[:24]}"
