"""Which statement of a base is which statement of a side.

Rules
- Same words: the same statement. Then the same name, where it is the only one: also where it moved.
- Between two that are paired, the most alike of the same kind, if they are alike enough.
- What was paired in another order has moved.
- A side is laid out along the base: what it put between two statements, and what it put in the place of some.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.merge.lines import Effort, matches, rising
from quarterdeck.merge.python_tree import Statement

NAMED: Final = frozenset({"function", "class", "import", "assignment"})
_ALIKE: Final = 0.5
"""Of the words of two statements, how many must be the same."""
_RENAMED: Final = 0.75
"""The same for two definitions with different names."""
_MOST_COMPARED: Final = 1_600
"""Pairs of statements between two others that are compared with each other."""
_TRIVIAL: Final = 24
"""Characters up to which a statement found elsewhere is another one that says the same."""


@dataclass(slots=True)
class Layout:
    """One side along the base."""

    pair: dict[int, int]
    """Index in the base to index in the side."""
    moved: set[int]
    """Indexes in the base of what stands elsewhere in the side."""
    gap: dict[int, list[int]] = field(default_factory=dict)
    """What the side has in front of a statement of the base that it put in nobody's place."""
    instead: dict[int, list[int]] = field(default_factory=dict)
    """What the side has in the place of a run of statements that begins here."""
    run: dict[int, tuple[int, int]] = field(default_factory=dict)
    """For a statement that was replaced, the first and last of its run."""


def lay_out(base: Sequence[Statement], side: Sequence[Statement], effort: Effort) -> Layout:
    """The side along the base."""
    pair = pairs(base, side, effort)
    chain = rising([(first, second) for second, first in sorted((second, first) for first, second in pair.items())])
    anchored = {first for first, _ in chain}
    layout = Layout(pair, set(pair) - anchored)
    known = set(pair.values())
    at, there = 0, 0
    for first, second in [*chain, (len(base), len(side))]:
        gone = [index for index in range(at, first) if index not in pair]
        added = list(range(there, second))
        new = [index for index in added if index not in known]
        if gone and new:
            layout.instead[gone[0]] = added
            layout.run.update(dict.fromkeys(gone, (gone[0], gone[-1])))
        elif added:
            layout.gap[at] = added
        at, there = first + 1, second + 1
    return layout


def pairs(base: Sequence[Statement], side: Sequence[Statement], effort: Effort) -> dict[int, int]:
    """Index in the base to index in the side."""
    found = dict(matches([item.key for item in base], [item.key for item in side], effort))
    _by_name(base, side, found)
    at, there = 0, 0
    taken = set(found.values())
    ordered = rising([(first, second) for second, first in sorted((second, first) for first, second in found.items())])
    for first, second in [*ordered, (len(base), len(side))]:
        rows = [index for index in range(at, first) if index not in found]
        columns = [index for index in range(there, second) if index not in taken]
        if rows and columns:
            found.update(_most_alike(base, side, rows, columns, effort))
        at, there = first + 1, second + 1
    _moved(base, side, found)
    return found


def _by_name(base: Sequence[Statement], side: Sequence[Statement], found: dict[int, int]) -> None:
    first, second = (Counter((item.kind, item.name) for item in items) for items in (base, side))
    taken = set(found.values())
    places = {(item.kind, item.name): at for at, item in enumerate(side) if at not in taken}
    for at, item in enumerate(base):
        known = (item.kind, item.name)
        if at not in found and item.kind in NAMED and first[known] == second[known] == 1 and known in places:
            found[at] = places[known]


def _moved(base: Sequence[Statement], side: Sequence[Statement], found: dict[int, int]) -> None:
    taken = set(found.values())
    places = {item.key: at for at, item in enumerate(side) if at not in taken}
    for at, item in enumerate(base):
        if at not in found and len(item.key) > _TRIVIAL and item.key in places:
            found[at] = places.pop(item.key)


def _most_alike(
    base: Sequence[Statement], side: Sequence[Statement], rows: list[int], columns: list[int], effort: Effort
) -> dict[int, int]:
    """The best pairs of the same order."""
    if len(rows) * len(columns) > _MOST_COMPARED:
        return {}
    first, second = [_Bag.of(base[row]) for row in rows], [_Bag.of(side[column]) for column in columns]
    if not effort.spend(len(rows) * sum(len(bag.words) for bag in second)):
        return {}
    score = [[one.alike(other) for other in second] for one in first]
    best = [[0.0] * (len(columns) + 1) for _ in range(len(rows) + 1)]
    for row in range(len(rows) - 1, -1, -1):
        for column in range(len(columns) - 1, -1, -1):
            with_it = score[row][column] + best[row + 1][column + 1] if score[row][column] else 0.0
            best[row][column] = max(with_it, best[row + 1][column], best[row][column + 1])
    found: dict[int, int] = {}
    row = column = 0
    while row < len(rows) and column < len(columns):
        value = score[row][column]
        if value and best[row][column] == value + best[row + 1][column + 1]:
            found[rows[row]] = columns[column]
            row, column = row + 1, column + 1
        elif best[row][column] == best[row + 1][column]:
            row += 1
        else:
            column += 1
    return found


def likeness(one: Statement, other: Statement, effort: Effort) -> float:
    """How much two statements have in common: 0, or from the least that counts up to 1."""
    if one.kind != other.kind or not effort.spend(len(one.key) + len(other.key)):
        return 0.0
    return _Bag.of(one).alike(_Bag.of(other))


@dataclass(frozen=True, slots=True)
class _Bag:
    """The words of a statement, however they stand."""

    statement: Statement
    words: Counter[str]
    total: int

    @classmethod
    def of(cls, statement: Statement) -> "_Bag":
        words = Counter(word for word in statement.key.split("\0") if word.strip(" \n\t()[]{},.:"))
        return cls(statement, words, words.total())

    def alike(self, other: "_Bag") -> float:
        """How much they have in common: 0, or from the least that counts up to 1."""
        one, two = self.statement, other.statement
        if one.kind != two.kind:
            return 0.0
        if one.kind == "text":
            return 1.0
        share = 2 * (self.words & other.words).total() / max(self.total + other.total, 1)
        if one.parts[0].body is not None and one.parts[0].header.words == two.parts[0].header.words:
            return max(share, 0.9)
        least = _RENAMED if one.kind in NAMED and one.name != two.name else _ALIKE
        return share if share >= least else 0.0
