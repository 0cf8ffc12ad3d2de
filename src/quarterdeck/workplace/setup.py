"""Which commands build the environment of a repository that does not say so itself. Pure.

Rules
- Only the files at the base commit count; what a repository configures wins over what is guessed here.
- The environment is a virtual environment at `$QUARTERDECK_ENV`, made with the sandbox's own python3.
- The project itself is installed editable: the workspace always lies at the same place, so later edits are seen.
- What tests need is taken from the places where projects write it down: extras, dependency groups, requirement files.
- No Python project, and nothing that asks for pytest: no environment.
"""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, Final

from quarterdeck.kernel.toml import read_toml

_KEY_FILES: Final = (
    "uv.lock",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    *("Pipfile", "Pipfile.lock", "poetry.lock", "pdm.lock", "pylock*.toml", "tox.ini"),
    *("environment.yml", "environment.yaml", "conda-lock.yml"),
    *("package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml"),
    *("Cargo.toml", "Cargo.lock", "go.mod", "go.sum", "Gemfile", "Gemfile.lock", "composer.json", "composer.lock"),
    *(f"{name}*.{end}" for name in ("*requirements", "requirements/", "constraints") for end in ("txt", "in")),
)
"""At any depth: a setup command may install a part of the repository."""
_MOST_FILES: Final = 200
_TESTING: Final = ("test", "tests", "testing", "dev")
"""Names of extras and dependency groups that hold what tests need."""
_REQUIREMENTS: Final = (
    "requirements.txt",
    *(f"{folder}{name}.txt" for name in _TESTING for folder in ("requirements-", "requirements_", "requirements/")),
    *(f"{name}-requirements.txt" for name in _TESTING),
)
_DECLARING: Final = frozenset(("pyproject.toml", "setup.cfg", "setup.py", "Pipfile", "Pipfile.lock", *_REQUIREMENTS))
_VENV: Final = 'python3 -m venv "$QUARTERDECK_ENV"'
_PIP: Final = '"$QUARTERDECK_ENV/bin/python" -m pip install'


def decides_environment(path: str) -> bool:
    """Whether a file of this path is part of an environment's key."""
    parts = path.split("/")
    return any(fnmatchcase("/".join(parts[-1 - pattern.count("/") :]), pattern) for pattern in _KEY_FILES)


def deciding_files(paths: Collection[str], setup: Iterable[str] = ()) -> list[str]:
    """The files of a commit that are part of an environment's key: those that declare what is needed, the ones nearest
    to the root first where there are very many, and those that a setup command names."""
    words = {word.removeprefix("./") for command in setup for word in re.findall(r"[^\s\"'=;&|()<>]+", command)}
    declaring = sorted((path for path in paths if decides_environment(path)), key=lambda path: (path.count("/"), path))
    return sorted({*declaring[:_MOST_FILES], *(path for path in paths if path in words)})


def detect_setup(files: Mapping[str, bytes], paths: Collection[str] = (), gate: Iterable[str] = ()) -> tuple[str, ...]:
    """The shell commands that build the environment, run at the workspace root; () = none is needed.

    `files`: contents of the files that decide (`decides_environment`). `paths`: every path of the commit. `gate`:
    the commands that check it.
    """
    project = _toml(files.get("pyproject.toml", b""))
    tested = any(_is_test(path) for path in paths)
    if "uv.lock" in files:
        return (_VENV, f"{_PIP} uv", _uv_sync(project))
    wanted = [part for name in _REQUIREMENTS if name in files for part in ("-r", name)]
    if _installable(project, files):
        extras = [name for name in _TESTING if name in _extras(project, files)]
        wanted += ["-e", f".[{','.join(extras)}]" if extras else "."]
    wanted += _group_requirements(project)
    if tested and not _names_pytest(wanted, files) and (_DECLARING & files.keys() or _asks_pytest(files, paths, gate)):
        wanted.append("pytest")
    if not wanted:
        return ()
    return (_VENV, f"{_PIP} --use-pep517 {shlex.join(wanted)}")


def _asks_pytest(files: Mapping[str, bytes], paths: Collection[str], gate: Iterable[str]) -> bool:
    """Whether pytest is used where nothing is declared; the tests are the standard library's otherwise."""
    configured = any(PurePosixPath(path).name in ("conftest.py", "pytest.ini", ".pytest.ini") for path in paths)
    return configured or any("pytest" in text for text in (*gate, _text(files, "tox.ini")))


