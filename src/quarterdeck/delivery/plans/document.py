"""A YAML or JSON document as a tree that remembers where each part stands.

Rules
- Nothing is guessed: a scalar keeps the text that was written, and whoever reads it says what it must be. So a shell
  command that is called `true` stays the text `true`.
- A document that cannot be read in one way only is refused: duplicate keys, tags, several documents, NaN.
- Reading is bounded in bytes, in nesting and in the number of parts; aliases are references, never copies.
- Every refusal says where: line and column in YAML, the path of keys in JSON.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import yaml

from quarterdeck.kernel.failures import BadPlan

MAX_BYTES: Final = 8 * 1024 * 1024
MAX_NESTING: Final = 50
MAX_NODES: Final = 100_000
FIX: Final = "mend it there and give the same command again"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part stands: a line and column from 1 (YAML), or nothing (JSON)."""

    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}" if self.line else ""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value as it was written. `plain` is YAML without quotes: text, number or null, as the reader wants it."""

    text: str
    kind: Literal["string", "plain", "number", "bool", "null"]
    place: Place


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple["Node", ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    entries: tuple[tuple[Scalar, "Node"], ...]
    """Keys are unique."""
    place: Place


Node = Scalar | Sequence | Mapping


def refuse(origin: str, place: str, reason: str) -> BadPlan:
    """The error for something in the document `origin` that cannot be used."""
    return BadPlan(f"{origin} cannot be used", why=f"{place}: {reason}" if place else reason, fix=FIX)


def read_document(data: bytes, *, origin: str) -> Node:
    """The document's tree.

    `origin` names it for people. Something that starts with a brace is JSON; where it is not valid JSON it may still
    be YAML's flow style, unless the name ends in `.json`. Raises BadPlan.
    """
    if len(data) > MAX_BYTES:
        raise refuse(origin, "", f"it is longer than the {MAX_BYTES} bytes that are read")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(origin, f"byte {error.start}", "this is not UTF-8 text") from error
    if not text.strip():
        raise refuse(origin, "", "the file is empty")
    is_json = origin.endswith(".json")
    if is_json or text.lstrip()[0] == "{":
        try:
            return _json(text, origin)
        except json.JSONDecodeError as error:
            if is_json:
                place = f"line {error.lineno}, column {error.colno}"
                raise refuse(origin, place, f"not valid JSON: {error.msg}") from error
    return _yaml(text, origin)


# --- JSON -------------------------------------------------------------------------------------------------


class _Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


class _Refused(Exception):
    """JSON that is well formed and still ambiguous."""


def _json(text: str, origin: str) -> Node:
    try:
        value = json.loads(
            text,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_no_constant,
            object_pairs_hook=_unique,
        )
        return _from_json(value, 1)
    except RecursionError as error:
        raise refuse(origin, "", f"nested deeper than {MAX_NESTING}") from error
    except _Refused as error:
        raise refuse(origin, "", str(error)) from error


def _no_constant(name: str) -> None:
    raise _Refused(f"`{name}` is not a number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Refused(f"the key `{short(_text(twice))}` stands twice in one object")
    return found


def _from_json(value: Any, depth: int) -> Node:
    if depth > MAX_NESTING + 1:
        raise _Refused(f"nested deeper than {MAX_NESTING}")
    match value:
        case dict():
            return Mapping(
                tuple(
                    (Scalar(_text(key), "string", Place()), _from_json(item, depth + 1)) for key, item in value.items()
                ),
                Place(),
            )
        case list():
            return Sequence(tuple(_from_json(item, depth + 1) for item in value), Place())
        case _Number():
            return Scalar(str(value), "number", Place())
        case str():
            return Scalar(_text(value), "string", Place())
        case bool():
            return Scalar(str(value).lower(), "bool", Place())
        case _:
            return Scalar("null", "null", Place())


def _text(value: str) -> str:
    """JSON can spell half a surrogate pair, which is no text and cannot be stored."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _Refused(f"`{value[error.start]!a}` alone is not a character") from error
    return value


# --- YAML -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been seen yet."""

    place: Place
    mapping: bool
    anchor: str | None
    parts: list[Node]


def _yaml(text: str, origin: str) -> Node:
    try:
        root = _Composer(origin).compose(yaml.parse(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = str(_place(mark)) if mark is not None else ""
        raise refuse(origin, place, f"not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise refuse(origin, "", f"not valid YAML: {str(error).splitlines()[0]}") from error
    if root is None or (isinstance(root, Scalar) and root.kind == "plain" and not root.text):
        raise refuse(origin, "", "the file is empty")
    return root


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


class _Composer:
    """Events of the YAML parser to a tree, without recursion and with bounds."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None
        self._nodes = 0

    def compose(self, events: Iterator[Any]) -> Node | None:
        for event in events:
            match event:
                case yaml.ScalarEvent():
                    self._no_tag(event)
                    plain = event.implicit[0] and event.style is None
                    kind: Literal["plain", "string"] = "plain" if plain or event.style == "" else "string"
                    self._add(Scalar(event.value, kind, _place(event.start_mark)), event.anchor)
                case yaml.AliasEvent():
                    self._alias(event)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self._open(event)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self._close()
                case yaml.DocumentStartEvent() if self._root is not None:
                    raise self._refused(event, "a second document starts; a file holds one")
                case _:
                    pass
        return self._root

    def _refused(self, event: Any, reason: str) -> BadPlan:
        return refuse(self._origin, str(_place(event.start_mark)), reason)

    def _no_tag(self, event: Any) -> None:
        if event.tag not in (None, "!"):
            raise self._refused(event, f"the tag `{short(event.tag)}` has no meaning here")

    def _alias(self, event: Any) -> None:
        node = self._anchors.get(event.anchor)
        if node is None:
            raise self._refused(event, f"`*{short(event.anchor)}` refers to nothing that is complete")
        self._add(node, None)

    def _open(self, event: Any) -> None:
        self._no_tag(event)
        if len(self._stack) >= MAX_NESTING:
            raise self._refused(event, f"nested deeper than {MAX_NESTING}")
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._stack.append(_Open(_place(event.start_mark), mapping, event.anchor, []))

    def _close(self) -> None:
        done = self._stack.pop()
        node: Node
        if done.mapping:
            node = Mapping(self._entries(done.parts), done.place)
        else:
            node = Sequence(tuple(done.parts), done.place)
        self._add(node, done.anchor)

    def _entries(self, parts: list[Node]) -> tuple[tuple[Scalar, Node], ...]:
        entries: list[tuple[Scalar, Node]] = []
        seen: set[str] = set()
        for key, value in zip(parts[::2], parts[1::2], strict=True):
            if not isinstance(key, Scalar):
                raise refuse(self._origin, str(key.place), "a key is a word, not a list or a mapping")
            if key.text in seen:
                raise refuse(self._origin, str(key.place), f"the key `{short(key.text)}` stands twice in one mapping")
            seen.add(key.text)
            entries.append((key, value))
        return tuple(entries)

    def _add(self, node: Node, anchor: str | None) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise refuse(self._origin, str(node.place), f"more than {MAX_NODES} parts")
        if anchor is not None:
            self._anchors[anchor] = node
        if self._stack:
            self._stack[-1].parts.append(node)
        else:
            self._root = node


def short(text: str, limit: int = 60) -> str:
    """The text on one line and bounded, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
