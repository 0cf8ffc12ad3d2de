"""Values as PostgreSQL sends and takes them in binary form, by the number of their type. Pure."""

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

_double = struct.Struct(">d")


def _text(value: str) -> bytes:
    """PostgreSQL's text cannot hold the character 0; what shows it shows the character for what cannot be shown."""
    return value.replace("\0", "\ufffd").encode()


def _integer(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


def _numeric(value: bytes) -> int | float:
    """A sum of integers; with a fraction it is a float."""
    digits, weight, sign, _ = struct.unpack_from(">HhHH", value)
    total: int | float = 0
    for place, digit in enumerate(struct.unpack_from(f">{digits}H", value, 8)):
        total += digit * 10_000 ** (weight - place)
    return -total if sign == 0x4000 else total


_BOOL, _BYTEA, _INT8, _INT2, _INT4, _TEXT, _FLOAT8, _NUMERIC = 16, 17, 20, 21, 23, 25, 701, 1700
_WORDS: Final = (_TEXT, 19, 705, 1043)
"""The object numbers of types, as in PostgreSQL's catalogue of them."""

DUMPS: Final[Mapping[int, Callable[[Any], bytes]]] = {
    _BOOL: lambda value: b"\1" if value else b"\0",
    _BYTEA: bytes,
    _INT2: struct.Struct(">h").pack,
    _INT4: struct.Struct(">i").pack,
    _INT8: struct.Struct(">q").pack,
    _FLOAT8: _double.pack,
    **dict.fromkeys(_WORDS, _text),
}
LOADS: Final[Mapping[int, Callable[[bytes], Any]]] = {
    _BOOL: lambda value: int(value == b"\1"),  # as SQLite has it
    _BYTEA: bytes,
    **dict.fromkeys((_INT2, _INT4, _INT8), _integer),
    _FLOAT8: lambda value: _double.unpack(value)[0],
    _NUMERIC: _numeric,
    **dict.fromkeys(_WORDS, bytes.decode),
}
