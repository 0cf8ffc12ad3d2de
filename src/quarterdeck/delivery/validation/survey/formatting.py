"""Formatting that nobody asked for.

Rules
- A block of changed lines only formats where the program means the same without it. In Python that is: taken back
  alone it changes neither the syntax tree nor a comment. In languages with braces: it changes no token. In files that
  are read row by row: the rows differ in trailing space and empty lines alone. In prose, data and what is not known
  here, space can mean anything: nothing is said.
- Formatting within three lines of a real change belongs to it.
- It is unrelated where some code is changed for real, or a file of the same kind: where a formatter came or went, the
  code that it formatted is what the change is about.
- Empty lines and space at the ends of lines are slight: editors do that by themselves.
- What it takes is bounded for each file, and for all of a change: comparing a regenerated file line by line, or reading
  a long one again and again, can take the cube of its length. Where that is not enough, nothing is said.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from posixpath import basename, splitext
from typing import NamedTuple, Optional

from quarterdeck.delivery.validation.survey.sources import MAX_LINES, parsed

NEAR = 3
MAX_BLOCKS = 150
BRACES = re.compile(r"\.([cm]?[jt]sx?|go|rs|java|kt|c|h|cc|cpp|hpp|cs|swift|php|scala|css|scss|json)$")
CODE = re.compile(rf"{BRACES.pattern}|\.py$")
ROWS = re.compile(r"(\.(ya?ml|toml|ini|cfg|mk|sh|rb|py)|[Mm]akefile)$")
_LAID_OUT = re.compile(rf"{BRACES.pattern}|{ROWS.pattern}")
"""What anything is said of."""
STEPS_OF_A_FILE = 2_000_000
STEPS = 20_000_000
"""Lines that are held against each other, for all of a change: a tenth of a microsecond each, or a few of them."""
STEPS_OF_A_SIGN = 5
"""For a character of a source that is read for what it means."""

Block = tuple[int, int, int, int]
Shape = Optional[tuple[str, ...]]  # noqa: UP045 - evaluated by Python 3.9, too

# Where a line ends matters after these words, in a comment and in a preprocessor's line.
_TOKEN = re.compile(
    r"""(?x) \b(?:return|break|continue|throw|yield)\b[ \t]*\n | //[^\n]* | /\*.*?(?:\*/|\Z) | ^[ \t]*\#[^\n]*
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | `(?:\\.|[^`\\])*` | \w+ | \\. | [^\w\s]""",
    re.DOTALL | re.MULTILINE,
)

# Strings, so that nothing in them counts as a comment, and comments.
_ASIDE = re.compile(
    r"""(?x) \"\"\"(?:\\.|(?!\"\"\")[^\\])*\"\"\" | '''(?:\\.|(?!''')[^\\])*'''
    | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | \#[^\n]* | \\.""",
    re.DOTALL,
)


class Spot(NamedTuple):
    """The first line of a block that only formats."""

    line: int
    slight: bool


class Effort:
    """How much may still be done."""

    def __init__(self, steps: int = STEPS) -> None:
        self._left = steps

    def spend(self, steps: int) -> bool:
        """Whether that much may be done; then it is counted."""
        enough = steps <= self._left
        self._left -= steps if enough else 0
        return enough

    def part(self, steps: int) -> Effort:
        """For one of several: no more than `steps`, and no more than is left. It is counted here."""
        part = Effort(min(steps, self._left))
        self._left -= part._left
        return part

    def give_back(self, part: Effort) -> None:
        """What was left over of a part."""
        self._left += part._left


class Layout(NamedTuple):
    """What a change does to one file."""

    path: str
    spots: list[Spot]
    """Formatting that stands apart from real changes."""
    real: bool
    """It does something else, too."""

    @property
    def kind(self) -> str:
        return splitext(self.path)[1] or basename(self.path)


def unrelated(layouts: Iterable[Layout]) -> Iterator[tuple[str, Spot]]:
    """The formatting that has nothing to do with the rest of the change."""
    layouts = list(layouts)
    real = {layout.kind for layout in layouts if layout.real}
    for layout in layouts:
        if layout.kind in real or any(map(CODE.search, real)):
            yield from ((layout.path, spot) for spot in layout.spots)


def formatting(path: str, old: str, new: str, effort: Effort | None = None) -> Layout:
    """Where a file is only formatted, and whether it is changed otherwise. `effort`: for all files of the change."""
    if not old or not new or not _LAID_OUT.search(path):
        return Layout(path, [], True)
    whole = effort or Effort()
    own = whole.part(STEPS_OF_A_FILE)
    try:
        return _formatting(path, old, new, own)
    finally:
        whole.give_back(own)


def _formatting(path: str, old: str, new: str, effort: Effort) -> Layout:
    was, now = old.splitlines(True), new.splitlines(True)
    if len(was) > MAX_LINES or len(now) > MAX_LINES:
        return Layout(path, [], True)
    found = blocks(was, now, effort)
    if found is None or len(found) > MAX_BLOCKS:
        return Layout(path, [], True)
    bare = {block for block in found if _same_words(path, was, now, block)}
    if bare:
        reading = STEPS_OF_A_SIGN * len(new)
        if not effort.spend(2 * reading):
            return Layout(path, [], True)
        shape = _shape(path, new)
        if len(bare) < 2 or not _only_formats(path, was, now, bare, shape):
            bare = {b for b in bare if effort.spend(reading) and _only_formats(path, was, now, {b}, shape)}
    real = [block for block in found if block not in bare]
    apart = [b for b in found if b in bare and all(b[3] + NEAR <= r[2] or r[3] + NEAR <= b[2] for r in real)]
    spots = [Spot(b[2] + 1, _rows(was[b[0] : b[1]]) == _rows(now[b[2] : b[3]])) for b in apart]
    return Layout(path, spots, len(found) > len(apart))


def blocks(old: list[str], new: list[str], effort: Effort | None = None) -> list[Block] | None:
    """Where two lists of lines differ: from and to in the old, from and to in the new, ends excluded. None = finding
    that out takes more than `effort`."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    same = _same(old[start : len(old) - end], new[start : len(new) - end], effort or Effort())
    if same is None:
        return None
    found, a, b = list[Block](), 0, 0
    for i, j, size in same:
        if i > a or j > b:
            found.append((a + start, i + start, b + start, j + start))
        a, b = i + size, j + size
    return found


def _same(old: list[str], new: list[str], effort: Effort) -> list[tuple[int, int, int]] | None:
    """The runs of lines that both have, in order, as `SequenceMatcher.get_matching_blocks` finds them, and the end of
    both. Each search among some lines takes as many steps as these have like ones on the other side."""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    like = Counter(new)
    upto = [0, *accumulate(1 + like[line] for line in old)]
    waiting, found = [(0, len(old), 0, len(new))], [(len(old), len(new), 0)]
    while waiting:
        a, aa, b, bb = waiting.pop()
        if not effort.spend(upto[aa] - upto[a]):
            return None
        i, j, size = matcher.find_longest_match(a, aa, b, bb)
        if size:
            found.append((i, j, size))
            waiting += [(w, x, y, z) for w, x, y, z in ((a, i, b, j), (i + size, aa, j + size, bb)) if w < x and y < z]
    return sorted(found)


def _same_words(path: str, was: list[str], now: list[str], block: Block) -> bool:
    """Whether a block may only format, at a look at its own lines."""
    noise = r"[\s,()\\'\"]" if path.endswith(".py") else r"\s"
    before, after = "".join(was[block[0] : block[1]]), "".join(now[block[2] : block[3]])
    return re.sub(noise, "", before) == re.sub(noise, "", after)


def _only_formats(path: str, was: list[str], now: list[str], some: set[Block], shape: Shape) -> bool:
    """Whether the file means the same with all of these blocks as they were before."""
    if shape is None:
        rows = [(_rows(was[block[0] : block[1]]), _rows(now[block[2] : block[3]])) for block in some]
        return bool(ROWS.search(path)) and all(before == after for before, after in rows)
    lines, at = [], 0
    for block in sorted(some, key=lambda block: block[2]):
        lines += [*now[at : block[2]], *was[block[0] : block[1]]]
        at = block[3]
    return _shape(path, "".join([*lines, *now[at:]])) == shape


def _rows(lines: list[str]) -> list[str]:
    return [line.rstrip() for line in lines if line.strip()]


def _shape(path: str, source: str) -> Shape:
    """What a source means, without its layout; None = that is not known."""
    if BRACES.search(path):
        return tuple(_TOKEN.findall(source))
    tree = parsed(source) if path.endswith(".py") else None
    if tree is None:
        return None
    try:
        return (ast.dump(tree), *(found for found in _ASIDE.findall(source) if found.startswith("#")))
    except RecursionError:
        return None
