"""What has a name in a text, and which of it a change touches.

Rules
- Python: functions, classes, methods, imports, assignments and lists, also below a condition. Other texts: the sections
  of Markdown and reStructuredText, and those of TOML and INI files.
- A class is touched by what stands in it outside of its methods; a change of a method touches the method.
- What cannot be read has no entities; a change of it is one outside of entities.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from quarterdeck.merge.lines import split
from quarterdeck.merge.python_tree import Statement, tree
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
    if before == after:
        return ()
    old, new = _texts(_found(path, before)), _texts(_found(path, after))
    names = [name for name, text in new.items() if old.get(name) != text]
    names += [name for name in old if name not in new]
    return tuple(names) or ("",)


@dataclass(frozen=True, slots=True)
class _Found:
    entity: Entity
    own: str
    """Its text without that of entities inside."""


def _texts(found: Sequence[_Found]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for one in found:
        texts[one.entity.name] = texts.get(one.entity.name, "") + one.own.strip()
    return texts


def _found(path: str, text: str) -> list[_Found]:
    kind = suffix(path)
    if too_large(text):
        return []
    if kind in PYTHON:
        module = tree(text)
        return [] if isinstance(module, str) else list(_python(module.body, "", 1, in_class=False))
    if kind in _PROSE or kind in _TABLES:
        return list(_sections(split(text), tables=kind in _TABLES))
    return []


def _python(body: Sequence[Statement], where: str, line: int, *, in_class: bool) -> Iterator[_Found]:
    for statement in body:
        yield from _statement(statement, where, line, in_class=in_class)
        line += statement.text.count("\n")


def _statement(statement: Statement, where: str, line: int, *, in_class: bool) -> Iterator[_Found]:
    last = line + max(statement.text.rstrip().count("\n"), 0)
    first = line + statement.lead.count("\n") - _remarks_above(statement.lead)
    name = f"{where}.{statement.name}" if where else statement.name
    match statement.kind:
        case "function":
            kind = "method" if in_class else "function"
            yield _Found(Entity(name, kind, first, last), statement.bare)
        case "class":
            yield _Found(Entity(name, "class", first, last), _outside_of_entities(statement))
            yield from _inside(statement, name, line, in_class=True)
        case "import" | "assignment":
            kind = "list" if statement.kind == "assignment" and _is_list(statement) else statement.kind
            yield _Found(Entity(name, kind, first, last), statement.bare)
        case "if" | "try" | "with" | "for" | "while" | "match":
            yield from _inside(statement, where, line, in_class=in_class)


def _inside(statement: Statement, where: str, line: int, *, in_class: bool) -> Iterator[_Found]:
    for part in statement.parts:
        line += sum(header.text.count("\n") for header in (*part.decorators, part.header))
        yield from _python(part.body or (), where, line, in_class=in_class)
        line += sum(inner.text.count("\n") for inner in part.body or ()) + part.rest.count("\n")


def _outside_of_entities(statement: Statement) -> str:
    texts = [line.code + line.end for part in statement.parts for line in (*part.decorators, part.header)]
    inner = [one for part in statement.parts for one in part.body or () if one.kind in ("text", "simple")]
    return "".join([*texts, *(one.bare for one in inner)])


def _remarks_above(lead: str) -> int:
    count = 0
    for line in reversed(split(lead)):
        if not line.strip():
            break
        count += 1
    return count


def _is_list(statement: Statement) -> bool:
    words = statement.parts[0].header.words
    return "=" in words and words[words.index("=") + 1 : words.index("=") + 2] in (("[",), ("(",), ("{",))


def _sections(lines: Sequence[str], *, tables: bool) -> Iterator[_Found]:
    heads: list[tuple[int, str]] = []
    for at, line in enumerate(lines):
        pattern = _TABLE if tables else _HEADING
        if heading := pattern.fullmatch(line.strip()):
            heads.append((at, heading.group(1).strip()))
        elif not tables and at and lines[at - 1].strip() and _UNDERLINE.fullmatch(line.rstrip("\n")):
            heads.append((at - 1, lines[at - 1].strip()))
    for number, (at, name) in enumerate(heads):
        end = heads[number + 1][0] if number + 1 < len(heads) else len(lines)
        yield _Found(Entity(name, "section", at + 1, max(end, at + 1)), "".join(lines[at:end]))
