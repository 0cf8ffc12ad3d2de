"""TOML that somebody else wrote, read in a bounded time.

Rules
- A key of very many parts is refused before it is read: the interpreter's reader takes time with the square of their
  number.
"""

import re
import tomllib
from typing import Any, Final

PARTS: Final = 64
"""Parts of a dotted key, at most."""

_PART: Final = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_TOO_MANY: Final = re.compile(rf"(?<![A-Za-z0-9_.-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{{PARTS}}}")


def read_toml(text: str) -> dict[str, Any]:
    """What a TOML text says. Raises ValueError where it is none or holds a key of too many parts, RecursionError."""
    if found := _TOO_MANY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"a key of more than {PARTS} parts (at line {line})")
    return tomllib.loads(text)
