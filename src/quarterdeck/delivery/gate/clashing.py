"""Which queued changes wait because of others ahead of them. Pure.

Rules
- A change that does not merge onto others ahead of it, but onto the tip, waits until those have landed or left. It is
  on record so that people see it: nothing is decided by it.
- Named are those ahead of it that changed a file of its own; where files do not tell, all of them.
"""

from collections.abc import Mapping

from quarterdeck.delivery.gate.ledger import GateState, Queued
from quarterdeck.delivery.gate.orders import Clash, Merged
from quarterdeck.kernel import events as e

Found = Mapping[tuple[str, str], Merged | Clash]
"""(commit, attempt) to what came of merging that attempt's change onto the commit."""


def news(state: GateState, merges: Found) -> list[e.ChangeClashed]:
    """What is to be recorded: who waits for whom now, where that is not known yet."""
    now = clashing(state, merges)
    names = {queued.attempt for queued in state.queue}
    return [
        e.ChangeClashed(attempt=attempt, against=now.get(attempt, ()))
        for attempt in (*now, *state.clashing)
        if attempt in names and now.get(attempt, ()) != state.clashing.get(attempt, ())
    ]


def clashing(state: GateState, merges: Found) -> dict[str, tuple[str, ...]]:
    """Attempts to those ahead of them that they do not merge with, on the present tip."""
    stacks = _stacks(state.tip, merges)
    queued = {each.attempt: each for each in state.queue}
    found: dict[str, tuple[str, ...]] = {}
    for (onto, attempt), merged in merges.items():
        stack = [queued[name] for name in stacks.get(onto, ()) if name in queued]
        at_tip = merges.get((state.tip, attempt))
        if isinstance(merged, Clash) and stack and attempt in queued and isinstance(at_tip, Merged):
            found[attempt] = _against(queued[attempt], stack)
    return found


def _stacks(tip: str, merges: Found) -> dict[str, tuple[str, ...]]:
    """Commits to the changes that lie on the tip there."""
    stacks: dict[str, tuple[str, ...]] = {tip: ()}
    grown = True
    while grown:
        more = {
            merged.commit: (*stacks[onto], attempt)
            for (onto, attempt), merged in merges.items()
            if isinstance(merged, Merged) and onto in stacks and merged.commit not in stacks
        }
        stacks |= more
        grown = bool(more)
    return stacks


def _against(queued: Queued, stack: list[Queued]) -> tuple[str, ...]:
    files = {*queued.change.files}
    shared = [other.attempt for other in stack if files.intersection(other.change.files)]
    return tuple(shared or [other.attempt for other in stack])[:50]
