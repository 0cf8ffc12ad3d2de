"""How much of a request may be looked through to learn what it may cost. Pure.

Rules
- It is counted, not timed: the same request is understood in the same way on a busy machine.
- Whoever looks says so before it looks. Once the allowance is spent, or nobody waits any more, nothing is looked at.
"""

from dataclasses import dataclass


class Spent(Exception):
    """There is nothing left of an allowance."""


@dataclass(slots=True)
class Allowance:
    """What may be looked through."""

    left: int
    """Bytes."""

    def take(self, count: int) -> None:
        """So many bytes are about to be looked through. Raises Spent where there are fewer left."""
        if count > self.left:
            self.end()
            raise Spent
        self.left -= count

    def end(self) -> None:
        """Nothing more may be looked through, by no thread."""
        self.left = -1

    @property
    def spent(self) -> bool:
        return self.left < 0
