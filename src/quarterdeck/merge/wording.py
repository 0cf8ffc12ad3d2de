"""Two changes of one logical line put together, word by word.

Rules
- What stands in brackets is merged element by element, strings as literals.
- Outside of brackets, a line has parts: a target, a value, a condition, what `and`, `or` and `|` stand between. Changes
  of different parts are both taken; two changes of one part are a clash, wherever in it they are.
- What both put in at one place is a clash, unless both go on with the same operator (`|`, `and`, `or`, `+`), where no
  other operator makes that mean something else, or with another entry of an `import` or a `with`.
- A bold merge puts such additions one after the other, and takes both changes of one part that do not overlap.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from quarterdeck.merge.elements import merge_elements
from quarterdeck.merge.grouping import Group, Item, grouped, spelled, words_of
from quarterdeck.merge.line_merge import Clash
from quarterdeck.merge.lines import Effort, Piece, Who, three
from quarterdeck.merge.literals import merge_string
from quarterdeck.merge.python_tree import Token

_CHAINED: Final = frozenset({"|", "and", "or", "+"})
"""Operators with which an expression may go on any number of times, and any other order means the same."""
_LISTED: Final = frozenset({"import", "with", "global", "nonlocal"})
"""Statements that name several things, separated by commas."""
_BORDERS: Final = frozenset(
    (
        *("=", "+=", "-=", "|=", "&=", "*=", "/=", ":=", ":", ",", "->", "return", "yield", "assert"),
        *("if", "elif", "while", "else", "for", "with", "import", "global", "nonlocal"),
    )
)
"""What an expression ends at."""
_BETWEEN: Final = _BORDERS.union({"and", "or", "|", "as", "from"}) - {","}
"""What stands between the parts of a line."""
_PLAIN: Final = frozenset({".", "await"})
_WORDED: Final = frozenset({"and", "or", "not", "in", "is", "lambda", "if", "else", "for", "await"})
_LOOSER: Final = {
    "and": frozenset({"or", "lambda", "if", "else", "for"}),
    "or": frozenset({"lambda", "if", "else", "for"}),
}
"""What binds an expression less tightly than these operators do."""


@dataclass(frozen=True, slots=True)
class Hand:
    """How far a merge may go."""

    effort: Effort
    bold: bool = False
    """What both changed is put one after the other instead of being a clash, where that may be right."""
    prose: bool = False
    """The line is a docstring."""


def merge_words(base: Sequence[Token], ours: Sequence[Token], theirs: Sequence[Token], hand: Hand) -> str:
    """The text of one logical line with both changes. Raises Clash."""
    return spelled(_items(grouped(base), grouped(ours), grouped(theirs), hand))


def _items(base: Sequence[Item], ours: Sequence[Item], theirs: Sequence[Item], hand: Hand) -> list[Item]:
    """Items side by side: words by what they say, brackets by which they are, strings by their place."""
    counts = {sum(isinstance(item, Token) and item.is_string for item in side) for side in (base, ours, theirs)}
    keys = [[_key(item, len(counts) == 1) for item in side] for side in (base, ours, theirs)]
    pieces = three(keys[0], keys[1], keys[2], hand.effort, touching=False)
    if not hand.bold:
        _check_parts(base, ours, theirs, pieces)
    merged: list[Item] = []
    for piece in pieces:
        b, o, t = base[slice(*piece.base)], ours[slice(*piece.ours)], theirs[slice(*piece.theirs)]
        if piece.who is Who.NOBODY:
            for trio in zip(b, o, t, strict=True):
                before = merged[-1].text if merged and isinstance(merged[-1], Token) else ""
                merged.append(_item(*trio, before, hand))
        elif _said(o) == _said(t) or (piece.who is Who.OURS and _said(b) == _said(t)):
            merged += o
        elif piece.who is Who.THEIRS and _said(b) == _said(o):
            merged += t
        elif b or piece.who is not Who.CLASH:
            raise Clash(f"both changed {spelled(b or o).strip()[:60]!r}")
        else:
            merged += _appended(base, piece.base[0], o, t, hand)
    return merged


def _check_parts(base: Sequence[Item], ours: Sequence[Item], theirs: Sequence[Item], pieces: Sequence[Piece]) -> None:
    """Both may not change the same part. Raises Clash."""
    commas = {","} if _LISTED & set(_own(base[:2])) else set()
    words = _own(base) if base else []
    part = [0, *accumulate(word in _BETWEEN or word in commas for word in words)]
    changed: list[set[int]] = [set(), set()]
    for piece in pieces:
        o, t = ours[slice(*piece.ours)], theirs[slice(*piece.theirs)]
        if piece.who in (Who.BOTH, Who.CLASH) or _said(o) == _said(t):
            continue  # they agree, or what they did is looked at as a whole
        spots = [_spots(words, piece.base, here) for here in (o, t)]
        for side in (0, 1):
            for at in spots[side] - spots[1 - side]:  # where both did it is one literal
                changed[side].update(part[at : at + 2] if at in range(*piece.base) else part[at : at + 1])
    if disputed := changed[0] & changed[1]:
        raise Clash(f"both changed {spelled(base[part.index(min(disputed)) :]).strip()[:60]!r}")


def _spots(words: Sequence[str], span: tuple[int, int], here: Sequence[Item]) -> set[int]:
    """Where in the base a side changed something, of this span."""
    b = range(*span)
    if len(here) == len(b):
        return {at for at, item in zip(b, here, strict=True) if isinstance(item, Token) and item.text != words[at]}
    if not b and _BETWEEN.union({","}) & {_own(here)[0], _own(here)[-1]}:
        return set()  # a part of its own
    return {*b} or {span[0]}


def _key(item: Item, by_place: bool) -> str:
    if isinstance(item, Group):
        return f"\0{item.open.text or '('}"
    return "\0string" if item.is_string and by_place else item.text


def _said(items: Sequence[Item]) -> list[str]:
    return [word for item in items for word in words_of(item)]


def _appended(base: Sequence[Item], at: int, ours: Sequence[Item], theirs: Sequence[Item], hand: Hand) -> list[Item]:
    """What both added at one place; once, where one of them only went on. Raises Clash."""
    first, second = _said(ours), _said(theirs)
    if first == second[: len(first)]:
        return list(theirs)
    if second == first[: len(second)]:
        return list(ours)
    if hand.bold or _goes_on(base, at, ours, theirs):
        return [*ours, *theirs]
    raise Clash(f"both added something behind {spelled(base[:at]).strip()[-60:]!r}")


def _goes_on(base: Sequence[Item], at: int, ours: Sequence[Item], theirs: Sequence[Item]) -> bool:
    """Whether both additions go on with the expression around them, by the same operator."""
    ends = [(_own(side)[0], _own(side)[-1]) for side in (ours, theirs)]
    operator = next((each for each in (0, 1) if ends[0][each] == ends[1][each]), None)
    if operator is None:
        return False
    sign = ends[0][operator]
    if sign == "," and not _LISTED.isdisjoint(_own(base[:2])):
        return True
    if sign not in _CHAINED:
        return False
    words = _own(base)
    low = max((number + 1 for number in range(at) if words[number] in _BORDERS), default=0)
    high = next((number for number in range(at, len(words)) if words[number] in _BORDERS), len(words))
    signs = {_own([item])[0] for item in [*base[low:high], *ours, *theirs] if _is_sign(item)}
    if signs <= {sign} | _PLAIN:
        return True
    at_an_end = at == (low if operator else high)
    return at_an_end and sign in _LOOSER and signs.isdisjoint(_LOOSER[sign])


def _own(items: Sequence[Item]) -> list[str]:
    """The words that are in no brackets; of brackets, the opening one."""
    return [item.text if isinstance(item, Token) else item.open.text for item in items] or [""]


def _is_sign(item: Item) -> bool:
    if isinstance(item, Group) or item.is_string:
        return False
    return item.text in _WORDED or not (item.text[0].isalnum() or item.text[0] == "_")


def _item(base: Item, ours: Item, theirs: Item, before: str, hand: Hand) -> Item:
    if isinstance(base, Group) and isinstance(ours, Group) and isinstance(theirs, Group):
        elements = merge_elements(
            (base, ours, theirs),
            before,
            hand.effort,
            lambda b, o, t: _items(b, o, t, hand),
            bold=hand.bold,
        )
        opening = _token(base.open, ours.open, theirs.open, hand)
        return Group(opening, elements, _token(base.close, ours.close, theirs.close, hand), base.kind)
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
    text = merge_string(base.text, ours.text, theirs.text, hand.effort, prose=hand.prose, bold=hand.bold)
    return Token(text, before, True)
