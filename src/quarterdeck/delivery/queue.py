"""What the merge gate of one target branch decides. Pure: state and view in, commands out; `gate.py` performs them.

Rules
- What is tested is the merged tree. The target never moves to a tree on which the checks of the change that is
  landing have not passed; a tree that once passed the same checks need not be checked again.
- Changes are checked in parallel as a chain in queue order: [tip+A], [tip+A+B], …, at most `slots` trees at a time.
- A change that conflicts with the tip goes back to its author at once. One that conflicts only with changes ahead of
  it, which have not landed, waits until those have landed or left.
- A change that meets another one on the same files may be merged in several ways. The first in their order counts; the
  next one only when its tree, directly on a tip that is known to be green, is red. Where none is left, the change is in
  conflict. Such a tree has to pass the verify commands of both tasks as well.
- The verify commands of tasks that landed do not count on a tip that fails them itself.
- A check that failed is run once more on the same tree. If it passes then, it was a flake: recorded, not blamed.
- A change is blamed only when its own tree, directly on the tip, is red and the tip is known to be green for the same
  checks. Until that is known the tip itself is checked. Those behind it are checked without it meanwhile.
- A red tip blames nobody. Each change is then checked alone on it: one that is green repairs the target and lands, the
  others are held. When nothing else is left, the held ones are returned with the tip's failing command as the reason.
- A check that could not be run blames nobody and is tried again with growing pauses; after an hour all are held. The
  same holds for the gate's own work.
- A landing is intended, performed, recorded. An intent without outcome is settled by looking at the branch.
- When somebody else moved the target, everything is merged and checked anew, and the new tip is not assumed green.
  A change whose trailers stand in the history that arrived has landed.
- Verdicts hold for one tree and one set of checks (commands and environment). Red ones are forgotten when the queue
  is empty, so that a repaired machine gets a fresh look.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.delivery.ledger import PAUSE, Colour, Failing, GateState, Key, Queued, with_commands
from quarterdeck.kernel.events import GateDelayed, Outcome
from quarterdeck.merge.values import Way

PATIENCE: Final = 3600.0
"""Seconds without any check that could be run, or any other work of the gate, after which the changes are held."""


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
    merges: Mapping[tuple[str, str], Merged | Clash] = field(default_factory=dict)
    """(commit, attempt) to what came of merging that attempt's change onto the commit: the way that is tried now."""
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

    @property
    def key(self) -> Key:
        return self.tree, self.checks


@dataclass(frozen=True, slots=True)
class DropCheck:
    """Nobody wants to know any more."""

    check: str


@dataclass(frozen=True, slots=True)
class Land:
    """Move the target; `old` None = create the branch."""

    attempt: str
    old: str | None
    new: str
    tree: str


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
class Wait:
    """Decide again after `delay` seconds."""

    delay: float


Command = NeedMerge | StartCheck | DropCheck | Land | RecordLanded | RecordMove | Return | Wait


# --- decisions --------------------------------------------------------------------------------------------


def decide(state: GateState, view: View) -> tuple[Command, ...]:
    """What to do next; nothing = wait for a running check or a new change."""
    if not state.branch:
        return ()
    if state.intent is not None and view.intent_landed:
        return (RecordLanded(state.intent.attempt, state.intent.old, state.intent.new),)
    if view.tip != state.tip:
        if view.arrived is not None:
            return (RecordLanded(view.arrived[0], state.tip, view.arrived[1]),)
        return (RecordMove(state.tip, view.tip),)
    if state.trouble is not None and state.trouble.last - state.trouble.since > PATIENCE:
        reason = f"the gate's checks cannot be run: {state.trouble.reason}"
        return tuple(Return(queued.attempt, Outcome.HELD, reason) for queued in state.queue)
    lineup = _line_up(state, view)
    if lineup.land is not None:
        return (lineup.land,)
    if lineup.returns:
        return tuple(lineup.returns)
    if state.queue and len(lineup.held) == len(state.queue):
        return tuple(_hold(state, view, queued) for queued in state.queue)
    if lineup.merges:
        return tuple(lineup.merges)
    return tuple(_schedule(state, view, lineup))


def delayed(state: GateState, now: float, reason: str, *, worked: bool) -> GateDelayed | None:
    """The gate's own work failed for `reason`: how long to wait before it is tried again; None = no longer at all.

    `now`: seconds since the epoch. `worked`: it has worked since the last failure on record.
    """
    stall = None if worked else state.stall
    if stall is None or now - stall.last > PATIENCE:  # nobody tried in between: that was no row of failures
        return GateDelayed(reason=reason, seconds=PAUSE[0])
    if now - stall.since > PATIENCE:
        return None
    seconds = min(max(now - stall.since, PAUSE[0]), PAUSE[1])
    return GateDelayed(reason=reason, seconds=seconds, number=stall.number + 1)


@dataclass(slots=True)
class _Lineup:
    """What one walk along the queue found."""

    land: Land | None = None
    returns: list[Command] = field(default_factory=list)
    held: list[Queued] = field(default_factory=list)
    merges: list[Command] = field(default_factory=list)
    wanted: dict[Key, StartCheck] = field(default_factory=dict)
    """Trees whose colour has to be found out, the most useful first."""


@dataclass(slots=True)
class _Chain:
    """The changes that are assumed to land, in order."""

    top: str
    stack: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()


