"""What both sides put in at one place: what counts as the same thing, and what has to stand first or last.

Rules
- Definitions, imports and values of a module or class are known by their names. In a function a value is, too, for a
  careful merge: of two values of one name in a row, the first would be lost.
- Overloads of one function, and the getter, setter and deleter of a property, are different things.
- A docstring, `if __name__ == ...:`, `if TYPE_CHECKING:` and a `case` are known by what they are.
- What both added in another order is disputed.
- A docstring and imports from `__future__` stand first; what ends a block, and a `case` that takes everything, last.
- Of clauses, those with one header are the same. `else`, `finally` and what catches every exception stand last.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from quarterdeck.merge.line_merge import Clash
from quarterdeck.merge.pairing import NAMED
from quarterdeck.merge.python_tree import Part, Statement

SHARING: Final = frozenset({"overload", "getter", "setter", "deleter", "register"})
"""Decorators of definitions that share their name with others."""
_ENDS: Final = frozenset({"return", "raise", "continue", "break"})
_CATCH_ALL: Final = frozenset({("except", ":"), ("except", "Exception", ":"), ("except", "BaseException", ":")})


@dataclass(frozen=True, slots=True)
class Placed:
    """A statement that a side has at a place, and its text there."""

    statement: Statement
    text: str
    is_first: bool
    """Of its block."""

    @property
    def leads(self) -> bool:
        """Whether it means what it does only at the beginning."""
        docstring = self.is_first and self.statement.kind == "text"
        return docstring or self.statement.name == "from __future__"


def known(placed: Placed, *, defines: bool, bold: bool) -> tuple[str, str]:
    """What an addition is known by: two of the same are the same thing."""
    statement = placed.statement
    words = statement.parts[0].header.words
    if statement.kind in ("function", "class"):
        return statement.kind, "\0".join((statement.name, *_sharing(statement)))
    if statement.kind in NAMED and (defines or (not bold and _is_store(statement))):
        return statement.kind, statement.name
    if statement.kind == "text" and placed.is_first:
        return "text", ""
    if statement.kind == "case" or (statement.kind == "if" and (is_typing(statement) or "__name__" in words)):
        return statement.kind, " ".join(words)
    return "", statement.key


def crossed(ours: Sequence[Hashable], theirs: Sequence[Hashable], pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether both have something that was not paired, because it stands in another order. `pairs`: what was; counted
    alone, because of what stands there twice either may be the one that was paired."""
    return (Counter(ours) & Counter(theirs)).total() > len(pairs)


def is_typing(statement: Statement) -> bool:
    """Whether it is a block of imports for type checkers."""
    part = statement.parts[0]
    return (
        statement.kind == "if"
        and len(statement.parts) == 1
        and part.header.words[-2:] == ("TYPE_CHECKING", ":")
        and all(inner.kind == "import" for inner in part.body or ())
    )


def _sharing(statement: Statement) -> tuple[str, ...]:
    """What sets a definition apart from others of its name; nothing = there may be no others."""
    decorators = [line.words for line in statement.parts[0].decorators]
    if not any(SHARING & set(words) for words in decorators):
        return ()
    return tuple(word for words in (*decorators, statement.parts[0].header.words) for word in words)


def _is_store(statement: Statement) -> bool:
    return statement.kind == "assignment" and not statement.name.endswith("=")


def is_last(statement: Statement) -> bool:
    """Whether nothing in its block is reached behind it."""
    if statement.kind == "case":
        words = statement.parts[0].header.words
        return len(words) == 3 and words[1].isidentifier()
    return statement.kind == "simple" and statement.name in _ENDS


# --- clauses ----------------------------------------------------------------------------------------------


def clause_keys(sides: Sequence[Sequence[Part]]) -> list[list[str]]:
    """What the clauses of a statement are known by, for the base and both sides."""
    keys = [[_clause(at, part) for at, part in enumerate(parts)] for parts in sides]
    if len({len(side) for side in keys}) == 1 and all(_in_place(keys[0], side) for side in keys[1:]):
        return [[str(at) for at in range(len(parts))] for parts in sides]
    return keys


def _in_place(base: Sequence[str], side: Sequence[str]) -> bool:
    """Whether each clause is the base's of the same number: no other number of one has the other's header."""
    return all(old == new or (old not in side and new not in base) for old, new in zip(base, side, strict=True))


def _clause(at: int, part: Part) -> str:
    return "\0first" if at == 0 else " ".join(part.header.words)


def clauses_in_turn(ours: Sequence[Part], theirs: Sequence[Part]) -> list[Part]:
    """The clauses that both added at one place. Raises Clash."""
    if {part.header.words for part in ours} & {part.header.words for part in theirs}:
        raise Clash("both added the same clause")
    late = [any(_is_late(part) for part in side) for side in (ours, theirs)]
    if all(late):
        raise Clash("both added a last clause")
    return [*theirs, *ours] if late[0] else [*ours, *theirs]


def _is_late(part: Part) -> bool:
    words = part.header.words
    caught = (*words[: words.index("as")], ":") if "as" in words else words
    return words[0] in ("else", "finally") or caught in _CATCH_ALL
