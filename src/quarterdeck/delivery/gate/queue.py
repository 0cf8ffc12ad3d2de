"""What the merge gate of one target branch decides. Pure: state and view in, commands out; `gate.py` performs them.

Rules
- What is tested is the merged tree. The target never moves to a tree on which the checks of the changes that are
  landing have not passed; a tree that once passed the same checks need not be checked again.
- Changes that have nothing to do with each other are checked side by side on the tip, each in its lane: on top of those
  ahead of it that it may conflict with, while the chance that all of these land is above a quarter.
- While the chance that everything in the queue lands together is better than three in ten, the queue is one lane.
- Where more changes wait than there are slots, they are checked in groups, as large as is likely to pass. A red group
  is taken apart.
- What passed in its lane lands together with what passed in others: see `staging.py`. One commit for each change.
- A change that conflicts with the tip goes back to its author at once. One that conflicts only with changes ahead of
  it, which have not landed, waits until those have landed or left.
- A change that meets another one on the same files may be merged in several ways. The first in their order counts; the
  next one only when its tree, directly on a tip that is known to be green, is red. Where none is left, the change is in
  conflict. Such a tree has to pass the verify commands of both tasks as well.
- A check that failed is run once more on the same tree. If it passes then, it was a flake: recorded, not blamed.
- A change is blamed only when a tree is red, the same tree without it is green, and all else in it has landed. Until
  the tip is known to be green for the same checks it is checked; a tip that passed only in the check by which it landed
  may have done so by luck, and is checked once more. Checks that stand on a doubtful change are dropped.
- After three changes that were blamed in a row, with nothing that passed in between, nobody is blamed before the tip
  has passed once more: the environment may have changed, or a flake had passed.
- A red tip blames nobody. What of ours made it red is taken back first: see `mending.py`. Where that is not the way,
  each change is checked alone on it: one that is green repairs the target and lands, the others are held. When nothing
  else is left, the held ones are returned with the tip's failing command as the reason.
- Changes of tasks that did not go together once are not tried together again: the second waits for the first.
- A check that could not be run blames nobody and is tried again with growing pauses; after an hour all are held. The
  same holds for the gate's own work.
- A landing is intended, performed, recorded. An intent without outcome is settled by looking at the branch.
- When somebody else moved the target, everything is merged and checked anew, and the new tip is not assumed green.
  A change whose trailers stand in the history that arrived has landed.
- Verdicts hold for one tree and one set of checks (commands and environment). Red ones are forgotten when the queue
  is empty, so that a repaired machine gets a fresh look.
- When nothing else is left to do, the first of the queue is judged by itself: the gate never waits for nothing.
"""

from collections.abc import Iterator, Sequence, Set
from math import ceil
from typing import Final

from quarterdeck.delivery.gate.lanes import LIKELY, Board, Red, gate_of, survey
from quarterdeck.delivery.gate.ledger import PAUSE, Colour, GateState
from quarterdeck.delivery.gate.mending import mend, verify
from quarterdeck.delivery.gate.orders import Clash, Command, NeedMerge, RecordLanded, RecordMove, Return, View
from quarterdeck.delivery.gate.scheduling import schedule
from quarterdeck.delivery.gate.stacks import SUSPECTED, Work, build, conflict, failed, hold, judge
from quarterdeck.delivery.gate.staging import stage
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import GateDelayed, Outcome

IN_A_ROW: Final = 3
"""Changes that are blamed with nothing that passed in between, before the tip is doubted."""

PATIENCE: Final = 3600.0
"""Seconds without any check that could be run, or any other work of the gate, after which the changes are held."""

TOGETHER: Final = 0.3
"""While everything lands together with a better chance than this, the queue is one lane."""

PASSES: Final = 0.55
"""Groups are filled while they pass with a better chance than this: at a failure rate of one in ten, four changes cost
2.7 checks in such groups and 4.4 one by one."""


def decide(state: GateState, view: View) -> tuple[Command, ...]:
    """What to do next; nothing = wait for a running check or a new change."""
    if not state.branch:
        return ()
    if state.intent is not None and view.intent_landed:
        return tuple(_record(state))
    if view.tip != state.tip:
        if view.arrived is not None:
            return (RecordLanded(view.arrived[0], state.tip, view.arrived[1]),)
        return (RecordMove(state.tip, view.tip),)
    if state.trouble is not None and state.trouble.last - state.trouble.since > PATIENCE:
        reason = f"the gate's checks cannot be run: {state.trouble.reason}"
        return tuple(Return(queued.attempt, Outcome.HELD, reason) for queued in state.queue)
    if (mending := mend(state, view)) is not None:
        return mending
    work = Work(survey(state, view))
    _line_up(work)
    if work.land is not None:
        return (work.land,)
    if work.returns:
        return tuple(work.returns.values())
    if state.queue and len(work.held) == len(state.queue) and state.search is None:
        return tuple(hold(work, queued) for queued in state.queue)
    if work.merges:
        return tuple(work.merges.values())
    return tuple(schedule(work))


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


