"""Which commit made the target red: a search by checks among what landed, the newest first. Pure.

Rules
- What a check said before the tip was found red does not count: it was luck, or the world was another one.
- A tree is cleared when it passes twice, and red when it fails twice, whichever comes first; the tip is red.
- The newest commit is suspected first: what it stands on is tried. Is that red too, two, four, eight commits before the
  tip are tried, until one is cleared; what lies between is halved.
- The culprit is the first commit that is red and stands on one that is cleared.
- Where even what all suspects stand on is red, none of them is at fault.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from quarterdeck.kernel import events as e

ENOUGH: Final = 2
"""Verdicts of one kind that settle a tree."""


class Guilt(StrEnum):
    OPEN = "open"
    CLEARED = "cleared"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the search ended."""

    culprit: e.Suspect | None
    """None = none of the suspects."""


@dataclass(frozen=True, slots=True)
class Search:
    """How far a search has come."""

    red: e.TipFoundRed
    since: float
    """Seconds since the epoch."""
    seen: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Tree to how often it passed and failed since."""
    found: e.CulpritFound | None = None
    asked: e.ApprovalAsked | None = None
    """What a person is asked, until it is decided."""

    @property
    def waits(self) -> bool:
        """A person is, or is to be, asked before anything is taken back."""
        return self.found is not None and self.found.action == "ask"

    def guilt(self, tree: str) -> Guilt:
        """What is known about a tree."""
        if tree == self.red.tree:
            return Guilt.RED
        passed, failed = self.seen.get(tree, (0, 0))
        if passed < ENOUGH and failed < ENOUGH:
            return Guilt.OPEN
        return Guilt.CLEARED if passed >= ENOUGH else Guilt.RED

    def tries(self, tree: str) -> int:
        """Which check of this tree the next one is, from 1."""
        return sum(self.seen.get(tree, (0, 0))) + 1

    def told(self, tree: str, *, passed: bool) -> "Search":
        """The search, with one more verdict about a tree. What is settled stays so."""
        if self.guilt(tree) is not Guilt.OPEN:
            return self
        good, bad = self.seen.get(tree, (0, 0))
        return replace(self, seen={**self.seen, tree: (good + passed, bad + (not passed))})


def next_probe(search: Search) -> e.Suspect | Verdict:
    """The commit whose tree has to be checked next, or the end of the search."""
    suspects = search.red.suspects
    if not suspects:
        return Verdict(None)
    last = len(suspects) - 1
    guilt = [*(search.guilt(suspect.tree) for suspect in suspects[:last]), Guilt.RED]
    cleared = max((place for place in range(last) if guilt[place] is Guilt.CLEARED), default=None)
    if cleared is None:
        return _further_back(suspects, guilt)
    red = next(place for place in range(cleared + 1, last + 1) if guilt[place] is Guilt.RED)
    return Verdict(suspects[red]) if red == cleared + 1 else suspects[(cleared + red) // 2]


def _further_back(suspects: tuple[e.Suspect, ...], guilt: list[Guilt]) -> e.Suspect | Verdict:
    """The next one to try while none is cleared."""
    last, back = len(suspects) - 1, 1
    while True:
        place = max(0, last - back)
        if guilt[place] is Guilt.OPEN:
            return suspects[place]
        if place == 0:
            return Verdict(None)
        back *= 2
