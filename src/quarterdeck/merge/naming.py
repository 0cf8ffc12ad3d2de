"""What has a name in a text, and which of it a change touches.

Rules
- Python: functions, classes, methods, imports, assignments and lists, also below a condition. Other texts: the sections
  of Markdown and reStructuredText, and those of TOML and INI files.
- A class is touched by what stands in it outside of its methods; a change of a method touches the method.
- What cannot be read has no entities; a change of it is one outside of entities.
- Of a large Python text only the statements around what differs are read.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final

from quarterdeck.merge.excerpts import excerpt
from quarterdeck.merge.lines import split
from quarterdeck.merge.nesting import SHORT
from quarterdeck.merge.python_names import Named, named
from quarterdeck.merge.values import MOST_CHARACTERS, MOST_LINES, Entity

PYTHON: Final = frozenset({".py", ".pyi"})
_PROSE: Final = frozenset({".md", ".rst", ".txt", ""})
_TABLES: Final = frozenset({".toml", ".ini", ".cfg"})
_HEADING: Final = re.compile(r"#{1,6}[ \t]+(\S.*)")
_UNDERLINE: Final = re.compile(r"([=\-~^\"'`#*+.])\1{2,}\s*")
_TABLE: Final = re.compile(r"\[{1,2}([^\[\]]+)\]{1,2}\s*(?:#.*)?")


def suffix(path: str) -> str:
    """The ending of a path that says what is in it; `` for names such as CHANGES."""
    return PurePosixPath(path).suffix.lower()


def too_large(*texts: str | None) -> str:
    """Why these texts are not looked into; empty = they are."""
    for text in texts:
        if text is None:
            continue
        if len(text) > MOST_CHARACTERS:
            return f"it has more than {MOST_CHARACTERS} characters"
        if text.count("\n") > MOST_LINES:
            return f"it has more than {MOST_LINES} lines"
        if "\0" in text:
            return "it is no text"
    return ""


def entities(path: str, text: str) -> tuple[Entity, ...]:
    """What has a name in a text, in order; nothing where the language is not known or it does not parse."""
    return tuple(found.entity for found in _found(path, text))


def touched(path: str, before: str, after: str) -> tuple[str, ...]:
    """The names of the entities that differ, in the order of `after`, those that are gone last.

    `("",)` where the change is outside of entities, or where there are none.
    """
    return tuple(name for name, _ in differing(path, before, after))


def differing(path: str, before: str, after: str) -> tuple[tuple[str, Entity | None], ...]:
    """What is `touched`, with the last entity of that name in `after`; None = it is gone, or outside of entities."""
    if before == after:
        return ()
    if suffix(path) not in PYTHON or max(len(before), len(after)) <= SHORT or too_large(before, after):
        return _differing(path, before, after)
    part = excerpt(before, after)
    found = _differing(path, part.before, part.after)
    return tuple(
        (name, one and replace(one, first=one.first + part.above, last=one.last + part.above)) for name, one in found
    )


def _differing(path: str, before: str, after: str) -> tuple[tuple[str, Entity | None], ...]:
    now = _found(path, after)
    where = {one.entity.name: one.entity for one in now}
    old, new = _texts(_found(path, before)), _texts(now)
    names = [name for name, text in new.items() if old.get(name) != text]
    names += [name for name in old if name not in new]
    return tuple((name, where.get(name)) for name in names) or (("", None),)


def _texts(found: Sequence[Named]) -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    for one in found:
        own = texts.setdefault(one.entity.name, [])
        if own[-1:] != [one.own]:  # of many statements on one line each has the whole line
            own.append(one.own)
    return {name: "".join(text.strip() for text in own) for name, own in texts.items()}


def _found(path: str, text: str) -> Sequence[Named]:
    kind = suffix(path)
    if too_large(text):
        return []
    if kind in PYTHON:
        return named(text)
    if kind in _PROSE or kind in _TABLES:
        return list(_sections(split(text), tables=kind in _TABLES))
    return []


def _sections(lines: Sequence[str], *, tables: bool) -> Iterator[Named]:
    heads: list[tuple[int, str]] = []
    pattern, sign = (_TABLE, "[") if tables else (_HEADING, "#")
    above = ""
    for at, line in enumerate(lines):
        text = line.strip()
        if text.startswith(sign) and (heading := pattern.fullmatch(text)):
            heads.append((at, heading.group(1).strip()))
        elif above and not tables and _UNDERLINE.fullmatch(line.rstrip("\n")):
            heads.append((at - 1, above))
        above = text
    for number, (at, name) in enumerate(heads):
        end = heads[number + 1][0] if number + 1 < len(heads) else len(lines)
        yield Named(Entity(name, "section", at + 1, max(end, at + 1)), "".join(lines[at:end]))