def _record(state: GateState) -> Iterator[RecordLanded]:
    """What the intent that was carried out has landed, as far as that is not on record."""
    assert state.intent is not None
    old = state.intent.old
    for attempt, commit in state.intent.landing:
        if state.landed.get(attempt) != commit:
            yield RecordLanded(attempt, old, commit)
        old = commit


# --- one look at the queue --------------------------------------------------------------------------------


def _line_up(work: Work) -> None:
    """See what each change needs."""
    board = work.board
    state, view = board.state, board.view
    _look_for_conflicts(work)
    for queued in state.queue:
        if queued.checks in board.red and len(work.wanted) < view.slots:
            judge(work, queued.attempt)
    _judge_suspects(work)
    work.going = going = _going(work)
    todo = _undecided(work, going)
    room = view.slots - len({(started.tree, started.checks) for started in going} | work.wanted.keys())
    known = board.proven | board.alone.keys()
    busy = bool(todo) or any(not known.issuperset(board.pending(started)) for started in going)
    stage(work, going, waiting=max(0, len(todo) - max(0, room)), busy=busy)
    if work.land is None:
        _group(work, todo, going)
    if state.row >= IN_A_ROW:
        _doubt(work)
    for queued in state.queue:
        if work.land or work.returns or work.merges or work.wanted or going:
            break
        judge(work, queued.attempt)
    if not (work.land or work.returns or work.merges or work.wanted or going):
        verify(work)


def _doubt(work: Work) -> None:
    """Blame nobody before the tip has passed once more."""
    board = work.board
    blamed = [attempt for attempt, back in work.returns.items() if back.outcome is Outcome.FAILED]
    for attempt in blamed:
        del work.returns[attempt]
    for attempt in dict.fromkeys((*blamed, *board.alone)):
        if board.queued[attempt].checks not in board.red:
            work.want_tip(board.queued[attempt].checks, board.queued[attempt].config_blob, why=SUSPECTED)


def _look_for_conflicts(work: Work) -> None:
    """A conflict with the tip is worth knowing as soon as a change is queued."""
    view = work.board.view
    tried = {attempt for _, attempt in view.merges}
    for attempt, queued in work.board.queued.items():
        if attempt not in tried:
            work.need(NeedMerge(view.tip, attempt))
        elif isinstance(clash := view.merges.get((view.tip, attempt)), Clash):
            work.returns[attempt] = conflict(queued, clash)


def _judge_suspects(work: Work) -> None:
    """Find out about changes that are red by themselves, and about the tip that they stand on; blame them."""
    board = work.board
    # What is being checked by itself is waited for, wherever the tip has moved meanwhile.
    by_itself = {started.stack[0] for started in board.state.running.values() if len(started.stack) == 1}
    for attempt, alone in board.alone.items():
        if board.queued[attempt].checks in board.red:
            continue
        base = board.base(alone, attempt) if alone.plain else None
        if base is None and not (alone.plain and work.keep_base(alone.started, attempt)):
            if attempt not in by_itself:
                judge(work, attempt)
            continue
        if base in (Colour.UNKNOWN, Colour.DOUBTFUL):
            work.want_under(alone.started)
        # What it stands on may be at fault: that is found out beside its second try.
        suspected = base is Colour.GREEN and not board.firm(alone)
        if suspected:
            work.want_tip(gate_of(alone.started), alone.started.config_blob, why=SUSPECTED)
        if alone.colour is Colour.DOUBTFUL:
            work.want_again(alone.started)
        elif base is Colour.GREEN and attempt not in by_itself and not suspected:
            _blame(work, attempt, alone)
    for group in board.reds:
        if group.plain:
            _take_apart(work, group, by_itself)


def _take_apart(work: Work, group: Red, by_itself: Set[str]) -> None:
    """Find out about a red tree what groups of its changes alone would not tell."""
    board = work.board
    suspects = [attempt for attempt in group.pending if attempt not in board.proven]
    if group.started.tip == board.view.tip:
        work.want_under(group.started)
    if not suspects:
        return
    last = suspects[-1]
    if set(board.ahead(last)).isdisjoint(group.pending):
        if len(suspects) == 1 and last not in by_itself:
            judge(work, last)
    elif board.base(group, last) is Colour.GREEN:
        if group.colour is Colour.DOUBTFUL:
            work.want_again(group.started)
    elif work.want_base(group.started, last) and len(suspects) == 1 and group.colour is Colour.DOUBTFUL:
        # As long as it takes the others to land, the same tree without it can be checked.
        work.want_again(group.started)


