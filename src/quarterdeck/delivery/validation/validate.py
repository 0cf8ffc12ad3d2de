"""Whether a change may go on, as far as its structure tells. Pure; the verify commands run in `Check`.

Rules
- Only what the task's `paths` allow may change, and of that only what its author owns, where it owns anything; `.git`
  and `.quarterdeck` never.
- A change is bounded in bytes and files. No submodule may appear, no symbolic link may lead out of the tree or to
  what must never change. A link climbs first and descends then: `a/../..` could climb through another link.
- What the gate's checks run, and what would be imported instead of a test runner or of what it imports itself, may
  change only where the task's `paths` name that very file: a check that a change makes easier in passing says nothing
  about the change. Runners look at the root first, so that is where names of the interpreter's library are refused.
- An attribute of git that has it write files in another encoding may come only where the task's `paths` name that very
  file: what cannot be written so makes every task after it fail.
- Every problem is named at once, so that one more attempt can mend them all.
"""

import posixpath
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from quarterdeck.delivery.plans.globs import forbidden, outside
from quarterdeck.kernel.config import LimitsSection
from quarterdeck.kernel.entities import Agent, Task
from quarterdeck.workplace.history import FileChange

SYMLINK: Final = "120000"
SUBMODULE: Final = "160000"
_SHOWN: Final = 20
_RUNNERS: Final = frozenset(("unittest", "pytest", "_pytest"))
_BENEATH: Final = frozenset(
    {"pluggy", "iniconfig", "packaging", "exceptiongroup", "tomli", "pygments", "colorama"}
    | {"sitecustomize", "usercustomize"}
    | sys.stdlib_module_names
)
"""What a test runner imports itself."""
_MODULE: Final = re.compile(
    r"(?:(?P<folder>[^/]+)/)?(?P<name>(?!__init__\.)[^/.]+)(?:\.pyc?|\.(?:[^/]*\.)?(?:so|pyd)|/__init__\.pyc?)"
)
"""A module where a command at the root would find it first."""


def structure_problems(
    task: Task,
    changes: Sequence[FileChange],
    existing: Collection[str],
    links: Mapping[str, str],
    limits: LimitsSection,
    judges: Collection[str] = (),
    author: Agent | None = None,
) -> tuple[str, ...]:
    """Why the change must not go on; empty = nothing speaks against it.

    `existing`: the files of the base. `links`: the target of each changed symbolic link. `judges`: the files that the
    gate's checks, or the setup of its environment, run. `author`: whose change it is.
    """
    return (
        *_problems(task, changes, existing, links, limits),
        *_of_owner(author, changes, existing),
        *_of_judges(task, changes, existing, judges),
    )


def encoding_problems(task: Task, attributes: Mapping[str, tuple[str, str]]) -> tuple[str, ...]:
    """Why changed files of attributes must not go on. `attributes`: path to what it said, and says now."""
    named = {pattern.lstrip("/") for pattern in task.paths}
    found = sorted(
        path for path, (old, new) in attributes.items() if path not in named and set(_encodes(new)) - set(_encodes(old))
    )
    if not found:
        return ()
    what = "working-tree-encoding has git refuse the files of other tasks"
    return (f"{what}, so that the task's paths must name this file where it is to say so: {_listed(found)}",)


def _encodes(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if "working-tree-encoding" in line and not line.lstrip().startswith("#"):
            yield line.strip()


def _of_owner(author: Agent | None, changes: Sequence[FileChange], existing: Collection[str]) -> Iterator[str]:
    if author is None or not author.owns:
        return
    touched = sorted({path for change in changes for path in _names(change)})
    if foreign := outside(author.owns, touched, existing):
        yield f"outside of what {author.name} owns ({', '.join(author.owns)}): {_listed(foreign)}"


def _of_judges(
    task: Task, changes: Sequence[FileChange], existing: Collection[str], judges: Collection[str]
) -> Iterator[str]:
    named = {pattern.lstrip("/") for pattern in task.paths}
    touched = sorted({path for change in changes for path in _names(change)} - named)
    if bent := [path for path in touched if path in judges]:
        what = "the gate or its setup runs this"
        yield f"{what}, so that the task's paths must name it where it is to change: {_listed(bent)}"
    if posing := [path for path in touched if path not in existing and _poses(path)]:
        yield f"this would be imported instead of the test runner, or of what it is made of: {_listed(posing)}"


def _poses(path: str) -> bool:
    module = _MODULE.fullmatch(path)
    return module is not None and (
        module["name"] in _RUNNERS or (module["folder"] is None and module["name"] in _BENEATH)
    )


def _problems(
    task: Task,
    changes: Sequence[FileChange],
    existing: Collection[str],
    links: Mapping[str, str],
    limits: LimitsSection,
) -> Iterator[str]:
    touched = sorted({path for change in changes for path in _names(change)})
    never = [path for path in touched if forbidden(path)]
    if never:
        yield f"these must never change: {_listed(never)}"
    strange = [path for path in outside(task.paths, touched, existing) if path not in never]
    if strange:
        yield f"outside of the task's paths ({', '.join(task.paths)}): {_listed(strange)}"
    if len(touched) > limits.change_files:
        yield f"{len(touched)} files changed, at most {limits.change_files} may"
    size = sum(change.size for change in changes)
    if size > limits.change_bytes:
        yield f"{size} bytes in changed files, at most {limits.change_bytes} may be"
    modules = [change.path for change in changes if SUBMODULE in (change.new_mode, change.old_mode)]
    if modules:
        yield f"a submodule was added, changed or removed: {_listed(modules)}"
    for path, target in links.items():
        if _leads_out(path, target):
            yield f"the symbolic link {path} leads out of the repository"


def _leads_out(path: str, target: str) -> bool:
    parts = [part for part in target.split("/") if part not in ("", ".")]
    descended = parts[next((at for at, part in enumerate(parts) if part != ".."), len(parts)) :]
    end = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    climbs = end == ".." or end.startswith("../")
    return target.startswith("/") or ".." in descended or climbs or forbidden(end)


def _names(change: FileChange) -> tuple[str, ...]:
    # A rename removes the old path too; a copy leaves it alone.
    return (change.path, change.old_path) if change.status == "R" else (change.path,)


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
