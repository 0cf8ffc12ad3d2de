"""The engine: durable jobs, at least once, one at a time per lock.

Rules
- A job is deferred in the same transaction as the events that cause it.
- A job whose worker died is given to another worker. So a handler must be able to run again: it claims its stream,
  reads what is on record and goes on from there.
- Two jobs with the same lock never run at the same time; they run in the order of deferring, but for one that is to
  wait (`Later`, a delay): others pass it.
- A job whose `key` is already waiting is not deferred twice (one that already runs does not count).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from quarterdeck.engine.illness import Illness
from quarterdeck.store.port import Tx

URGENT: Final = 5
"""Jobs of this priority or more are short and decide what happens next: long ones never keep them waiting."""
POISON_DEATHS: Final = 20
"""A job whose workers died so often is kept as failed: it is the killer."""
KEPT_FAILURES: Final = 1000
"""Failed jobs that are kept, the newest."""
MAX_TRACE: Final = 16_000
"""Characters of a trace that are kept, the last ones."""


def poisoned() -> str:
    """What stands in place of the trace of a job that is taken for the killer of its workers."""
    return f"the process that performed this job died {POISON_DEATHS} times"


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of durable work."""

    kind: str
    """Which handler performs it."""
    key: str
    """Deduplicates waiting jobs."""
    lock: str
    """Jobs of one lock run one after the other."""
    run: str
    """The run it belongs to ("" = none): what `abort` and `unfinished` select by."""
    payload: Mapping[str, str | int | None] = field(default_factory=dict)
    delay: float = 0.0
    """Not before this many seconds from deferring."""
    priority: int = 0
    """Higher first. Below 0 = in the background: waiting, it keeps no idle process from ending."""
    runs_on: tuple[str, ...] = ()
    """Labels that the worker has to have which performs it. An engine of one process performs it all the same."""
    wants: str = ""
    """What the process has to be configured for that performs it, such as `trigger/nightly`; "" = nothing. It may name
    labels as well only where the engine was told so of what it wants. An engine of one process performs it all the
    same."""


@dataclass(frozen=True, slots=True)
class Untaken:
    """What waits for a worker that there is not."""

    jobs: int
    queue: str
    needs: tuple[str, ...]
    """The labels that such a worker would have to have."""
    wants: str = ""
    """What it would have to be configured for."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A living process that performs jobs beside others."""

    host: str
    pid: int
    labels: tuple[str, ...]
    busy: int
    """Jobs in its hands."""
    capacity: int
    ends: bool
    """It takes no further jobs."""


class Later(Exception):
    """Raised by a handler: nothing is wrong with the job, run it again after `delay` seconds."""

    def __init__(self, delay: float, reason: str) -> None:
        super().__init__(reason)
        self.delay = delay
        self.reason = reason


Handler = Callable[[Job], Awaitable[None]]
"""Returns = done; raises Later = again; raises any other Exception = the job is kept as failed, with the trace. What is
no Exception ends `serve`, and the job goes back to the queue."""


class Engine(Protocol):
    illness: Illness
    """Since when the store has not answered; it tells whoever wants to hear of it (`Illness.told`)."""

    def defer(self, tx: Tx, job: Job) -> None:
        """Put the job into the queue as part of `tx`."""
        ...

    def abort(self, tx: Tx, run: str) -> None:
        """Drop the run's waiting jobs and cancel its running ones (their handlers see CancelledError),
        except jobs whose lock is the run's own stream."""
        ...

    async def serve(self, handlers: Mapping[str, Handler], *, until_idle: bool) -> None:
        """Own the queue and perform jobs. With `until_idle` it returns when no job is running and none is waiting, but
        for those in the background.

        Cancelling it stops the running handlers and gives their jobs back to the queue.
        """
        ...

    def drain(self, deadline: float) -> None:
        """Take no further jobs; `serve` returns once those in hand have ended, at the latest after `deadline` seconds:
        what has not ended then is given back to the queue."""
        ...

    def fence(self, tx: Tx) -> None:
        """Raise Fenced where others have taken this process for dead and its jobs are theirs, as `tx` finds it."""
        ...

    async def try_own(self) -> bool:
        """Become (or be) the process that performs jobs; False while a living process has that place. Jobs of a dead
        owner are given back to the queue. Engines with many workers always answer True."""
        ...

    async def attended(self, wants: str = "") -> bool:
        """Whether a living process (this one or another) performs jobs now; `wants`: those that want that."""
        ...

    async def untaken(self) -> tuple[Untaken, ...]:
        """What waits for a worker that there is not."""
        ...

    def release(self, tx: Tx, queue: str) -> None:
        """Let anybody perform what waits in that queue for a process that there is not, as part of `tx`."""
        ...

    async def workers(self) -> tuple[Worker, ...]:
        """Who performs jobs beside or instead of this process; empty where there is one owner."""
        ...

    async def unfinished(self, run: str = "") -> int:
        """How many jobs (of that run) are waiting or running; those that wait in the background do not count."""
        ...

    async def overtakes(self, job: Job) -> bool:
        """Whether a job in hand was deferred after one of its kind, run and lock that still waits: `Later` lets others
        pass. Where the order counts, it comes later too."""
        ...

    async def failed(self) -> list[tuple[Job, str]]:
        """Jobs whose handler raised, with the trace, newest first."""
        ...

    async def close(self) -> None:
        """Give up ownership. Idempotent."""
        ...
