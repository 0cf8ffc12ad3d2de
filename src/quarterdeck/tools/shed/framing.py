"""Cuts a stream of bytes into lines of bounded length. Pure.

Rules
- A line that is too long is read past, not kept; its beginning is.
- However the bytes arrive, the lines are the same.
"""

from typing import Final

_HEAD: Final = 1024
"""Bytes that are kept of a line that is too long."""


class Lines:
    """Cuts what arrives into lines of bounded length."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of one line."""
        self._limit = limit
        self._held = bytearray()
        self._skipping = False
        self.head = b""
        """The beginning of the last line that was too long."""

    def feed(self, data: bytes) -> list[bytes | None]:
        """Lines that are complete now, without their ends; None stands for one that was too long, see `head`."""
        found: list[bytes | None] = []
        *ends, rest = data.split(b"\n")
        for end in ends:
            self._add(end)
            found.append(None if self._skipping else bytes(self._held))
            if not self._skipping:
                self._held.clear()
            else:
                self.head, self._skipping = bytes(self._held), False
                self._held.clear()
        self._add(rest)
        return found

    def _add(self, data: bytes) -> None:
        if self._skipping:
            return
        if len(self._held) + len(data) > self._limit:
            self._held += data[:_HEAD]
            del self._held[_HEAD:]
            self._skipping = True
        else:
            self._held += data
