"""How a body is kept: compressed where that helps. Pure.

Rules
- The digest is taken over the plain bytes, so how a body is kept can change without renaming it.
- Small bodies and bodies that hardly shrink are kept as they are: to compress a kilobyte takes longer than to write it.
"""

import zlib
from typing import Final

PLAIN: Final = 0
ZLIB: Final = 1

_SMALL: Final = 2048
_LEVEL: Final = 1
_WORTH_IT: Final = 0.9


def pack(data: bytes) -> tuple[int, bytes]:
    """(codec, body) to keep for `data`."""
    if len(data) >= _SMALL:
        packed = zlib.compress(data, _LEVEL)
        if len(packed) < len(data) * _WORTH_IT:
            return ZLIB, packed
    return PLAIN, data


def unpack(codec: int, body: bytes) -> bytes:
    """The plain bytes again. Raises ValueError where they cannot be restored."""
    if codec == PLAIN:
        return body
    if codec != ZLIB:
        raise ValueError(f"unknown codec {codec}")
    try:
        return zlib.decompress(body)
    except zlib.error as error:
        raise ValueError(str(error)) from error
