"""How many pages a PDF has at most. Pure.

Rules
- Counted in three ways, the most of them holds: objects that are pages, what the trees of pages hold, and what they say
  that they hold.
- What hides its pages has an unknown number of them, 0: encryption, a page that stands in a tree twice, names that are
  written in another way, trees or object streams that are not as they are mostly written, without an end, or inside of
  one another.
- Whoever sends it may mean ill. Each look through it is paid for out of an allowance, and so is what it unpacks to. A
  search for what ends nowhere ends the count, and no search goes over more than a window at a time, so that a thread
  that counts lets others work.
Source: ISO 32000-1, 7.5.7 (object streams) and 7.7.3 (page tree).
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.gateway.allowance import Allowance

_LARGEST: Final = 32 * 1024 * 1024
"""Bytes, of the document and of what its object streams hold; more than is taken inline."""
_MOST: Final = 20_000
"""Pages and parts of trees; nobody reads so many at once."""
_LONGEST: Final = 20_000
"""Bytes of an array of a tree."""
_ABOUT: Final = 1_024
"""Bytes in which the head of an object stream stands, before and after its type."""
_WINDOW: Final = 64 * 1024
"""Bytes that are looked through in one go."""
_REACH: Final = 128
"""Bytes, more than any match has."""

_PAGE: Final = re.compile(rb"/Type\s{0,64}/Page(?![A-Za-z])")
_KIDS: Final = re.compile(rb"/Kids(\s{0,64}\[)?")
_COUNT: Final = re.compile(rb"/Count\s{1,64}(\d{1,9})")
_PACKED: Final = re.compile(rb"/ObjStm\b")
_APART: Final = re.compile(rb"/(?:Type|Count)\s{65}")
"""So far from what belongs to it that it would be overlooked."""
_STREAM: Final = re.compile(rb"(?<!end)stream\r?\n")
_WRITTEN: Final = re.compile(rb"/[A-Za-z0-9]{0,6}#[0-9A-Fa-f]{2}[A-Za-z0-9#]{0,18}")
"""A name that is written in another way, as long as it can be one of those that are looked for."""
_CODE: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_NAMES: Final = frozenset({b"/Type", b"/Page", b"/Pages", b"/Kids", b"/Count", b"/ObjStm"})


def count(data: bytes, allowance: Allowance) -> int:
    """The number of pages at most; 0 where it cannot be known. Raises Spent."""
    allowance.take(len(data))
    if len(data) > _LARGEST or b"/Encrypt" in data:
        return 0
    seen = _Seen()
    for text in _texts(data, allowance):
        if text is None or not _read(text, seen, allowance):
            return 0
    return max(seen.pages, len(seen.held), seen.said)


@dataclass(slots=True)
class _Seen:
    """What was found so far."""

    pages: int = 0
    """Objects."""
    held: set[bytes] = field(default_factory=set)
    """What stands in trees."""
    said: int = 0
    """The largest number that a tree gives."""


def _read(text: bytes, seen: _Seen, allowance: Allowance) -> bool:
    """Whether nothing in it is written as it mostly is not."""
    if any(True for _ in _found(_APART, text, allowance)):
        return False
    if any(_CODE.sub(_letter, name[0]) in _NAMES for name in _found(_WRITTEN, text, allowance)):
        return False
    if not all(_hold(text, kids, seen, allowance) for kids in _found(_KIDS, text, allowance)):
        return False
    seen.pages += sum(1 for _ in _found(_PAGE, text, allowance))
    seen.said = max(seen.said, max((int(number[1]) for number in _found(_COUNT, text, allowance)), default=0))
    return True


def _found(pattern: re.Pattern[bytes], text: bytes, allowance: Allowance) -> Iterator[re.Match[bytes]]:
    """All matches. Raises Spent."""
    for at in range(0, len(text), _WINDOW):
        allowance.take(min(_WINDOW, len(text) - at))
        for match in pattern.finditer(text, at, at + _WINDOW + _REACH):
            if match.start() >= at + _WINDOW:
                break
            allowance.step()
            yield match


def _letter(code: re.Match[bytes]) -> bytes:
    return bytes([int(code[1], 16)])


def _hold(text: bytes, kids: re.Match[bytes], seen: _Seen, allowance: Allowance) -> bool:
    """Note what an array of a tree holds. Whether it is one, of references that stand nowhere else."""
    end = text.find(b"]", kids.end(), kids.end() + _LONGEST) if kids[1] else -1
    if end < 0:
        return False
    allowance.take(4 * (end - kids.end()))
    words = text[kids.end() : end].split()
    names, before = words[::3], len(seen.held)
    seen.held.update(names)
    references = len(words) % 3 == 0 and words[2::3] == [b"R"] * len(names)
    return references and len(seen.held) == before + len(names) <= _MOST


def _texts(data: bytes, allowance: Allowance) -> Iterator[bytes | None]:
    """What is written in it: itself, and what its object streams hold; None for one that cannot be read.

    Raises Spent.
    """
    yield data
    over, room = 0, _LARGEST
    for kind in _found(_PACKED, data, allowance):
        allowance.take(4 * _ABOUT)
        head = data.rfind(b"obj", max(over, kind.start() - _ABOUT), kind.start())
        stream = _STREAM.search(data, kind.end(), kind.end() + _ABOUT)
        over = data.find(b"endstream", stream.end()) if stream else -1
        if head < 0 or stream is None or over < 0:
            yield None
            return
        part = _unpacked(data[head : stream.start()], data[stream.end() : over], min(room, allowance.left))
        yield part
        room -= len(part or b"")


def _unpacked(about: bytes, data: bytes, room: int) -> bytes | None:
    """What an object stream holds; None where that cannot be read, or is as large as `room`."""
    if b"/FlateDecode" not in about or about.count(b"Decode") != 1 or room <= 0:
        return None
    unpacker = zlib.decompressobj()
    try:
        part = unpacker.decompress(data, room)
    except zlib.error:
        return None
    return part if unpacker.eof and len(part) < room else None
