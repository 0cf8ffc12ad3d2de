"""What the deck answers when it is asked: one run, its timeline, a thread, a diff, costs, the journal.

Rules
- Every answer is bounded and says where it was cut and how to go on.
- Money is in USD, times are seconds since the epoch, UTC, both as numbers.
"""

from typing import Any, Literal

from pydantic import Field

from quarterdeck.board.port import ApprovalRow, RunRow, TaskRow, Tokens
from quarterdeck.kernel.entities import Value

# --- a run ------------------------------------------------------------------------------------------------


class AttemptRow(Value):
    """One attempt of a run, at work or ended. Reviewers' and sub-agents' are attempts of their own."""

    attempt: str
    run: str
    task: str
    """Empty where it worked for the run itself: its planner."""
    number: int
    agent: str
    harness: str
    status: str
    """`running`, `finished`, `failed`, `merged`, or the outcome of a node that was not ok."""
    incarnation: int
    started_at: float
    last_at: float
    steps: int
    parent: str | None
    cost_usd: float
    tokens: Tokens
    length: int
    """Records in its stream."""


class WaitRow(Value):
    """A question that waits for a person."""

    task: str
    attempt: str
    """Empty where the run itself waits."""
    question: str
    since: float


class NoticeRow(Value):
    """Spending that left its own baseline."""

    about: str
    name: str
    at: float
    spent_usd: float
    usual_usd: float
    bound_usd: float
    samples: int


class FirstBad(Value):
    """The first step that went wrong on the way to where the run stands now."""

    attempt: str
    seq: int
    """In the attempt's stream."""
    at: float
    what: str
    """What happened."""
    why: str
    """Why it counts."""


class Created(Value):
    """How a run was ordered."""

    base: str
    into: str
    max_parallel: int
    sandbox: str
    config: tuple[str, ...]
    """Where each part of its configuration came from."""


class RunDetail(Value):
    """One run with everything that is not live."""

    run: RunRow
    tasks: tuple[TaskRow, ...]
    attempts: tuple[AttemptRow, ...]
    waits: tuple[WaitRow, ...]
    notices: tuple[NoticeRow, ...]
    first_bad: FirstBad | None
    report: str | None
    """Markdown; None before the run has ended."""
    created: Created
    approvals: tuple[ApprovalRow, ...]


# --- its timeline -----------------------------------------------------------------------------------------

SpanKind = Literal["model", "tool", "check", "review", "gate", "wait", "environment"]


class Lane(Value):
    """One attempt's line in a timeline."""

    attempt: str
    task: str
    agent: str
    parent: str | None


class Spans(Value):
    """Spans by column; all columns have the same length."""

    lane: tuple[int, ...] = ()
    """Index into `lanes`."""
    start: tuple[float, ...] = ()
    end: tuple[float, ...] = ()
    """-1 = open."""
    kind: tuple[SpanKind, ...] = ()
    label: tuple[int, ...] = ()
    """Index into `labels`."""
    ok: tuple[int, ...] = ()
    """1 = it went well, 0 = it did not, -1 = open."""
    seq: tuple[int, ...] = ()
    """Where it begins in the attempt's stream."""


class Timeline(Value):
    """What a run did and when."""

    lanes: tuple[Lane, ...]
    labels: tuple[str, ...]
    spans: Spans
    next: int
    """Ask again `after` this; spans that were open come again, under the same lane and `seq`."""
    cut: bool = False
    """There is more by now: ask again at once."""


# --- a thread ---------------------------------------------------------------------------------------------

EntryKind = Literal["prompt", "said", "thought", "call", "result", "note", "human", "event"]


class ThreadEntry(Value):
    """One thing that an agent was told, said or did."""

    seq: int
    at: float
    kind: EntryKind
    step: int
    text: str
    cut: bool
    """`text` or `arguments` is longer than what is shown."""
    tool: str
    arguments: str
    """Of a call: JSON."""
    ok: bool | None
    decision: str
    """Of a call: `allow`, `ask`, `deny`."""
    rules: tuple[str, ...]
    flags: tuple[str, ...]
    seconds: float
    model: str
    tokens: Tokens | None
    cost_usd: float
    context_tokens: int


