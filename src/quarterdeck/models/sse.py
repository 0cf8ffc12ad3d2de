"""Server-sent events, read as they come. Pure.

Rules
- Bytes in, whole events out; what is not whole yet is kept, within a bound.
- Lines end with LF, CRLF or CR. Comments are events without data: a sign of life that says nothing.
- An event that the end of the stream cut off is none.
Source: html.spec.whatwg.org, 9.2 (event streams).
"""

import re
from typing import Final, NamedTuple

LONGEST: Final = 32 * 1024 * 1024
"""Bytes of one event."""

_BLANK: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LINE: Final = re.compile(rb"\r\n|\n|\r")


class Sent(NamedTuple):
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
        self._plain = True
        """All lines so far end with LF, as almost every server has it: then no expression need look for them."""

    def feed(self, chunk: bytes) -> list[Sent]:
        """The events that are whole now. Raises ValueError where there is none, and the next one is longer than it may
        be: all that came of it is in `rest`."""
        self._rest += chunk
        self._plain = self._plain and b"\r" not in chunk
        found = self._split() if self._plain else self._searched()
        self._looked = max(0, len(self._rest) - 3)
        if len(self._rest) > LONGEST and not found:
            raise ValueError(f"an event is longer than {LONGEST} bytes")
        return found

    def _split(self) -> list[Sent]:
        if self._rest.find(b"\n\n", self._looked) < 0:
            return []
        *whole, rest = bytes(self._rest).split(b"\n\n")
        self._rest = bytearray(rest)
        # One line of data, as in most formats, need not be looked through.
        return [
            Sent(event[6:], "", event + b"\n\n")
            if event.startswith(b"data: ") and b"\n" not in event
            else _event(event + b"\n\n")
            for event in whole
        ]

    def _searched(self) -> list[Sent]:
        found, start = [], 0
        while end := self._end(max(start, self._looked)):
            found.append(_event(bytes(self._rest[start:end])))
            self._looked = start = end
        del self._rest[:start]
        return found

    def _end(self, start: int) -> int:
        """Where the event ends whose end is looked for from `start` on; 0 = it is not whole."""
        match = _BLANK.search(self._rest, start)
        # A CR at the very end may be the first half of a CRLF: wait for the next byte.
        if match is None or (match.end() == len(self._rest) and self._rest.endswith(b"\r")):
            return 0
        return match.end()

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
