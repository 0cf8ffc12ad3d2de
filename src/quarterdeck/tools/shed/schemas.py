"""JSON Schema as an outside server wrote it, made fit to be sent to a model and to check arguments with. Pure.

Rules
- Only keywords that mean the same to every provider are kept, each with a value of its right kind. What is dropped here
  is still checked by the server itself.
- References are resolved inside of the document; one that leads nowhere or in a circle allows anything.
- Size and depth are bounded, and a name of a property that providers refuse makes the tool unusable: one bad tool must
  not spoil every call to the model.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from quarterdeck.tools.bounds import printable

MAX_BYTES: Final = 8 * 1024
"""Of a schema, as JSON."""
MAX_DEPTH: Final = 12
MAX_NODES: Final = 1_000
MAX_TEXT: Final = 600
"""Characters of a description inside of a schema."""

_PROPERTY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_KINDS: Final = frozenset({"object", "array", "string", "boolean", "integer", "number", "null"})


class Unfit(Exception):
    """The schema cannot be used; says why."""


def cleaned(schema: Any) -> dict[str, Any]:
    """The schema of a tool's arguments as far as it is used. Raises Unfit."""
    if not isinstance(schema, Mapping):
        raise Unfit("its schema is no object")
    if schema.get("type", "object") != "object":
        raise Unfit("its schema is not that of an object")
    kept = _Cleaner(schema).node({**schema, "type": "object"}, 0)
    for alternatives in ("anyOf", "enum", "const"):  # providers refuse them at the top
        kept.pop(alternatives, None)
    if kept.setdefault("type", "object") != "object":
        raise Unfit("its schema is not that of an object")
    kept.setdefault("properties", {})
    try:
        size = len(json.dumps(kept).encode())
    except (ValueError, RecursionError) as error:
        raise Unfit("its schema cannot be written as JSON") from error
    if size > MAX_BYTES:
        raise Unfit(f"its schema has {size} bytes, {MAX_BYTES} are the most")
    return kept


class _Cleaner:
    """One pass over one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._left = MAX_NODES
        self._following: list[str] = []

    def node(self, schema: Any, depth: int) -> dict[str, Any]:
        """One schema inside of the document."""
        self._left -= 1
        if self._left < 0:
            raise Unfit(f"its schema has more than {MAX_NODES} parts")
        if depth > MAX_DEPTH:
            raise Unfit(f"its schema is nested deeper than {MAX_DEPTH}")
        if not isinstance(schema, Mapping):  # `true` and `false` are schemas as well
            return {}
        if isinstance(reference := schema.get("$ref"), str):
            return self._referred(reference, schema, depth)
        kept: dict[str, Any] = {}
        for key, keep in _KEYWORDS.items():
            if key in schema and (value := keep(schema[key])) is not None:
                kept[key] = value
        self._below(schema, kept, depth)
        return kept

    def _referred(self, reference: str, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        if reference in self._following:
            return {}
        target: Any = self._document
        for part in reference.removeprefix("#/").split("/") if reference.startswith("#/") else ("",):
            part = part.replace("~1", "/").replace("~0", "~")
            target = target.get(part) if isinstance(target, Mapping) else None
        self._following.append(reference)
        try:
            found = self.node(target, depth + 1)
        finally:
            self._following.pop()
        said = _text(schema.get("description"))
        return found if said is None else {**found, "description": said}

    def _below(self, schema: Mapping[str, Any], kept: dict[str, Any], depth: int) -> None:
        """The schemas inside of a schema."""
        if isinstance(properties := schema.get("properties"), Mapping):
            kept["properties"] = {_property(name): self.node(each, depth + 1) for name, each in properties.items()}
        if isinstance(required := schema.get("required"), list):
            known = kept.get("properties", {})
            named = [name for name in required if isinstance(name, str)]
            kept["required"] = list(dict.fromkeys(name for name in named if name in known))
        if isinstance(items := schema.get("items"), Mapping):
            kept["items"] = self.node(items, depth + 1)
        alternatives = schema.get("anyOf", schema.get("oneOf"))
        if isinstance(alternatives, list) and alternatives and depth > 0:
            kept["anyOf"] = [self.node(each, depth + 1) for each in alternatives]
        match schema.get("additionalProperties"):
            case bool() as allowed:
                kept["additionalProperties"] = allowed
            case Mapping() as rest:
                kept["additionalProperties"] = self.node(rest, depth + 1)
            case _:
                pass


def _property(name: Any) -> str:
    if not isinstance(name, str) or not _PROPERTY.fullmatch(name):
        raise Unfit(f"its schema has a property {str(name)[:40]!r}, which providers of models refuse")
    return name


def _type(value: Any) -> Any:
    if isinstance(value, str):
        return value if value in _KINDS else None
    if isinstance(value, list):
        kinds = [kind for kind in value if isinstance(kind, str) and kind in _KINDS]
        return (kinds[0] if len(kinds) == 1 else kinds) or None
    return None


def _text(value: Any) -> str | None:
    return printable(value, MAX_TEXT) if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(value: Any) -> int | float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return value if plain and abs(value) < 1e300 else None  # which nan and infinity are not


def _values(value: Any) -> list[Any] | None:
    simple = isinstance(value, list) and 0 < len(value) <= 500
    return value if simple and all(_plain(each) for each in value) else None


def _plain(value: Any) -> bool:
    if isinstance(value, str):
        return value == printable(value, MAX_TEXT)
    return value is None or isinstance(value, bool) or _number(value) is not None


def _constant(value: Any) -> Any:
    return value if value is not None and _plain(value) else None


_KEYWORDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "type": _type,
    "description": _text,
    "enum": _values,
    "const": _constant,
    "default": _constant,
    "minimum": _number,
    "maximum": _number,
    "minLength": _count,
    "maxLength": _count,
    "minItems": _count,
    "maxItems": _count,
}
