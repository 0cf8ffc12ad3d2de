"""Two changes of one logical line put together, word by word.

Rules
- What stands in brackets, separated by commas, is a list: parameters, arguments, names to import, entries. Its elements
  are known by their names (a parameter's, a key's) or else by their text.
- Elements that one side added stay; what both added at one place stands in the order ours, theirs, with positional
  ones before named ones. The same name with another text on each side is a clash.
- Outside of brackets, changes that do not overlap are both taken, also side by side.
- The separators and the white space of the side that changed them are kept; where the list runs over lines, an added
  element gets a line of its own.
- A string that both sides changed is put together line by line, a short one word by word.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from quarterdeck.merge.lines import Effort, Who, matches, split, three
from quarterdeck.merge.python_tree import Token

_PAIRS: Final = {"(": ")", "[": "]", "{": "}"}
_WORD: Final = re.compile(r"\w+|\s+|[^\w\s]")


class Clash(Exception):
    """Both sides changed the same words."""


@dataclass(frozen=True, slots=True)
class Group:
    """A bracket and what stands in it. An import's names without brackets have empty ones."""

    open: Token
    elements: "tuple[Element, ...]"
    close: Token


Item = Token | Group


@dataclass(frozen=True, slots=True)
class Element:
    """One entry of a list, with the comma behind it."""

    items: tuple[Item, ...]
    comma: Token | None = None

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(word for item in self.items for word in words_of(item))

    @property
    def name(self) -> str:
        """What it is known by."""
        words = self.words
        if "for" in words:
            return " ".join(words)
        stars = words[0] if words and words[0] in ("*", "**") else ""
        if stars:
            return " ".join(words) if len(words) > 2 else stars + "".join(words[1:2])
        for mark in ("=", ":"):
            if mark in words[1:2]:
                return words[0]
        if ":" in words:
            return " ".join(words[: words.index(":")])
        return " ".join(words)


def words_of(item: Item) -> list[str]:
    """The words of an item, in order."""
    if isinstance(item, Token):
        return [item.text]
    found = [item.open.text]
    for element in item.elements:
        found += [*element.words, ","]
    return [*found, item.close.text]


def spelled(items: Sequence[Item]) -> str:
    """The text of items."""
    parts: list[str] = []
    for item in items:
        if isinstance(item, Token):
            parts.append(item.whole)
            continue
        parts.append(item.open.whole)
        for element in item.elements:
            parts.append(spelled(element.items))
            parts.append(element.comma.whole if element.comma else "")
        parts.append(item.close.whole)
    return "".join(parts)


def grouped(tokens: Sequence[Token]) -> list[Item]:
    """Words with their brackets, nested as they stand. Raises Clash where they do not close."""
    if len(tokens) > 2 and tokens[0].text == "from" and any(token.text == "import" for token in tokens):
        at = next(number for number, token in enumerate(tokens) if token.text == "import") + 1
        if at == len(tokens) or tokens[at].text != "(":
            return [*tokens[:at], Group(Token(""), _elements(tokens[at:]), Token(""))]
    items, end = _read(tokens, 0, "")
    if end != len(tokens):
        raise Clash("brackets do not close")
    return items


def _read(tokens: Sequence[Token], at: int, until: str) -> tuple[list[Item], int]:
    items: list[Item] = []
    while at < len(tokens):
        token = tokens[at]
        if token.text in _PAIRS and not token.is_string:
            inner, end = _read(tokens, at + 1, _PAIRS[token.text])
            if end >= len(tokens):
                raise Clash("brackets do not close")
            items.append(Group(token, _elements(inner), tokens[end]))
            at = end + 1
            continue
        if token.text in (")", "]", "}"):
            if token.text != until:
                raise Clash("brackets do not close")
            return items, at
        items.append(token)
        at += 1
    return items, at


def _elements(items: Sequence[Item]) -> tuple[Element, ...]:
    found: list[Element] = []
    mine: list[Item] = []
    for item in items:
        if isinstance(item, Token) and item.text == ",":
            if not mine:
                raise Clash("a comma without anything before it")
            found.append(Element(tuple(mine), item))
            mine = []
        else:
            mine.append(item)
    if mine:
        found.append(Element(tuple(mine)))
    return tuple(found)


# --- merging ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hand:
    """How far a merge may go."""

    effort: Effort
    bold: bool = False
    """What both changed is put one after the other instead of being a clash."""


