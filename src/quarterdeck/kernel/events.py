"""Everything that can happen, as typed values. The journal is a list of these and nothing else.

Rules
- An event says what happened, in the past tense, with everything that a later fold needs; bodies larger than a
  few kilobytes are blobs and stand here as their digest (`…_blob`).
- Events are only added; fields are only added, with a default.
- Intent before effect, outcome after: `model.asked`/`model.answered`, `tool.intended`/`tool.done`,
  `harness.started`/`harness.finished`, `landing.intended`/`change.landed`.
- One event is at most 64 KiB.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, TypeAdapter

from quarterdeck.kernel import events_triggers as outside
from quarterdeck.kernel.entities import Change, Harness, Usage
from quarterdeck.kernel.event_base import Blob as Blob
from quarterdeck.kernel.event_base import EventBase as EventBase
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.kernel.kinds import Kinds
from quarterdeck.kernel.steering_events import ApprovalAsked as ApprovalAsked
from quarterdeck.kernel.steering_events import ApprovalDecided as ApprovalDecided
from quarterdeck.kernel.steering_events import BudgetRaised as BudgetRaised
from quarterdeck.kernel.steering_events import MessageDelivered as MessageDelivered
from quarterdeck.kernel.steering_events import MessageSent as MessageSent
from quarterdeck.kernel.steering_events import QuestionAnswered as QuestionAnswered
from quarterdeck.kernel.steering_events import TaskRetried as TaskRetried

MAX_EVENT_BYTES: Final = 64 * 1024


class Node(StrEnum):
    """The nodes of a blueprint."""

    PLAN = "plan"
    DISPATCH = "dispatch"
    IMPLEMENT = "implement"
    CHECK = "check"
    REVIEW = "review"
    APPROVE = "approve"
    """A person's word is waited for."""
    GATE = "gate"
    REPORT = "report"
    RETROSPECTIVE = "retrospective"


class Outcome(StrEnum):
    """How a node ended."""

    OK = "ok"
    FAILED = "failed"
    CHANGE = "change"
    """The reviewer wants a change."""
    CONFLICT = "conflict"
    """The change does not merge; its author gets the other side's intent."""
    HELD = "held"
    """Not judged: the base itself is red."""
    WAITING = "waiting"
    """A human has to answer."""
    EXHAUSTED = "exhausted"
    """The budget does not cover going on."""
    CANCELLED = "cancelled"


class RunStatus(StrEnum):
    CREATED = "created"
    PLANNING = "planning"
    RUNNING = "running"
    PAUSED = "paused"
    WAITING = "waiting"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (RunStatus.DONE, RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.CANCELLED)


class TaskStatus(StrEnum):
    PENDING = "pending"
    IMPLEMENTING = "implementing"
    CHECKING = "checking"
    REVIEWING = "reviewing"
    GATING = "gating"
    WAITING = "waiting"
    MERGED = "merged"
    FAILED = "failed"
    BLOCKED = "blocked"
    """A task it needs did not merge."""
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (TaskStatus.MERGED, TaskStatus.FAILED, TaskStatus.BLOCKED, TaskStatus.CANCELLED)


# --- deck -------------------------------------------------------------------------------------------------


class DeckOwned(EventBase):
    """A process became the owner of the deck's embedded engine."""

    kind: Literal["deck.owned"] = "deck.owned"
    owner: str
    pid: int
    host: str
    version: str


class DeckAnchored(EventBase):
    """The heads of all streams at one moment, so that a truncated stream is noticed."""

    kind: Literal["deck.anchored"] = "deck.anchored"
    heads_blob: Blob
    streams: int


# --- run/… ------------------------------------------------------------------------------------------------


class RunCreated(EventBase):
    """A run was ordered: from here on it exists and can be resumed."""

    kind: Literal["run.created"] = "run.created"
    run: str
    goal: str = Field(max_length=16_000)
    """The goal's beginning; the whole of it is in `goal_blob`."""
    goal_blob: Blob
    plan_blob: Blob | None = None
    """The plan file's plan; None = a planner agent makes one."""
    plan_only: bool = False
    repository: str
    """Real path of the user's repository."""
    target: str
    """Id of the merge gate: of the repository and the branch."""
    base: str
    into: str
    into_explicit: bool = False
    checkout: str | None = None
    """The clean work tree that has the target checked out and is moved with it, where that was asked for."""
    config_blob: Blob
    budget_nusd: int
    max_parallel: int
    user: str
    sandbox: str
    reverts: str = ""
    """The run (`RUN`) or task (`RUN.TASK`) that this run takes back; empty = it carries out a goal."""
    reverts_blob: Blob | None = None
    """`Reverting`: the commits that it takes back."""
    config_of: str = ""
    """The run whose configuration this one was ordered with; empty = the one that held at its base."""
    trigger: str = ""
    """The trigger that started it; empty = a person did."""
    subject: str = ""
    """What it is about, where that has a name elsewhere: `owner/name#12`."""
    origin_blob: Blob | None = None
    """`Origin`: where it came from, and where its result goes."""


