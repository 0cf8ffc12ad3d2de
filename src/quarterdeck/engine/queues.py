"""Which queue a job waits in, and which queues a worker takes jobs from. Pure.

Rules
- Short, urgent jobs decide what happens next: they wait in a queue of their own, so that long ones never keep them
  waiting. Jobs in the background have one too. Everything else is work.
- Work that names labels waits in a queue named after them all; a worker takes it where it has each of them.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from quarterdeck.engine.port import URGENT, Job
from quarterdeck.kernel.failures import BadInput

CONTROL: Final = "control"
WORK: Final = "work"
BACKGROUND: Final = "background"
QUEUES: Final = (CONTROL, WORK, BACKGROUND)
"""What a worker can be told to take jobs from."""

LATER: Final = "later"
"""Where a delayed job waits until it is due. No worker takes jobs from it."""


def queue_of(job: Job) -> str:
    """The queue that the job waits in once it is due."""
    if job.priority >= URGENT:
        return CONTROL
    if job.priority < 0:
        return BACKGROUND
    return _named(job.runs_on)


def served(queues: Iterable[str], labels: Iterable[str]) -> tuple[str, ...]:
    """The queues that a worker takes jobs from, the control queue apart. Raises BadInput."""
    chosen, has = set(queues), sorted(set(labels))
    if unknown := chosen - set(QUEUES):
        raise BadInput(f"there is no queue {min(unknown)}", fix=f"one of: {', '.join(QUEUES)}")
    work = [_named(some) for size in range(len(has) + 1) for some in combinations(has, size)] if WORK in chosen else []
    return (*work, *((BACKGROUND,) if BACKGROUND in chosen else ()))


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in one queue."""

    queue: str
    jobs: int
    seconds: float
    """How long the oldest of them has."""


def untaken(waiting: Iterable[Waiting], taken: Collection[str], patience: float) -> tuple[str, ...]:
    """What waits for longer than `patience` seconds where no living worker takes jobs, in sentences."""
    found = []
    for each in waiting:
        if each.queue in taken or each.seconds < patience:
            continue
        needs = labels_of(each.queue)
        what = f"a worker with {', '.join(needs)}" if needs else f"a worker that takes the queue {each.queue}"
        found.append(f"{each.jobs} jobs wait for {what}, and none is alive")
    return tuple(found)


def labels_of(queue: str) -> tuple[str, ...]:
    """The labels that a queue of work asks for."""
    _, _, labels = queue.partition("/")
    return tuple(filter(None, labels.split("+")))


def _named(labels: Iterable[str]) -> str:
    return "/".join(filter(None, (WORK, "+".join(sorted(set(labels))))))
