"""Staged landing: what passed in different lanes is put together, checked once, and lands in one step. Pure.

Rules
- The target moves only to a tree that passed. Where the tree of what is to land was checked already (a single lane, a
  queue of one) it lands at once.
- Else all that is proven for the same checks is put on the tip, in queue order, and that tree is checked once. A change
  waits for the proven ones ahead of it that it may conflict with, and for those that will probably be. Two that clashed
  before are not put together: the second one waits until the first has landed or left.
- While changes wait for a free slot, the stage waits until it holds two changes for each slot. The next stage is
  checked on top of one that is being checked, when it adds as much again or nothing else is left to be found out.
- Nothing lands beside a stage that is being checked: it would have to be checked anew.
- A red stage blames nobody. It is tried once more, and its first half (quarters, where slots are free) beside it: what
  is green lands, and the rest is searched, until one change is red by itself on the tip. It is not put together again.
"""

from collections.abc import Sequence
from typing import Final

from quarterdeck.delivery.gate.ledger import Colour
from quarterdeck.delivery.gate.stacks import Work, build
from quarterdeck.kernel import events as e

_FULL: Final = 2
"""Proven changes for each slot that are worth a check of the stage while others wait for one."""


def stage(work: Work, running: Sequence[e.GateCheckStarted], *, waiting: int, busy: bool) -> None:
    """Land what is known to be green, or have the next stage checked.

    `running`: checks that go on. `waiting`: changes that no check covers for want of a slot. `busy`: the lanes have
    something left to find out.
    """
    _land_known(work, running)
    ready = _ready(work)
    if work.land is not None or not ready:
        return
    here = set(ready)
    union = next((red.pending for red in work.board.reds if here.issuperset(red.pending)), None)
    if union is not None:
        _search(work, union, running)
        return
    covered = _staged(work, running, here)
    fresh = [attempt for attempt in ready if attempt not in covered]
    if not fresh or (waiting and len(fresh) < _FULL * work.board.view.slots):
        return
    if covered and busy and len(fresh) < len(covered):
        return
    stack = build(work, (*covered, *fresh))
    if stack is None:
        return
    match work.board.state.colour(stack.key):
        case Colour.GREEN:
            work.settle(stack)
        case Colour.UNKNOWN:
            work.want(stack)
        case _:
            _search(work, stack.names, running)


def _ready(work: Work) -> list[str]:
    """What may be put together now, in the queue's order: all for the same checks."""
    board = work.board
    found: list[str] = []
    for attempt, queued in board.queued.items():
        same = not found or queued.checks == board.queued[found[0]].checks
        fits = same and attempt in board.proven and not board.waits(attempt)
        if fits and not board.clashes(attempt, found):
            found.append(attempt)
    return found


def _staged(work: Work, running: Sequence[e.GateCheckStarted], here: set[str]) -> tuple[str, ...]:
    """The largest part of what is ready that is being checked on the tip, in its order."""
    parts = (work.board.rest(started) for started in running)
    return max((part for part in parts if here.issuperset(part)), key=len, default=())


def _land_known(work: Work, running: Sequence[e.GateCheckStarted]) -> None:
    """Land the largest stack on the tip that is known to be green."""
    board = work.board
    stages = [set(rest) for started in running if (rest := board.rest(started)) and board.proven.issuperset(rest)]
    found: list[tuple[str, ...]] = []
    for key, started in board.state.tested.items():
        if board.state.colour(key) is Colour.GREEN and (rest := board.rest(started)):
            own = set(rest)
            free = all(own <= stage or stage <= own for stage in stages)
            patient = all(
                other in own or other in board.proven or not board.stays(other)
                for attempt in rest
                for other in board.ahead(attempt)
            )
            if free and patient:
                found.append(rest)
    for rest in sorted(found, key=len, reverse=True)[:3]:
        stack = build(work, rest)
        if stack is None or stack.names != rest:
            continue
        same = all(board.queued[attempt].checks == stack.gate for attempt in rest)
        if same and board.state.colour(stack.key) is Colour.GREEN:
            work.settle(stack)
            return


def _search(work: Work, union: Sequence[str], running: Sequence[e.GateCheckStarted]) -> None:
    """Have parts of a red stage checked, and the whole once more if it failed once."""
    board = work.board
    whole = build(work, union)
    if whole is not None and board.state.colour(whole.key) is Colour.DOUBTFUL:
        work.want(whole)
    quarters = board.view.slots - len(running) >= 3
    number = len(union)
    for part in sorted({number // 4, number // 2, number * 3 // 4} if quarters else {number // 2}):
        stack = build(work, union[:part]) if part else None
        if stack is None:
            continue
        match board.state.colour(stack.key):
            case Colour.GREEN:
                work.settle(stack)
            case Colour.UNKNOWN:
                work.want(stack)
            case _:
                break
