"""Where needs of a person are looked for, at one moment. Values only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quarterdeck.board.agents import AgentCell
from quarterdeck.board.gates import GateCell
from quarterdeck.board.port import ApprovalRow
from quarterdeck.journal.views import RunView, WaitView


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that only a person can put right, as one attempt met it."""

    run: str
    attempt: str
    failure: str
    subject: str
    reason: str
    fix: str
    at: float


@dataclass(frozen=True, slots=True)
class Notice:
    """Spending that left its own baseline."""

    run: str
    about: str
    name: str
    at: float
    spent_usd: float
    usual_usd: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended lately without everything merged."""

    run: str
    goal: str
    status: str
    reason: str
    exit_code: int | None
    at: float
    task: str | None
    """The task that failed first."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """A task that failed in a run that goes on."""

    run: str
    task: str
    title: str
    attempt: str | None
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """A question, with the task that it comes from."""

    wait: WaitView
    title: str
    agent: str


@dataclass(frozen=True, slots=True)
class Inbox:
    """What the read tables say that a person should look at."""

    waits: tuple[Waiting, ...] = ()
    incidents: tuple[Incident, ...] = ()
    notices: tuple[Notice, ...] = ()
    ended: tuple[Ended, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that needs are found in, at one moment."""

    now: float
    inbox: Inbox = field(default_factory=Inbox)
    approvals: Sequence[ApprovalRow] = ()
    agents: Sequence[AgentCell] = ()
    """Those at work that are silent, or have to try again."""
    gates: Sequence[GateCell] = ()
    runs: Sequence[RunView] = ()
    """Those that have not ended."""
    spent: Sequence[tuple[RunView, int]] = ()
    """Those of them with a budget, and what they have spent, nano-USD."""
    stuck: Sequence[Stuck] = ()
    working: bool = True
    trouble: str = ""
    today_usd: float = 0.0
    today_cap_usd: float | None = None
    seen: Mapping[str, float] = field(default_factory=dict)
    """Since when what is shown by now has been there, by id."""
