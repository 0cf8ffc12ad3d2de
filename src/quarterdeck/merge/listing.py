"""Texts that are no program, put together by what they are: lists of lines, prose and settings.

Rules
- A list of lines in no order (requirements, ignored files, authors): an entry is known by what it names. What both
  added is kept, once; the same name with another text is a clash, and so is a line that both changed.
- Prose (changelogs, Markdown, reStructuredText): what both added at one place stands whole, ours first, where each side
  added headings, paragraphs, entries of a list or rows of a table. An entry that both added stands once; in a changelog
  so does a heading that both opened.
- Settings: see `tables`.
- Of any other text nothing is known: what git cannot merge there, lines alone cannot tell.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Final

from quarterdeck.merge.accounts import discrepancies
from quarterdeck.merge.line_merge import Clash, Rule, begun_alike, in_turn, merge_lines, refused, shown
from quarterdeck.merge.lines import Effort, split
from quarterdeck.merge.tables import TABLES, merge_tables
from quarterdeck.merge.values import Lost, Resolved

_PROSE: Final = frozenset({".md", ".rst", ".txt", ".markdown", ""})
_CHANGES: Final = re.compile(r"(?:change|history|news|release|whatsnew|unreleased)", re.IGNORECASE)
_REQUIRED: Final = re.compile(
    r"(?:requirements|constraints)[\w.-]*\.(?:txt|in)|[\w.-]*(?:requirements|constraints)\.(?:txt|in)"
)
_NAMED: Final = frozenset({"AUTHORS", "CONTRIBUTORS", "MAINTAINERS", "CODEOWNERS", ".mailmap", ".gitattributes"})
_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
_BLOCK: Final = re.compile(r"#{1,6} |[-*+] |\d+[.)] |\||\.\. |> ")
"""How a part of prose begins that may stand beside any other."""
_HEADING: Final = re.compile(r"#{1,6} ")
_UNDERLINE: Final = re.compile(r"([=\-~^\"'`#*+.])\1{2,}")
_FENCE: Final = re.compile(r"\s*(?:```|~~~)")
_IN_CODE: Final = "\0"
"""Marks a line; no text has it (see `too_large`)."""


def merge_listing(path: str, base: str, ours: str, theirs: str) -> Resolved | Lost:
    """Both changes of one text, or why they cannot be put together."""
    name = PurePosixPath(path)
    effort = Effort()
    try:
        if name.suffix.lower() in TABLES:
            return Resolved(merge_tables(name.suffix.lower(), base, ours, theirs, effort))
        if key := _entries_of(path):
            text = _list(key, base, ours, theirs, effort)
        elif name.suffix.lower() in _PROSE and name.name.upper() not in ("MAKEFILE", "DOCKERFILE"):
            text = _prose(base, ours, theirs, effort, in_changelog=bool(_CHANGES.match(name.name)))
        else:
            return Lost("not a kind of text of which more is known than its lines")
    except Clash as clash:
        return Lost(str(clash))
    wrong = discrepancies(base, ours, theirs, text, python=False)
    return Lost("; ".join(wrong)) if wrong else Resolved(text)


# --- lists of lines ---------------------------------------------------------------------------------------


def _entries_of(path: str) -> Callable[[str], str] | None:
    """How an entry of such a list is known; None = it is no such list."""
    name = PurePosixPath(path).name
    if _REQUIRED.fullmatch(name) or PurePosixPath(path).parent.name == "requirements":
        return _required
    if name.startswith(".") and name.endswith("ignore"):
        return str.strip
    return _first_word if name in _NAMED else None


def _required(line: str) -> str:
    """The package that a line of requirements asks for."""
    found = _REQUIREMENT.match(line.strip())
    return re.sub(r"[-_.]+", "-", found.group()).lower() if found else line.strip()


def _first_word(line: str) -> str:
    return line.split(maxsplit=1)[0] if line.strip() else ""


def _list(key: Callable[[str], str], base: str, ours: str, theirs: str, effort: Effort) -> str:
    def added(o: Sequence[str], t: Sequence[str]) -> list[str]:
        if any(line.lstrip().startswith("!") for line in (*o, *t)):
            raise Clash("both added rules, and a rule that takes others back is in an order with them")
        if any(line.rstrip().endswith("\\") for line in (*o, *t)):
            raise Clash("both added lines, of which some go on")
        same = {line for line in o if line.strip()}
        return [*o, *(line for line in t if line not in same)]

    sides = [split(text) for text in (base, ours, theirs)]
    merged = merge_lines(sides[0], sides[1], sides[2], Rule(str, added, refused), effort)
    counts = [Counter(key(line) for line in side if _is_entry(line)) for side in (*sides[1:], merged)]
    for name, count in counts[2].items():
        if count > max(counts[0][name], counts[1][name]):
            raise Clash(f"both have {name[:60]!r}, each in another way")
    return "".join(merged)


def _is_entry(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


# --- prose ------------------------------------------------------------------------------------------------


def _prose(base: str, ours: str, theirs: str, effort: Effort, *, in_changelog: bool) -> str:
    sides = [_fenced(split(text)) for text in (base, ours, theirs)]

    def added(o: Sequence[str], t: Sequence[str]) -> list[str]:
        if o[0].startswith(_IN_CODE) or t[0].startswith(_IN_CODE):
            raise Clash(f"both added code at {shown(line.removeprefix(_IN_CODE) for line in o)}")
        alike = begun_alike(o, t)
        shared = _headings(o[:alike]) if in_changelog else set()
        if _headings(o) & _headings(t) - shared:
            raise Clash("both added a section of one name")
        for lines in (o[alike:], t[alike:]):
            if not _is_whole(lines):
                raise Clash(f"both went on with {shown(lines)}")
        if _headings(o[alike:]) or _headings(t[alike:]):
            return in_turn(o, t)
        there = _entries(o[alike:])
        new = [
            line for entry in _entries(t[alike:]) if entry not in there or not "".join(entry).strip() for line in entry
        ]
        return in_turn(o, [*t[:alike], *new])

    merged = merge_lines(sides[0], sides[1], sides[2], Rule(str, added, refused), effort)
    text = "".join(line.removeprefix(_IN_CODE) for line in merged)
    if _fenced(split(text)) != merged:
        raise Clash("what is code would be another part of the text")
    return text


def _fenced(lines: Sequence[str]) -> list[str]:
    """The lines, those between fences marked."""
    found: list[str] = []
    inside = False
    for line in lines:
        fence = bool(_FENCE.match(line))
        found.append(f"{_IN_CODE}{line}" if inside and not fence else line)
        inside ^= fence
    return found


def _entries(lines: Sequence[str]) -> list[list[str]]:
    """The parts of prose, each with what belongs to it; blank lines by themselves."""
    found: list[list[str]] = []
    for line in lines:
        begins = not found or not line.strip() or not found[-1][-1].strip()
        if begins or (_BLOCK.match(line) and not line[0].isspace()):
            found.append([line])
        else:
            found[-1].append(line)
    return found


def _headings(lines: Sequence[str]) -> set[str]:
    underlined = {
        line.strip() for line, below in pairwise(lines) if line.strip() and _UNDERLINE.fullmatch(below.rstrip())
    }
    return underlined | {line.strip() for line in lines if _HEADING.match(line)}


def _is_whole(lines: Sequence[str]) -> bool:
    """Whether these lines are parts of prose by themselves, and go on with nothing before them."""
    first = next((line for line in lines if line.strip()), "")
    if not first or _BLOCK.match(first.lstrip()):
        return True
    return not first[0].isspace() and not (lines[0].strip() and lines[-1].strip())
