"""What the deck shows live: rows, a snapshot of them, and what changed since.

Rules
- A row that is new in a `Delta` is whole; of one that was there before, only the fields that differ are named. What is
  not named has not changed.
- A snapshot with all deltas after it is the same as a later snapshot. `seq` numbers them; it rises with each change.
- Money is in USD, times are seconds since the epoch, UTC, both as numbers. `None` = there is none.
- Rows say what is on record. What does not exist is missing, never made up.
- What is read on demand rather than shown live stands in `answers`.
"""

from enum import StrEnum
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import Field

from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus

Row = TypeVar("Row", bound=Value)

RECENT_RUNS: Final = 200
"""Newest finished runs that a snapshot holds."""
RECENT_CHANGES: Final = 50
"""Newest changes that a gate's row names, of those that landed and of those that were sent back."""

RECENT_CHECKS: Final = 20
"""Newest checks that a gate's row names, of those that have ended."""


class Topic(StrEnum):
    """What a viewer may ask for."""

    DECK = "deck"
    RUNS = "runs"
    AGENTS = "agents"
    NEEDS = "needs"
    GATES = "gates"
    APPROVALS = "approvals"


class Tokens(Value):
    """Tokens by how they are priced; the four counts do not overlap."""

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0


class TaskCounts(Value):
    """A run's tasks by where they stand."""

    total: int = 0
    merged: int = 0
    active: int = 0
    """An agent, a check, a reviewer or the gate works on them."""
    failed: int = 0
    """Failed, or blocked by one that failed."""
    waiting: int = 0
    """A person has to answer."""


class RunRow(Value):
    """One run. Key: `run`."""

    run: str
    goal: str
    status: RunStatus
    repository: str
    branch: str
    user: str
    created_at: float
    updated_at: float
    finished_at: float | None
    budget_usd: float
    cost_usd: float
    tokens: Tokens
    tasks: TaskCounts
    reason: str
    """Why it stands as it does."""
    held: str
    """Why agents that could start have to wait; empty = they need not."""
    version: int
    """Records in the run's stream: what a command may be bound to."""


class TaskRow(Value):
    """One task of the run that is followed. Key: `task`."""

    run: str
    task: str
    title: str
    position: int
    """In the plan, from 0."""
    status: TaskStatus
    agent: str
    attempt: str | None
    node: Node | None
    attempts: int
    commit: str | None
    reason: str
    needs: tuple[str, ...]
    paths: tuple[str, ...]
    critical: bool
    """On the longest chain of what is not merged yet: it decides when the run ends."""
    updated_at: float
    reviewed: bool
    """Another agent or a person has accepted the newest change."""


class AgentRow(Value):
    """An attempt at which an agent works. Key: `attempt`."""

    attempt: str
    run: str
    task: str
    """Empty where it works for the run itself: its planner."""
    title: str
    agent: str
    harness: str
    model: str
    """Whom it asked last; empty = nobody that is known."""
    node: str
    """What it is there for: `plan`, `implement`, `review`, `delegated`."""
    incarnation: int
    steps: int
    started_at: float
    """When its newest incarnation began."""
    last_at: float
    """When anything of it was recorded last."""
    useful_at: float
    """When it last brought evidence of progress; its start where it has brought none."""
    useful: str
    """What that was, in words; empty = nothing yet."""
    cadence_s: float
    """Its own usual time between two pieces of evidence; 0 = not known yet."""
    silent: bool
    """Without evidence for longer than one and a half times its own longest silence."""
    silent_after: float | None
    """When it counts as silent, if nothing comes; None = it waits for a person."""
    waits_on: str
    """``, `model`, `tool NAME`, `approval`, `question`, `environment`, `retry`, `sub-agent NAME`, `start`."""
    waits_since: float | None
    context_tokens: int
    """What its last prompt filled of its window."""
    context_window: int
    """0 = not known."""
    spent_usd: float
    cap_usd: float | None
    turns: int
    """Calls to models so far, as the bound counts them."""
    max_turns: int
    parent: str | None
    """The attempt that it works for: a reviewer's, a sub-agent's."""


NeedKind = Literal[
    "approval", "question", "escalated", "incident", "silent", "budget", "notice", "failed", "infrastructure"
]
Severity = Literal["now", "soon", "info"]
Action = Literal["approve", "deny", "answer", "resume", "raise_budget", "retry", "open"]


class NeedRow(Value):
    """Something that needs a person, once for each cause. Key: `id`."""

    id: str
    """Made from the cause: the same cause keeps it."""
    cause: str
    kind: NeedKind
    severity: Severity
    rank: int
    """Higher comes first."""
    title: str
    detail: str
    runs: tuple[str, ...]
    """At most 20; `count` says how many things there are."""
    task: str | None
    attempt: str | None
    approval: str | None
    since: float
    count: int
    """How many things have this cause: agents, runs, tasks."""
    actions: tuple[Action, ...]
    next: str
    """The command to type."""


