"""Content codings taken off a body. Pure.

Rules
- gzip and deflate, also one on top of the other; what is packed in another way stays as it is.
- What is handed on comes in pieces of a bounded size, however much a little packed data holds.
Source: RFC 9110, 8.4.1.
"""

import zlib
from collections.abc import Iterator
from typing import Final

_PIECE: Final = 1024 * 1024
_PLAIN: Final = frozenset({"", "identity"})


class Unpacked:
    """One coding that is taken off."""

    def __init__(self, coding: str) -> None:
        self._bits = zlib.MAX_WBITS | 16 if coding in ("gzip", "x-gzip") else zlib.MAX_WBITS
        self._machine = zlib.decompressobj(self._bits)
        self._begun = b""
        """The first bytes: two of them tell what frame there is."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the data holds. Raises ValueError."""
        while data:
            yield from self._piece(data)
            data = self._machine.unconsumed_tail

    def _piece(self, data: bytes) -> Iterator[bytes]:
        try:
            found = self._machine.decompress(data, _PIECE)
        except zlib.error as error:
            if len(self._begun) > 1 or self._bits != zlib.MAX_WBITS:
                raise ValueError(f"the body cannot be unpacked: {error}") from error
            # Many take deflate for what it says, without the frame that the standard puts around it.
            self._bits = -zlib.MAX_WBITS
            self._machine = zlib.decompressobj(self._bits)
            return (yield from self._piece(self._begun + data))
        if len(self._begun) < 2:
            self._begun += data[:2]
        if found:
            yield found


class Unpacker:
    """All codings of a body."""

    def __init__(self, codings: str) -> None:
        """`codings`: as the head of the answer has them."""
        self._steps = [Unpacked(coding) for coding in reversed(_named(codings))]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What the data holds. Raises ValueError."""
        return _through(self._steps, data)


def known(codings: str) -> bool:
    """Whether there is something to take off, and it can be."""
    names = _named(codings)
    return bool(names) and all(name in ("gzip", "x-gzip", "deflate") for name in names)


def _named(codings: str) -> list[str]:
    found = [coding.strip().lower() for coding in codings.split(",")]
    return [coding for coding in found if coding not in _PLAIN]


def _through(steps: list[Unpacked], data: bytes) -> Iterator[bytes]:
    if not steps:
        yield data
        return
    for piece in steps[0].feed(data):
        yield from _through(steps[1:], piece)