def _blame(work: Work, attempt: str, alone: Red) -> None:
    """A change is red by itself on what is green: it goes back, unless it can be merged in another way."""
    board = work.board
    merged = board.view.merges.get((board.view.tip, attempt))
    if merged is None:
        work.need(NeedMerge(board.view.tip, attempt))
    elif isinstance(merged, Clash):
        work.returns[attempt] = conflict(board.queued[attempt], merged)
    elif merged.more or merged.lost:
        judge(work, attempt)
    else:
        failing = board.state.failing[alone.started.tree, alone.started.checks]
        work.returns[attempt] = failed(board.queued[attempt], merged, failing)


# --- groups -----------------------------------------------------------------------------------------------


def _undecided(work: Work, going: Sequence[e.GateCheckStarted]) -> list[str]:
    """The changes about which nothing is known and no check will tell, in the queue's order."""
    board = work.board
    covered = {attempt for started in going for attempt in started.stack}
    covered.update(attempt for start in work.wanted.values() for attempt in start.stack)
    return [
        attempt
        for attempt in board.queued
        if attempt not in board.proven
        and attempt not in covered
        and attempt not in board.alone
        and board.stays(attempt)
    ]


def _group(work: Work, todo: Sequence[str], going: Sequence[e.GateCheckStarted]) -> None:
    """Spread the undecided changes over the free slots."""
    board, slots = work.board, work.board.view.slots
    taken = {(started.tree, started.checks) for started in going} | work.wanted.keys()
    one_lane = _one_lane(board)
    # What was never checked has the longest way to go; but the head of the queue is not overtaken.
    again = {attempt for red in board.reds for attempt in red.pending if board.place[attempt] >= slots}
    left = sorted(todo, key=again.__contains__)
    for made in range(slots - len(taken)):
        group = _fill(board, left, ceil(len(left) / (slots - made)))
        if not group or len(work.merges) >= slots:
            return
        left = [attempt for attempt in left if attempt not in group]
        last = board.place[group[-1]]
        below = (name for name in one_lane if board.place[name] <= last) if one_lane else board.lane(group)
        stack = build(work, sorted({*below, *group}, key=board.place.__getitem__))
        if stack is None or not set(group).intersection(stack.names):
            continue
        match board.state.colour(stack.key):
            case Colour.UNKNOWN | Colour.DOUBTFUL:
                work.want(stack)
            case _ if len(stack.names) == 1:
                judge(work, stack.names[0])


def _one_lane(board: Board) -> tuple[str, ...]:
    """All that will probably land, where that is likely enough to be tested on top of each other; else ()."""
    names = tuple(attempt for attempt in board.queued if board.stays(attempt))
    return names if not board.reds and board.odds(names) > TOGETHER else ()


def _fill(board: Board, left: Sequence[str], size: int) -> list[str]:
    """The next group: of changes with the same checks whose lanes will probably land."""
    group: list[str] = []
    stack: list[str] = []
    for attempt in left:
        if group and board.queued[attempt].checks != board.queued[group[0]].checks:
            continue
        lane = board.lane((attempt,))
        if board.odds(lane) <= LIKELY or board.known_red((*lane, attempt)):
            continue
        if group and board.odds((*stack, *(other for other in (*lane, attempt) if other not in stack))) < PASSES:
            break
        group.append(attempt)
        stack += [other for other in (*lane, attempt) if other not in stack]
        if len(group) >= size:
            break
    return group


# --- checks -----------------------------------------------------------------------------------------------


def _going(work: Work) -> list[e.GateCheckStarted]:
    """The running checks that go on."""
    going: dict[tuple[str, str], e.GateCheckStarted] = {}
    for started in work.board.state.running.values():
        key = (started.tree, started.checks)
        if key not in going and (key in work.wanted or key in work.kept or _useful(work.board, started)):
            going[key] = started
    return list(going.values())


def _useful(board: Board, started: e.GateCheckStarted) -> bool:
    """Whether the colour of this tree would still tell something."""
    pending = board.pending(started)
    if not pending or started.tip not in board.state.tips:
        return False
    if any(a not in board.place and a not in board.state.landed for a in started.stack):
        return False
    if len(pending) == 1 and pending[0] not in board.proven:
        return pending[0] not in board.alone or started.stack == pending
    if board.known_red(pending) or not all(map(board.stays, pending)):
        return False
    # All of it proven: it can only land.
    return not board.proven.issuperset(pending) or bool(board.rest(started))
