"""Two changes of one list put together, element by element.

Rules
- Elements that one side added stay; what both added at one place stands in the order ours, theirs.
- Arguments without a name are known by their place. Where both sides changed how many there are, that is a clash.
- What one side took out or replaced, and the other replaced or changed, is a clash; so is a name that both added with
  another text, and a list of numbers that both changed: it is one value.
- What one side took out is gone, wherever the other side moved it.
- Parameters stay on the side of `/` and `*` that they were put on, those with a default behind those without.
- The white space of the side that changed it is kept; where a list runs over lines, a new element gets a line of its
  own. Alphabetical order is kept where all three lists have it.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from quarterdeck.merge.grouping import Element, Group, Item, Kind, in_any_order, name_of
from quarterdeck.merge.line_merge import Clash
from quarterdeck.merge.lines import Effort, Who, three
from quarterdeck.merge.python_tree import Token

_NUMBER: Final = re.compile(r"\d[\w.]*|\.\d\w*")
_SIGNS: Final = frozenset("+-.")

Items = Sequence[Item]
Inner = Callable[[Items, Items, Items], list[Item]]
"""Merges what one element consists of. May raise Clash."""


@dataclass(frozen=True, slots=True)
class Lists:
    """Three versions of one list."""

    groups: tuple[Group, Group, Group]
    keys: tuple[list[str], list[str], list[str]]
    where: tuple[dict[str, int], dict[str, int], dict[str, int]]

    @property
    def kind(self) -> Kind:
        return self.groups[0].kind

    def of(self, key: str) -> tuple[Element | None, Element | None, Element | None]:
        """An element in all three; None where it is not there."""
        b, o, t = (self.get(side, key) for side in range(3))
        return b, o, t

    def get(self, side: int, key: str) -> Element | None:
        at = self.where[side].get(key)
        return None if at is None else self.groups[side].elements[at]

    def some(self, key: str) -> Element:
        """An element as some side has it."""
        return next(element for element in self.of(key) if element is not None)


def merge_elements(
    groups: tuple[Group, Group, Group], before: str, effort: Effort, inner: Inner, *, bold: bool
) -> tuple[Element, ...]:
    """The elements of a list with both changes. `before`: the word in front of the bracket. Raises Clash."""
    said = [[element.words for element in group.elements] for group in groups]
    disputed = said[0] != said[1] != said[2] != said[0]
    if disputed and groups[0].kind is Kind.DISPLAY and all(map(_is_number, (e for g in groups for e in g.elements))):
        raise Clash("both changed a list of numbers")
    in_places = groups[0].kind is Kind.ARGUMENTS and not in_any_order(groups[0], before)
    if disputed and in_places and not bold:
        _check_places(groups)
    lists = _keyed(groups, in_places=in_places)
    order = _ordered(lists, effort, strict=in_places and not bold)
    for key in lists.keys[0]:
        _check_lost(key, lists)
    if lists.kind is Kind.PARAMETERS:
        order = _in_sections(order, lists)
    merged = [_element(key, lists, inner) for key in order]
    return _punctuated(_sorted_like(merged, groups), groups)


def _is_number(element: Element) -> bool:
    return all(word in _SIGNS or _NUMBER.fullmatch(word) for word in element.words)


def _check_places(groups: Sequence[Group]) -> None:
    """Both may not change how many arguments without a name there are, each in its own way."""
    plain = [[e.words for e in group.elements if not name_of(e, group.kind)] for group in groups]
    if plain[1] != plain[2] and len(plain[0]) not in (len(plain[1]), len(plain[2])):
        raise Clash("both changed how many arguments there are")


# --- keys -------------------------------------------------------------------------------------------------


def _keyed(groups: tuple[Group, Group, Group], *, in_places: bool) -> Lists:
    plain = [[" ".join(e.words) for e in group.elements if not name_of(e, group.kind)] for group in groups]
    repeats = any(len(set(texts)) < len(texts) for texts in plain)
    by_place = (in_places or repeats) and len({len(texts) for texts in plain}) == 1
    b, o, t = (_keys(group, by_place) for group in groups)
    where = tuple({key: at for at, key in enumerate(side)} for side in (b, o, t))
    return Lists(groups, (b, o, t), (where[0], where[1], where[2]))


def _keys(group: Group, by_place: bool) -> list[str]:
    """What each element is known by, numbered where that repeats."""
    seen: Counter[str] = Counter()
    found: list[str] = []
    for element in group.elements:
        name = name_of(element, group.kind)
        if not name:
            name = "\0place" if by_place else f"\0{' '.join(element.words)}"
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}\0{seen[name]}")
    return found


# --- order ------------------------------------------------------------------------------------------------


def _ordered(lists: Lists, effort: Effort, *, strict: bool) -> list[str]:
    """Which elements stay, in order. Raises Clash. `strict`: those without a name are in an order that matters."""
    base, ours, theirs = lists.keys
    order: dict[str, None] = {}
    for piece in three(base, ours, theirs, effort, touching=False):
        b, o, t = base[slice(*piece.base)], ours[slice(*piece.ours)], theirs[slice(*piece.theirs)]
        if piece.who is Who.THEIRS:
            order.update(dict.fromkeys(t))
        elif piece.who is not Who.CLASH:
            order.update(dict.fromkeys(o))
        else:
            order.update(dict.fromkeys(_both(b, o, t, lists, strict=strict)))
    gone = set(base) - (set(ours) & set(theirs))
    return [key for key in order if key not in gone]


def _both(b: list[str], o: list[str], t: list[str], lists: Lists, *, strict: bool) -> list[str]:
    known, *sides = (set(side) for side in lists.keys)
    new = [{key for key in keys if key not in known} for keys in (o, t)]
    gone = [{key for key in b if key not in side} for side in sides]
    for key in gone[0] & gone[1]:
        if new[0] != new[1]:
            raise Clash(f"both replaced or took out {key.strip(chr(0))[:60]!r}")
    alone = [any(key.startswith("\0") for key in new[side] - new[1 - side]) for side in (0, 1)]
    if strict and all(alone):
        raise Clash("both added arguments without a name at one place")
    return sorted((*o, *t), key=lambda key: _rank(lists.some(key)))


def _rank(element: Element) -> int:
    """Positional before named, and what takes all the rest last: any other order would not parse."""
    words = element.words
    if words[:1] == ("**",):
        return 2
    return 1 if "=" in element.own[1:] or words[:1] == ("*",) else 0


def _check_lost(key: str, lists: Lists) -> None:
    """What one side took out must not be what the other changed."""
    base, *sides = lists.of(key)
    for kept, gone in (sides, sides[::-1]):
        if base is not None and kept is not None and gone is None and kept.words != base.words:
            raise Clash(f"one side took out {key.strip(chr(0))[:60]!r}, the other changed it")


def _element(key: str, lists: Lists, inner: Inner) -> Element:
    b, o, t = lists.of(key)
    if o is None or t is None:
        return lists.some(key)
    if b is None:
        if o.words != t.words:
            raise Clash(f"both added {key.strip(chr(0))[:60]!r}, each in another way")
        return o
    return Element(tuple(inner(b.items, o.items, t.items)), o.comma or t.comma)


# --- parameters -------------------------------------------------------------------------------------------

_BARE, _MARK, _LAST = 1, 2, 4
"""Sections of parameters; those before `/` are 0, those that need a name 3."""


def _in_sections(order: list[str], lists: Lists) -> list[str]:
    """Each parameter on the side of the marks where it was put. Raises Clash."""
    found = [_sections(keys, group) for keys, group in zip(lists.keys, lists.groups, strict=True)]
    section: dict[str, int] = {}
    for key in order:
        b, o, t = (each.get(key) for each in found)
        if o is None or t is None:
            section[key] = next(each for each in (o, t, b) if each is not None)
        elif o in (b, t):
            section[key] = t
        elif t == b:
            section[key] = o
        else:
            raise Clash(f"both moved the parameter {key!r}")
    if sum(place == _MARK for place in section.values()) > 1:
        raise Clash("both changed how parameters are taken")
    return sorted(order, key=lambda key: (section[key], key == "/", _late(lists.some(key), section[key])))


def _sections(keys: Sequence[str], group: Group) -> dict[str, int]:
    found: dict[str, int] = {}
    place = 0 if "/" in keys else _BARE
    for key, element in zip(keys, group.elements, strict=True):
        first = element.own[0]
        if first == "**":
            found[key] = _LAST
        elif first == "*":
            found[key] = _MARK
            place = _MARK + 1
        else:
            found[key] = place
            place = _BARE if first == "/" else place
    return found


def _late(element: Element, section: int) -> bool:
    return section <= _BARE and "=" in element.own


# --- form -------------------------------------------------------------------------------------------------


def _sorted_like(merged: list[Element], groups: Sequence[Group]) -> list[Element]:
    """In alphabetical order where all three lists are; otherwise as they are."""
    if len(groups[0].elements) < 2 or groups[0].kind not in (Kind.NAMES, Kind.DISPLAY):
        return merged
    for fold in (str, str.casefold):
        orders = [[fold(" ".join(element.words)) for element in group.elements] for group in groups]
        if all(order == sorted(order) for order in orders) and all(len(element.items) == 1 for element in merged):
            return sorted(merged, key=lambda element: fold(" ".join(element.words)))
    return merged


def _punctuated(elements: list[Element], groups: Sequence[Group]) -> tuple[Element, ...]:
    """With commas between them, and the white space that the list has elsewhere."""
    if not elements:
        return ()
    ends = _ends_with_comma(len(elements), groups)
    later = [_without_comments(_before(element)) for element in elements[1:]]
    usual = max(later, key=lambda text: (later.count(text), "\n" in text)) if later else " "
    starts = [_before(group.elements[0]) if group.elements else "" for group in groups]
    result: list[Element] = []
    remarks = Counter[str]()
    for group in groups:
        remarks |= Counter(before for element in group.elements if "#" in (before := _before(element)))
    for at, element in enumerate(elements):
        before = _before(element)
        if "#" in before:
            remarks[before] -= 1
            if remarks[before] < 0:
                before = _without_comments(before)  # both added behind the same comment
        if at == 0:
            before = starts[2] if starts[1] == starts[0] else starts[1]
        elif ("\n" in usual and "\n" not in before) or not before:
            before = usual or " "
        comma = (element.comma or Token(",")) if at < len(elements) - 1 or ends else None
        result.append(Element((_led(element.items[0], before), *element.items[1:]), comma))
    return tuple(result)


def _ends_with_comma(count: int, groups: Sequence[Group]) -> bool:
    trailing = [bool(group.elements and group.elements[-1].comma) for group in groups]
    if count == 1 and groups[0].kind is Kind.DISPLAY and groups[0].open.text == "(":
        # With one element it is the comma that makes a tuple.
        return all(comma or len(group.elements) > 1 for comma, group in zip(trailing, groups, strict=True))
    return trailing[2] if trailing[1] == trailing[0] else trailing[1]


def _without_comments(before: str) -> str:
    return "\n" + before.rpartition("\n")[2] if "#" in before else before


def _before(element: Element) -> str:
    item = element.items[0] if element.items else Token("")
    return item.before if isinstance(item, Token) else item.open.before


def _led(item: Item, before: str) -> Item:
    if isinstance(item, Token):
        return replace(item, before=before)
    return replace(item, open=replace(item.open, before=before))
