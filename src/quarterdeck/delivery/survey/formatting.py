"""Formatting that nobody asked for.

Rules
- A block of changed lines only formats where the program means the same without it. In Python that is: taken back
  alone it changes neither the syntax tree nor a comment. In files whose indentation means something: the lines
  differ in trailing space and empty lines alone. Elsewhere: in white space alone.
- Formatting within three lines of a real change belongs to it.
"""

from __future__ import annotations

import ast
import difflib
import io
import re
import tokenize
from typing import Optional

from quarterdeck.delivery.survey.sources import MAX_LINES, parsed

NEAR = 3
INDENTED = (".yml", ".yaml", ".mk", ".haml", ".pug", ".coffee", ".nim", ".py", "Makefile", "makefile")

Block = tuple[int, int, int, int]
Shape = Optional[tuple[str, tuple[str, ...]]]  # noqa: UP045 - evaluated by Python 3.9, too


def blocks(old: list[str], new: list[str]) -> list[Block]:
    """Where two lists of lines differ: from and to in the old, from and to in the new, ends excluded."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    matcher = difflib.SequenceMatcher(None, old[start : len(old) - end], new[start : len(new) - end], autojunk=False)
    return [(a + start, b + start, c + start, d + start) for tag, a, b, c, d in matcher.get_opcodes() if tag != "equal"]


def formatting(path: str, old: str, new: str) -> tuple[list[int], int]:
    """First lines of the blocks that only format and stand apart from real changes, and the number of other blocks."""
    was, now = old.splitlines(True), new.splitlines(True)
    if len(was) > MAX_LINES or len(now) > MAX_LINES:
        return [], 1
    found = blocks(was, now)
    shape = _shape(new) if path.endswith(".py") else None
    bare = [block for block in found if _only_formats(path, was, now, block, shape)]
    real = [block for block in found if block not in bare]
    apart = [b for b in bare if all(b[3] + NEAR <= r[2] or r[3] + NEAR <= b[2] for r in real)]
    return [block[2] + 1 for block in apart], len(found) - len(apart)


def _only_formats(path: str, was: list[str], now: list[str], block: Block, shape: Shape) -> bool:
    before, after = "".join(was[block[0] : block[1]]), "".join(now[block[2] : block[3]])
    if shape is not None:
        noise = r"[\s,()\\'\"]"
        if re.sub(noise, "", before) != re.sub(noise, "", after):
            return False
        return _shape("".join(now[: block[2]]) + before + "".join(now[block[3] :])) == shape
    if path.endswith(INDENTED):
        return _rows(before) == _rows(after)
    return re.sub(r"\s", "", before) == re.sub(r"\s", "", after)


def _rows(text: str) -> list[str]:
    return [row.rstrip() for row in text.splitlines() if row.strip()]


def _shape(source: str) -> Shape:
    tree = parsed(source)
    if tree is None:
        return None
    try:
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        return ast.dump(tree), tuple(token.string for token in tokens if token.type == tokenize.COMMENT)
    except (tokenize.TokenError, SyntaxError, RecursionError):
        return None
