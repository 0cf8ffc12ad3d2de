"""Three texts put together line by line; one way for all who need it, each with its own rule.

Rules
- A rule says when two lines are the same one, what becomes of lines that both put in at one place, and of lines that
  both changed. Where it has no answer, that is a clash.
- Where lines are the same but for their indentation, each keeps that of the side that changed it, line by line.
- `in_turn` keeps each side's lines together: what stands once is only what both begin with. A line shared from the
  middle would belong to one side's lines and be missing among the other's.
- `interleaved` is for unions: what is common stands once, wherever it is, as in git's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from quarterdeck.merge.lines import Effort, Who, matches, split, three

Lines = Sequence[str]

_MARKS: Final = "-*+:#@."
"""What an entry of a list of lines begins with."""


class Clash(Exception):
    """The two sides disagree about the same thing."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How lines are put together."""

    key: Callable[[str], str]
    """Lines with the same key are the same line."""
    added: Callable[[Lines, Lines], list[str]]
    """What both put in at one place. May raise Clash."""
    changed: Callable[[Lines, Lines, Lines], list[str]]
    """What both made of some lines of the base. May raise Clash."""
    touching: bool = False
    """Changes side by side count as changes of the same lines."""


def merge_lines(base: Lines, ours: Lines, theirs: Lines, rule: Rule, effort: Effort) -> list[str]:
    """The lines with both changes. Raises Clash where the rule does."""
    keys = [[rule.key(line) for line in side] for side in (base, ours, theirs)]
    merged: list[str] = []
    for piece in three(keys[0], keys[1], keys[2], effort, touching=rule.touching):
        b, o, t = base[slice(*piece.base)], ours[slice(*piece.ours)], theirs[slice(*piece.theirs)]
        if piece.who is Who.NOBODY:
            for one, mine, other in zip(b, o, t, strict=True):
                merged += _chosen([one], [mine], [other], rule)
        else:
            merged += _chosen(b, o, t, rule)
    return merged


def _chosen(b: Lines, o: Lines, t: Lines, rule: Rule) -> Lines:
    if o in (b, t):
        return t
    if t == b:
        return o
    return rule.changed(b, o, t) if b else rule.added(o, t)


def refused(b: Lines, _o: Lines, _t: Lines) -> list[str]:
    """For a rule without an answer to lines that both changed."""
    raise Clash(f"both changed {shown(b)}")


def refused_both(o: Lines, _t: Lines) -> list[str]:
    """For a rule without an answer to lines that both added."""
    raise Clash(f"both added something at {shown(o)}")


def shown(lines: Iterable[str]) -> str:
    """The beginning of some lines, for a message."""
    return repr(next((line.strip() for line in lines if line.strip()), "")[:60])


def in_turn(ours: Lines, theirs: Lines) -> list[str]:
    """Ours, then theirs; what both begin with stands once."""
    same = begun_alike(ours, theirs)
    head, first, second = ours[:same], list(ours[same:]), list(theirs[same:])
    if first and second:
        second = _apart(first, second)
    return [*head, *first, *second]


def begun_alike(ours: Lines, theirs: Lines) -> int:
    """How many lines both begin with; none where those are blank."""
    same = 0
    while same < min(len(ours), len(theirs)) and ours[same] == theirs[same]:
        same += 1
    return same if any(line.strip() for line in ours[:same]) else 0


def _apart(first: list[str], second: list[str]) -> list[str]:
    """The second without blank lines that are not needed between the two."""
    marks = [next((line.strip()[0] for line in lines if line.strip()), "") for lines in (first, second)]
    at = 0
    as_one_list = marks[0] == marks[1] and marks[0] in _MARKS and bool(first[-1].strip())
    while at < len(second) and not second[at].strip() and (as_one_list or not first[-1].strip()):
        at += 1
    return second[at:]


def interleaved(ours: Lines, theirs: Lines, effort: Effort) -> list[str]:
    """The lines of both, what is common once, the rest one after the other."""
    merged: list[str] = []
    keys = [
        [line if line.strip() else (at, side) for at, line in enumerate(lines)]
        for side, lines in enumerate((ours, theirs))
    ]
    at, there = 0, 0
    for first, second in [*matches(keys[0], keys[1], effort), (len(ours), len(theirs))]:
        merged += ours[at:first]
        while there < second and merged and not merged[-1].strip() and not theirs[there].strip():
            there += 1  # one blank line between them is enough
        merged += [*theirs[there:second], *ours[first : first + 1]]
        at, there = first + 1, second + 1
    return merged


# --- code -------------------------------------------------------------------------------------------------


def remarks(base: str, ours: str, theirs: str, effort: Effort) -> str:
    """Comments and blank lines: what both changed stands one after the other."""
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    if not (ours + theirs).strip():
        return max(ours, theirs, key=len)
    return _merged(base, ours, theirs, in_turn, effort)


def code_lines(base: str, ours: str, theirs: str, effort: Effort) -> str:
    """Code that both changed, with the lines of both."""
    return _merged(base, ours, theirs, lambda o, t: interleaved(o, t, effort), effort)


def _merged(base: str, ours: str, theirs: str, put: Callable[[Lines, Lines], list[str]], effort: Effort) -> str:
    def both(o: Lines, t: Lines) -> list[str]:
        same = [line.strip() for line in o] == [line.strip() for line in t]
        return list(o) if same else put(o, t)

    rule = Rule(str.strip, both, lambda _, o, t: both(o, t))
    return "".join(merge_lines(split(base), split(ours), split(theirs), rule, effort))
