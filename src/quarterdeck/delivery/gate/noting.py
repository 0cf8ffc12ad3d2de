"""The notes of what landed: written after the landing, and owed where that fails.

Rules
- A note that cannot be written does not stand in the way of landing. It is tried again a few times, ever more rarely,
  in the background: nothing waits for it.
"""

from dataclasses import replace
from typing import Final

from quarterdeck.delivery import jobs
from quarterdeck.delivery.gate import merging
from quarterdeck.delivery.gate.checking import Book
from quarterdeck.delivery.gate.ledger import GateState
from quarterdeck.engine.port import Job
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.workplace.mirror import Mirror

_PAUSES: Final = (5.0, 30.0, 120.0)
"""Seconds after which notes that are owed are tried again, where nothing lands meanwhile."""
_BACKGROUND: Final = -1


def look_later(target: str, delay: float, state: GateState) -> Job:
    """The gate looks again after so many seconds."""
    # Under a key of its own, so that it does not stand in the way of an earlier one.
    return replace(jobs.gate_advance(target, delay, state.reach), key=f"gate/{target}/later")


class Noting:
    """Of one process."""

    def __init__(self, journal: Journal, book: Book) -> None:
        self._journal = journal
        self._book = book
        self._owed: dict[str, int] = {}
        """By target with notes that are owed, how often they were tried again."""

    def owes(self, target: str) -> bool:
        """Whether notes of that target are owed, as far as this process knows."""
        return target in self._owed

    async def write(self, target: str, claim: Claim, mirror: Mirror) -> None:
        """Write the notes of what landed last, and those that are owed."""
        events = await merging.annotate(mirror, await self._book.state(target))
        if events:
            await self._journal.append(claim, *events)
        state = await self._book.state(target)
        if state.unnoted:
            await self.owe(target, state)
        else:
            self._owed.pop(target, None)

    async def owe(self, target: str, state: GateState) -> None:
        """Look later whether notes are missing, a few times."""
        self._owed[target] = self._owed.get(target, -1) + 1
        if self._owed[target] < len(_PAUSES):
            later = replace(look_later(target, _PAUSES[self._owed[target]], state), priority=_BACKGROUND)
            await self._journal.commit(also=self._book.deferring(later))
