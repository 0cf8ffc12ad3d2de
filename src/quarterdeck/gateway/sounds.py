"""How long a sound is at most. Pure.

Rules
- WAV with plain samples says it; an MP3 has at least a thousand bytes a second (8 kbit/s, the least there is).
- A WAV may be made of very many parts: each is paid for out of an allowance.
- Every other format can hold silence in next to nothing: its length is not known, 0.
Sources: the WAVE format (RFC 2361), ISO 11172-3 (MP3).
"""

import struct
from typing import Final

from quarterdeck.gateway.allowance import Allowance

_LEAST_MP3: Final = 1_000
"""Bytes of a second."""
_MP3: Final = (b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2")
_STARTS: Final = (b"ID3", b"OggS", b"fLaC", b"FORM", b"\xff\xf1", b"\xff\xf9", *_MP3)
_PLAIN: Final = (1, 3)
"""Samples as integers, or as fractions."""
_CHUNKS: Final = 1_000
"""Of a WAV, before the one that tells its form."""


def known(start: bytes) -> bool:
    """Whether these are the first bytes of a sound."""
    return start.startswith(_STARTS) or (start.startswith(b"RIFF") and start[8:12] == b"WAVE")


def seconds(data: bytes, may: Allowance) -> float:
    """Its length at most; 0 where it cannot be known. Raises Spent."""
    if data[_tag(data) :].startswith(_MP3):
        return len(data) / _LEAST_MP3
    if not data.startswith(b"RIFF"):
        return 0.0
    at = 12
    for _ in range(_CHUNKS):
        may.step()
        if at + 8 > len(data):
            break
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt " and at + 24 <= len(data):
            kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", data[at + 8 : at + 24])
            each = channels * rate * bits // 8
            return len(data) / each if kind in _PLAIN and each else 0.0
        at += 8 + size + size % 2
    return 0.0


def _tag(data: bytes) -> int:
    """Bytes of the tag before an MP3: its length stands in four bytes of seven bits."""
    if not data.startswith(b"ID3") or len(data) < 10:
        return 0
    return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