class RunPlanned(EventBase):
    """The run has its plan."""

    kind: Literal["run.planned"] = "run.planned"
    plan_blob: Blob
    tasks: int
    """How many."""
    warnings: tuple[str, ...] = Field(default=(), max_length=50)
    attempt: str | None = None


class RunPaused(EventBase):
    """A person wants no new work to be started."""

    kind: Literal["run.paused"] = "run.paused"
    by: str


class RunResumed(EventBase):
    """Goes on after a pause, a wait, or an ended budget; failed tasks get their attempts anew."""

    kind: Literal["run.resumed"] = "run.resumed"
    by: str
    budget_nusd: int | None = None
    """The new budget, where it was raised."""
    answer_blob: Blob | None = None
    """List of one `Feedback`: what a human answered to the open questions."""


class RunCancelled(EventBase):
    """A person wants the run to end; what is merged stays."""

    kind: Literal["run.cancelled"] = "run.cancelled"
    by: str


class RunWaiting(EventBase):
    """Nothing can go on without a human."""

    kind: Literal["run.waiting"] = "run.waiting"
    reason: str = Field(max_length=4_000)
    approvals: tuple[str, ...] = Field(default=(), max_length=50)
    """What it waits for, where nothing else is asked."""


class WorkHeld(EventBase):
    """Agents that could start have to wait: not so many, or not so fast. Nothing has failed."""

    kind: Literal["work.held"] = "work.held"
    limit: Literal["spawn_per_minute", "runs_per_hour", "agents_at_once", "inbox"]
    """The key of `[limits]` (`inbox`: of `[approve]`) that holds it."""
    reason: str = Field(max_length=2_000)
    until: float
    """Seconds since the epoch: when it is its turn, or when it is looked at again."""
    starts: tuple[str, ...] = Field(default=(), max_length=100)
    """Attempts that wait, as far as they are known."""


class WorkReleased(EventBase):
    """Nothing is held back any more."""

    kind: Literal["work.released"] = "work.released"


class SpendNoticed(EventBase):
    """Spending left its own baseline. Nothing is stopped: that is what caps are for."""

    kind: Literal["spend.noticed"] = "spend.noticed"
    about: Literal["run", "agent", "day"]
    """What is compared with earlier ones: this run with those in its repository, an attempt of an agent with its other
    attempts, this day (UTC) with other days."""
    name: str
    """The run, the agent, the day."""
    spent_nusd: int
    """What it has cost by now."""
    usual_nusd: int
    """The median of what is compared with."""
    bound_nusd: int
    """More than this is worth a notice."""
    samples: int
    """How many are compared with."""


class TaskDispatched(EventBase):
    """An attempt at a task is given to an agent."""

    kind: Literal["task.dispatched"] = "task.dispatched"
    task: str
    attempt: str
    number: int
    agent: str
    tier: str | None = None
    """Tier of its models, where that is not the agent's own."""
    feedback_blob: Blob | None = None
    """List of `Feedback` for this attempt."""
    added_blob: Blob | None = None
    """List of `Feedback` on top of that: a human's answer, what the gate says."""
    why: str = Field(default="", max_length=1_000)
    """Why this agent, where the plan does not name it: ownership, escalation, a conflict."""
    carry: str | None = None
    """Commit of the previous change, restored in the new workspace so that work is not repeated."""


class NodeStarted(EventBase):
    """A node of the blueprint begins."""

    kind: Literal["node.started"] = "node.started"
    node: Node
    task: str | None = None
    attempt: str | None = None
    feedback_blob: Blob | None = None
    """List of `Feedback`, where the node has no task that carries it."""


class NodeDelayed(EventBase):
    """The machine is not well enough for this node; it is tried again, and nobody is blamed."""

    kind: Literal["node.delayed"] = "node.delayed"
    node: Node
    reason: str = Field(max_length=2_000)
    seconds: float
    died: bool = False
    """A sandbox died under what the node runs."""


