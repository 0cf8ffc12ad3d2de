"""Server-sent events, read as they come. Pure.

Rules
- Bytes in, whole events out; what is not whole yet is kept, within a bound.
- Lines end with LF, CRLF or CR. Comments are events without data: a sign of life that says nothing.
- An event that the end of the stream cut off is none.
Source: html.spec.whatwg.org, 9.2 (event streams).
"""

import re
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 32 * 1024 * 1024
"""Bytes of one event."""

_BLANK: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LINE: Final = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Sent:
    """One event."""

    data: bytes
    """Its data lines, joined by LF; empty = it has none."""
    event: str
    """Its type; empty = none was given."""
    raw: bytes
    """The event as it came, with the blank line that ends it."""


class Events:
    """Splits a stream into its events."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._looked = 0
        """Bytes of the rest in which no end of an event begins."""

    def feed(self, chunk: bytes) -> list[Sent]:
        """The events that are whole now. Raises ValueError where one is longer than it may be."""
        self._rest += chunk
        found, start = [], 0
        while (end := _BLANK.search(self._rest, max(start, self._looked))) is not None:
            # A CR at the very end may be the first half of a CRLF: wait for the next byte.
            if end.end() == len(self._rest) and self._rest.endswith(b"\r"):
                break
            found.append(_event(bytes(self._rest[start : end.end()])))
            start = end.end()
            self._looked = start
        del self._rest[:start]
        self._looked = max(0, len(self._rest) - 3)
        if len(self._rest) > LONGEST:
            raise ValueError(f"an event is longer than {LONGEST} bytes")
        return found

    @property
    def rest(self) -> bytes:
        """What came after the last whole event."""
        return bytes(self._rest)


def _event(raw: bytes) -> Sent:
    data: list[bytes] = []
    kind = b""
    for line in _LINE.split(raw):
        name, colon, value = line.partition(b":")
        if not name and colon:
            continue
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            kind = value
    return Sent(b"\n".join(data), kind.decode("utf-8", "replace"), raw)
