"""JSON as it comes over the wire. Pure.

Rules
- Streams bring a small document for every few words of an answer: it is read the fast way. What that refuses (half of
  a surrogate pair, another encoding than UTF-8) is for Python's own reader to take, or to refuse.
- The fast way ends at about two hundred levels; where Python's ends depends on how deep the stack is already.
- Where an object gives one name two values, readers differ in which one counts (RFC 8259, 4). Who has to know what
  another reader will take asks for a document in which that does not happen where it matters. To see it costs a
  quarter of the reading (0.2 ms for 300 KB); in every object of any depth it would be half.
"""

import json
from typing import Any, Final

from pydantic_core import SchemaValidator, from_json
from pydantic_core.core_schema import (
    CoreSchema,
    ValidationInfo,
    any_schema,
    dict_schema,
    list_schema,
    union_schema,
    with_info_plain_validator_function,
)


def read(data: bytes, deepest: int | None = None) -> Any:
    """The value of a document. Raises ValueError; RecursionError also where it has more levels than `deepest`, which is
    not asked of what could be read the fast way."""
    try:
        return from_json(data)
    except ValueError:
        found = json.loads(data)
    if deepest is not None and _deeper(found, deepest):
        raise RecursionError(f"more than {deepest} levels")
    return found


def read_plain(data: bytes, deepest: int | None = None) -> Any:
    """The same of a document that is an object, in which neither it nor an object directly in it, or in a list directly
    in it, gives a name two values. Raises ValueError and RecursionError like `read`."""
    names: list[str] = []
    try:
        found = _PLAIN.validate_json(data, context=names)
    except ValueError:
        found = json.loads(data, object_pairs_hook=_once)
        if deepest is not None and _deeper(found, deepest):
            raise RecursionError(f"more than {deepest} levels") from None
        return found
    if len(names) != _names(found):
        json.loads(data, object_pairs_hook=_once)  # says which
    return found


def _noted(name: str, info: ValidationInfo[list[str]]) -> str:
    info.context.append(name)
    return name


def _plain() -> CoreSchema:
    """Any object, with each name noted as often as it stands there. What holds much is tried first: what a schema
    refuses is copied into the refusal."""
    objects = dict_schema(with_info_plain_validator_function(_noted), any_schema())
    lists = list_schema(union_schema([objects, any_schema()], mode="left_to_right"))
    below = union_schema([lists, objects, any_schema()], mode="left_to_right")
    return dict_schema(with_info_plain_validator_function(_noted), below)


_PLAIN: Final = SchemaValidator(_plain())


def _names(found: dict[str, Any]) -> int:
    """How many names there are in it where `_plain` notes them."""
    count = len(found)
    for value in found.values():
        if isinstance(value, dict):
            count += len(value)
        elif isinstance(value, list):
            count += sum(len(one) for one in value if isinstance(one, dict))
    return count


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise ValueError(f"{twice[:60]!r} stands twice in one object, and readers differ in which one counts")
    return found


def _deeper(found: Any, levels: int) -> bool:
    """Whether it has more levels of objects and lists."""
    level = [found]
    for _ in range(levels + 1):
        level = [one for one in level if isinstance(one, dict | list)]
        if not level:
            return False
        level = [each for one in level for each in (one.values() if isinstance(one, dict) else one)]
    return True