class NodeFinished(EventBase):
    """A node of the blueprint ended. Its job records it in the attempt's stream; the run's stream takes it over."""

    kind: Literal["node.finished"] = "node.finished"
    node: Node
    outcome: Outcome
    task: str | None = None
    attempt: str | None = None
    reason: str = Field(default="", max_length=2_000)
    failure: FailureClass | None = None
    change: Change | None = None
    feedback_blob: Blob | None = None
    """List of `Feedback` for whoever tries next."""
    result_blob: Blob | None = None
    """The node's handoff: submission, review, plan, report."""
    findings_blob: Blob | None = None
    """List of `Remark`: what validation named about the change."""
    commit: str | None = None
    """The commit that landed."""
    base: str | None = None
    record: int = 0
    """Its place in the attempt's stream; filled where the run takes it over."""


class TaskEscalated(EventBase):
    """No agent is left that could do the task: a person is asked. Its answer gives the task its attempts anew."""

    kind: Literal["task.escalated"] = "task.escalated"
    task: str
    attempt: str
    """The last one."""
    agent: str
    """Who escalates."""
    question: str = Field(max_length=8_000)
    """What was tried, what can be done now, and how to answer."""


class TaskMerged(EventBase):
    """The task's change is on the target branch."""

    kind: Literal["task.merged"] = "task.merged"
    task: str
    attempt: str
    commit: str
    reviewed: Literal["nobody", "agent", "person"] | None = None
    """Who has seen the change before it landed; None = not known."""


class TaskFailed(EventBase):
    """The task is over without a merge; a person has to look."""

    kind: Literal["task.failed"] = "task.failed"
    task: str
    reason: str = Field(max_length=2_000)
    failure: FailureClass | None = None


class TaskBlocked(EventBase):
    """The task is not started: what it needs did not merge."""

    kind: Literal["task.blocked"] = "task.blocked"
    task: str
    reason: str = Field(max_length=2_000)


class TaskCancelled(EventBase):
    """The task ended with its run."""

    kind: Literal["task.cancelled"] = "task.cancelled"
    task: str


class RunReported(EventBase):
    """The run's last documents are written."""

    kind: Literal["run.reported"] = "run.reported"
    report_blob: Blob | None
    retrospective_blob: Blob | None


class RunFinished(EventBase):
    """The run has ended."""

    kind: Literal["run.finished"] = "run.finished"
    status: RunStatus
    reason: str = Field(default="", max_length=4_000)
    exit_code: int
    sha: str
    """Where the target branch stands."""


# --- attempt/… --------------------------------------------------------------------------------------------


class AttemptStarted(EventBase):
    """An attempt has a workspace.

    Recorded again, with a higher incarnation, when the attempt was cut off and restarts in a fresh workspace.
    """

    kind: Literal["attempt.started"] = "attempt.started"
    run: str
    task: str
    number: int
    agent: str
    harness: Harness | None
    """None: no agent works, git makes the change (a revert)."""
    incarnation: int
    base: str
    workspace: str
    """Directory name of the workspace, unique for attempt and incarnation; empty where no agent works."""
    parent: str | None = None
    """The attempt that delegated to this one."""
    tier: str = ""
    """Tier of its models; empty where it has a fixed one or none."""
    routed: str = Field(default="", max_length=1_000)
    """Why it asks other models than its agent usually does."""


class EnvironmentBuilding(EventBase):
    """The environment of this attempt or gate check is missing and is being built; it waits for it."""

    kind: Literal["environment.building"] = "environment.building"
    commands: tuple[str, ...] = Field(max_length=50)

    @classmethod
    def of(cls, commands: Sequence[str]) -> Self:
        """With these commands, cut to what an event may hold."""
        return cls(commands=tuple(command[:500] for command in commands[:50]))


class HarnessStarted(EventBase):
    """The agent is about to be started."""

    kind: Literal["harness.started"] = "harness.started"
    incarnation: int
    detail: str = Field(default="", max_length=4_000)


class HandoffRefused(EventBase):
    """What a program handed in has not the form that it must have; it is asked again."""

    kind: Literal["handoff.refused"] = "handoff.refused"
    expects: str
    """What it has to hand in: a submission, a review, a plan."""
    number: int
    """How often it was refused, this time included."""
    reason: str = Field(max_length=2_000)


class HarnessFinished(EventBase):
    """The agent has ended, by its own account."""

    kind: Literal["harness.finished"] = "harness.finished"
    incarnation: int
    ok: bool
    reason: str = Field(default="", max_length=2_000)
    failure: FailureClass | None = None
    exit_code: int | None = None
    handoff_blob: Blob | None = None
    output_blob: Blob | None = None


