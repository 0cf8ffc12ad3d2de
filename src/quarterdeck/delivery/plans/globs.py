"""Which files a task may change: gitignore-style globs, matched here and nowhere else.

Rules
- `*`, `?` and `[…]` stop at `/`; `**` as a whole part crosses it. A glob without a `/` inside floats, as in gitignore:
  `*.md` matches at any depth. A name without wildcards does not: `README.md` is the one at the root.
- `dir/` means everything below; so does a pattern whose last part has no wildcard and turns out to be a directory.
- A literal name wins: a pattern that is the name of a file or directory which exists means exactly that, so
  `app/[id]/page.tsx` can be named; a path that is spelled out is allowed even where the file is new.
- `!`, `#`, spaces and brackets in names have no other meaning; there is no negation and no escape.
- `.git` at any depth and `.quarterdeck` at the root are never allowed, whatever the patterns say, nor is a name that
  some file system takes for one of them.
- Matching takes time linear in the name for each part, so a hostile pattern cannot stall a run.
"""

import fnmatch
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final

from quarterdeck.workplace.incoming import taken_for

_WILD: Final = frozenset("*?[")
_ALL: Final = "**"
_SHORT: Final = re.compile(r"quarte~\d+")
"""What NTFS calls `.quarterdeck` for short."""
MAX_GLOB: Final = 4_096
MAX_PARTS: Final = 64


def glob_problem(pattern: str) -> str:
    """Why the pattern cannot be used; empty = it can."""
    if not pattern.strip():
        return "an empty path"
    if len(pattern) > MAX_GLOB:
        return f"a path longer than {MAX_GLOB} characters"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in pattern):
        return "a control character in a path"
    if "\\" in pattern:
        return "a backslash in a path (parts are divided by `/`, and nothing needs an escape)"
    if pattern.startswith("/") or re.match(r"[A-Za-z]:/", pattern):
        return "an absolute path (write it from the repository's root)"
    parts = pattern.split("/")
    if ".." in parts:
        return "`..` in a path"
    if pattern.startswith("!"):
        return "a negation (name what may change, not what may not)"
    inner = _parts(pattern)
    if not inner:
        return "a path that names nothing (`**` means everything)"
    if "." in inner or "" in inner:
        return "`.` or an empty part in a path"
    if len(inner) > MAX_PARTS:
        return f"a path with more than {MAX_PARTS} parts"
    if forbidden("/".join(inner)):
        return "a path in `.git` or `.quarterdeck`, which no task may change"
    return ""


def forbidden(file: str) -> bool:
    """Whether no task may ever change this file (or this directory)."""
    first, *rest = ({part.casefold(), *taken_for(part)} for part in file.split("/"))
    ours = any(name == ".quarterdeck" or _SHORT.fullmatch(name) for name in first)
    return ours or any(".git" in names for names in (first, *rest))


def allowed(paths: Collection[str], file: str, existing: Collection[str]) -> bool:
    """Whether `paths` let `file` change. `existing`: the files of the tree that the change starts from."""
    return not outside(paths, (file,), existing)


def outside(paths: Collection[str], files: Iterable[str], existing: Collection[str]) -> tuple[str, ...]:
    """Those of `files` that no pattern of `paths` lets change, in their order."""
    spelled, globs = _split(paths, existing)
    return tuple(
        file
        for file in files
        if forbidden(file) or not (_spelled_out(file, spelled) or any(glob_matches(glob, file) for glob in globs))
    )


def glob_matches(pattern: str, file: str) -> bool:
    """Whether the pattern, taken as a glob, covers the file."""
    return _match(*_shape(pattern), tuple(file.split("/")))


def is_literal(pattern: str) -> bool:
    """Whether the pattern has no wildcard."""
    return not _WILD & set(pattern)


def is_everything(pattern: str) -> bool:
    """Whether the pattern covers every file of any repository."""
    return all(set(part) == {"*"} for part in _parts(pattern))


def may_overlap(one: str, other: str) -> bool:
    """Whether some file could be covered by both patterns. May say yes where there is none, never the reverse."""
    left, left_below = _shape(one)
    right, right_below = _shape(other)
    return _meet(left, left_below, right, right_below)


def within(inner: str, outer: str) -> bool:
    """Whether every file that `inner` covers is covered by `outer`. May say no where it is so, never the reverse.

    A name without wildcards may be a file or a directory: it is within where either reading is.
    """
    if is_literal(inner) and not inner.endswith("/") and within(f"{inner}/", outer):
        return True
    parts, below = _shape(outer)
    at = _skip(parts, {0})
    for part in _shape(inner)[0]:
        if below and len(parts) in at:
            return True
        at = _skip(parts, {to for index in at for to in _absorbed(parts, index, part)})
        if not at:
            return False
    return len(parts) in at


