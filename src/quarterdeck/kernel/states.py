"""The state of a run, as its stream tells it (`folding`).

Rules
- Facts alone: what follows from a state is decided in `delivery.dispatch`.
- A cut-off attempt does not appear here: its node is simply still running until its job has run again.
- Who waits for a person's word is running its `approve` node.
"""

from dataclasses import dataclass, field
from typing import Literal

from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events import Node, RunStatus, TaskStatus
from quarterdeck.kernel.failures import FailureClass

STATUS_OF_NODE = {
    Node.IMPLEMENT: TaskStatus.IMPLEMENTING,
    Node.CHECK: TaskStatus.CHECKING,
    Node.REVIEW: TaskStatus.REVIEWING,
    Node.APPROVE: TaskStatus.WAITING,
    Node.GATE: TaskStatus.GATING,
}
"""Where a task stands while that node of it is at work."""
AT_WORK = frozenset({TaskStatus.IMPLEMENTING, TaskStatus.CHECKING, TaskStatus.REVIEWING})
"""An agent or a check works on the task."""
_NO_WORK = (Node.APPROVE, Node.GATE)
"""Nodes at which neither an agent nor a check works."""


@dataclass(slots=True)
class TaskState:
    """Where one task stands."""

    status: TaskStatus = TaskStatus.PENDING
    attempt: str | None = None
    number: int = 0
    """Attempts dispatched so far."""
    node: Node | None = None
    running: bool = False
    """`node` is started and not finished."""
    last: e.NodeFinished | None = None
    """The result of `node`, not yet followed up."""
    taken: int = 0
    """Up to where the attempt's stream was taken over: a node that is started again has not ended yet."""
    passed: e.NodeFinished | None = None
    """The last node that this attempt got through."""
    kept: e.NodeFinished | None = None
    """`passed` of an attempt that was stopped for no fault of its own: followed up when the run is resumed."""
    agent: str | None = None
    """Who has it, or had it last."""
    tried: tuple[str, ...] = ()
    """Agents that have had it since it began, or began anew."""
    asks: bool = False
    """No agent is left: a person is asked."""
    failures: int = 0
    """Attempts of this agent that failed by their own fault."""
    faults: int = 0
    """Those of them that an abler model might have done better."""
    tier: str | None = None
    """Tier of the newest attempt, where it is not its agent's own."""
    conflicts: int = 0
    """Attempts returned because others landed first."""
    rounds: int = 0
    """Times a reviewer asked this agent for a change."""
    feedback_blob: str | None = None
    """What was learnt so far: what this attempt was told, and what its nodes found."""
    added_blob: str | None = None
    """What came on top of that from outside of the attempt and is not part of it yet."""
    change: Change | None = None
    """The newest work on the task, finished or not."""
    commit: str | None = None
    reason: str = ""
    failure: FailureClass | None = None
    approval: e.ApprovalAsked | None = None
    """What this attempt's change waits for, or has waited for."""
    decided: e.ApprovalDecided | None = None
    """What came of it."""
    seen: Literal["nobody", "agent", "person"] = "nobody"
    """Who has seen this attempt's change."""
    chosen: str | None = None
    """The agent that a person wants to try it next."""
    answer_blob: str | None = None
    """A human's answer to this task's question."""
    short: bool = False
    """It ended for want of money that was not its own."""

    @property
    def approving(self) -> bool:
        """Whether it waits for a person's word, and a person has been asked."""
        return self.running and self.node is Node.APPROVE and self.approval is not None and self.decided is None


@dataclass(slots=True)
class RunState:
    """Where a run stands."""

    created: e.RunCreated | None = None
    status: RunStatus = RunStatus.CREATED
    seq: int = 0
    """The last record taken over."""
    started_at: float = 0.0
    plan_blob: str | None = None
    approval: e.ApprovalAsked | None = None
    """What the plan waits for, or has waited for."""
    decided: e.ApprovalDecided | None = None
    """What came of it."""
    approved: str | None = None
    """The plan (its blob) that may be carried out, where plans are approved."""
    asks: int = 0
    """How often the plan's approval was begun."""
    refused: e.NodeFinished | None = None
    """The plan may not be carried out."""
    warnings: tuple[str, ...] = ()
    budget_nusd: int = 0
    paused: bool = False
    cancelled: bool = False
    exhausted: bool = False
    """A budget refused a reservation; nothing new is started."""
    noticed: set[tuple[str, str]] = field(default_factory=set)
    """Spending that left its baseline: (what it is about, name)."""
    short: str = ""
    """Which budget it was, and what helps."""
    answer_blob: str | None = None
    """A human's answer, not yet handed to the waiting tasks."""
    held: e.WorkHeld | None = None
    """What keeps agents of the run from starting."""
    node: Node | None = None
    """The run's own node: plan, report or retrospective."""
    node_attempt: str | None = None
    node_running: bool = False
    feedback_blob: str | None = None
    """What the run's own node was told when it began."""
    last: e.NodeFinished | None = None
    planned: e.NodeFinished | None = None
    """How the planner ended, the last time."""
    plan_tries: int = 0
    """Planning attempts since the last `resume`."""
    plan_number: int = 0
    """Planning attempts ever."""
    endings: int = 0
    """How often the end nodes were begun: a resumed run ends again."""
    report_blob: str | None = None
    retrospective_blob: str | None = None
    sha: str | None = None
    """Where the target branch stood when the report was made."""
    reported: bool = False
    finished: e.RunFinished | None = None
    tasks: dict[str, TaskState] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether any agent was ever started for the run."""
        return self.plan_number > 0 or any(task.number for task in self.tasks.values())

    @property
    def active(self) -> int:
        """Attempts that an agent or a check is working on now."""
        return sum(1 for task in self.tasks.values() if task.running and task.node not in _NO_WORK)

    @property
    def approving(self) -> bool:
        """Whether its plan waits for a person's word, and a person has been asked."""
        return self.node_running and self.node is Node.APPROVE and self.approval is not None and self.decided is None

    @property
    def waits_for(self) -> tuple[e.ApprovalAsked, ...]:
        """What a person was asked to approve and has not decided."""
        tasks = [task.approval for task in self.tasks.values() if task.approving and task.approval is not None]
        return (*((self.approval,) if self.approving and self.approval is not None else ()), *tasks)


def task_state(state: RunState, task: str) -> TaskState:
    """The state of that task; a task nothing has happened to is pending."""
    return state.tasks.setdefault(task, TaskState())