class AgentConnected(EventBase):
    """An agent that speaks ACP answered, and a session with it has begun."""

    kind: Literal["agent.connected"] = "agent.connected"
    name: str = Field(max_length=200)
    """What it calls itself."""
    version: str = Field(max_length=100)
    session: str = Field(max_length=500)
    profile: str
    login: str = "gateway"
    """`gateway`, or `own`: the user's own login, where no call is metered here."""
    model: str = ""
    """What it was told to ask for."""
    resumed: bool = False
    """It goes on with the session that an earlier process of this attempt had begun."""
    forgot: str = Field(default="", max_length=1_000)
    """Why it did not, although it says that it can."""


class AgentPrompted(EventBase):
    """Something is about to be said to an agent; its turn begins."""

    kind: Literal["agent.prompted"] = "agent.prompted"
    number: int
    """Which turn of the attempt, from 1."""
    why: Literal["task", "message", "nudge", "refused", "resumed"]
    prompt_blob: Blob


class AgentTurned(EventBase):
    """An agent's turn ended, by its own account."""

    kind: Literal["agent.turned"] = "agent.turned"
    number: int
    stop: str = Field(max_length=200)
    """`end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`; or why there was no answer."""
    seconds: float = 0.0
    model: str = ""
    """Under which name its use is shown."""
    usage: Usage = Usage()
    """What the agent says that it used in this turn; 0 where the gateway knows better."""
    cost_nusd: int = 0
    """What the agent says that this turn cost; not verified. 0 where the gateway knows better."""
    verified: bool = True
    """False: `usage` and `cost_nusd` are all that is known."""


class AgentSaid(EventBase):
    """A message of an agent, or of its reasoning."""

    kind: Literal["agent.said"] = "agent.said"
    text_blob: Blob
    thought: bool = False


class AgentActing(EventBase):
    """An agent says that it begins a tool call of its own."""

    kind: Literal["agent.acting"] = "agent.acting"
    call: str = Field(max_length=200)
    title: str = Field(default="", max_length=300)
    tool_kind: str = Field(default="", max_length=40)
    """`read`, `edit`, `execute`, ...: ACP's kinds."""
    input_blob: Blob | None = None


class AgentActed(EventBase):
    """An agent says how a tool call of its own ended."""

    kind: Literal["agent.acted"] = "agent.acted"
    call: str = Field(max_length=200)
    title: str = Field(default="", max_length=300)
    tool_kind: str = Field(default="", max_length=40)
    ok: bool
    input_blob: Blob | None = None
    output_blob: Blob | None = None
    flags: tuple[str, ...] = ()
    """`unknown-outcome`: the agent ended without saying."""


class PermissionDecided(EventBase):
    """An agent asked whether it may, and was answered."""

    kind: Literal["permission.decided"] = "permission.decided"
    call: str = Field(max_length=200)
    tool: str = Field(max_length=200)
    arguments_blob: Blob
    arguments_hash: str
    decision: Literal["allow", "ask", "deny"]
    rules: tuple[str, ...] = ()
    answer: str = Field(max_length=40)
    """The kind of the option that was chosen (`allow_once`, ...), or `cancelled`."""
    approval: str | None = None
    """The approval that it waited for."""
    approver: str | None = None
    late: bool = False
    """It was asked after the work had been cancelled."""


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


# --- gate/… -----------------------------------------------------------------------------------------------


class GateOpened(EventBase):
    """The gate of a branch begins, or begins anew from another commit."""

    kind: Literal["gate.opened"] = "gate.opened"
    repository: str
    branch: str
    base: str


class ChangeQueued(EventBase):
    """A change is in the gate's queue."""

    kind: Literal["change.queued"] = "change.queued"
    change: Change
    title: str
    config_blob: Blob
    """The configuration of the run it comes from: its checks decide."""
    repository: str = ""
    """Real path of the user's repository."""
    branch: str = ""
    base: str = ""
    """Commit from which the run's target branch is created where it does not exist."""
    agent: str = ""
    checkout: str | None = None
    """Clean work tree that holds the target branch and is moved with it."""
    checks: str = ""
    """Hash of the commands that have to pass; filled by the gate."""
    reverts: str = ""
    """The landed commit that this change takes back; empty = it is work of its own."""


class GateCheckStarted(EventBase):
    """A merged tree is about to be checked: `stack` is what lies on `tip`, in order; empty = the tip itself."""

    kind: Literal["gate.check.started"] = "gate.check.started"
    check: str
    tip: str
    stack: tuple[str, ...]
    """Attempt ids."""
    commits: tuple[str, ...]
    """The merged commit of each change of the stack."""
    tree: str
    number: int = 1
    """Which try on this tree, from 1."""
    config_blob: Blob
    checks: str = ""


