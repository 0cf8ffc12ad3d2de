"""Puts the survey together: JSON in, JSON out.

Rules
- In: the base, and what changed. Out: what there is to say, bounded, and what matters first.
- A file or a question that cannot be looked at is left out and named: it hides nothing of the others.
- A file of tests, or of pytest's options, that got another kind of name is one that went and one that came: no runner
  finds there what it holds.
- A file whose tests could be read and now cannot be is told as if it were weakened.
- Of what could not be read those files are named that the survey looks into: a picture or a recorded answer holds
  nothing that it would find. A file that the change removes is slight: nothing is left of it to look at. So is what is
  no Python that this one knows: it may be that of a newer one. So are tests that were there, where none are found in
  their language.
"""

from __future__ import annotations

import ast
import io
import json
import os
import stat
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from quarterdeck.delivery.validation.survey import foreign
from quarterdeck.delivery.validation.survey.around import disturbed, loud
from quarterdeck.delivery.validation.survey.formatting import Effort, formatting, unrelated
from quarterdeck.delivery.validation.survey.imports import MANIFESTS, known
from quarterdeck.delivery.validation.survey.names import invented
from quarterdeck.delivery.validation.survey.needless import needless
from quarterdeck.delivery.validation.survey.options import FILES, judges, looked_into, narrows
from quarterdeck.delivery.validation.survey.places import Places
from quarterdeck.delivery.validation.survey.silence import Silence, of_module
from quarterdeck.delivery.validation.survey.sources import (
    MAX_BYTES,
    TESTS,
    UNKNOWN,
    defined,
    found_by_name,
    is_test,
    levels,
    parsed,
    too_deep,
)
from quarterdeck.delivery.validation.survey.steering import steers
from quarterdeck.delivery.validation.survey.tests import find_tests, weakened

MAX_FILES = 4_000
SHOWN = 100
ROOM = 100
"""Calls within each other that are left for what looks at a source."""
FLAT = 60
"""Levels of a syntax tree that nothing here fails on: less than ten calls within each other are made for a level."""
UNREAD = "this could not be looked at, so that nothing is known of it"
UNHELD = "whether the tests in here hold as much as before is not known: no tests are found in this language"
_PYTHON = f" (Python {sys.version_info[0]}.{sys.version_info[1]} does not know its syntax)"
SOURCES = (".py", ".pyi", ".pyx")

_T = TypeVar("_T")


class Edit(NamedTuple):
    """One changed file, as text."""

    path: str
    old: str
    """"" = it is new."""
    new: str
    """"" = it is gone."""


class Unread(NamedTuple):
    """One changed file that cannot be read."""

    path: str
    old: str = ""
    """What it held before, where that could be read."""
    gone: bool = False
    strange: bool = False
    """It is no Python that this one knows."""