class QueuedChange(Value):
    """A change in a gate's queue."""

    attempt: str
    run: str
    task: str
    title: str
    agent: str
    state: Literal["waiting", "checking", "green", "red", "conflict"]
    on_top_of: tuple[str, ...]
    """Attempts whose changes lie below it in the tree that is being checked."""
    against: tuple[str, ...] = ()
    """Attempts ahead of it that it does not merge with: it waits until they have landed or left."""
    since: float
    merged: str = ""
    """By which way it is merged, where that is not git's own; empty also as long as that is being found out."""


class GateCheck(Value):
    """A check of a merged tree."""

    check: str
    tip: str
    stack: tuple[str, ...]
    """Attempts whose changes lie on the tip, in order; empty = the tip itself."""
    number: int
    """Which try on this tree, from 1."""
    started_at: float
    passed: bool | None
    """None = it is running."""
    reason: str


class LandedChange(Value):
    """A change that the target was moved to."""

    attempt: str
    run: str
    task: str
    title: str
    commit: str
    at: float
    reviewed: bool
    merged: str = ""
    """By which way it was merged, and why the ways before it were not taken; empty = git's own merge was clean."""
    together: int = 1
    """How many changes landed in this one step: only the last of their trees was tested."""


class ReturnedChange(Value):
    """A change that left the queue without landing."""

    attempt: str
    run: str
    task: str
    title: str
    outcome: Outcome
    reason: str
    against: tuple[str, ...]
    """The attempts it conflicts with."""
    at: float
    tried: str = ""
    """The ways of merging that were tried, and what each came to; empty = no other than git's own."""


class GateRow(Value):
    """The merge gate of one branch. Key: `target`."""

    target: str
    repository: str
    branch: str
    tip: str
    tip_green: bool | None
    """Whether the tip is known to pass the newest checks; None = not known."""
    stall: str = ""
    """Why the gate itself cannot work; empty = it can."""
    queue: tuple[QueuedChange, ...]
    checks: tuple[GateCheck, ...]
    """Those that are running, then the newest that have ended, the newest first."""
    landed: tuple[LandedChange, ...]
    """The newest first."""
    returned: tuple[ReturnedChange, ...]
    """The newest first."""


ApprovalWhat = Literal["tool", "plan", "merge", "revert"]
Risk = Literal["low", "medium", "high"]


class ApprovalRow(Value):
    """What a person is asked to allow. Key: `approval`."""

    approval: str
    what: ApprovalWhat
    run: str
    task: str | None
    attempt: str | None
    agent: str
    title: str
    action_hash: str
    """An answer is bound to it."""
    risk: Risk
    why: tuple[str, ...]
    cost_usd: float
    since: float
    expires_at: float | None
    status: Literal["open", "approved", "denied", "expired"]
    by: str | None
    reason: str


class Unreviewed(Value):
    """How much landed that nobody has looked at."""

    merged: int = 0
    """Changes that landed without any review."""
    total: int = 0
    """All changes that landed."""


class DeckRow(Value):
    """The deck as a whole."""

    version: str
    started_at: float
    """When this server began."""
    working: bool
    """A living process works on the deck's runs."""
    today_usd: float
    """Spent today (UTC)."""
    today_cap_usd: float | None
    burn_usd_h: float
    """What the last hour has cost."""
    agents: int
    """At work now."""
    inbox_open: int
    """Things that wait for a person."""
    inbox_limit: int | None
    """Over so many, new work is dispatched more slowly."""
    slowed: bool
    unreviewed: Unreviewed
    trouble: str
    """What keeps the deck from working; empty = nothing."""


class Snapshot(Value):
    """Everything of the topics that were asked for, at one moment."""

    seq: int
    at: float
    deck: DeckRow | None = None
    runs: tuple[RunRow, ...] = ()
    """Unfinished ones, and the newest that have finished; the newest first."""
    agents: tuple[AgentRow, ...] = ()
    needs: tuple[NeedRow, ...] = ()
    """The highest rank first."""
    gates: tuple[GateRow, ...] = ()
    approvals: tuple[ApprovalRow, ...] = ()
    """Open ones, the oldest first."""
    run: str | None = None
    """The run that is followed."""
    tasks: tuple[TaskRow, ...] = ()
    """Its tasks, in the order of the plan."""


class Changes(Value, Generic[Row]):
    """What changed among the rows of one kind."""

    set: tuple[Row, ...] = ()
    """New rows, whole."""
    changed: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Of rows that were there before, by key: the fields that differ, as they are now."""
    gone: tuple[str, ...] = ()
    """Keys of rows that are no longer there."""


class Delta(Value):
    """What changed since the snapshot or delta before it."""

    seq: int
    at: float
    deck: DeckRow | None = None
    runs: Changes[RunRow] = Field(default_factory=Changes[RunRow])
    agents: Changes[AgentRow] = Field(default_factory=Changes[AgentRow])
    needs: Changes[NeedRow] = Field(default_factory=Changes[NeedRow])
    gates: Changes[GateRow] = Field(default_factory=Changes[GateRow])
    approvals: Changes[ApprovalRow] = Field(default_factory=Changes[ApprovalRow])
    tasks: Changes[TaskRow] = Field(default_factory=Changes[TaskRow])
    touched: dict[str, int] = Field(default_factory=dict)
    """Streams of the followed run that have grown, with their lengths."""
