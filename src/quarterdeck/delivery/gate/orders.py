"""What the merge gate sees of the world, and what it can be told to do: values between `queue.decide` and `gate`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from quarterdeck.delivery.gate.ledger import Key
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.merging import Suspect
from quarterdeck.merge.values import Way

# --- what the effects have seen ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LostWay:
    """A way of merging that came to nothing."""

    way: Way
    reason: str
    results_blob: str | None = None
    """What the checks of its tree said, where it gave one."""
    tree: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """A change merged onto a commit: one new commit on top of it."""

    commit: str
    tree: str
    way: Way = Way.GIT
    lost: tuple[LostWay, ...] = ()
    """The ways before it, and why they were not taken."""
    more: bool = False
    """There is something to be tried after this way."""
    paths: tuple[str, ...] = ()
    """What both sides changed."""
    conflicts: tuple[str, ...] = ()
    """What git's own merge left in conflict."""
    notes: tuple[str, ...] = ()
    """What people should know of how it was merged."""
    own: tuple[str, ...] = ()
    """The task's verify commands, where its tree has to pass them."""
    others: tuple[str, ...] = ()
    """Likewise, those of the tasks that landed on the same files since the change's base."""


@dataclass(frozen=True, slots=True)
class Clash:
    """A change that does not merge onto a commit, in any way."""

    paths: tuple[str, ...]
    detail: str = ""
    lost: tuple[LostWay, ...] = ()


Merges = Mapping[tuple[str, str], Merged | Clash]
"""(commit, attempt) to what came of merging that attempt's change onto the commit: the way that is tried now."""

Overlaps = Mapping[str, Mapping[str, float]]
"""Queued attempt to those others that it may conflict with, and how likely that is; the same in both directions."""


@dataclass(frozen=True, slots=True)
class View:
    """The world outside the journal."""

    now: float
    """Seconds since the epoch."""
    tip: str
    """Where the target is; where the branch does not exist, the commit that it will be created from."""
    tree: str
    """The tip's tree."""
    exists: bool
    slots: int
    """How many checks may run at the same time."""
    merges: Merges = field(default_factory=dict)
    overlaps: Overlaps = field(default_factory=dict)
    intent_landed: bool = False
    """The commit of `GateState.intent` is the tip or an ancestor of it."""
    arrived: tuple[str, str] | None = None
    """(attempt, commit): the first queued change whose trailers stand between the known tip and the real one."""


# --- commands ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NeedMerge:
    """Merge a change onto a commit; `beyond`: the tree of that way is red, make the next one."""

    onto: str
    attempt: str
    beyond: Way | None = None


@dataclass(frozen=True, slots=True)
class StartCheck:
    """Check a merged tree; an empty stack is the tip itself."""

    tip: str
    stack: tuple[str, ...]
    commits: tuple[str, ...]
    tree: str
    checks: str
    config_blob: str
    number: int
    verify: tuple[str, ...] = ()
    """Verify commands that have to pass after the checks of the gate; `checks` covers them."""
    gate: str = ""
    """Key of the checks of the gate alone."""
    under: str = ""
    """The tip's tree."""
    why: str = ""
    """Why a commit that has landed is checked."""

    @property
    def key(self) -> Key:
        return self.tree, self.checks


@dataclass(frozen=True, slots=True)
class DropCheck:
    """Nobody wants to know any more."""

    check: str


@dataclass(frozen=True, slots=True)
class Land:
    """Move the target over these changes in one step; `old` None = create the branch."""

    stack: tuple[str, ...]
    commits: tuple[str, ...]
    """One for each change, each on top of the one before it."""
    old: str | None
    tree: str
    """Of the last commit."""

    @property
    def new(self) -> str:
        return self.commits[-1]


@dataclass(frozen=True, slots=True)
class RecordLanded:
    """The target has moved to (or over) this commit already; it only has to be written down."""

    attempt: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class RecordMove:
    """Somebody else moved the target."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Return:
    """Take a change out of the queue."""

    attempt: str
    outcome: Outcome
    reason: str
    paths: tuple[str, ...] = ()
    """In conflict."""
    detail: str = ""
    results_blob: str | None = None
    lost: tuple[LostWay, ...] = ()
    """The ways of merging that were tried."""


@dataclass(frozen=True, slots=True)
class FindCulprit:
    """The tip is red for these checks: say so, and which commits may have made it so."""

    tree: str
    checks: str
    config_blob: str


@dataclass(frozen=True, slots=True)
class Accuse:
    """The search has ended: say who made the tip red, and what happens now; `culprit` None = nothing that landed."""

    culprit: Suspect | None


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Put a change into the queue that takes the culprit back."""

    attempt: str
    """The culprit's."""
    commit: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The culprit cannot be taken back: people are told."""

    attempt: str
    """The one that stands for taking it back."""
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Decide again after `delay` seconds."""

    delay: float


Mending = FindCulprit | Accuse | TakeBack | GiveUp
"""What is done about a target that is red."""

Command = NeedMerge | StartCheck | DropCheck | Land | RecordLanded | RecordMove | Return | Wait | Mending
