"""What the merge gate of one branch does."""

from typing import Literal

from pydantic import Field

from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events.base import Blob, EventBase
from quarterdeck.kernel.events.words import Outcome
from quarterdeck.kernel.merging import LostWay, Suspect, ways_in_words

# --- gate/… -----------------------------------------------------------------------------------------------


class GateOpened(EventBase):
    """The gate of a branch begins, or begins anew from another commit."""

    kind: Literal["gate.opened"] = "gate.opened"
    repository: str
    branch: str
    base: str
    runs_on: tuple[str, ...] = ()
    """Labels that a worker needs to reach the repository."""


class ChangeQueued(EventBase):
    """A change is in the gate's queue."""

    kind: Literal["change.queued"] = "change.queued"
    change: Change
    title: str
    config_blob: Blob
    """The configuration of the run it comes from: its checks decide."""
    repository: str = ""
    """Real path of the user's repository, or the URL of the remote that stands for it."""
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
    verify_blob: Blob | None = None
    """List of the task's verify commands: they count where the change meets another one on the same files."""
    intent_blob: Blob | None = None
    """What the task asks for, as text: whoever conflicts with it is told."""
    runs_on: tuple[str, ...] = ()
    """Labels that a worker needs to run the task's verify commands."""


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
    verify_blob: Blob | None = None
    """List of the tasks' verify commands that have to pass after the checks of the gate; `checks` covers them."""
    gate_checks: str = ""
    """Hash of the checks of the gate alone; empty = `checks`."""
    under: str = ""
    """The tip's tree."""
    runs_on: tuple[str, ...] = ()
    """Labels that the worker needs which checks it."""
    why: str = Field(default="", max_length=300)
    """Why a commit is checked that has landed; empty = nobody has doubted it, it was just not checked before."""


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
    verify: bool = False
    """What failed is a verify command of a task; the checks of the gate itself passed."""


class MergeResolved(EventBase):
    """How a change is merged that meets another one on the same files: the first way whose tree passed."""

    kind: Literal["merge.resolved"] = "merge.resolved"
    attempt: str
    way: Literal["git", "driver", "entity", "union", "entity+union"]
    """The way that counts."""
    lost: tuple[LostWay, ...] = Field(default=(), max_length=10)
    """The ways before it, and why they were not taken."""
    onto: str
    """The commit that it is merged onto."""
    tree: str
    paths: tuple[str, ...] = Field(default=(), max_length=50)
    """What git's own merge left in conflict; empty = nothing."""
    notes: tuple[str, ...] = Field(default=(), max_length=20)
    """What people should know of how it was merged."""

    @property
    def words(self) -> str:
        """`merged by entity (git: conflict in a.py)`."""
        return f"merged by {self.way}" + (f" ({ways_in_words(self.lost)})" if self.lost else "")


class ChangeClashed(EventBase):
    """A queued change does not merge with others ahead of it, and waits until those have landed or left."""

    kind: Literal["change.clashed"] = "change.clashed"
    attempt: str
    against: tuple[str, ...] = Field(default=(), max_length=50)
    """Attempts whose changes it waits for; empty = it waits no longer."""


class LandingIntended(EventBase):
    """The target is about to be moved, over one change or several."""

    kind: Literal["landing.intended"] = "landing.intended"
    attempt: str
    """Of several changes the last one."""
    old: str
    """Empty = the branch does not exist."""
    new: str
    tree: str
    """What was checked: the tree of `new`."""
    stack: tuple[str, ...] = ()
    """All changes that land in this step, in order; empty = the one."""
    commits: tuple[str, ...] = ()
    """The commit of each of them; the last one is `new`."""

    @property
    def landing(self) -> tuple[tuple[str, str], ...]:
        """Each change that lands, with its commit."""
        return tuple(zip(self.stack, self.commits, strict=True)) or ((self.attempt, self.new),)


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
    lost: tuple[LostWay, ...] = Field(default=(), max_length=10)
    """The ways of merging that were tried."""


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


class TipFoundRed(EventBase):
    """The landed tip failed its checks twice. Which commit made it red is found out now."""

    kind: Literal["tip.red"] = "tip.red"
    tip: str
    tree: str
    checks: str
    """Hash of the checks that it fails."""
    config_blob: Blob
    reason: str = Field(default="", max_length=2_000)
    results_blob: Blob | None = None
    """List of `CheckResult`: what the checks said."""
    suspects: tuple[Suspect, ...] = Field(default=(), max_length=100)
    """The newest last, which is the tip; the first one is what all of them stand on. Empty = nothing is searched."""


class CulpritFound(EventBase):
    """Which commit made the target red, and what happens to it."""

    kind: Literal["culprit.found"] = "culprit.found"
    tip: str
    run: str
    """The run whose people are told."""
    commit: str = ""
    """Empty = none of those that landed: the target is red without them."""
    attempt: str = ""
    """The attempt that landed it; empty = it is somebody else's commit."""
    subject: str = Field(default="", max_length=60)
    """Beginning of its message."""
    action: Literal["revert", "ask", "tell"]
    """It is taken back now; a person is asked; people are told, and nothing is done."""
    reason: str = Field(max_length=2_000)
    fix: str = Field(default="", max_length=500)
    """What to type."""


class ChangeReverted(EventBase):
    """A landed change made the target red and is taken back; its task is tried again."""

    kind: Literal["change.reverted"] = "change.reverted"
    attempt: str
    """The one that had landed."""
    commit: str
    """What it had landed as."""
    by: str
    """The commit that takes it back."""
    reason: str = Field(default="", max_length=2_000)
    """What failed with it."""


class TipMended(EventBase):
    """The target does not stand any more where people were told that it is red."""

    kind: Literal["tip.mended"] = "tip.mended"
    tip: str
    run: str
    """The run whose people were told."""


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


GateEvent = (
    GateOpened
    | ChangeQueued
    | GateCheckStarted
    | GateCheckFinished
    | MergeResolved
    | ChangeClashed
    | LandingIntended
    | ChangeLanded
    | ChangeReturned
    | FlakeSeen
    | TipMoved
    | TipFoundRed
    | CulpritFound
    | ChangeReverted
    | TipMended
    | GateDelayed
    | NoteFailed
    | NoteWritten
)