def survey(
    edits: Sequence[Edit], sources: Mapping[str, str], manifests: str = "", unread: Sequence[Unread] = ()
) -> dict[str, Any]:
    """Everything there is to say.

    `sources`: the Python files of the tree; `manifests`: what it declares; `unread`: the changed files that
    cannot be read.
    """
    unseen: list[dict[str, Any]] = []
    effort = Effort()
    odd = {edit for edit in edits if edit.path.endswith(".py") and not (lookable(edit.old) and lookable(edit.new))}
    unread = [
        *unread,
        *(Unread(edit.path, edit.old if lookable(edit.old) else "", not edit.new) for edit in edits if edit in odd),
    ]
    edits = [edit for edit in edits if edit not in odd]
    layouts = _each(edits, lambda edit: [formatting(*edit, effort)], unseen)
    strange = {edit for edit in edits if edit.path.endswith(".py") and _strange(edit.new)}
    unread = [*unread, *(Unread(edit.path, edit.old, strange=True) for edit in edits if edit in strange)]
    edits = [edit for edit in edits if edit not in strange]
    code = [edit for edit in edits if edit.path.endswith(".py") and not is_test(edit.path)]
    gone = {name for edit in code for name in defined(edit.old) - defined(edit.new)}
    mixed = [edit for edit in edits if foreign.within(edit.path)]
    lost_code = {name for edit in mixed for name in foreign.defined(edit.old) - foreign.defined(edit.new)}
    plain = {path: text for path, text in sources.items() if path.endswith(".py")}
    lost = {one.path for one in unread if is_test(one.path) and find_tests(one.path, one.old)}
    unseen += [
        {**_spot(one.path, f"{UNREAD}{_PYTHON if one.strange else ''}"), "slight": one.gone or one.strange}
        for one in unread
        if one.path not in lost and looked_into(one.path)
    ]
    ours = [edit for edit in edits if is_test(edit.path)]
    unseen += [
        {**_spot(edit.path, UNHELD), "slight": True} for edit in ours if edit.old and edit.path.endswith(UNKNOWN)
    ]
    apart = [edit for edit in ours if not foreign.within(edit.path)]
    told = {
        "formatting": [{"path": path, **spot._asdict()} for path, spot in unrelated(layouts)],
        "tests": _each(edits, _tests, unseen),
        "around": _guarded(TESTS, lambda: _around(ours, plain), unseen),
        "weakened": sorted(
            [
                *({"path": path, "name": "", "how": "unreadable", "gone": False} for path in sorted(lost)),
                *_guarded(TESTS, lambda: (found._asdict() for found in weakened(apart, gone)), unseen),
                *_guarded(TESTS, lambda: (found._asdict() for found in weakened(mixed, lost_code)), unseen),
                *_each(edits, _steers, unseen),
                *({"path": edit.path, "name": "", "how": "around", "gone": False} for edit in ours if _loud(edit)),
            ],
            key=_slight,
        ),
        "symbols": _guarded("names", lambda: _symbols(edits, sources, manifests, unseen), unseen),
        "abstractions": _each(
            code, lambda edit: [_spot(edit.path, what, line) for line, what in needless(*edit, plain)], unseen
        ),
    }
    # What is cut off must not be what sends the change back.
    unseen.sort(key=lambda spot: spot.get("slight", False) or not judges(spot["path"]))
    return {key: value[: 2 * SHOWN if key == "around" else SHOWN] for key, value in {**told, "unseen": unseen}.items()}


def _strange(source: str) -> bool:
    """Whether this Python does not know what is written there, as a newer one may."""
    return bool(source.strip()) and parsed(source) is None


def lookable(source: str) -> bool:
    """Whether the rest of the survey can take that Python source, with room to spare. What is no Python is fine."""
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(limit - ROOM)
        tree = parsed(source)
        if tree is None:
            return not too_deep(source)
        return len(levels(tree)) < FLAT or (bool(ast.dump(tree)) and ast.unparse(tree) is not None)
    except (RecursionError, MemoryError):
        return False
    finally:
        sys.setrecursionlimit(limit)


def _each(edits: Iterable[Edit], ask: Callable[[Edit], Iterable[_T]], unseen: list[dict[str, Any]]) -> list[_T]:
    """What there is to say of each file. One that cannot be looked at does not hide the others, and is named."""
    found: list[_T] = []
    for edit in edits:
        found += _guarded(edit.path, partial(ask, edit), unseen)
    return found


def _guarded(what: str, ask: Callable[[], Iterable[_T]], unseen: list[dict[str, Any]]) -> list[_T]:
    try:
        return list(ask())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is named
        unseen.append(_spot(what, f"{UNREAD} ({type(error).__name__})"))
        return []


def _spot(path: str, what: str, line: int = 0) -> dict[str, Any]:
    return {"path": path, "line": line, "what": what}


def _slight(found: Mapping[str, Any]) -> bool:
    """Whether that is only named: what is cut off must not be what matters."""
    return bool(found["gone"]) or found["how"] in ("edited", "skipped elsewhere", "hooks", "narrows", "around")


