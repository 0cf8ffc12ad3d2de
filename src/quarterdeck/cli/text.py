"""How text looks on a terminal. Pure, and light: `--help` needs it.

Rules
- Whatever an agent, a model or a repository wrote is cleaned before it reaches a terminal: control characters could
  move the cursor or hide text.
- Columns are aligned by the cells a terminal uses, not by characters.
- Sixteen-colour names only, so that the person's own theme, dark or light, decides how they look.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final


class Tone(StrEnum):
    """What a piece of text means."""

    PLAIN = ""
    QUIET = "2"
    STRONG = "1"
    GOOD = "32"
    WARN = "33"
    BAD = "31"
    BUSY = "36"


STATUS_TONE: Final = {
    "done": Tone.GOOD,
    "merged": Tone.GOOD,
    "ok": Tone.GOOD,
    "failed": Tone.BAD,
    "partial": Tone.WARN,
    "waiting": Tone.WARN,
    "paused": Tone.WARN,
    "interrupted": Tone.WARN,
    "held": Tone.WARN,
    "blocked": Tone.WARN,
    "cancelled": Tone.QUIET,
    "pending": Tone.QUIET,
    "created": Tone.QUIET,
}
"""All other statuses are busy."""

STATUS_MARK: Final = {
    "merged": "✓",
    "failed": "✗",
    "blocked": "⊘",
    "cancelled": "⊘",
    "waiting": "?",
    "pending": "·",
}
"""Shape beside colour, for whoever does not see the colour. All other statuses are busy: `BUSY_MARK`."""

BUSY_MARK: Final = "▸"


def status_tone(status: str) -> Tone:
    return STATUS_TONE.get(status, Tone.BUSY)


def clean(text: str, *, lines: bool = False) -> str:
    """`text` without anything that steers a terminal. Line ends become spaces unless `lines`."""
    if text.isascii() and text.isprintable():
        return text  # what nearly every text is, and a progress view cleans thousands
    out = []
    for char in text.replace("\r\n", "\n").replace("\t", "    "):
        if char == "\n":
            out.append("\n" if lines else " ")
        elif unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            out.append(char)
    return "".join(out)


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(char) for char in text)


def _cells(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int) -> str:
    """`text` in at most `width` columns, cut with an ellipsis."""
    if cells(text) <= width:
        return text
    out, used = [], 0
    for char in text:
        used += _cells(char)
        if used > width - 1:
            break
        out.append(char)
    return "".join(out).rstrip() + "…" if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled up to `width` columns."""
    gap = " " * max(0, width - cells(text))
    return gap + text if right else text + gap


def paint(text: str, tone: Tone, *, color: bool) -> str:
    """`text` in the colour of its meaning."""
    return f"\x1b[{tone.value}m{text}\x1b[0m" if color and tone.value and text else text


class Column:
    """One column of a table."""

    def __init__(self, title: str, *, right: bool = False, status: bool = False, spare: bool = False) -> None:
        self.title = title
        self.right = right
        self.status = status
        """Its texts are statuses and get their colour."""
        self.spare = spare
        """It is left out where the terminal has no room for it."""


_READ: Final = 24
"""Cells of the last column with which it still says something."""


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> list[int]:
    """Which columns there is room for."""
    kept = list(range(len(columns)))
    for i in reversed(kept[:-1]):
        needed = sum(widths[at] + 2 for at in kept[:-1]) + min(widths[-1], _READ)
        if width is None or needed <= width:
            break
        if columns[i].spare:
            kept.remove(i)
    return kept


def table(
    columns: Sequence[Column], rows: Iterable[Sequence[str]], *, width: int | None = None, color: bool = False
) -> list[str]:
    """Aligned lines, two spaces between columns, without borders. With `width`, spare columns are left out, the last
    one first, until there is room for the last column, and that is cut to fit."""
    body = [[clean(cell) for cell in row] for row in rows]
    widths = [max([cells(column.title), *(cells(row[i]) for row in body)]) for i, column in enumerate(columns)]
    kept = _kept(columns, widths, width)
    columns, widths = [columns[i] for i in kept], [widths[i] for i in kept]
    body = [[row[i] for i in kept] for row in body]
    last = len(columns) - 1
    if width is not None:
        widths[last] = max(8, min(widths[last], width - sum(widths[:last]) - 2 * last))
    out = []
    for number, row in enumerate([[column.title.upper() for column in columns], *body]):
        parts = []
        for i, column in enumerate(columns):
            text = fit(row[i], widths[i]) if i == last and width is not None else row[i]
            padded = text if i == last and not column.right else pad(text, widths[i], right=column.right)
            tone = Tone.QUIET if number == 0 else status_tone(row[i]) if column.status else Tone.PLAIN
            parts.append(paint(padded, tone, color=color))
        out.append("  ".join(parts).rstrip())
    return out
