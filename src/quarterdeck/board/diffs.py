"""A unified diff of git as values. Pure.

Rules
- What git prints is untrusted: names and lines come from an agent. Whatever it says, the parser ends and stays bounded.
- A file with many lines is cut, and so is a diff with many files or lines; both say so.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from quarterdeck.board.answers import Diff, DiffFile, DiffLine, Hunk

MOST_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a diff that are looked at."""
MOST_LINES: Final = 20_000
"""Lines of all files together."""
FILE_LINES: Final = 4_000
LINE: Final = 2_000
"""Characters of one line."""

_HUNK: Final = re.compile(r"^@@ -(\d{1,9})(?:,\d{1,9})? \+(\d{1,9})(?:,\d{1,9})? @@")
_QUOTED: Final = re.compile(r'\\([0-7]{3}|[abtnvfr"\\])')
_ESCAPES: Final = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}


@dataclass(slots=True)
class _File:
    old: str = ""
    new: str = ""
    status: Literal["added", "modified", "deleted", "renamed"] = "modified"
    binary: bool = False
    added: int = 0
    removed: int = 0
    hunks: list[tuple[str, list[DiffLine]]] = field(default_factory=list)
    lines: int = 0
    cut: bool = False
    at: tuple[int, int] = (0, 0)
    """Numbers of the next old and new line."""

    def value(self) -> DiffFile:
        path = self.new if self.status != "deleted" else self.old
        return DiffFile(
            path=path or self.old,
            old_path=self.old if self.status == "renamed" else None,
            status=self.status,
            binary=self.binary,
            added=self.added,
            removed=self.removed,
            hunks=tuple(Hunk(header=header, lines=tuple(lines)) for header, lines in self.hunks),
            cut=self.cut,
        )


def unquoted(name: str) -> str:
    """A path as git quotes it, without the quotes."""
    if not (name.startswith('"') and name.endswith('"') and len(name) > 1):
        return name

    def byte(found: re.Match[str]) -> str:
        code = found[1]
        return chr(_ESCAPES[code] if code in _ESCAPES else int(code, 8) & 0xFF)

    raw = _QUOTED.sub(byte, name[1:-1])
    try:
        return raw.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return raw  # git quoted a part only


def parsed(text: str, base: str, commit: str) -> Diff:
    """The diff in `text`, as `git diff-tree -p` prints it between two commits."""
    cut = len(text) > MOST_BYTES
    files: list[_File] = []
    total = 0
    for line in text[:MOST_BYTES].split("\n"):
        if line.startswith("diff --git "):
            files.append(_File())
            files[-1].old, files[-1].new = _names(line.removeprefix("diff --git "))
        elif not files:
            continue
        elif total >= MOST_LINES:
            cut = files[-1].cut = True
        elif _in_hunk(files[-1]) and line[:1] in ("+", "-", " ", ""):
            total += _line(files[-1], line)
        elif not _hunk(files[-1], line):
            _header(files[-1], line)
    return Diff(base=base, commit=commit, files=tuple(file.value() for file in files), cut=cut)


def _names(text: str) -> tuple[str, str]:
    """(old, new) of `a/x b/x`. Names without an own line in the header are equal: the text is split in the middle."""
    if text.startswith('"'):
        one, _, other = text[1:].partition('" ')
        return unquoted(f'"{one}"').removeprefix("a/"), unquoted(other).removeprefix("b/")
    half = len(text) // 2
    return text[:half].removeprefix("a/"), text[half + 1 :].removeprefix("b/")


def _in_hunk(file: _File) -> bool:
    return bool(file.hunks)


def _hunk(file: _File, line: str) -> bool:
    found = _HUNK.match(line)
    if found is None:
        return False
    file.hunks.append((line[:LINE], []))
    file.at = int(found[1]), int(found[2])
    return True


def _header(file: _File, line: str) -> None:
    word, _, rest = line.partition(" ")
    if line.startswith("new file"):
        file.status = "added"
    elif line.startswith("deleted file"):
        file.status = "deleted"
    elif line.startswith("rename from "):
        file.status, file.old = "renamed", unquoted(line.removeprefix("rename from "))
    elif line.startswith("rename to "):
        file.new = unquoted(line.removeprefix("rename to "))
    elif line.startswith(("Binary files ", "GIT binary patch")):
        file.binary = True
    elif word == "---" and rest != "/dev/null" and not file.hunks:
        file.old = unquoted(rest.rstrip("\t")).removeprefix("a/")
    elif word == "+++" and rest != "/dev/null" and not file.hunks:
        file.new = unquoted(rest.rstrip("\t")).removeprefix("b/")


def _line(file: _File, line: str) -> int:
    """Take a line of a hunk; how many lines were kept."""
    if line == "":
        return 0  # the end of the text
    old, new = file.at
    kind: Literal["+", "-", " "] = "+" if line[0] == "+" else "-" if line[0] == "-" else " "
    file.added += kind == "+"
    file.removed += kind == "-"
    file.at = old + (kind != "+"), new + (kind != "-")
    if file.lines >= FILE_LINES:
        file.cut = True
        return 0
    file.lines += 1
    file.hunks[-1][1].append(
        DiffLine(
            kind=kind,
            old=old if kind != "+" else None,
            new=new if kind != "-" else None,
            text=line[1 : LINE + 1],
        )
    )
    return 1
