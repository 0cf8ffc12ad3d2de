"""A run of statements that one side put below a new header, seen as if all sides had done so.

Rules
- The new statement stands alone in the place of the run, and its block holds most of what the run was.
- Its header may have come from the run's first statement (`x = f()` became `with f() as x:`): then the other side's
  changes of that statement belong to the header.
- Where both sides put the run below headers, one header that both wrote is one: it never stands twice. Of two headers
  either might be the outer one, unless one of them holds only a part of what the other holds.
- What is moved below a header is indented like that block; strings over several lines stay as they are.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from quarterdeck.merge.lines import Effort, split
from quarterdeck.merge.pairing import likeness, pairs
from quarterdeck.merge.python_tree import Line, Part, Statement, Token, within

_MOST: Final = 0.5


@dataclass(frozen=True, slots=True)
class Wrapped:
    """The same block below the same header on all sides."""

    outer: Statement
    """The new statement, as the one side has it."""
    header: tuple[Line, Line] | None
    """What the header was in the base and on the other side; None = there was none."""
    base: list[Statement]
    other: list[Statement]


def unwrapped(
    base: Sequence[Statement], side: Sequence[Statement], other: Sequence[Statement], effort: Effort
) -> Wrapped | None:
    """How `side` wrapped `base`, with what `other` made of it; None = it did not, or its header would stand twice."""
    found = _unwrapped(base, side, other, effort)
    return None if found is None or _is_doubled(found) else found


def wrapped_alike(
    base: Sequence[Statement], ours: Sequence[Statement], theirs: Sequence[Statement], effort: Effort
) -> Statement | None:
    """What `base` would be below the header that both put it below; None = they did not."""
    found = _unwrapped(base, ours, theirs, effort)
    if found is None or found.header is not None or _unwrapped(base, theirs, ours, effort) is None:
        return None
    header = found.outer.parts[0].header
    if header.words != theirs[0].parts[0].header.words:
        return None
    return Statement([Part([], replace(header, lead=base[0].lead), found.base)], found.outer.kind, found.outer.name)


def are_rivals(one: Wrapped | None, other: Wrapped | None, effort: Effort) -> bool:
    """Whether both sides put the run below headers, neither of them only a part of what the other did."""
    if one is not None and other is not None:
        return True
    return any(wrapped is not None and _is_held_elsewhere(wrapped, effort) for wrapped in (one, other))


def _is_held_elsewhere(wrapped: Wrapped, effort: Effort) -> bool:
    """Whether the other side holds the run below a header that is not alone there, and left nothing of it outside."""
    is_held = any(_held(wrapped.base, each, list(within(each)), effort) for each in wrapped.other)
    return is_held and not pairs(wrapped.base, wrapped.other, effort)


def _unwrapped(
    base: Sequence[Statement], side: Sequence[Statement], other: Sequence[Statement], effort: Effort
) -> Wrapped | None:
    if len(side) != 1 or not base or not other:
        return None
    outer = side[0]
    body = outer.parts[0].body
    if not body or outer.kind in ("function", "class") or outer.parts[0].decorators:
        return None
    first, second = base[0].parts[0].header, other[0].parts[0].header
    became = len(base) > 1 and base[0].kind == other[0].kind and _close(first, outer.parts[0].header)
    if became and (base[0].parts[0].body is not None or not _close(first, second)):
        return None
    inner, others = (base[1:], other[1:]) if became else (base, other)
    if _held(inner, outer, body, effort) < _MOST * len(inner):
        return None
    old, new = base[0].first.indent, body[0].first.indent
    return Wrapped(
        outer,
        (first, second) if became else None,
        [indented(statement, old, new) for statement in inner],
        [indented(statement, old, new) for statement in others],
    )


def _held(run: Sequence[Statement], outer: Statement, body: Sequence[Statement], effort: Effort) -> int:
    """How many statements of a run stand in the block of another; one that has become that other itself does not."""
    known = {statement.key for statement in body}
    blocks = [statement for statement in body if statement.parts[0].body is not None]
    held = 0
    for item in run:
        if item.key in known:
            held += 1
        elif item.parts[0].body is not None:
            likest = max((likeness(item, each, effort) for each in blocks), default=0.0)
            held += likest > likeness(item, outer, effort)
    return held


def _is_doubled(wrapped: Wrapped) -> bool:
    """Whether the other side has the new header too, somewhere."""
    words = wrapped.outer.parts[0].header.words
    before, after = (
        sum(inner.parts[0].header.words == words for statement in side for inner in (statement, *within(statement)))
        for side in (wrapped.base, wrapped.other)
    )
    return after > before


def _close(one: Line, other: Line) -> bool:
    first, second = (Counter(word for word in line.words if word.isidentifier()) for line in (one, other))
    return 2 * (first & second).total() > _MOST * 2 * min(first.total(), second.total()) > 0


def indented(statement: Statement, old: str, new: str) -> Statement:
    """The statement with another indentation."""

    def line(found: Line) -> Line:
        tokens = tuple(replace(token, before=_between(token, old, new)) for token in found.tokens)
        indent = new + found.indent.removeprefix(old) if found.indent.startswith(old) else found.indent
        return Line(_shifted(found.lead, old, new), indent, tokens, found.end, found.number)

    def part(found: Part) -> Part:
        body = None if found.body is None else [indented(inner, old, new) for inner in found.body]
        heads = [line(decorator) for decorator in found.decorators]
        return Part(heads, line(found.header), body, _shifted(found.rest, old, new))

    return Statement([part(found) for found in statement.parts], statement.kind, statement.name)


def _between(token: Token, old: str, new: str) -> str:
    first, feed, rest = token.before.partition("\n")
    return first + feed + _shifted(rest, old, new) if feed else first


def _shifted(text: str, old: str, new: str) -> str:
    return "".join(new + line[len(old) :] if line.startswith(old) and line != "\n" else line for line in split(text))
