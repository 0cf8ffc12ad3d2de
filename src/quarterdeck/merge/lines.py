"""What two sequences have in common, and the changes of two sides put side by side.

Rules
- Works on anything that can be compared: lines, statements, words. The caller keeps the values.
- Common beginnings and ends first, then what is unique on both sides, then the shortest edit between those.
- The work is bounded. When it is used up, what is left counts as changed by both: there are more clashes,
  and a union holds more lines twice.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

MOST_WORK: Final = 4_000_000
"""Steps of one merge; about two seconds on a slow machine."""
_LONGEST_EDIT: Final = 400
"""Insertions and deletions between two unique lines, after which they count as all changed."""

Keys = Sequence[Hashable]


class Effort:
    """How much work is left of what one merge may take."""

    __slots__ = ("left",)

    def __init__(self, steps: int = MOST_WORK) -> None:
        self.left = steps

    def spend(self, steps: int) -> bool:
        """Whether there was that much left."""
        self.left -= steps
        return self.left > 0


def split(text: str) -> list[str]:
    """The lines of a text with their ends; only a line feed ends one."""
    parts = text.split("\n")
    lines = [f"{part}\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def matches(one: Keys, other: Keys, effort: Effort) -> list[tuple[int, int]]:
    """Index pairs of what is common, rising on both sides."""
    found: list[tuple[int, int]] = []
    regions = [(0, len(one), 0, len(other))]
    while regions:
        low, high, left, right = regions.pop()
        while low < high and left < right and one[low] == other[left]:
            found.append((low, left))
            low, left = low + 1, left + 1
        while low < high and left < right and one[high - 1] == other[right - 1]:
            high, right = high - 1, right - 1
            found.append((high, right))
        if low == high or left == right or not effort.spend(high - low + right - left):
            continue
        anchors = _anchors(one, other, (low, high, left, right))
        if anchors:
            for first, second in [*anchors, (high, right)]:
                regions.append((low, first, left, second))
                low, left = first, second
        else:
            found += _shortest(one[low:high], other[left:right], (low, left), effort)
    return sorted(found)


def _anchors(one: Keys, other: Keys, region: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    """What occurs once on both sides of a region, as the longest rising chain."""
    low, high, left, right = region
    once = Counter(one[low:high])
    twice = Counter(other[left:right])
    places = {one[at]: at for at in range(low, high) if once[one[at]] == 1 and twice[one[at]] == 1}
    pairs = [(places[other[at]], at) for at in range(left, right) if other[at] in places]
    return rising(pairs)


def rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest chain of pairs that rises on both sides. `pairs` rise in the second."""
    tails: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for at, (first, _) in enumerate(pairs):
        place = bisect_left(tails, first)
        before.append(ends[place - 1] if place else -1)
        if place == len(tails):
            tails.append(first)
            ends.append(at)
        else:
            tails[place] = first
            ends[place] = at
    chain: list[tuple[int, int]] = []
    at = ends[-1] if ends else -1
    while at >= 0:
        chain.append(pairs[at])
        at = before[at]
    return chain[::-1]


def _shortest(one: Keys, other: Keys, start: tuple[int, int], effort: Effort) -> list[tuple[int, int]]:
    """The common parts of the shortest edit (Myers, An O(ND) Difference Algorithm, 1986)."""
    width, height = len(one), len(other)
    reach = {1: 0}
    history: list[dict[int, int]] = []
    for depth in range(min(width + height, _LONGEST_EDIT) + 1):
        if not effort.spend(depth + 1):
            return []
        history.append(reach)
        reach = dict(reach)
        for line in range(-depth, depth + 1, 2):
            down = line == -depth or (line != depth and reach.get(line - 1, -1) < reach.get(line + 1, -1))
            x = reach[line + 1] if down else reach[line - 1] + 1
            y = x - line
            while x < width and y < height and one[x] == other[y]:
                x, y = x + 1, y + 1
            reach[line] = x
            if x >= width and y >= height:
                return list(_walk(history, (width, height), start))
    return []


