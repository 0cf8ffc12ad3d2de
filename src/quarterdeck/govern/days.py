"""What days have cost, and each person's part of them, read off their purses. Pure.

Rules
- Whoever makes a call, an agent of a run or a key of the gateway alone, pays it from the purses of its day as well. So
  what such a purse has settled is what the day has cost, and the command line and the dashboard both read it here.
- A call belongs to the day in which it was begun. What only an agent says of itself is in no purse.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from quarterdeck.govern.chain import DayCaps
from quarterdeck.journal.views import PurseView
from quarterdeck.kernel.entities import to_nusd


@dataclass(frozen=True, slots=True)
class Held:
    """What a purse of one day, or of one person's day, holds."""

    day: str
    user: str
    """Empty = everybody."""
    settled_nusd: int
    reserved_nusd: int
    cap_nusd: int | None
    """None = the day is over, or its cap was not asked for."""


def held(purses: Iterable[PurseView], caps: DayCaps | None = None, today: str = "") -> list[Held]:
    """The purses of days, the newest first, everybody's before each person's. `caps`: those of `today`."""
    found = []
    for purse in purses:
        kind, _, name = purse.purse.partition("/")
        user, _, day = name.rpartition("/")
        if kind not in ("deck", "user"):
            continue
        cap = to_nusd(caps.user if user else caps.deck) if caps is not None and day == today else None
        found.append(Held(day, user, purse.settled_nusd, purse.reserved_nusd, cap))
    found.sort(key=lambda one: one.user)
    return sorted(found, key=lambda one: one.day, reverse=True)


def settled(purses: Iterable[PurseView], by: Literal["day", "user"], since: str) -> dict[str, int]:
    """What was spent from a day on by each day, or by each person: nano-USD."""
    found = Counter[str]()
    for one in held(purses):
        if one.day >= since and bool(one.user) == (by == "user"):
            found[one.user if by == "user" else one.day] += one.settled_nusd
    return dict(found)
