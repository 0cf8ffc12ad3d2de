"""The part of JSON Schema that tool arguments need. Pure.

Rules
- `problems` checks types, required and unknown keys, enums and bounds, so that an agent is told all that is wrong with
  a call at once. Keywords it does not know are ignored: the tool itself still checks its meaning.
- Booleans are not integers; whole floats are integers (JSON knows one kind of number).
"""

from collections.abc import Mapping
from typing import Any, Final

_MAX_PROBLEMS: Final = 10
_MAX_DEPTH: Final = 20


def standalone(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with every `$ref` replaced by what it names, and without titles. It must not be recursive."""
    definitions: Mapping[str, Any] = schema.get("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, Mapping):
            return node
        if "$ref" in node:
            target = definitions[str(node["$ref"]).rsplit("/", 1)[-1]]
            return resolve({**target, **{key: value for key, value in node.items() if key != "$ref"}})
        return {
            key: {name: resolve(item) for name, item in value.items()} if key == "properties" else resolve(value)
            for key, value in node.items()
            if key != "$defs" and not (key == "title" and isinstance(value, str))
        }

    found: dict[str, Any] = resolve(schema)
    return found


def problems(schema: Mapping[str, Any], value: Any) -> list[str]:
    """What is wrong with `value`, each with its place; empty = nothing."""
    found: list[str] = []
    _check(schema, value, "", found, 0)
    return found[:_MAX_PROBLEMS]


def _check(schema: Mapping[str, Any], value: Any, place: str, found: list[str], depth: int) -> None:
    if depth > _MAX_DEPTH:
        found.append(f"{place}: nested too deep")
        return
    if alternatives := schema.get("anyOf"):
        if not any(not _collect(option, value, place, depth + 1) for option in alternatives):
            found.append(f"{place or 'arguments'}: must be {' or '.join(_name(option) for option in alternatives)}")
        return
    kind = schema.get("type")
    if kind is not None and not _is(kind, value):
        found.append(f"{place or 'arguments'}: must be {_name(schema)}, not {_kind_of(value)}")
        return
    if "const" in schema and value != schema["const"]:
        found.append(f"{place}: must be {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{place}: must be one of {', '.join(map(repr, schema['enum']))}")
    _bounds(schema, value, place, found)
    if isinstance(value, dict):
        _object(schema, value, place, found, depth)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for index, item in enumerate(value):
            _check(schema["items"], item, f"{place}[{index}]", found, depth + 1)


def _collect(schema: Mapping[str, Any], value: Any, place: str, depth: int) -> list[str]:
    found: list[str] = []
    _check(schema, value, place, found, depth)
    return found


def _object(schema: Mapping[str, Any], value: dict[str, Any], place: str, found: list[str], depth: int) -> None:
    known: Mapping[str, Any] = schema.get("properties", {})
    prefix = f"{place}." if place else ""
    found.extend(f"{prefix}{key}: is missing" for key in schema.get("required", ()) if key not in value)
    for key, item in value.items():
        if key in known:
            _check(known[key], item, f"{prefix}{key}", found, depth + 1)
        elif schema.get("additionalProperties") is False:
            found.append(f"{prefix}{key}: is not known; known: {', '.join(known) or 'none'}")


def _bounds(schema: Mapping[str, Any], value: Any, place: str, found: list[str]) -> None:
    if isinstance(value, str | list):
        unit = "characters" if isinstance(value, str) else "items"
        suffix = "Length" if isinstance(value, str) else "Items"
        if len(value) < schema.get(f"min{suffix}", 0):
            found.append(f"{place}: needs at least {schema[f'min{suffix}']} {unit}")
        if len(value) > schema.get(f"max{suffix}", len(value)):
            found.append(f"{place}: may have at most {schema[f'max{suffix}']} {unit}, it has {len(value)}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            found.append(f"{place}: must be at least {schema['minimum']}")
        if value > schema.get("maximum", value):
            found.append(f"{place}: must be at most {schema['maximum']}")


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "object":
            return isinstance(value, dict)
        case "array":
            return isinstance(value, list)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "null":
            return value is None
        case _:
            return True


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("type", "something else"))


def _kind_of(value: Any) -> str:
    for kind in ("boolean", "integer", "number", "string", "array", "object", "null"):
        if _is(kind, value):
            return kind
    return type(value).__name__
