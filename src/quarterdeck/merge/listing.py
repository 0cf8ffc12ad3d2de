"""Changelogs, settings and other lists that grow at one place, put together.

Rules
- What both sides added at one place is kept, ours first; what both added alike stands once.
- A line that both changed is put together by its brackets where it has some; otherwise it is a clash.
- A JSON or TOML text is returned only if it is one.
"""

import json
import tomllib
from collections.abc import Sequence
from typing import Final

from quarterdeck.merge.lines import Effort, Who, split, three
from quarterdeck.merge.python_tree import Token, logical, too_deep
from quarterdeck.merge.values import Lost, Resolved
from quarterdeck.merge.wording import Clash, Hand, merge_words, paragraphs

_BRACKETED: Final = frozenset({".toml", ".cfg", ".ini", ".json", ".yaml", ".yml"})


def merge_listing(kind: str, base: str, ours: str, theirs: str) -> Resolved | Lost:
    """Both changes of one text. `kind`: the ending of its path."""
    effort = Effort()
    try:
        if kind == ".json":
            text = merge_words(_tokens(base), _tokens(ours), _tokens(theirs), Hand(effort)) + "\n"
        else:
            text = _by_lines(kind, base, ours, theirs, effort)
    except Clash as clash:
        return Lost(str(clash))
    problem = _problem(kind, text)
    return Lost(f"the merged text is not what it should be: {problem}") if problem else Resolved(text)


def _by_lines(kind: str, base: str, ours: str, theirs: str, effort: Effort) -> str:
    sides = [split(text) for text in (base, ours, theirs)]
    merged: list[str] = []
    for piece in three(sides[0], sides[1], sides[2], effort, touching=False):
        b, o, t = sides[0][slice(*piece.base)], sides[1][slice(*piece.ours)], sides[2][slice(*piece.theirs)]
        if piece.who is Who.THEIRS:
            merged += t
        elif piece.who is not Who.CLASH:
            merged += o
        elif not "".join(b).strip():
            merged += paragraphs(o, t, effort)
        elif kind in _BRACKETED and len(b) == len(o) == len(t) == 1:
            merged.append(merge_words(_tokens(b[0]), _tokens(o[0]), _tokens(t[0]), Hand(effort)) + "\n")
        else:
            raise Clash(f"both changed {b[0].strip()[:60]!r}")
    return "".join(merged)


def _tokens(text: str) -> Sequence[Token]:
    """The words of a text that is one logical line. Raises Clash."""
    reason = too_deep(text)
    if reason:
        raise Clash(reason)
    lines, _ = logical(text)
    if len(lines) != 1 or lines[0].end.strip():
        raise Clash("it is more than one expression")
    first, *others = lines[0].tokens
    return [Token(first.text, lines[0].lead + lines[0].indent, first.is_string), *others]


def _problem(kind: str, text: str) -> str:
    try:
        if kind == ".json":
            json.loads(text)
        elif kind == ".toml":
            tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)[:200]
    return ""
