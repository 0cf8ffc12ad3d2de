"""The work of an attempt: models asked, tools used, what is said and handed over, the change and its checks."""

from typing import Literal

from pydantic import Field

from quarterdeck.kernel.entities import Change, Usage
from quarterdeck.kernel.events.base import Blob, EventBase
from quarterdeck.kernel.failures import FailureClass

# --- attempt/… --------------------------------------------------------------------------------------------


class ModelAsked(EventBase):
    """A model is about to be asked, and the money for it is set aside."""

    kind: Literal["model.asked"] = "model.asked"
    step: int
    number: int = 1
    """Which try of this step, from 1."""
    model: str
    """`provider:model`."""
    messages: int
    """How many messages of the attempt's transcript (the fold of its stream) were sent."""
    request_hash: str
    """SHA-256 of the whole request, so that a resumed transcript can be held against it."""
    prefix_blob: Blob
    """System prompt and tool list."""
    reserved_nusd: int = 0


class ModelAnswered(EventBase):
    """A whole reply arrived, with what it cost."""

    kind: Literal["model.answered"] = "model.answered"
    step: int
    model: str
    message_blob: Blob
    stop: str
    usage: Usage
    cost_nusd: int = 0
    estimated: bool = False
    """The usage is an estimate: the wire carried none."""
    seconds: float = 0.0


class ModelErred(EventBase):
    """A model call failed."""

    kind: Literal["model.erred"] = "model.erred"
    step: int
    model: str
    failure: FailureClass
    reason: str = Field(max_length=2_000)
    retry_after: float | None = None
    usage: Usage = Usage()
    cost_nusd: int = 0
    """What the failed call cost, or may have cost."""
    estimated: bool = False
    """`usage` and `cost_nusd` are estimates: the wire did not say what was charged."""
    unreached: bool = False
    """Nobody was there to be asked."""


class ToolsGiven(EventBase):
    """Which tools of outside servers an agent has. They stay the same until its attempt ends."""

    kind: Literal["tools.given"] = "tools.given"
    tools_blob: Blob
    """The tools, as JSON: those in front of the model, and those that it can find."""
    shown: int
    """Tools in front of the model."""
    found: int
    """Tools that it can find with `find_tools`."""
    unavailable: tuple[str, ...] = ()
    """Why a server's tools are missing."""


class ToolIntended(EventBase):
    """The decision on one requested action, before it is performed."""

    kind: Literal["tool.intended"] = "tool.intended"
    step: int
    call: str
    """Id of the call, unique in its attempt."""
    tool: str
    arguments_blob: Blob
    arguments_hash: str
    decision: Literal["allow", "ask", "deny"]
    rules: tuple[str, ...] = ()
    approver: str | None = None
    approval: str | None = None
    """The approval that it waited for."""


class ToolDone(EventBase):
    """A tool has run, or was refused."""

    kind: Literal["tool.done"] = "tool.done"
    step: int
    call: str
    tool: str
    ok: bool
    result_blob: Blob
    flags: tuple[str, ...] = ()
    """`truncated`, `timeout`, `denied`, `repeated`, `rerun`, `unknown-outcome`, ..."""
    seconds: float = 0.0


class ToolFellBack(EventBase):
    """A tool failed in a way that another one is declared for; that one is decided on and performed in its stead."""

    kind: Literal["tool.fell_back"] = "tool.fell_back"
    step: int
    call: str
    tool: str
    to: str
    failure: FailureClass
    reason: str = Field(max_length=2_000)


class IncidentOpened(EventBase):
    """Something that only a person can put right; the work that needs it has stopped."""

    kind: Literal["incident.opened"] = "incident.opened"
    failure: FailureClass
    subject: str
    """What is concerned: a model's name."""
    reason: str = Field(max_length=2_000)
    fix: str = Field(default="", max_length=2_000)


class ContextCompacted(EventBase):
    """The transcript was replaced by a shorter one; `messages` is what stands for everything before."""

    kind: Literal["context.compacted"] = "context.compacted"
    step: int
    messages: tuple[Blob, ...] = Field(max_length=900)
    before_tokens: int
    after_tokens: int


class TranscriptExtended(EventBase):
    """A message that no model wrote and no tool returned: the task, a reminder, a nudge."""

    kind: Literal["transcript.extended"] = "transcript.extended"
    step: int
    message_blob: Blob
    why: str


class TodoChanged(EventBase):
    """The agent changed its list."""

    kind: Literal["todo.changed"] = "todo.changed"
    items_blob: Blob


class NoteRecorded(EventBase):
    """The agent left a note for those who work on the other tasks."""

    kind: Literal["note.recorded"] = "note.recorded"
    task: str
    text: str = Field(max_length=2_000)


class QuestionAsked(EventBase):
    """The agent asks a person."""

    kind: Literal["question.asked"] = "question.asked"
    question: str = Field(max_length=8_000)


class Delegated(EventBase):
    """The agent gave a part to another one."""

    kind: Literal["agent.delegated"] = "agent.delegated"
    call: str
    child: str
    """The sub-agent's attempt id."""
    agent: str
    ancestors: tuple[str, ...] = Field(default=(), max_length=8)
    """Names of the agents above it, the outermost first; the last one delegated."""


class LimitReached(EventBase):
    """A bound stopped the agent; what was complete by then is on record for whoever decides."""

    kind: Literal["limit.reached"] = "limit.reached"
    limit: Literal["turns", "wall", "tokens", "usd", "context"]
    used: float
    allowed: float
    complete_blob: Blob


class ChangeExported(EventBase):
    """What the attempt changed left its sandbox and is pinned in the mirror."""

    kind: Literal["change.exported"] = "change.exported"
    change: Change
    pack_bytes: int


class CheckRan(EventBase):
    """The task's `verify` commands have run on a fresh checkout."""

    kind: Literal["check.ran"] = "check.ran"
    results_blob: Blob
    """List of `CheckResult`."""
    passed: bool
    seconds: float


class ChangeInspected(EventBase):
    """Validation named things about the change, beyond the results of its checks."""

    kind: Literal["change.inspected"] = "change.inspected"
    findings_blob: Blob
    """List of `Remark`."""
    blocking: int
    """How many of them send the change back."""
    warnings: int
    first: str = Field(default="", max_length=1_000)
    """One of them, a blocking one where there is one."""


WorkEvent = (
    ModelAsked
    | ModelAnswered
    | ModelErred
    | ToolsGiven
    | ToolIntended
    | ToolDone
    | ToolFellBack
    | IncidentOpened
    | ContextCompacted
    | TranscriptExtended
    | TodoChanged
    | NoteRecorded
    | QuestionAsked
    | Delegated
    | LimitReached
    | ChangeExported
    | CheckRan
    | ChangeInspected
)