class Thread(Value):
    """A part of an attempt's thread, in order."""

    attempt: AttemptRow
    entries: tuple[ThreadEntry, ...]
    before: int | None
    """Ask `before` this for what comes earlier; None = nothing does."""
    after: int | None
    """Ask `after` this for what comes later; None = nothing does yet."""


# --- a diff -----------------------------------------------------------------------------------------------


class DiffLine(Value):
    """One line of a hunk."""

    kind: Literal["+", "-", " "]
    old: int | None
    new: int | None
    text: str


class Hunk(Value):
    header: str
    lines: tuple[DiffLine, ...]


class DiffFile(Value):
    """What a change does to one file."""

    path: str
    old_path: str | None
    status: Literal["added", "modified", "deleted", "renamed"]
    binary: bool
    added: int
    removed: int
    hunks: tuple[Hunk, ...]
    cut: bool
    """The file's change is longer than what is shown."""


class Diff(Value):
    """What an attempt's change does."""

    base: str
    commit: str
    files: tuple[DiffFile, ...]
    cut: bool
    """There are more files, or longer ones, than are shown."""


# --- an approval ------------------------------------------------------------------------------------------


class ApprovalDetail(ApprovalRow):
    """What a person is asked to allow, exactly."""

    subject: str
    """The action as it would be performed: a tool with its arguments (JSON), a plan (YAML), a change (JSON)."""
    cut: bool
    """`subject` is longer than what is shown."""
    diff: Diff | None
    """Of a change."""


# --- money ------------------------------------------------------------------------------------------------

CostBy = Literal["user", "agent", "model", "run", "day"]


class CostRow(Value):
    """What one user, agent, model, run or day has cost."""

    key: str
    calls: int
    tokens: Tokens
    cost_usd: float
    estimated_usd: float
    """How much of it is an estimate: the wire carried no usage."""
    unverified_usd: float
    """How much of it is known from the agent's own words only."""
    changes: int
    """Changes that landed; 0 for models."""
    per_change_usd: float | None


class PurseRow(Value):
    """Money for one thing."""

    purse: str
    cap_usd: float | None
    settled_usd: float
    reserved_usd: float


class Burn(Value):
    """What a stretch of time has cost."""

    at: float
    """When it began."""
    usd: float


class Costs(Value):
    """Money by one dimension."""

    rows: tuple[CostRow, ...]
    """The most expensive first; days in their order."""
    cut: bool
    """There are more rows than are shown."""
    caps: tuple[PurseRow, ...]
    burn: tuple[Burn, ...]
    burn_s: float
    """How long each stretch of `burn` is, seconds. Stretches without spending are left out."""


# --- the journal ------------------------------------------------------------------------------------------


class EventRow(Value):
    """One record of the journal."""

    id: int
    """Order of commits over all streams."""
    stream: str
    seq: int
    at: float
    epoch: int
    kind: str
    hash: str
    body: dict[str, Any] = Field(default_factory=dict)


class Found(Value):
    """What a search of the journal found, the newest first."""

    events: tuple[EventRow, ...]
    before: int | None
    """Go on `before` this; None = the beginning of the journal was reached."""
    looked: int
    """Records that were looked at."""


class ChainFaultRow(Value):
    stream: str
    seq: int
    problem: str


class ChainStatus(Value):
    """What is known about the journal's chains without computing them anew."""

    events: int
    streams: int
    anchored_at: float | None
    """When the heads of all streams were written down last."""
    anchored_streams: int
    since_anchor: int
    """Records that came later."""


class Verified(Value):
    """What a check of the chains found."""

    streams: int
    records: int
    faults: tuple[ChainFaultRow, ...]
    seconds: float