def _walk(history: list[dict[int, int]], end: tuple[int, int], start: tuple[int, int]) -> Iterator[tuple[int, int]]:
    x, y = end
    for depth in range(len(history) - 1, -1, -1):
        reach = history[depth]
        line = x - y
        down = line == -depth or (line != depth and reach.get(line - 1, -1) < reach.get(line + 1, -1))
        previous = line + 1 if down else line - 1
        old_x = reach.get(previous, 0)
        old_y = old_x - previous
        if depth == 0:
            old_x, old_y = 0, 0
        stop = (old_x, old_y + 1) if down else (old_x + 1, old_y)
        if depth == 0:
            stop = (0, 0)
        while x > stop[0] and y > stop[1]:
            x, y = x - 1, y - 1
            yield start[0] + x, start[1] + y
        x, y = old_x, old_y


# --- two sides --------------------------------------------------------------------------------------------


class Who(Enum):
    """Whose a piece is."""

    NOBODY = 0
    """The same on all three."""
    OURS = 1
    THEIRS = 2
    BOTH = 3
    """Both made the same change."""
    CLASH = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the base with what each side has in its place; indexes, the last exclusive."""

    who: Who
    base: tuple[int, int]
    ours: tuple[int, int]
    theirs: tuple[int, int]


_Hunk = tuple[int, int, int, int]
"""First and last of the base, first and last of the side."""


def hunks(base: Keys, side: Keys, effort: Effort) -> list[_Hunk]:
    """Where a side differs from the base."""
    found: list[_Hunk] = []
    at, there = 0, 0
    for first, second in [*matches(base, side, effort), (len(base), len(side))]:
        if first > at or second > there:
            found.append((at, first, there, second))
        at, there = first + 1, second + 1
    return found


def three(base: Keys, ours: Keys, theirs: Keys, effort: Effort, *, touching: bool) -> list[Piece]:
    """The whole base in pieces. `touching`: changes that lie side by side clash too, as they do in git."""
    marked = [(hunk, 0) for hunk in hunks(base, ours, effort)] + [(hunk, 1) for hunk in hunks(base, theirs, effort)]
    marked.sort(key=lambda entry: (entry[0][0], entry[0][1], entry[1]))
    pieces: list[Piece] = []
    at = [0, 0, 0]
    for group in _groups(marked, touching):
        low = group[0][0][0]
        high = max(hunk[1] for hunk, _ in group)
        if low > at[0]:
            pieces.append(_same(at, low - at[0]))
        spans = [(at[0], high)]
        for side in (0, 1):
            mine = [hunk for hunk, which in group if which == side]
            grown = sum(hunk[3] - hunk[2] - (hunk[1] - hunk[0]) for hunk in mine)
            spans.append((at[side + 1], at[side + 1] + high - at[0] + grown))
        at[:] = [span[1] for span in spans]
        sides = {which for _, which in group}
        if len(sides) == 1:
            who = Who.THEIRS if sides == {1} else Who.OURS
        else:
            alike = list(ours[slice(*spans[1])]) == list(theirs[slice(*spans[2])])
            who = Who.BOTH if alike else Who.CLASH
        pieces.append(Piece(who, spans[0], spans[1], spans[2]))
    if at[0] < len(base):
        pieces.append(_same(at, len(base) - at[0]))
    return pieces


def _same(at: list[int], length: int) -> Piece:
    spans = [(start, start + length) for start in at]
    at[:] = [span[1] for span in spans]
    return Piece(Who.NOBODY, spans[0], spans[1], spans[2])


def _groups(marked: Iterable[tuple[_Hunk, int]], touching: bool) -> list[list[tuple[_Hunk, int]]]:
    """Changes that have to be judged together."""
    groups: list[list[tuple[_Hunk, int]]] = []
    low = high = -1
    for hunk, side in marked:
        together = hunk[0] < high or (touching and hunk[0] == high) or (hunk[0] == hunk[1] == low == high)
        if groups and together:
            groups[-1].append((hunk, side))
            high = max(high, hunk[1])
        else:
            groups.append([(hunk, side)])
            low, high = hunk[0], hunk[1]
    return groups
