"""Which waiting jobs are started now. Pure.

Rules
- Among the jobs that are due, the higher priority goes first, then the older one; a running job keeps its lock's
  others waiting.
- A delay is measured with the monotonic clock from when the owner first sees the job, and is never longer than was
  asked for: a step of the wall clock can shorten it, not prolong it.
"""

from dataclasses import dataclass, field

from quarterdeck.engine.port import URGENT
from quarterdeck.store.port import Row


@dataclass(frozen=True, slots=True)
class Candidate:
    """A waiting job that is due."""

    id: int
    lock: str
    priority: int


def choose(candidates: list[Candidate], busy: set[str], free: int, reserve: int = 0) -> list[Candidate]:
    """Which jobs to start now: at most `free`, one a lock, none whose lock is `busy`; urgent ones may also use
    `reserve`. Pure."""
    chosen: list[Candidate] = []
    taken = set(busy)
    for candidate in sorted(candidates, key=lambda c: (-c.priority, c.id)):
        if candidate.lock in taken:
            continue
        if candidate.priority >= URGENT and reserve > 0:
            reserve -= 1
        elif free > 0:
            free -= 1
        else:
            continue
        taken.add(candidate.lock)
        chosen.append(candidate)
    return chosen


def remaining(due: float, delay: float, wall: float) -> float:
    """Seconds that a delayed job still has to wait, as far as the wall clock can be trusted. Pure."""
    return min(max(due - wall, 0.0), delay)


@dataclass(slots=True)
class Delays:
    """When delayed jobs are ready, by the monotonic clock. A job that is made due earlier counts as another one."""

    ready: dict[tuple[int, float], float] = field(default_factory=dict)

    def split(self, rows: list[Row], wall: float, now: float) -> tuple[list[Candidate], float | None]:
        """The jobs that are due, and in how many seconds the next one will be."""
        seen = {
            (row["id"], row["due"]): self.ready.get(
                (row["id"], row["due"]), now + remaining(row["due"], row["delay"], wall)
            )
            for row in rows
        }
        self.ready = seen
        due = [Candidate(row["id"], row["lock"], row["priority"]) for row in rows if seen[row["id"], row["due"]] <= now]
        later = [at - now for at in seen.values() if at > now]
        return due, min(later) if later else None
