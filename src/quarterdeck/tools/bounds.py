"""Text for an agent: always bounded, always printable.

Rules
- What is too long loses its middle: the head says what it is, the tail says how it ended.
- Bytes that are not text, and control characters that a provider would refuse, become `\\ufffd`.
"""

import re
from typing import Final

DEFAULT_LIMIT: Final = 16 * 1024
LINE_LIMIT: Final = 200
"""Characters of a line that stands in a reason, which is told on one line of tables and messages."""

_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\ud800-\udfff]")
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def readable(data: bytes | str) -> str:
    """Printable text: no terminal sequences, no control characters but newline and tab."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    text = _ANSI.sub("", text).replace("\r\n", "\n")
    return _UNPRINTABLE.sub("\ufffd", text).replace("\x1b", "\ufffd")


def printable(text: str, limit: int) -> str:
    """The text without characters that cannot be seen, on at most `limit` characters."""
    kept = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text[: limit * 2])
    return kept if len(kept) <= limit else f"{kept[: limit - 1]}…"


def last_line(text: str) -> str:
    """The last line that is not empty, of what can be seen: what a program that failed says at its end is why."""
    said = next((line for line in reversed(text.splitlines()) if line.strip()), "")
    return printable(" ".join(said.split()), LINE_LIMIT)


def bounded(text: str, limit: int = DEFAULT_LIMIT) -> tuple[str, bool]:
    """(text of at most `limit` UTF-8 bytes, whether its middle was cut). Head and tail get half each."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode(), False
    marker = f"\n[... {len(data)} bytes in all, the middle was cut ...]\n"
    room = max(0, limit - len(marker.encode()))
    head = data[: (room + 1) // 2].decode("utf-8", "ignore")
    tail = data[len(data) - room // 2 :].decode("utf-8", "ignore") if room // 2 else ""
    return (head + marker + tail) if room else data[:limit].decode("utf-8", "ignore"), True
