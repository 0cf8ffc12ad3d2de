"""What happens between the deck and the world outside: triggers that fire, results that are published, messages sent.

Rules
- They are events like all others (`quarterdeck.kernel.events`); they stand in streams of their own.
- What came from outside is a blob, or stands here as a bounded text; no secret and no token is ever in it.
"""

from typing import Literal

from pydantic import Field

from quarterdeck.kernel.events.base import Blob, EventBase

RefusalCode = Literal["signature", "author", "duplicate", "live", "rate", "missed", "order", "payload", "gone"]

# --- trigger/… --------------------------------------------------------------------------------------------


class TriggerScheduled(EventBase):
    """A schedule holds from here on: earlier times were not missed."""

    kind: Literal["trigger.scheduled"] = "trigger.scheduled"
    trigger: str
    schedule: str
    timezone: str
    since: float
    """Seconds since the epoch."""
    source: str = ""
    """Whose deck.toml says so: a name that one home of one machine has. Empty = an earlier version did not tell."""


class TriggerFired(EventBase):
    """A run is to be stored under this id. The intent; `trigger.ordered` is its outcome."""

    kind: Literal["trigger.fired"] = "trigger.fired"
    trigger: str
    delivery: str = Field(max_length=200)
    """What the sender calls this message; of the clock, its moment."""
    fingerprint: str = ""
    """Hash of the message, where only the sender's name for it is not signed."""
    subject: str = Field(default="", max_length=500)
    """What it is about; one thing has one unfinished run."""
    run: str
    by: str = Field(default="", max_length=200)
    why: str = Field(default="", max_length=1_000)
    """What in the message fired it."""
    order_blob: Blob
    """The run as it is ordered."""


class TriggerOrdered(EventBase):
    """The run is stored."""

    kind: Literal["trigger.ordered"] = "trigger.ordered"
    trigger: str
    delivery: str = Field(max_length=200)
    run: str


class TriggerHeld(EventBase):
    """It has to wait: not so many, or not so fast. Nothing is lost."""

    kind: Literal["trigger.held"] = "trigger.held"
    trigger: str
    delivery: str = Field(max_length=200)
    fingerprint: str = ""
    subject: str = Field(default="", max_length=500)
    reason: str = Field(max_length=2_000)
    until: float
    """Seconds since the epoch: when it is looked at again."""


class TriggerRefused(EventBase):
    """No run comes of it."""

    kind: Literal["trigger.refused"] = "trigger.refused"
    trigger: str
    delivery: str = Field(default="", max_length=200)
    """Made up where it was not signed, for nothing of such a message is believed."""
    fingerprint: str = ""
    subject: str = Field(default="", max_length=500)
    code: RefusalCode
    """`signature`: it is not signed, or too old; `author`: not for this person; `duplicate`: it came before; `live`:
    a run about it is unfinished; `rate`: too many wait; `missed`: nothing served the deck then; `order`: the run
    cannot be ordered; `payload`: it cannot be read; `gone`: the trigger is not there any more."""
    reason: str = Field(max_length=2_000)
    count: int = 1
    """How many of this kind since the last record."""


# --- publish/… --------------------------------------------------------------------------------------------


class BranchPushed(EventBase):
    """The run's branch is on the GitHub server."""

    kind: Literal["branch.pushed"] = "branch.pushed"
    run: str
    repository: str
    branch: str
    commit: str


class PullOpened(EventBase):
    """A pull request for the run's branch is there, with its report."""

    kind: Literal["pull.opened"] = "pull.opened"
    run: str
    repository: str
    number: int
    url: str = Field(max_length=1_000)
    commit: str
    """What its branch held when the report was written."""
    found: bool = False
    """It was there already."""


class IssueCommented(EventBase):
    """The issue says how its run stands."""

    kind: Literal["issue.commented"] = "issue.commented"
    run: str
    repository: str
    issue: int
    about: str = Field(max_length=100)
    """What is said: that it waits, that it failed; with the number of the record that made it."""
    url: str = Field(max_length=1_000)


class OutboxDelayed(EventBase):
    """The other side could not be reached, or asks for patience; it is tried again."""

    kind: Literal["outbox.delayed"] = "outbox.delayed"
    about: str = Field(max_length=200)
    reason: str = Field(max_length=2_000)
    seconds: float
    number: int
    """How often it was tried."""


class OutboxFailed(EventBase):
    """It is not tried again; a person has to look."""

    kind: Literal["outbox.failed"] = "outbox.failed"
    about: str = Field(max_length=200)
    reason: str = Field(max_length=2_000)
    fix: str = Field(default="", max_length=2_000)


# --- notice/… ---------------------------------------------------------------------------------------------


class NoticeSent(EventBase):
    """The operator's webhook took a message about what needs a person."""

    kind: Literal["notice.sent"] = "notice.sent"
    notice: str
    need: str
    """What needs a person: `question`, `approval`, `incident`, `failed`, `waiting`, `trigger`."""
    run: str = ""
    title: str = Field(max_length=500)
    status: int
    """The answer's status."""
    number: int
    """How often it was tried."""


OutsideEvent = (
    TriggerScheduled
    | TriggerFired
    | TriggerOrdered
    | TriggerHeld
    | TriggerRefused
    | BranchPushed
    | PullOpened
    | IssueCommented
    | OutboxDelayed
    | OutboxFailed
    | NoticeSent
)
