"""A string that both sides changed.

Rules
- A string on one line is one value: both having changed it is a clash. A bold merge puts sentences together word by
  word; what has no white space (a version, a date, a path) never.
- A string over lines is put together line by line, each line with its indentation. Lines that both changed, or that
  both added at one place, are a clash.
- A docstring is prose: what both added to it at one place stands in the order ours, theirs, and a bold merge keeps both
  versions of a line. Its indentation belongs to the code around it.
"""

import re
from typing import Final

from quarterdeck.merge.line_merge import Clash, Rule, in_turn, merge_lines, refused, refused_both
from quarterdeck.merge.lines import Effort, split

_LITERAL: Final = re.compile(r"([A-Za-z]{0,2})(\"\"\"|'''|\"|')(.*)\2", re.DOTALL)
_WORD: Final = re.compile(r"\w+|\s+|[^\w\s]")


def merge_string(base: str, ours: str, theirs: str, effort: Effort, *, prose: bool, bold: bool) -> str:
    """A literal that both sides changed. `prose`: it is a docstring. Raises Clash."""
    parts = [_LITERAL.fullmatch(text) for text in (base, ours, theirs)]
    prefixes, quotes, (b, o, t) = ([found[number] if found else "" for found in parts] for number in (1, 2, 3))
    bodies = (b, o, t)
    if not all(parts) or len({prefix.lower() for prefix in prefixes}) > 1:
        raise Clash(f"both changed the text {base[:60]!r}")
    quote = quotes[2] if quotes[1] == quotes[0] else quotes[1]
    if len({*quotes, quote}) > 1 and (len(quote) < 3 or any(quote in body for body in bodies)):
        quote = next((each for each in quotes if len(each) == 3 and not any(each in body for body in bodies)), "")
    if not quote:
        raise Clash(f"both changed the text {base[:60]!r}")
    return prefixes[0] + quote + _body(bodies, effort, prose=prose, bold=bold) + quote


def _body(bodies: tuple[str, str, str], effort: Effort, *, prose: bool, bold: bool) -> str:
    if "\n" not in bodies[0] and not ("\n" in bodies[1] and "\n" in bodies[2]):
        return _short(bodies, effort, bold=bold)
    texts = [body.rstrip(" \t") if prose else body for body in bodies]
    ends = [body[len(text) :] for body, text in zip(bodies, texts, strict=True)]
    sides = [split(text) for text in texts]
    if prose:
        # The last line of one side may not be the last of the result.
        sides = [[line if line.endswith("\n") else f"{line}\n" for line in side] for side in sides]
    text = "".join(merge_lines(sides[0], sides[1], sides[2], _rule(prose=prose, bold=bold), effort))
    ended = [text.endswith("\n") or not text for text in texts]
    if prose and not (ended[2] if ended[1] == ended[0] else ended[1]):
        text = text.removesuffix("\n")
    return text + (ends[2] if ends[1] == ends[0] else ends[1]) if prose else text


def _rule(*, prose: bool, bold: bool) -> Rule:
    if bold:
        return Rule(str.strip if prose else str, in_turn, lambda _, o, t: in_turn(o, t))
    return Rule(str.strip if prose else str, in_turn if prose else refused_both, refused)


def _short(bodies: tuple[str, str, str], effort: Effort, *, bold: bool) -> str:
    if not bold or not all(" " in body.strip() for body in bodies):
        raise Clash(f"both changed the text {bodies[0][:60]!r}")
    words = [_WORD.findall(body) for body in bodies]
    return "".join(merge_lines(words[0], words[1], words[2], Rule(str, refused_both, refused), effort))