def _tests(edit: Edit) -> Iterator[dict[str, Any]]:
    path, old, new = edit
    if not is_test(path):
        return
    before, around = find_tests(path, old), of_module(new) if path.endswith(".py") else Silence.NONE
    for name, test in find_tests(path, new).items():
        if name not in before or not before[name].same(test):
            silence = max(test.silence, around)
            yield {"path": path, "name": name, "new": name not in before, "silence": silence}


def _around(edits: Sequence[Edit], sources: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for path, name, silence in dict.fromkeys(disturbed(edits, sources)):
        yield {"path": path, "name": name, "new": False, "silence": silence}


def _loud(edit: Edit) -> bool:
    try:
        return loud(*edit)
    except Exception:  # noqa: BLE001 - `disturbed` asks the same, and names it
        return False


def _steers(edit: Edit) -> Iterator[dict[str, Any]]:
    found = steers(edit.old, edit.new) if edit.path.endswith(".py") else narrows(*edit)
    for how, name in found:
        yield {"path": edit.path, "name": name, "how": how, "gone": False}


def _symbols(
    edits: Sequence[Edit], sources: Mapping[str, str], manifests: str, unseen: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    touched = {edit.path for edit in edits}
    edited = [edit for edit in edits if MANIFESTS.search(edit.path)]
    before = "\n".join([manifests, *(edit.old for edit in edited)]) if edited else manifests
    declared = "\n".join([manifests, *(edit.new for edit in edited)])
    counted_on = known({path: text for path, text in sources.items() if path not in touched}, declared, before)
    places = Places(sources)

    def one(edit: Edit) -> Iterator[dict[str, Any]]:
        now = list(invented(edit.path, edit.new, places, counted_on))
        earlier = {what for _, what in invented(edit.path, edit.old, places, counted_on)} if now else ()
        yield from (_spot(edit.path, what, line) for line, what in now if what not in earlier)

    return _each([edit for edit in edits if edit.path.endswith(".py") and edit.new], one, unseen)


def main() -> None:
    """Read the base and the changed files from stdin; print what was found."""
    wanted = json.load(sys.stdin)
    edits: list[Edit] = []
    unread: list[Unread] = []
    for path, old_path, status in wanted["files"]:
        old = _at(wanted["base"], old_path) if status != "A" else ""
        new = _here(path) if status != "D" else ""
        if old is not None and any(known(old_path) and not known(path) for known in (found_by_name, FILES.search)):
            edits.append(Edit(old_path, old, ""))
            old = ""
        if old is not None and new is not None:
            edits.append(Edit(path, old, new))
        else:
            unread.append(Unread(path, old or "", status == "D"))
    sources: dict[str, str] = {}
    manifests: list[str] = []
    if any(edit.path.endswith(".py") for edit in edits):
        touched = {edit.path for edit in edits}
        for path in _listing():
            if path.endswith(SOURCES) and len(sources) < MAX_FILES and (text := _here(path)) is not None:
                sources[path] = text
            if path not in touched and MANIFESTS.search(path):
                manifests.append(_here(path) or "")
    print(json.dumps(survey(edits, sources, "\n".join(manifests), unread)))


def _listing() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout
    return [path for path in listing.decode("utf-8", "replace").split("\0") if path]


def _at(commit: str, path: str) -> str | None:
    blob = subprocess.run(["git", "cat-file", "blob", f"{commit}:{path}"], capture_output=True).stdout
    return text_of(blob, python=path.endswith(".py"))


def _here(path: str) -> str | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        return None
    with open(path, "rb") as file:  # noqa: PTH123 - a survey is a new process each time, and pathlib is slow to import
        return text_of(file.read(), python=path.endswith(".py"))


def text_of(data: bytes, *, python: bool = False) -> str | None:
    """Text, or None for what is none or too much. Python says itself how it is encoded; all else is UTF-8."""
    if len(data) > MAX_BYTES or b"\0" in data:
        return None
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0] if python else "utf-8"
        return data.decode(encoding)
    except (UnicodeError, LookupError, SyntaxError):
        return None
