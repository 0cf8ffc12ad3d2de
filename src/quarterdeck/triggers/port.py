"""What the room needs of the deck, and what it gives to the deck: values and ports.

Rules
- A message is on record before its sender is told that it was taken. Whatever happens later, one message makes one run.
- A secret is asked for when it is needed, by the name that the operator gave it, and kept nowhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from quarterdeck.delivery.order import Order, RunResult
from quarterdeck.engine.port import URGENT, Job
from quarterdeck.journal.firings import FiringView
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import OperatorConfig
from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.events.outside import TriggerRefused, TriggerScheduled

TAKE: Final = "trigger.take"
RECORD: Final = "trigger.record"
CLOCK: Final = "triggers.clock"
"""With which earlier versions watched the clock: where one is left in the queue, nothing follows from it."""
PUBLISH: Final = "run.publish"
LOOK: Final = "run.origin"
NOTIFY: Final = "notice.send"

BACKGROUND: Final = -1
"""A priority: whoever has nothing else to do may end without these jobs."""

_TRIGGER: Final = "trigger/"
GITHUB: Final = "github"
"""What a process has that may write to the GitHub server: the token that `[github]` names."""
NOTICES: Final = "notify"
"""What a process has that may tell people: a `[notify]`, and its secret."""

Secrets = Callable[[str], str | None]
"""The value of a variable of the operator's environment; None = it is not set."""
Configured = Callable[[], OperatorConfig]
"""The operator's deck.toml as it is now."""


class Received(Value):
    """A message that was believed, as it is stored."""

    trigger: str
    delivery: str
    event: str = ""
    """GitHub's name of the event."""
    body: str = ""
    """JSON, as it came."""
    fingerprint: str = ""
    """Hash of the body, where the delivery's name is not signed."""
    at: float


@dataclass(frozen=True, slots=True)
class Clone:
    """The deck's clone of a repository on the GitHub server, as fresh as it can be."""

    path: Path
    commit: str
    branch: str
    """The branch that the commit was taken from."""


@dataclass(frozen=True, slots=True)
class TriggerView:
    """One trigger, as it is listed."""

    name: str
    source: str
    """`github`, `webhook`, `cron`."""
    repository: str
    next_at: float | None
    """The clock's next moment; None where it is no cron trigger, or it never comes."""
    last: FiringView | None
    refused: FiringView | None
    waiting: int
    unfinished: int
    flaw: str
    """Why it cannot work; empty = nothing is known that keeps it."""


class Orders(Protocol):
    """What makes runs, and says how they stand."""

    async def create(self, order: Order, run: str) -> None:
        """Store the run under that id; nothing where it is there already. Raises QuarterdeckError."""
        ...

    async def result(self, run: str) -> RunResult:
        """Where the run stands."""
        ...

    async def report(self, run: str) -> str:
        """Its report, Markdown. Raises NotFound."""
        ...

    async def elsewhere(self, run: str) -> tuple[str, ...]:
        """The labels that a worker needs to reach the run's repository; none = this one reaches it."""
        ...


class Remotes(Protocol):
    """Git over the network."""

    async def fresh(self, repository: str, base: str | None) -> Clone:
        """A clone of `OWNER/NAME` with everything that is there now. Raises GitFailed, BadInput."""
        ...

    async def push(self, repository: str, place: str, branch: str, commit: str) -> None:
        """Put `commit` of the repository that is recorded as `place` on that branch of the server, forward only. Raises
        GitFailed, BadRepository, Conflicting."""
        ...


# --- jobs -----------------------------------------------------------------------------------------------------


def trigger_wanted(name: str) -> str:
    """What a process has in whose file that trigger stands."""
    return f"{_TRIGGER}{name}"


def trigger_named(wants: str) -> str | None:
    """The inverse; None where something else is wanted."""
    return wants.removeprefix(_TRIGGER) if wants.startswith(_TRIGGER) else None


def take(trigger: str, delivery: str, received_blob: str) -> Job:
    """Decide about a message and order its run."""
    return Job(
        kind=TAKE,
        key=f"trigger/{trigger}/{delivery}",
        lock=ids.trigger_stream(trigger),
        run="",
        payload={"trigger": trigger, "delivery": delivery, "received_blob": received_blob},
        priority=BACKGROUND,
        wants=trigger_wanted(trigger),
    )


def record(event: TriggerRefused | TriggerScheduled, name: str) -> Job:
    """Put something about a trigger on record that no message carries. `name`: makes it one of its kind."""
    return Job(
        kind=RECORD,
        key=f"trigger/{event.trigger}/record/{name}",
        lock=ids.trigger_stream(event.trigger),
        run="",
        payload={"trigger": event.trigger, "kind": event.kind, "event": event.model_dump_json()},
        priority=BACKGROUND,
    )


def publish(run: str, about: str, number: int = 1, delay: float = 0.0) -> Job:
    """Take the run's result, or that it waits, to the GitHub server. `about`: `finished` or `waiting`; `number`: the
    how manieth try this is."""
    return Job(
        kind=PUBLISH,
        key=f"publish/{run}/{about}/{number}",
        lock=ids.publish_stream(run),
        run="",  # not the run's: a cancelled one is finished without it
        payload={"run": run, "about": about, "number": number},
        delay=delay,
        priority=0 if number <= FOREGROUND_TRIES else BACKGROUND,
        wants=GITHUB,
    )


def look(run: str, about: str) -> Job:
    """See whether the run came from the server, so that there is something to publish. Anybody can, and it is short: no
    result waits for a place among long jobs."""
    stream = ids.publish_stream(run)
    return Job(
        kind=LOOK,
        key=f"{stream}/{about}/look",
        lock=f"{stream}/look",  # a result is published meanwhile where somebody asks for that
        run="",
        payload={"run": run, "about": about},
        priority=URGENT,
    )


FOREGROUND_TRIES: Final = 3
"""So often a result is tried before an idle process may end without it."""
