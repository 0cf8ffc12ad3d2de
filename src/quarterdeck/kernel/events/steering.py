"""What people say and decide while runs are at work: approvals, answers, messages, more money, another try.

Rules
- `approval.asked` stands in the stream of the attempt that asks, `approval.decided` in the approval's own stream, which
  whoever decides claims: of two who decide at once, one is refused. The run's stream takes over what concerns its
  plan and its changes.
- An approval is bound to the hash of what was asked. What has another hash was not approved.
- `question.answered`, `budget.raised` and `task.retried` stand in the run's stream.
"""

from typing import Literal

from pydantic import Field

from quarterdeck.kernel.events.base import Blob, EventBase

# --- what people say and decide -----------------------------------------------------------------------------


class ApprovalAsked(EventBase):
    """Something waits for a person's word."""

    kind: Literal["approval.asked"] = "approval.asked"
    approval: str
    """Its id."""
    what: Literal["tool", "plan", "merge", "revert"]
    run: str
    task: str | None = None
    attempt: str | None = None
    """Where it is asked: the attempt at work, the attempt whose change it is; None = it is the run's plan."""
    agent: str = ""
    """Who wants to do it, or has made it."""
    action_hash: str
    """Names exactly what is asked."""
    title: str = Field(max_length=300)
    subject_blob: Blob
    """What is asked, whole: `ToolSubject`, the plan, `MergeSubject`, `RevertSubject`; JSON."""
    risk: Literal["low", "medium", "high"]
    why: tuple[str, ...] = Field(default=(), max_length=50)
    """What makes it risky, or why it is asked at all."""
    cost_nusd: int = 0
    """What it has cost so far; of a plan: what it may cost."""
    expires_at: float | None = None
    """Seconds since the epoch; a decision that comes later is none."""


class ApprovalDecided(EventBase):
    """A person decided, or nobody did in time."""

    kind: Literal["approval.decided"] = "approval.decided"
    approval: str
    verdict: Literal["approve", "deny", "expired"]
    by: str
    reason: str = Field(default="", max_length=4_000)
    action_hash: str
    """Of what was decided."""


class QuestionAnswered(EventBase):
    """A person answered what was asked, without anything else being changed."""

    kind: Literal["question.answered"] = "question.answered"
    by: str
    attempt: str = ""
    """Who asked; empty = all who ask."""
    answer_blob: Blob
    """List of one `Feedback`."""


class BudgetRaised(EventBase):
    """A person gave the run more money."""

    kind: Literal["budget.raised"] = "budget.raised"
    by: str
    budget_nusd: int
    """The new budget."""
    tasks: tuple[str, ...] = ()
    """Those that had ended for want of it, and go on."""


class TaskRetried(EventBase):
    """A person wants a task that did not merge to be tried again; a run that had ended goes on."""

    kind: Literal["task.retried"] = "task.retried"
    task: str
    by: str
    agent: str | None = None
    """Who gets it; None = whoever would get it first."""


class MessageSent(EventBase):
    """A person has something to say to an agent at work. Stands in a stream of its own, `mail/…`."""

    kind: Literal["message.sent"] = "message.sent"
    message: str
    """Its id."""
    by: str
    text: str = Field(max_length=8_000)
    path: str = Field(default="", max_length=4_000)
    """The file that it is about, where it is a comment on a change."""
    line: int | None = None


class MessageDelivered(EventBase):
    """A person's message reached the agent: in its transcript, with a tool's result, or with a prompt."""

    kind: Literal["message.delivered"] = "message.delivered"
    message: str
    """Its id."""
    how: Literal["transcript", "result", "prompt"]
    """What it came with."""
    text: str = Field(max_length=8_000)


SteeringEvent = (
    ApprovalAsked | ApprovalDecided | QuestionAnswered | BudgetRaised | TaskRetried | MessageSent | MessageDelivered
)
