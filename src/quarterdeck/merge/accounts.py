"""Counting what a merged text holds: every line of meaning as often as both sides want it to be.

Rules
- It knows nothing of how the text was made. In Python a line is a logical line by its words, whatever its layout, or a
  comment; elsewhere it is a line without the white space around it.
- What both keep is there; what one side alone added is there, and not twice; what one side took out is not back.
- A line made of both sides' versions stands for both, where it holds what each of them had put in.
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from quarterdeck.merge.lines import split
from quarterdeck.merge.python_tree import logical, syntax

_WORD: Final = re.compile(r"\w+|[^\w\s(),]")
_COMMENT: Final = re.compile(r"#[^\n]*")
_MOST: Final = 5
_MOST_COMPARED: Final = 2_000
"""Lines that are looked at for being made of others."""

Count = Counter[str]


def discrepancies(base: str, ours: str, theirs: str, merged: str, *, python: bool) -> tuple[str, ...]:
    """What a careful merge must not do, done: lines lost, doubled or back."""
    counts = _counts((base, ours, theirs, merged), python=python)
    found = [*_missing(counts, comments=True), *_surplus(counts)]
    return tuple(found[:_MOST])


def lost(base: str, ours: str, theirs: str, merged: str, *, python: bool) -> tuple[str, ...]:
    """Lines that a merged text does not hold, though nobody took them out."""
    return tuple(list(_missing(_counts((base, ours, theirs, merged), python=python), comments=False))[:_MOST])


def _counts(texts: tuple[str, ...], *, python: bool) -> list[Count]:
    if python and not any(isinstance(syntax(text), str) for text in texts):
        return [Counter(_of_python(text)) for text in texts]
    return [Counter(filter(None, (line.strip().rstrip(",") for line in split(text)))) for text in texts]


def _of_python(text: str) -> Iterator[str]:
    lines, rest = logical(text)
    for line in lines:
        yield " ".join(line.words)
        remarks = [line.lead, line.end, *(token.before for token in line.tokens)]
        yield from (comment.strip() for remark in remarks for comment in _COMMENT.findall(remark))
    yield from (comment.strip() for comment in _COMMENT.findall(rest))


def _missing(counts: list[Count], *, comments: bool) -> Iterator[str]:
    base, ours, theirs, merged = counts
    news = [line for line in merged if merged[line] > base[line]][:_MOST_COMPARED]
    made = [(_words(line), not (ours[line] or theirs[line])) for line in news]
    for line in dict.fromkeys((*ours, *theirs)):
        if line.startswith("#") and not comments:
            continue
        first, second = ours[line] - base[line], theirs[line] - base[line]
        least = base[line] + (max(first, second) if min(first, second) >= 0 else first + second)
        short = least - merged[line]
        if short <= 0:
            continue
        sides = [side for side, more in ((ours, first), (theirs, second)) if more > 0]
        if short > max(first, second, 0) or not all(_is_in(line, base - side, made) for side in sides):
            yield f"the line `{line[:80]}` of one side is lost"


def _is_in(line: str, before: Count, made: list[tuple[list[str], bool]]) -> bool:
    """Whether another line holds what this one put in: one made of both sides', or one side's that says more.

    `before`: what its side took out. `made`: the words of each new line, and whether no side has it like that.
    """
    words = _words(line)
    news = [set(words), *(set(words).difference(_words(old)) for old in list(before)[:_MOST_COMPARED])]
    smallest = min(news, key=len)
    return not smallest or any(smallest <= set(one) for one, is_made in made if is_made or one[0] == words[0])


def _surplus(counts: list[Count]) -> Iterator[str]:
    base, ours, theirs, merged = counts
    for line, count in merged.items():
        first, second = ours[line] - base[line], theirs[line] - base[line]
        most = base[line] + (min(first, second) if max(first, second) <= 0 else first + second)
        if count > most and (base[line] or ours[line] or theirs[line]) and not line.startswith("#"):
            yield f"the line `{line[:80]}` stands {count} times, of which {max(most, 0)} are wanted"


def _words(line: str) -> list[str]:
    return _WORD.findall(line)
