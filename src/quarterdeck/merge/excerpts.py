"""The part of two Python texts in which they differ.

Rules
- It begins and ends between statements of the outermost level, as far as their lines tell: nothing is read for it.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Excerpt(NamedTuple):
    """Two texts without what they share at their beginning and their end."""

    above: int
    """Lines left out at the beginning."""
    before: str
    after: str


def excerpt(before: str, after: str) -> Excerpt:
    """What differs, in whole statements."""
    old, new = before.split("\n"), after.split("\n")
    head, tail = common(old, new)
    top = head
    while top > 0 and not _begins(new[top - 1]):
        top -= 1
    top = max(0, top - 1)
    kept = 0
    while kept < tail and not _begins(new[len(new) - tail + kept]):
        kept += 1
    parts = ["\n".join(lines[top : len(lines) - tail + kept]) + "\n" for lines in (old, new)]
    return Excerpt(top, parts[0], parts[1])


def common(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many lines at the beginning, and of the others at the end, are the same."""
    shorter = min(len(old), len(new))
    head = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    tail = next((at for at in range(shorter - head) if old[-1 - at] != new[-1 - at]), shorter - head)
    return head, tail


def _begins(line: str) -> bool:
    """Whether a statement at the outermost level may begin there."""
    return (
        bool(line)
        and not line[0].isspace()
        and line[0] not in ")]}#"
        and not line.startswith(("else", "elif", "except", "finally"))
    )
