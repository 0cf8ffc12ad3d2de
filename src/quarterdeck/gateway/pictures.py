"""How large a picture is, by its header. Pure.

Rules
- PNG, JPEG, GIF and WebP: what every provider takes. Of any other format, or where the header is not whole, nothing is
  known: 0 by 0.
- Never smaller than what is shown: where a header says it twice, the larger one.
- A header may be made of very many parts: each is paid for out of an allowance.
Sources: w3.org/TR/png, ITU-T T.81 (JPEG), w3.org/Graphics/GIF/spec-gif89a, RFC 9649 (WebP).
"""

import struct
from typing import Final

from quarterdeck.gateway.allowance import Allowance

_STARTS: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"RIFF")
_FRAMES: Final = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
"""Markers of a JPEG after which its size stands."""
_BARE: Final = frozenset({0x00, 0x01, 0xFF, *range(0xD0, 0xD9)})
"""Markers that nothing belongs to, and that stand before no header."""
_SEGMENTS: Final = 1_000
"""Of a JPEG before its points, of a GIF before its first frame."""
_HEIC: Final = (b"ftyphei", b"ftyphev", b"ftypmif", b"ftypmsf", b"ftypavi")


def known(start: bytes) -> bool:
    """Whether these are the first bytes of a picture, and hardly of anything else: two letters are not enough."""
    if start.startswith(b"RIFF"):
        return start[8:12] == b"WEBP"
    return start.startswith(_STARTS) or start[4:].startswith(_HEIC)


def extent(data: bytes, may: Allowance) -> tuple[int, int]:
    """Width and height in pixels, of the beginning of a picture; (0, 0) where it cannot be read. Raises Spent."""
    try:
        if data.startswith(b"\x89PNG"):
            width, height = struct.unpack(">II", data[16:24])
        elif data.startswith(b"\xff\xd8"):
            width, height = _jpeg(data, may)
        elif data.startswith(b"GIF8"):
            width, height = _gif(data, may)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            width, height = _webp(data)
        else:
            return 0, 0
    except (struct.error, IndexError):
        return 0, 0
    return (width, height) if width and height else (0, 0)


def _jpeg(data: bytes, may: Allowance) -> tuple[int, int]:
    at, width, height = 2, 0, 0
    for _ in range(_SEGMENTS):
        may.step()
        if data[at] != 0xFF or data[at + 1] in _BARE:
            return 0, 0
        marker, length = data[at + 1], int(struct.unpack(">H", data[at + 2 : at + 4])[0])
        if marker in (0xD9, 0xDA):  # its end, or its points: no header comes any more
            return width, height
        if marker in _FRAMES:
            high, wide = struct.unpack(">HH", data[at + 5 : at + 9])
            width, height = max(width, wide), max(height, high)
        at += 2 + max(2, length)
    return 0, 0


def _gif(data: bytes, may: Allowance) -> tuple[int, int]:
    width, height = struct.unpack("<HH", data[6:10])
    at, parts = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0), 0
    while data[at] == 0x21:  # extensions before the first frame
        may.step()
        at += 2
        while data[at] and parts < _SEGMENTS:
            may.step()
            at, parts = at + 1 + data[at], parts + 1
        at, parts = at + 1, parts + 1
        if parts > _SEGMENTS:
            return 0, 0
    left, top, wide, high = struct.unpack("<HHHH", data[at + 1 : at + 9])
    return max(width, left + wide), max(height, top + high)


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int(struct.unpack("<I", data[21:25])[0])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0
