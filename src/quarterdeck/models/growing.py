"""A text that comes in pieces. To add each to a `str` copies all that came before: a long answer of small pieces would
cost its square.

Rule: it has a bound, which is more than any model says in one answer.
"""

import io
from typing import Final

MOST: Final = 16 * 1024 * 1024
"""Characters."""


class Growing:
    """The text as far as it came."""

    __slots__ = ("_text",)

    def __init__(self) -> None:
        self._text = io.StringIO()

    def add(self, piece: str) -> None:
        """Raises TypeError where that is no text, ValueError where it is too much."""
        if self._text.tell() + len(piece) > MOST:
            raise ValueError(f"an answer of more than {MOST} characters")
        self._text.write(piece)

    def __str__(self) -> str:
        return self._text.getvalue()
