"""Puts the survey together: JSON in, JSON out.

Rules
- In: the base, and what changed. Out: what there is to say, bounded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from quarterdeck.delivery.survey.formatting import formatting, unrelated
from quarterdeck.delivery.survey.imports import MANIFESTS, known
from quarterdeck.delivery.survey.names import invented
from quarterdeck.delivery.survey.needless import needless
from quarterdeck.delivery.survey.places import Places
from quarterdeck.delivery.survey.silence import Silence, of_module
from quarterdeck.delivery.survey.sources import MAX_BYTES, defined, is_test
from quarterdeck.delivery.survey.steering import steers
from quarterdeck.delivery.survey.tests import find_tests, weakened

MAX_FILES = 4_000
SHOWN = 100
SOURCES = (".py", ".pyi", ".pyx")


class Edit(NamedTuple):
    """One changed file, as text."""

    path: str
    old: str
    """"" = it is new."""
    new: str
    """"" = it is gone."""


def survey(edits: Sequence[Edit], sources: Mapping[str, str], manifests: str = "") -> dict[str, Any]:
    """Everything there is to say. `sources`: the Python files of the tree; `manifests`: what it declares."""
    code = [edit for edit in edits if edit.path.endswith(".py") and not is_test(edit.path)]
    gone = {name for edit in code for name in defined(edit.old) - defined(edit.new)}
    plain = {path: text for path, text in sources.items() if path.endswith(".py")}
    told = {
        "formatting": [
            {"path": path, **spot._asdict()} for path, spot in unrelated(formatting(*edit) for edit in edits)
        ],
        "tests": list(_tests(edits)),
        "weakened": [
            *(vars(found) for found in weakened([edit for edit in edits if is_test(edit.path)], gone)),
            *(
                {"path": path, "name": name, "how": how, "gone": False}
                for path, old, new in edits
                if path.endswith(".py")
                for how, name in steers(old, new)
            ),
        ],
        "symbols": list(_symbols(edits, sources, manifests)),
        "abstractions": [
            {"path": edit.path, "line": line, "what": what} for edit in code for line, what in needless(*edit, plain)
        ],
    }
    return {key: value[:SHOWN] for key, value in told.items()}


def _tests(edits: Sequence[Edit]) -> Any:
    for path, old, new in edits:
        if not is_test(path):
            continue
        before, around = find_tests(path, old), of_module(new) if path.endswith(".py") else Silence.NONE
        for name, test in find_tests(path, new).items():
            if name not in before or before[name].print != test.print:
                silence = max(test.silence, around)
                yield {"path": path, "name": name, "new": name not in before, "silence": silence}


def _symbols(edits: Sequence[Edit], sources: Mapping[str, str], manifests: str) -> Any:
    touched = {edit.path for edit in edits}
    edited = [edit for edit in edits if MANIFESTS.search(edit.path)]
    before = "\n".join([manifests, *(edit.old for edit in edited)]) if edited else manifests
    declared = "\n".join([manifests, *(edit.new for edit in edited)])
    counted_on = known({path: text for path, text in sources.items() if path not in touched}, declared, before)
    places = Places(sources)
    for path, old, new in edits:
        if path.endswith(".py") and new:
            now = list(invented(path, new, places, counted_on))
            earlier = {what for _, what in invented(path, old, places, counted_on)} if now else ()
            yield from ({"path": path, "line": line, "what": what} for line, what in now if what not in earlier)


def main() -> None:
    """Read the base and the changed files from stdin; print what was found."""
    wanted = json.load(sys.stdin)
    edits = []
    for path, old_path, status in wanted["files"]:
        old = _at(wanted["base"], old_path) if status != "A" else ""
        new = _here(path) if status != "D" else ""
        if old is not None and new is not None:
            edits.append(Edit(path, old, new))
    sources: dict[str, str] = {}
    manifests: list[str] = []
    if any(edit.path.endswith(".py") for edit in edits):
        touched = {edit.path for edit in edits}
        for path in _listing():
            if path.endswith(SOURCES) and len(sources) < MAX_FILES and (text := _here(path)) is not None:
                sources[path] = text
            if path not in touched and MANIFESTS.search(path):
                manifests.append(_here(path) or "")
    print(json.dumps(survey(edits, sources, "\n".join(manifests))))


def _listing() -> list[str]:
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout
    return [path for path in listing.decode("utf-8", "replace").split("\0") if path]


def _at(commit: str, path: str) -> str | None:
    return _text(subprocess.run(["git", "cat-file", "blob", f"{commit}:{path}"], capture_output=True).stdout)


def _here(path: str) -> str | None:
    file = Path(path)
    if file.is_symlink() or not file.is_file() or file.stat().st_size > MAX_BYTES:
        return None
    return _text(file.read_bytes())


def _text(data: bytes) -> str | None:
    """Text, or None for what is none or too much."""
    if len(data) > MAX_BYTES or b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
