"""What happens to a run and to its tasks, seen from the run."""

from typing import Literal

from pydantic import Field

from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events.base import Blob, EventBase
from quarterdeck.kernel.events.words import Node, Outcome, RunStatus
from quarterdeck.kernel.failures import FailureClass

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
    """Real path of the user's repository, or the URL of the remote that stands for it."""
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
    limit: Literal[
        "spawn_per_minute", "runs_per_hour", "agents_at_once", "one_agent_at_once", "repository_at_once", "inbox"
    ]
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
    earlier: int = 0
    """Of a reviewer's end: the place in the attempt's stream of an earlier end of its review, which does not count any
    more when this one was heard; 0 = there was none."""


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


class TaskReverted(EventBase):
    """The task's change had landed, made the target red and was taken back: the task is tried again."""

    kind: Literal["task.reverted"] = "task.reverted"
    task: str
    attempt: str
    """The one that had landed."""
    commit: str
    """What it had landed as."""
    by: str
    """The commit that takes it back."""
    reason: str = Field(max_length=2_000)
    feedback_blob: Blob | None = None
    """List of `Feedback`: what failed."""


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


RunEvent = (
    RunCreated
    | RunPlanned
    | RunPaused
    | RunResumed
    | RunCancelled
    | RunWaiting
    | WorkHeld
    | WorkReleased
    | SpendNoticed
    | TaskDispatched
    | NodeStarted
    | NodeDelayed
    | NodeFinished
    | TaskEscalated
    | TaskMerged
    | TaskReverted
    | TaskFailed
    | TaskBlocked
    | TaskCancelled
    | RunReported
    | RunFinished
)
