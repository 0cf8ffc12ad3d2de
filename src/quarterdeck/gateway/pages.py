"""How many pages a PDF has at most. Pure.

Rules
- Counted in three ways, the most of them holds: objects that are pages, what the trees of pages hold, and what they say
  that they hold.
- What hides its pages has an unknown number of them, 0: encryption, a page that stands in a tree twice, names that are
  written in another way, trees or object streams that are not as they are mostly written, or too many.
- Whoever sends it may mean ill: nothing is looked through more than once for each of its parts.
Source: ISO 32000-1, 7.5.7 (object streams) and 7.7.3 (page tree).
"""

import re
import zlib
from typing import Final

_LARGEST: Final = 32 * 1024 * 1024
"""Bytes, of the document and of what its object streams hold; more than is taken inline."""
_PARTS: Final = 20_000
"""Object streams, and parts of trees."""
_ABOUT: Final = 1_024
"""Bytes in which the head of an object stream stands, before and after its type."""

_PAGE: Final = re.compile(rb"/Type\s*/Page(?![A-Za-z])")
_KIDS: Final = re.compile(rb"/Kids\s*\[([^\]]{0,20000})\]")
_COUNT: Final = re.compile(rb"/Count\s+(\d{1,9})")
_PACKED: Final = re.compile(rb"/ObjStm\b")
_STREAM: Final = re.compile(rb"(?<!end)stream\r?\n")
_WRITTEN: Final = re.compile(rb"/[A-Za-z#0-9]*#[0-9A-Fa-f]{2}[A-Za-z#0-9]*")
_CODE: Final = re.compile(rb"#([0-9A-Fa-f]{2})")
_NAMES: Final = frozenset({b"/Type", b"/Page", b"/Pages", b"/Kids", b"/Count", b"/ObjStm"})


def count(data: bytes) -> int:
    """The number of pages at most; 0 where it cannot be known."""
    if len(data) > _LARGEST or b"/Encrypt" in data or _hidden(data):
        return 0
    packed = _unpacked(data)
    if packed is None or _hidden(packed):
        return 0
    whole = data + b"\n" + packed
    trees = whole.count(b"/Kids")
    arrays = _KIDS.findall(whole) if trees <= _PARTS else []
    if len(arrays) != trees:
        return 0
    held: list[bytes] = []
    for array in arrays:
        words = array.split()
        if words[2::3] != [b"R"] * (len(words) // 3) or len(words) % 3:
            return 0
        held += words[::3]
    if len(set(held)) < len(held):
        return 0
    said = max((int(number) for number in _COUNT.findall(whole)), default=0)
    return max(len(_PAGE.findall(whole)), len(held), said)


def _hidden(data: bytes) -> bool:
    """Whether one of the names that are looked for is written in another way."""
    return any(_CODE.sub(_letter, name) in _NAMES for name in _WRITTEN.findall(data))


def _letter(code: re.Match[bytes]) -> bytes:
    return bytes([int(code[1], 16)])


def _unpacked(data: bytes) -> bytes | None:
    """What its object streams hold; None where that cannot be read."""
    found, room = bytearray(), _LARGEST
    if data.count(b"/ObjStm") > _PARTS:
        return None
    for kind in _PACKED.finditer(data):
        head = data.rfind(b"obj", max(0, kind.start() - _ABOUT), kind.start())
        stream = _STREAM.search(data, kind.end(), kind.end() + _ABOUT)
        if head < 0 or stream is None:
            return None
        about = data[head : stream.start()]
        if b"/FlateDecode" not in about or about.count(b"Decode") != 1:
            return None
        unpacker = zlib.decompressobj()
        try:
            part = unpacker.decompress(data[stream.end() : data.find(b"endstream", stream.end())], room)
        except zlib.error:
            return None
        room -= len(part)
        if not unpacker.eof or room <= 0:
            return None
        found += b"\n" + part
    return bytes(found)