def merge_words(base: Sequence[Token], ours: Sequence[Token], theirs: Sequence[Token], hand: Hand) -> str:
    """The text of one logical line with both changes. Raises Clash."""
    return spelled(_items(grouped(base), grouped(ours), grouped(theirs), hand))


def _items(base: Sequence[Item], ours: Sequence[Item], theirs: Sequence[Item], hand: Hand) -> list[Item]:
    """Items side by side: words by what they say, brackets by which they are, strings by their place."""
    counts = {sum(isinstance(item, Token) and item.is_string for item in side) for side in (base, ours, theirs)}
    keys = [[_key(item, len(counts) == 1) for item in side] for side in (base, ours, theirs)]
    merged: list[Item] = []
    for piece in three(keys[0], keys[1], keys[2], hand.effort, touching=False):
        b, o, t = base[slice(*piece.base)], ours[slice(*piece.ours)], theirs[slice(*piece.theirs)]
        if piece.who is Who.NOBODY:
            merged += [_item(*trio, hand) for trio in zip(b, o, t, strict=True)]
        elif _said(o) == _said(t) or (piece.who is Who.OURS and _said(b) == _said(t)):
            merged += o
        elif piece.who is Who.THEIRS and _said(b) == _said(o):
            merged += t
        elif b or piece.who is not Who.CLASH:
            raise Clash(f"both changed {spelled(b or o).strip()[:60]!r}")
        else:
            merged += _appended(o, t)
    return merged


def _key(item: Item, by_place: bool) -> str:
    if isinstance(item, Group):
        return f"\0{item.open.text or '('}"
    return "\0string" if item.is_string and by_place else item.text


def _said(items: Sequence[Item]) -> list[str]:
    return [word for item in items for word in words_of(item)]


def _appended(ours: Sequence[Item], theirs: Sequence[Item]) -> list[Item]:
    """What both added at one place; once, where one of them only went on."""
    first, second = _said(ours), _said(theirs)
    if first == second[: len(first)]:
        return list(theirs)
    return list(ours) if second == first[: len(second)] else [*ours, *theirs]


def _item(base: Item, ours: Item, theirs: Item, hand: Hand) -> Item:
    if isinstance(base, Group) and isinstance(ours, Group) and isinstance(theirs, Group):
        return Group(
            _token(base.open, ours.open, theirs.open, hand),
            _list(base, ours, theirs, hand),
            _token(base.close, ours.close, theirs.close, hand),
        )
    if isinstance(base, Token) and isinstance(ours, Token) and isinstance(theirs, Token):
        return _token(base, ours, theirs, hand)
    raise Clash("both changed a bracket")


def _token(base: Token, ours: Token, theirs: Token, hand: Hand) -> Token:
    before = theirs.before if ours.before == base.before else ours.before
    if ours.text == base.text or ours.text == theirs.text:
        return Token(theirs.text, before, theirs.is_string)
    if theirs.text == base.text:
        return Token(ours.text, before, ours.is_string)
    if not base.is_string:
        raise Clash(f"both changed {base.text!r}")
    return Token(merge_string(base.text, ours.text, theirs.text, hand), before, True)


def merge_string(base: str, ours: str, theirs: str, hand: Hand) -> str:
    """A literal that both sides changed. Raises Clash."""
    long = "\n" in base or ("\n" in ours and "\n" in theirs)
    sides = [split(text) if long else _WORD.findall(text) for text in (base, ours, theirs)]
    keys = [[word.strip() for word in side] for side in sides]
    merged: list[str] = []
    for piece in three(keys[0], keys[1], keys[2], hand.effort, touching=False):
        b, o, t = sides[0][slice(*piece.base)], sides[1][slice(*piece.ours)], sides[2][slice(*piece.theirs)]
        if piece.who is not Who.CLASH:
            merged += t if piece.who is Who.THEIRS or o == b else o
        elif long and (hand.bold or not "".join(b).strip()):
            merged += paragraphs(o, t, hand.effort)
        else:
            raise Clash(f"both changed the text {''.join(b).strip()[:60]!r}")
    return "".join(merged)


def paragraphs(ours: Sequence[str], theirs: Sequence[str], effort: Effort) -> list[str]:
    """Lines that both sides added at one place: what is common once, the rest one after the other."""
    merged: list[str] = []
    keys = [[line.strip() or (at, side) for at, line in enumerate(lines)] for side, lines in enumerate((ours, theirs))]
    at, there = 0, 0
    for first, second in [*matches(keys[0], keys[1], effort), (len(ours), len(theirs))]:
        merged += ours[at:first]
        while there < second and merged and not merged[-1].strip() and not theirs[there].strip():
            there += 1  # one blank line between them is enough
        merged += [*theirs[there:second], *ours[first : first + 1]]
        at, there = first + 1, second + 1
    return merged