class GateCheckFinished(EventBase):
    """What the check of a merged tree found."""

    kind: Literal["gate.check.finished"] = "gate.check.finished"
    check: str
    tree: str
    passed: bool
    infrastructure: bool = False
    """The check could not be run; nothing is blamed."""
    cancelled: bool = False
    """Its stack was no longer wanted."""
    reason: str = Field(default="", max_length=2_000)
    results_blob: Blob | None = None


class LandingIntended(EventBase):
    """The target is about to be moved."""

    kind: Literal["landing.intended"] = "landing.intended"
    attempt: str
    old: str
    """Empty = the branch does not exist."""
    new: str
    tree: str


class ChangeLanded(EventBase):
    """The target was moved onto a change."""

    kind: Literal["change.landed"] = "change.landed"
    attempt: str
    old: str
    new: str


class ChangeReturned(EventBase):
    """A change left the queue without landing."""

    kind: Literal["change.returned"] = "change.returned"
    attempt: str
    outcome: Outcome
    reason: str = Field(max_length=2_000)
    against: tuple[str, ...] = ()
    """The attempts it conflicts with."""


class FlakeSeen(EventBase):
    """A check failed and then passed on the same tree."""

    kind: Literal["flake.seen"] = "flake.seen"
    tree: str
    check: str
    """Id of the gate's check; of a task's own check: the attempt."""
    reason: str = Field(default="", max_length=2_000)
    """What failed the first time."""


class TipMoved(EventBase):
    """Somebody else moved the target."""

    kind: Literal["tip.moved"] = "tip.moved"
    old: str
    new: str


class GateDelayed(EventBase):
    """The machine is not well enough for the gate's own work; it is tried again, and nobody is blamed."""

    kind: Literal["gate.delayed"] = "gate.delayed"
    reason: str = Field(max_length=2_000)
    seconds: float
    number: int = 1
    """How often in a row, from 1."""


class NoteFailed(EventBase):
    """The note of a commit that landed could not be written; it is tried again later."""

    kind: Literal["note.failed"] = "note.failed"
    attempt: str
    commit: str
    reason: str = Field(max_length=2_000)


class NoteWritten(EventBase):
    """A note that could not be written before stands now."""

    kind: Literal["note.written"] = "note.written"
    attempt: str
    commit: str


Event = Annotated[
    DeckOwned
    | DeckAnchored
    | RunCreated
    | RunPlanned
    | RunPaused
    | RunResumed
    | RunCancelled
    | RunWaiting
    | SpendNoticed
    | WorkHeld
    | WorkReleased
    | ApprovalAsked
    | ApprovalDecided
    | QuestionAnswered
    | BudgetRaised
    | TaskRetried
    | TaskDispatched
    | NodeStarted
    | NodeDelayed
    | NodeFinished
    | TaskEscalated
    | TaskMerged
    | TaskFailed
    | TaskBlocked
    | TaskCancelled
    | RunReported
    | RunFinished
    | AttemptStarted
    | EnvironmentBuilding
    | HarnessStarted
    | HandoffRefused
    | HarnessFinished
    | AgentConnected
    | AgentPrompted
    | AgentTurned
    | AgentSaid
    | AgentActing
    | AgentActed
    | PermissionDecided
    | ModelAsked
    | ModelAnswered
    | ModelErred
    | ToolIntended
    | ToolDone
    | ToolFellBack
    | ToolsGiven
    | IncidentOpened
    | ContextCompacted
    | TranscriptExtended
    | TodoChanged
    | NoteRecorded
    | QuestionAsked
    | Delegated
    | MessageSent
    | MessageDelivered
    | LimitReached
    | ChangeExported
    | CheckRan
    | ChangeInspected
    | GateOpened
    | ChangeQueued
    | GateCheckStarted
    | GateCheckFinished
    | LandingIntended
    | ChangeLanded
    | ChangeReturned
    | FlakeSeen
    | TipMoved
    | GateDelayed
    | NoteFailed
    | NoteWritten
    | outside.OutsideEvent,
    Field(discriminator="kind"),
]


_READ: Final = Kinds(EventBase, lambda: TypeAdapter(Event))


def encode(event: EventBase) -> bytes:
    """The event as canonical JSON: what is stored and what the hash chain covers."""
    return event.model_dump_json(by_alias=True, exclude_defaults=False).encode()


def decode(data: bytes | str) -> EventBase:
    """The event of `encode`'s bytes. Raises pydantic.ValidationError."""
    return _READ.read(data)