def _absorbed(parts: tuple[str, ...], index: int, part: str) -> tuple[int, ...]:
    """Where in `parts` one may stand after all that `part` of another pattern can be."""
    if index >= len(parts):
        return ()
    if parts[index] == _ALL:
        return (index,)
    if part == _ALL:
        return ()
    wider = parts[index] == part or set(parts[index]) == {"*"}
    return (index + 1,) if wider or (is_literal(part) and _part(parts[index]).match(part)) else ()


def _parts(pattern: str) -> list[str]:
    body = pattern.removeprefix("./").rstrip("/")
    return body.split("/") if body not in ("", ".") else []


def _split(paths: Collection[str], existing: Collection[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """All patterns read as names, and those that must also be read as globs because nothing has that name."""
    names = {path: "/".join(_parts(path)) for path in paths}
    wanted = frozenset(names.values())
    found = wanted.intersection(existing)
    for file in existing:
        found |= wanted.intersection(_ancestors(file))
    spelled = frozenset(name + "/" if path.endswith("/") else name for path, name in names.items())
    return spelled, tuple(path for path in paths if names[path] not in found)


def _ancestors(file: str) -> list[str]:
    return [file[:at] for at, letter in enumerate(file) if letter == "/"]


def _spelled_out(file: str, spelled: frozenset[str]) -> bool:
    return file in spelled or any(name in spelled or name + "/" in spelled for name in _ancestors(file))


@lru_cache(maxsize=4096)
def _shape(pattern: str) -> tuple[tuple[str, ...], bool]:
    """The pattern's parts, and whether it also covers everything below what they match."""
    parts = _parts(pattern)
    below = is_literal(parts[-1]) and not pattern.endswith("/")
    if len(parts) == 1 and not is_literal(parts[0]) and parts[0] != _ALL:
        parts = [_ALL, *parts]
    if pattern.endswith("/") and parts[-1] != _ALL:
        parts = [*parts, _ALL]
    if parts[-1] == _ALL:
        parts = [*parts, "*"]  # below a directory, not the directory itself
    return tuple(parts), below


@lru_cache(maxsize=4096)
def _part(pattern: str) -> re.Pattern[str]:
    # fnmatch's expressions never give back what a `*` took, so they are linear for each `*`
    return re.compile(fnmatch.translate(re.sub(r"\*+", "*", pattern).replace("[^", "[!")))


def _match(parts: tuple[str, ...], below: bool, names: tuple[str, ...]) -> bool:
    """Walks the set of positions in the pattern that can be reached, name by name."""
    at = _skip(parts, {0})
    for name in names:
        if below and len(parts) in at:
            return True
        at = _skip(parts, {index if parts[index] == _ALL else index + 1 for index in at if _fits(parts, index, name)})
        if not at:
            return False
    return len(parts) in at


def _fits(parts: tuple[str, ...], index: int, name: str) -> bool:
    if index >= len(parts):
        return False
    return parts[index] == _ALL or _part(parts[index]).match(name) is not None


def _skip(parts: tuple[str, ...], at: set[int]) -> set[int]:
    """Also the positions after each `**`, which may stand for no part at all."""
    reached = set(at)
    for index in sorted(at):
        step = index
        while step < len(parts) and parts[step] == _ALL:
            step += 1
            reached.add(step)
    return reached


def _meet(left: tuple[str, ...], left_below: bool, right: tuple[str, ...], right_below: bool) -> bool:
    """Walks both patterns at once over the pairs of positions that one name can reach."""
    todo = [(0, 0)]
    seen: set[tuple[int, int]] = set()
    while todo:
        i, j = todo.pop()
        if (i, j) in seen:
            continue
        seen.add((i, j))
        if i == len(left) and j == len(right):
            return True
        if (i == len(left) and left_below) or (j == len(right) and right_below):
            return True
        if i < len(left) and left[i] == _ALL:
            todo += [(i + 1, j), (i, j + 1)] if j < len(right) else [(i + 1, j)]
        if j < len(right) and right[j] == _ALL:
            todo += [(i, j + 1), (i + 1, j)] if i < len(left) else [(i, j + 1)]
        if i < len(left) and j < len(right) and _could_equal(left[i], right[j]):
            todo.append((i + 1, j + 1))
    return False


def _could_equal(one: str, other: str) -> bool:
    if _ALL in (one, other):
        return False
    if is_literal(one):
        return _part(other).match(one) is not None
    return not is_literal(other) or _part(one).match(other) is not None