# --- lists ------------------------------------------------------------------------------------------------


def _list(base: Group, ours: Group, theirs: Group, hand: Hand) -> tuple[Element, ...]:
    groups = (base, ours, theirs)
    keys = [_distinct(group.elements) for group in groups]
    where = [{key: at for at, key in enumerate(side)} for side in keys]
    order: dict[str, None] = {}
    for piece in three(keys[0], keys[1], keys[2], hand.effort, touching=False):
        b, o, t = keys[0][slice(*piece.base)], keys[1][slice(*piece.ours)], keys[2][slice(*piece.theirs)]
        if piece.who is not Who.CLASH:
            order.update(dict.fromkeys(t if piece.who is Who.THEIRS else o))
            continue
        if len(b) == 1 and o and t and b[0] not in where[1] and b[0] not in where[2]:
            raise Clash(f"both replaced {b[0][:60]!r}")
        kept = [key for key in (*o, *t) if key not in where[0] or (key in where[1] and key in where[2])]
        order.update(dict.fromkeys(sorted(kept, key=lambda key: _rank(_first(key, groups, where)))))
    for key in keys[0]:
        _check_lost(key, groups, where)
    merged = [_element(key, groups, where, hand) for key in order]
    return _punctuated(_sorted_like(merged, groups), groups)


def _distinct(elements: Sequence[Element]) -> list[str]:
    """The names of elements, numbered where they repeat."""
    seen: Counter[str] = Counter()
    found: list[str] = []
    for element in elements:
        name = element.name
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}\0{seen[name]}")
    return found


def _first(key: str, groups: Sequence[Group], where: Sequence[dict[str, int]]) -> Element:
    return next(group.elements[at[key]] for group, at in zip(groups, where, strict=True) if key in at)


def _rank(element: Element) -> int:
    """Positional before named, and what takes all the rest last: any other order would not parse."""
    words = element.words
    if words[:1] == ("**",):
        return 2
    return 1 if "=" in words[1:] or words[:1] == ("*",) else 0


def _element(key: str, groups: Sequence[Group], where: Sequence[dict[str, int]], hand: Hand) -> Element:
    b, o, t = (group.elements[at[key]] if key in at else None for group, at in zip(groups, where, strict=True))
    if o is None or t is None:
        found = o or t
        if found is None:
            raise Clash(f"nobody has {key[:60]!r}")
        return found
    if b is None:
        if o.words != t.words:
            raise Clash(f"both added {key[:60]!r}, each in another way")
        return o
    comma = o.comma or t.comma
    return Element(tuple(_items(b.items, o.items, t.items, hand)), comma)


def _check_lost(key: str, groups: Sequence[Group], where: Sequence[dict[str, int]]) -> None:
    """What one side took out must not be what the other changed."""
    base = groups[0].elements[where[0][key]]
    for kept, gone in ((1, 2), (2, 1)):
        if (
            key in where[kept]
            and key not in where[gone]
            and groups[kept].elements[where[kept][key]].words != base.words
        ):
            raise Clash(f"one side took out {key[:60]!r}, the other changed it")


def _sorted_like(merged: list[Element], groups: Sequence[Group]) -> list[Element]:
    """In alphabetical order where all three lists are; otherwise as they are."""
    if len(groups[0].elements) < 2:
        return merged
    for fold in (str, str.casefold):
        orders = [[fold(element.name) for element in group.elements] for group in groups]
        if all(order == sorted(order) for order in orders) and all(len(element.items) == 1 for element in merged):
            return sorted(merged, key=lambda element: fold(element.name))
    return merged


def _punctuated(elements: list[Element], groups: Sequence[Group]) -> tuple[Element, ...]:
    """With commas between them, and the white space that the list has elsewhere."""
    if not elements:
        return ()
    trailing = [bool(group.elements and group.elements[-1].comma) for group in groups]
    ends = trailing[2] if trailing[1] == trailing[0] else trailing[1]
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


def _without_comments(before: str) -> str:
    return "\n" + before.rpartition("\n")[2] if "#" in before else before


def _before(element: Element) -> str:
    item = element.items[0] if element.items else Token("")
    return item.before if isinstance(item, Token) else item.open.before


def _led(item: Item, before: str) -> Item:
    if isinstance(item, Token):
        return replace(item, before=before)
    return replace(item, open=replace(item.open, before=before))
