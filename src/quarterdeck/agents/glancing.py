"""What one edit of a Python file touches, at a glance: by indentation, without taking the file apart. Pure.

Rules
- It is for the moment right after an edit, where a file that is taken apart would cost more than the step itself. What
  was changed in the end is known for certain from the commit (`touching.changed`).
- The names are those of `merge.naming`: the innermost function, method or class around the first line that differs, and
  each that begins among the lines that differ. One that begins on no side any more has no lines.
- A line of a text or of an expression may look like a header; then a name is wrong, and an agent may be warned in vain.
- Where the change stands in no function and no class, its own lines and those around it are taken apart.
"""

import re
from collections.abc import Sequence
from typing import Final

from quarterdeck.agents.touching import MAX_TEXT, changed
from quarterdeck.journal.touches import Spot
from quarterdeck.kernel.events.beside import SPOTS
from quarterdeck.merge.excerpts import common, excerpt
from quarterdeck.merge.naming import PYTHON, suffix

_HEADER: Final = re.compile(r"(?:async\s+def|def|class)\s+(\w+)")
_BLOCK: Final = re.compile(r"(?:if|elif|else|for|while|with|try|except|finally|match|case|async)\b")


def glance(path: str, before: str, after: str) -> tuple[Spot, ...]:
    """The places that differ between two versions of a file."""
    if suffix(path) not in PYTHON or max(len(before), len(after)) > MAX_TEXT:
        return changed(path, before, after)
    old, new = before.split("\n"), after.split("\n")
    head, tail = common(old, new)
    if head == len(old) == len(new):
        return ()
    found = _within(new, head, len(new) - tail)
    gone = _within(old, head, len(old) - tail)
    if found is None or gone is None:
        return _among(path, before, after)
    names = {spot.name for spot in found}
    # What began above the change is there as it was, whatever was taken out of it.
    return (*found, *(s if s.first <= head else Spot(s.name, 0, 0) for s in gone if s.name not in names))


def _within(lines: Sequence[str], begin: int, end: int) -> tuple[Spot, ...] | None:
    """What the lines from `begin` to `end` belong to; None = to no function and no class."""
    says = [at for at in range(begin, end) if lines[at].strip()]
    if not says:
        return ()
    first = _around(lines, _under_decorators(lines, says[0]))
    if first is None:
        return None
    headers = [at for at in says if _HEADER.match(lines[at].lstrip())]
    found = [
        first,
        *(_around(lines, at) for at in headers[:SPOTS]),
    ]  # no event says more; each is a way through the file
    return tuple(dict.fromkeys(spot for spot in found if spot is not None))


def _under_decorators(lines: Sequence[str], at: int) -> int:
    """The header that a decorator belongs to; any other line itself."""
    under = at
    while under + 1 < len(lines) and lines[under].lstrip().startswith("@"):
        under += 1
    return under


def _around(lines: Sequence[str], at: int) -> Spot | None:
    """The innermost function, method or class of a line."""
    names: list[str] = []
    header = 0
    limit = _indent(lines[at]) + bool(_HEADER.match(lines[at].lstrip()))
    for number in range(at, -1, -1):
        line = lines[number].lstrip()
        indent = len(lines[number]) - len(line)
        if not line or indent >= limit:
            continue
        if found := _HEADER.match(line):
            header = header if names else number
            names.insert(0, found[1])
            limit = indent
        elif _BLOCK.match(line):
            limit = indent
        if limit == 0:
            break
    if not names:
        return None
    return Spot(".".join(names), header + 1, _end(lines, header) + 1)


def _end(lines: Sequence[str], header: int) -> int:
    """The last line of what begins at `header`."""
    indent, last = _indent(lines[header]), header
    for number in range(header + 1, len(lines)):
        line = lines[number].strip()
        if line and _indent(lines[number]) <= indent and line[0] not in ")]}#":
            break
        last = number if line else last
    return last


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _among(path: str, before: str, after: str) -> tuple[Spot, ...]:
    """The same of the statements around the change alone."""
    part = excerpt(before, after)
    return tuple(
        spot if not spot.last else Spot(spot.name, spot.first + part.above, spot.last + part.above)
        for spot in changed(path, part.before, part.after)
    )
