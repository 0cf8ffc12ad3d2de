"""Frames between the host and the worker inside a sandbox.

Rules
- A frame is two big-endian 32-bit lengths, a JSON header and a binary payload.
- Both sides refuse a frame above their bound: what comes out of a sandbox is not trusted.
- This file also runs inside the sandbox, so it needs only the standard library of Python 3.8.
"""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    from typing import Any

LENGTHS = struct.Struct(">II")
HEADER_LIMIT = 32 * 1024 * 1024
PAYLOAD_LIMIT = 1024 * 1024 * 1024


class BadFrame(ValueError):
    """The other side does not speak the protocol."""


def pack(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """The frame's bytes."""
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
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
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadFrame("header is not JSON") from error
    if not isinstance(header, dict):
        raise BadFrame("header is not an object")
    return header
