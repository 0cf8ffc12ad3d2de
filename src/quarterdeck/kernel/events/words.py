"""How nodes, runs and tasks stand: the words of events for it."""

from enum import StrEnum


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
