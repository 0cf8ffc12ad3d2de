"""How much of a request may be looked through to learn what it may cost. Pure.

Rules
- It is counted, not timed: the same request is understood in the same way on a busy machine.
- Whoever looks says so before it looks, and counts each thing that it stops at besides: many small ones take longer
  than their bytes. Once the allowance is spent, or nobody waits any more, nothing is looked at.
"""

from dataclasses import dataclass
from typing import Final

STEP: Final = 256
"""Bytes that could be looked through in the time that one thing takes which is stopped at."""


class Spent(Exception):
    """There is nothing left of an allowance."""


@dataclass(slots=True)
class Allowance:
    """What may be looked through."""

    left: int
    """Bytes."""
    spent: bool = False
    """Told apart from what is left, which another thread may be counting down while it is ended."""

    def take(self, count: int) -> None:
        """So many bytes are about to be looked through. Raises Spent where there are fewer left."""
        if self.spent or count > self.left:
            self.end()
            raise Spent
        self.left -= count

    def step(self) -> None:
        """One thing is stopped at. Raises Spent."""
        self.take(STEP)

    def end(self) -> None:
        """Nothing more may be looked through, by no thread."""
        self.spent = True
