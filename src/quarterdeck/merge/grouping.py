"""The words of one logical line with their brackets: what stands in each, and what it is known by.

Rules
- What stands in brackets, separated by commas, is a list. What kind of list it is follows from what stands before it.
- An element is known by its name (a parameter's, an argument's, a key's), else by its text.
- Joined again, the items are the text.
"""

import keyword
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from quarterdeck.merge.line_merge import Clash
from quarterdeck.merge.python_tree import Token

_PAIRS: Final = {"(": ")", "[": "]", "{": "}"}
_SETS: Final = frozenset({"Union", "Literal", "Optional"})
"""Types whose arguments are in no order."""


class Kind(Enum):
    """What a pair of brackets is there for."""

    NAMES = 0
    """Names that are imported: a set."""
    PARAMETERS = 1
    BASES = 2
    """Of a class."""
    ARGUMENTS = 3
    """Of a call, or of a type: what has no name is known by its place."""
    DISPLAY = 4
    """A list, a tuple, a dictionary, a set, or an expression in brackets."""


@dataclass(frozen=True, slots=True)
class Group:
    """A bracket and what stands in it. An import's names without brackets have empty ones."""

    open: Token
    elements: "tuple[Element, ...]"
    close: Token
    kind: Kind = Kind.DISPLAY


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
    def own(self) -> tuple[str, ...]:
        """Its words that are in no brackets; of brackets, the opening one."""
        return tuple(item.text if isinstance(item, Token) else item.open.text for item in self.items)


def name_of(element: Element, kind: Kind) -> str:
    """What an element is called; empty = it has no name."""
    own = element.own
    if "for" in own:
        return ""
    if kind is Kind.PARAMETERS:
        stars = own[0] if own[0] in ("*", "**", "/") else ""
        return stars + (own[1] if len(own) > 1 else "") if stars else own[0]
    if kind in (Kind.NAMES, Kind.BASES):
        return own[0] if own[1:2] == ("=",) else " ".join(element.words)
    if own[1:2] == ("=",) and own[0].isidentifier():
        return own[0]
    if kind is Kind.DISPLAY and ":" in own and "lambda" not in own[: own.index(":")]:
        until = own.index(":")
        return " ".join(word for item in element.items[:until] for word in words_of(item))
    return ""


def in_any_order(group: Group, before: str) -> bool:
    """Whether the elements of a type's arguments are a set. `before`: the word in front of the brackets."""
    return group.open.text == "[" and before in _SETS


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
            return [*tokens[:at], Group(Token(""), _elements(tokens[at:]), Token(""), Kind.NAMES)]
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
            items.append(Group(token, _elements(inner), tokens[end], _kind(items, token)))
            at = end + 1
            continue
        if token.text in (")", "]", "}"):
            if token.text != until:
                raise Clash("brackets do not close")
            return items, at
        items.append(token)
        at += 1
    return items, at


_SIGNS: Final = ("=", "==", "!=", "<", ">", "<=", ">=", "+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "~")
_MORE_SIGNS: Final = (",", ":", "->", ":=", ".", "+=", "-=", "*=", "/=", "|=", "&=")
_BEFORE_DISPLAYS: Final = frozenset(keyword.kwlist) - {"None", "True", "False"} | {
    *_SIGNS,
    *_MORE_SIGNS,
    "match",
    "case",
}
"""After these, brackets are no call and no index."""


def _kind(items: Sequence[Item], opening: Token) -> Kind:
    """What a bracket is there for, by what stands before it."""
    if not items or opening.text == "{":
        return Kind.DISPLAY
    first = items[1] if len(items) > 1 and _text(items[0]) == "async" else items[0]
    if opening.text == "(" and _text(first) in ("def", "class"):
        outer = any(isinstance(item, Group) and item.open.text == "(" for item in items)
        if not outer:
            return Kind.PARAMETERS if _text(first) == "def" else Kind.BASES
    last = items[-1]
    if _text(items[0]) == "from" and _text(last) == "import":
        return Kind.NAMES
    if isinstance(last, Group) or last.is_string:
        return Kind.ARGUMENTS
    return Kind.DISPLAY if last.text in _BEFORE_DISPLAYS else Kind.ARGUMENTS


def _text(item: Item) -> str:
    return item.text if isinstance(item, Token) else ""


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