def _is_test(path: str) -> bool:
    name = PurePosixPath(path).name
    return fnmatchcase(name, "test_*.py") or fnmatchcase(name, "*_test.py")


def _toml(data: bytes) -> dict[str, Any]:
    try:
        return read_toml(data.decode("utf-8"))
    except (ValueError, RecursionError):
        # Not ours to judge: whatever reads it next says what is wrong with it.
        return {}


def _table(value: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    for key in keys:
        inner = value.get(key)
        if not isinstance(inner, dict):
            return {}
        value = inner
    return dict(value)


def _installable(project: Mapping[str, Any], files: Mapping[str, bytes]) -> bool:
    if "setup.py" in files or b"[metadata]" in files.get("setup.cfg", b""):
        return True
    return "project" in project or ("build-system" in project and "poetry" in _table(project, "tool"))


def _extras(project: Mapping[str, Any], files: Mapping[str, bytes]) -> set[str]:
    found = set(_table(project, "project", "optional-dependencies")) | set(_table(project, "tool", "poetry", "extras"))
    section = re.search(
        r"^\[options\.extras_require\]\s*\n((?:[^\[].*\n|\n)*)", _text(files, "setup.cfg"), re.MULTILINE
    )
    if section:
        found |= set(re.findall(r"^([A-Za-z][\w.-]*)\s*=", section[1], re.MULTILINE))
    declared = re.search(r"extras_require\s*=\s*\{([^{}]*)\}", _text(files, "setup.py"))
    if declared:
        found |= set(re.findall(r"""["']([\w.-]+)["']\s*:""", declared[1]))
    return found


def _text(files: Mapping[str, bytes], name: str) -> str:
    return files.get(name, b"").decode("utf-8", "replace") + "\n"


def _group_requirements(project: Mapping[str, Any]) -> list[str]:
    """Requirements of the groups that tests need. pip before 25.1 cannot read groups, so they are spelled out."""
    groups = {_plain(name): value for name, value in _table(project, "dependency-groups").items()}
    wanted = [requirement for name in _TESTING for requirement in _expand(groups, name, ())]
    poetry = _table(project, "tool", "poetry")
    for name in _TESTING:
        # Its version syntax is its own; the lock file is not read without it.
        wanted += [key for key in _table(poetry, "group", name, "dependencies") if key != "python"]
    wanted += [key for key in _table(poetry, "dev-dependencies") if key != "python"]
    return list(dict.fromkeys(wanted))


def _expand(groups: Mapping[str, Any], name: str, above: tuple[str, ...]) -> list[str]:
    # Source: PEP 735. A cycle is an error there; here it ends.
    found: list[str] = []
    if name in above or not isinstance(groups.get(name), list):
        return found
    for entry in groups[name]:
        if isinstance(entry, str):
            found.append(entry)
        elif isinstance(entry, dict) and "include-group" in entry:
            found += _expand(groups, _plain(str(entry["include-group"])), (*above, name))
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _names_pytest(wanted: Iterable[str], files: Mapping[str, bytes]) -> bool:
    chosen = list(wanted)
    texts = [*chosen, *(_text(files, name) for name in files if name in chosen)]
    if any(part.startswith(".[") for part in chosen):
        texts += [_text(files, name) for name in ("pyproject.toml", "setup.cfg", "setup.py")]
    return any(re.search(r"""(?:^|["'\s])pytest(?:$|[\s"'<>=~!;\[,])""", text, re.MULTILINE) for text in texts)


def _uv_sync(project: Mapping[str, Any]) -> str:
    extras = [name for name in _TESTING if name in _table(project, "project", "optional-dependencies")]
    groups = [name for name in _TESTING if name in _table(project, "dependency-groups")]
    chosen = [part for name in extras for part in ("--extra", name)]
    chosen += [part for name in groups for part in ("--group", name)]
    # Inexact: uv itself, which the lock file does not name, stays.
    return shlex.join(["uv", "sync", "--frozen", "--inexact", *chosen]).replace("uv", '"$QUARTERDECK_ENV/bin/uv"', 1)
