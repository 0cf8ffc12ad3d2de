"""What both sides added to one block, each at another place.

Rules
- A definition or an import that reads the same on both sides stands once, at the first of the places: what uses it may
  stand between them.
- Of anything else nobody said whether it is wanted once or twice: it is disputed. Only to assert something again does
  no harm.
- So it is where, between two statements of the base, one added something and the other added it below a header.
- What lies in a disputed run is looked at there.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from quarterdeck.merge.pairing import Layout
from quarterdeck.merge.python_tree import Statement, within

_ONCE: Final = frozenset({"function", "class", "import"})
_DOES: Final = frozenset({"simple", "assignment"})
_HARMLESS: Final = frozenset({"assert", "pass", "return", "raise", "continue", "break"})
"""What may be said twice."""

Place = tuple[int, int]
"""In front of which statement of the base, and whether (1) in the place of some."""


def set_apart(
    trio: Sequence[Sequence[Statement]], layouts: Sequence[Layout], regions: Mapping[int, int]
) -> list[Statement]:
    """Takes out of the layouts what stands elsewhere; returns what is disputed. `regions`: runs that are disputed."""
    where: dict[str, tuple[Counter[Place], Counter[Place]]] = {}
    found: dict[str, Statement] = {}
    for which, layout in enumerate(layouts):
        for place, index in _added(layout, regions):
            statement = trio[which + 1][index]
            found[statement.key] = statement
            where.setdefault(statement.key, (Counter(), Counter()))[which][place] += 1
    disputed: list[Statement] = []
    for key, (mine, other) in where.items():
        if not (mine - other and other - mine) or found[key].name == "assert":
            continue
        if found[key].kind not in _ONCE:
            disputed.append(found[key])
            continue
        first = min(mine | other)
        for which, layout in enumerate(layouts):
            for place, index in list(_added(layout, regions)):
                if place != first and trio[which + 1][index].key == key:
                    (layout.instead if place[1] else layout.gap)[place[0]].remove(index)
    return disputed


def half_below(
    trio: Sequence[Sequence[Statement]], layouts: Sequence[Layout], regions: Mapping[int, int]
) -> list[Statement]:
    """What one side added at a place where the other added it below a header. A disputed run is one place."""
    runs = {at: first for first, last in regions.items() for at in range(first, last + 1)}
    bare: tuple[dict[tuple[int, str], Statement], ...] = ({}, {})
    below: tuple[set[tuple[int, str]], ...] = (set(), set())
    for which, layout in enumerate(layouts):
        for (at, _), index in _added(layout, {}):
            statement, place = trio[which + 1][index], runs.get(at, at)
            if statement.kind in _DOES and statement.name not in _HARMLESS:
                bare[which][place, statement.key] = statement
            below[which].update((place, inner.key) for inner in within(statement))
    return [statement for which in (0, 1) for spot, statement in bare[which].items() if spot in below[1 - which]]


def _added(layout: Layout, regions: Mapping[int, int]) -> Iterator[tuple[Place, int]]:
    """What a side has that is nothing of the base, outside of these regions."""
    inside = {at for first, last in regions.items() for at in range(first, last + 1)}
    known = set(layout.pair.values())
    for kind, placed in ((0, layout.gap), (1, layout.instead)):
        for at, indexes in placed.items():
            if at not in inside or (kind == 0 and at in regions):
                yield from (((at, kind), index) for index in indexes if index not in known)