def _line_up(state: GateState, view: View) -> _Lineup:
    """Stack the changes in queue order and see what each of them needs."""
    lineup = _Lineup()
    chain = _Chain(view.tip)
    tried = {attempt for _, attempt in view.merges}
    for queued in state.queue:
        if len(lineup.wanted) >= view.slots or lineup.merges:
            # Beyond what can be checked now; but a conflict with the tip is worth knowing as soon as it is queued.
            if queued.attempt not in tried:
                lineup.merges.append(NeedMerge(view.tip, queued.attempt))
            elif isinstance(clash := view.merges.get((view.tip, queued.attempt)), Clash):
                lineup.returns.append(_conflict(queued, clash))
            continue
        alone = state.colour((view.tree, queued.checks)) is Colour.RED
        onto = _Chain(view.tip) if alone else chain
        found = view.merges.get((onto.top, queued.attempt))
        if found is None:
            lineup.merges.append(NeedMerge(onto.top, queued.attempt))
        elif isinstance(found, Clash):
            _stand_back(view, lineup, queued, onto, found)
        else:
            _place(state, view, lineup, queued, onto, found)
        if lineup.land is not None:
            break
    return lineup


def _stand_back(view: View, lineup: _Lineup, queued: Queued, onto: _Chain, clash: Clash) -> None:
    if onto.top == view.tip:
        lineup.returns.append(_conflict(queued, clash))
        return
    at_tip = view.merges.get((view.tip, queued.attempt))
    if at_tip is None:
        lineup.merges.append(NeedMerge(view.tip, queued.attempt))
    elif isinstance(at_tip, Clash):
        lineup.returns.append(_conflict(queued, at_tip))


def _place(state: GateState, view: View, lineup: _Lineup, queued: Queued, onto: _Chain, merged: Merged) -> None:
    own, others = demands(state, view.tree, queued, merged)
    key = (merged.tree, with_commands(queued.checks, (*own, *others)))
    colour = state.colour(key)
    at_tip = onto.top == view.tip
    if colour is Colour.RED:
        if at_tip:
            _blame(state, view, lineup, queued, merged, key, others)
        return
    if colour is Colour.GREEN and at_tip:
        lineup.land = Land(queued.attempt, view.tip if view.exists else None, merged.commit, merged.tree)
        return
    # Changed in place: a lane of its own (red tip) starts from a fresh chain that nobody else sees.
    onto.top = merged.commit
    onto.stack = (*onto.stack, queued.attempt)
    onto.commits = (*onto.commits, merged.commit)
    if colour is not Colour.GREEN:
        number = state.failing[key].times + 1 if key in state.failing else 1
        commands = (*own, *others)
        start = StartCheck(
            view.tip, onto.stack, onto.commits, *key, queued.config_blob, number, commands, queued.checks
        )
        lineup.wanted.setdefault(key, start)


def demands(state: GateState, tip_tree: str, queued: Queued, merged: Merged) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The verify commands that a merged tree has to pass: the change's own, and those of tasks that landed."""
    tip = (tip_tree, with_commands(queued.checks, merged.others))
    fails_them = bool(merged.others) and state.colour(tip) is Colour.RED
    return merged.own, () if fails_them else merged.others


def _blame(
    state: GateState, view: View, lineup: _Lineup, queued: Queued, merged: Merged, key: Key, others: tuple[str, ...]
) -> None:
    """The change directly on the tip is red: the fault of how it is merged, its own, the tip's, or not yet known."""
    base = (view.tree, with_commands(queued.checks, others))
    match state.colour(base):
        case Colour.GREEN if merged.more:
            lineup.merges.append(NeedMerge(view.tip, queued.attempt, beyond=merged.way))
        case Colour.GREEN:
            lineup.returns.append(_failed(queued, merged, state.failing[key]))
        case Colour.RED:
            lineup.held.append(queued)
        case _:
            number = state.failing[base].times + 1 if base in state.failing else 1
            start = StartCheck(view.tip, (), (), *base, queued.config_blob, number, others, queued.checks)
            lineup.wanted.setdefault(base, start)


def _failed(queued: Queued, merged: Merged, failing: Failing) -> Return:
    """A change that merges cleanly is red: by itself, or together with what landed on the same files."""
    if failing.verify:
        outcome, what = Outcome.CONFLICT, "merges, but a task's verify command failed on the merged tree"
    else:
        outcome, what = Outcome.FAILED, "the gate's checks failed on the merged tree"
    reason = f"{what}: {failing.reason}"[:2000]
    blob = failing.results_blob
    return Return(queued.attempt, outcome, reason, merged.paths, results_blob=blob, lost=merged.lost)


def _conflict(queued: Queued, clash: Clash) -> Return:
    reason = (
        f"does not merge with what landed meanwhile: {', '.join(clash.paths[:20])}" if clash.paths else clash.detail
    )
    return Return(queued.attempt, Outcome.CONFLICT, reason[:2000], clash.paths, clash.detail, lost=clash.lost)


def _hold(state: GateState, view: View, queued: Queued) -> Return:
    failing = state.failing[(view.tree, queued.checks)]
    reason = f"not judged: the target itself is red at {view.tip[:12]}: {failing.reason}"
    return Return(queued.attempt, Outcome.HELD, reason[:2000], results_blob=failing.results_blob)


def _schedule(state: GateState, view: View, lineup: _Lineup) -> Iterator[Command]:
    """Drop checks whose tree nobody wants any more, start as many wanted ones as there is room for."""
    running = {}
    for check, started in state.running.items():
        key = (started.tree, started.checks)
        if key in lineup.wanted and key not in running:
            running[key] = check
        else:
            yield DropCheck(check)
    missing = [start for key, start in lineup.wanted.items() if key not in running]
    room = max(0, view.slots - len(running))
    if not missing[:room]:
        return
    if state.trouble is not None and (delay := state.trouble.due(view.now)) > 0:
        yield Wait(delay)
        return
    yield from missing[:room]
