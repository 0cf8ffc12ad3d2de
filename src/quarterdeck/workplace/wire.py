"""Frames between the host and the worker inside a sandbox.

Rules
- A frame is two big-endian 32-bit lengths, a JSON header and a binary payload.
- Both sides refuse a frame above their bound: what comes out of a sandbox is not trusted.
- This file also runs inside the sandbox, so it needs only the standard library of Python 3.8, and of that no `json`:
  half of the time that a sandbox took to start went into loading it and what it loads. The compiled half of it is
  enough for values that are written on one line.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

LENGTHS = struct.Struct(">II")
HEADER_LIMIT = 32 * 1024 * 1024
PAYLOAD_LIMIT = 1024 * 1024 * 1024


class BadFrame(ValueError):
    """The other side does not speak the protocol."""


class _Reading:
    """How the compiled scanner reads: as `json.loads` has it by default."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float


def _unwritable(value: object) -> object:
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _compiled() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    """Writing and reading by the compiled half of `json`. Raises ImportError where this Python has none,
    AttributeError or TypeError where it is another one."""
    from _json import encode_basestring_ascii, make_encoder, make_scanner  # noqa: PLC0415 -- not every Python has it

    how: Any = _Reading
    scan = make_scanner(how)
    make_encoder({}, _unwritable, encode_basestring_ascii, None, ":", ",", False, False, True)

    def write(value: Any) -> str:
        encode = make_encoder({}, _unwritable, encode_basestring_ascii, None, ":", ",", False, False, True)
        return "".join(encode(value, 0))

    def read(text: str) -> Any:
        text = text.strip(" \t\r\n")
        try:
            value, end = scan(text, 0)
        except StopIteration:
            raise ValueError("there is no JSON value") from None
        if end != len(text):
            raise ValueError("there is something behind the JSON value")
        return value

    return write, read


def _plain() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    """The same by `json`."""
    import json  # noqa: PLC0415 -- slow to load

    return (lambda value: json.dumps(value, separators=(",", ":"))), json.loads


try:
    written, understood = _compiled()
except (ImportError, AttributeError, TypeError):  # another Python than CPython, or one to come
    written, understood = _plain()


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """The frame's bytes."""
    text = written(header).encode("ascii")
    return LENGTHS.pack(len(text), len(payload)) + text + payload


def lengths(prefix: bytes, header_limit: int = HEADER_LIMIT, payload_limit: int = PAYLOAD_LIMIT) -> tuple[int, int]:
    """Lengths of header and payload. Raises BadFrame where they are out of bounds."""
    header, payload = LENGTHS.unpack(prefix)
    if header > header_limit or payload > payload_limit:
        raise BadFrame(f"frame of {header} + {payload} bytes is out of bounds")
    return header, payload


def header_of(text: bytes) -> dict[str, Any]:
    """The header. Raises BadFrame where it is no JSON object."""
    try:
        header = understood(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadFrame("header is not JSON") from error
    if not isinstance(header, dict):
        raise BadFrame("header is not an object")
    return header
