"""What a repository shows about itself: its languages and the commands that check it. Pure.

Rules
- Only what is at the base commit counts: paths, and the contents of the few files that `reading` names.
- A command is proposed only where the repository itself says that it is used: a linter that is installed
  everywhere but configured nowhere is not a check of this repository. One that is configured but not among what
  tests and development need would not be in the environment: it is left out, and that is said.
- Tests first, because they say most; a Makefile's `test` target is asked only where nothing more exact is found.
- Nothing detected is an empty answer, never a command that always passes.
"""

import configparser
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.toml import read_toml
from quarterdeck.settings.files import Partial

READ: Final = (
    "pyproject.toml",
    "setup.cfg",
    "tox.ini",
    "pytest.ini",
    "package.json",
    "Cargo.toml",
    "go.mod",
    "Makefile",
    "makefile",
    "GNUmakefile",
    "justfile",
)
"""Files at the repository's root whose contents are looked at."""

_REQUIREMENT_FILES: Final = re.compile(r"(?:requirements/)?[\w.-]*\.txt")
_TESTING: Final = ("test", "tests", "testing", "dev")
"""Extras and dependency groups that an environment for tests is built from."""

_NPM_PLACEHOLDER: Final = "no test specified"
_LANGUAGES: Final = {
    ".py": "Python",
    ".js": "JavaScript",
    ".jsx": "JavaScript",
    ".mjs": "JavaScript",
    ".cjs": "JavaScript",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
    ".rs": "Rust",
    ".go": "Go",
    ".java": "Java",
    ".kt": "Kotlin",
    ".rb": "Ruby",
    ".php": "PHP",
    ".c": "C",
    ".h": "C",
    ".cc": "C++",
    ".cpp": "C++",
    ".hpp": "C++",
    ".cs": "C#",
    ".swift": "Swift",
    ".sh": "Shell",
}

_TESTS_READ: Final = 3
"""So few that a repository of thousands of tests costs no more to look at."""

Files = Mapping[str, bytes | None]
"""Paths relative to the repository's root, with `/`; the contents of those that `reading` names, None else."""


def reading(paths: Collection[str]) -> frozenset[str]:
    """The files whose contents are looked at, of all others only the path is: those that configure something, and the
    first few tests in Python, which show what runs them."""
    tests = sorted(path for path in paths if _is_python_test(path))[:_TESTS_READ]
    return frozenset((*(path for path in paths if reads(path)), *tests))


def reads(path: str) -> bool:
    """Whether a file of that path configures something."""
    return path in READ or ("requirements" in path and _REQUIREMENT_FILES.fullmatch(path) is not None)


@dataclass(frozen=True, slots=True)
class Detected:
    """What was found."""

    gate: tuple[str, ...] = ()
    """Commands for `[checks] gate`, in the order in which they should run."""
    languages: tuple[str, ...] = ()
    """Most files first."""
    lines: tuple[str, ...] = ()
    """Why, for people: `ruff check .: ruff is configured in pyproject.toml`; also what was left out."""

    def partial(self) -> Partial:
        """As the lowest layer of the configuration; sets nothing where nothing was found."""
        data = {"checks": {"gate": self.gate}} if self.gate else {}
        return Partial("what the repository shows", DeckConfig.model_validate(data))


@dataclass(frozen=True, slots=True)
class _Found:
    command: str
    why: str
    left_out: str = ""
    """Why it is not proposed after all."""


def detect(files: Files) -> Detected:
    """The languages and check commands of a repository. Never raises: a file that cannot be parsed shows nothing."""
    found: list[_Found] = []
    for look in (_python, _node, _rust, _go, _others):
        found += look(files)
    if all(item.left_out for item in found):
        found += _make(files)
    return Detected(
        gate=tuple(item.command for item in found if not item.left_out),
        languages=_languages(files),
        lines=tuple(f"{item.command}: {item.why}{item.left_out}" for item in found),
    )


# --- languages ----------------------------------------------------------------------------------------------


def _languages(files: Files) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for path in files:
        if language := _LANGUAGES.get(PurePosixPath(path).suffix.lower()):
            counts[language] = counts.get(language, 0) + 1
    return tuple(sorted(counts, key=lambda language: (-counts[language], language)))


# --- Python -------------------------------------------------------------------------------------------------


def _python(files: Files) -> list[_Found]:
    project = _toml(files, "pyproject.toml")
    tool = _table(project, "tool")
    setup, tox = _ini(files, "setup.cfg"), _ini(files, "tox.ini")
    found = [item for item in (_ruff(files, tool), _mypy(files, tool, setup)) if item]
    needs = _needs(files, project)
    checks = [item if _named(needs, item.command.split()[0]) else _left_out(item) for item in found]
    test = _python_test(files, tool, setup, tox)
    return [*checks, test] if test else checks


def _left_out(item: _Found) -> _Found:
    name = item.command.split()[0]
    return _Found(item.command, item.why, f", but left out: no test or dev dependency names {name}")


def _needs(files: Files, project: Any) -> str:
    """The requirements that an environment for tests is built from, one a line."""
    lines = [_text(files, path) for path in files if reads(path) and path not in READ]
    extras = _table(_table(project, "project"), "optional-dependencies")
    groups = _table(project, "dependency-groups")
    poetry = _table(_table(project, "tool"), "poetry")
    lines += _table(poetry, "dev-dependencies")
    for name in _TESTING:
        lines += _strings(extras.get(name)) + _group(groups, name, ())
        lines += _table(_table(_table(poetry, "group"), name), "dependencies")
    return "\n".join(lines)


def _group(groups: Mapping[str, Any], name: str, above: tuple[str, ...]) -> list[str]:
    """The requirements of a dependency group and of those it includes. Source: PEP 735."""
    entries = groups.get(name)
    if name in above or not isinstance(entries, list):
        return []
    included = [str(entry.get("include-group")) for entry in entries if isinstance(entry, dict)]
    return _strings(entries) + [line for each in included for line in _group(groups, each, (*above, name))]


def _strings(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _named(needs: str, name: str) -> bool:
    return re.search(rf"(?im)^[ \t]*{name}(?![\w.-])", needs) is not None


def _ruff(files: Files, tool: Mapping[str, Any]) -> _Found | None:
    for name in ("ruff.toml", ".ruff.toml"):
        if name in files:
            return _Found("ruff check .", f"{name} is there")
    return _Found("ruff check .", "ruff is configured in pyproject.toml") if "ruff" in tool else None


def _mypy(files: Files, tool: Mapping[str, Any], setup: configparser.ConfigParser) -> _Found | None:
    """What to check is named on the command line where the configuration does not: mypy refuses to start without."""
    if "mypy" in tool:
        named = any(_table(tool, "mypy").get(key) for key in ("files", "packages", "modules"))
        what = "" if named else " src" if any(path.startswith("src/") for path in files) else " ."
        return _Found(f"mypy{what}", "mypy is configured in pyproject.toml")
    if setup.has_section("mypy"):
        named = any(setup.has_option("mypy", key) for key in ("files", "packages", "modules"))
        return _Found("mypy" if named else "mypy .", "mypy is configured in setup.cfg")
    for name in ("mypy.ini", ".mypy.ini"):
        if name in files:
            return _Found("mypy .", f"{name} is there")
    return None


def _python_test(
    files: Files, tool: Mapping[str, Any], setup: configparser.ConfigParser, tox: configparser.ConfigParser
) -> _Found | None:
    tests = [path for path in files if _is_python_test(path)]
    configured = {
        "pytest is configured in pyproject.toml": "pytest" in tool,
        "pytest.ini is there": "pytest.ini" in files or ".pytest.ini" in files,
        "pytest is configured in setup.cfg": setup.has_section("tool:pytest"),
        "pytest is configured in tox.ini": tox.has_section("pytest"),
        "there is a conftest.py": any(PurePosixPath(path).name == "conftest.py" for path in files),
    }
    if why := next((why for why, holds in configured.items() if holds), ""):
        return _Found("python3 -m pytest -q", why)
    if not tests:
        return None
    if _mentions_pytest(files):
        return _Found("python3 -m pytest -q", f"pytest is a dependency and there are tests ({tests[0]})")
    if written := next((path for path in tests if _is_for_pytest(files[path] or b"")), ""):
        return _Found("python3 -m pytest -q", f"{written} is written for pytest")
    folder = PurePosixPath(tests[0]).parts[0]
    start = f" -s {folder} -t ." if f"{folder}/__init__.py" in files else f" -s {folder}" if "/" in tests[0] else ""
    return _Found(f"python3 -m unittest discover{start}", f"there are tests ({tests[0]}) and pytest is named nowhere")


def _is_python_test(path: str) -> bool:
    return re.fullmatch(r"(?:.*/)?(?:test_[^/]*|[^/]*_test)\.py", path) is not None


def _is_for_pytest(test: bytes) -> bool:
    """Whether unittest would find nothing in it: it imports pytest, or its tests are plain functions."""
    if re.search(rb"(?m)^(?:import|from)[ \t]+pytest\b", test):
        return True
    return re.search(rb"(?m)^(?:async )?def test", test) is not None and b"unittest" not in test


def _mentions_pytest(files: Files) -> bool:
    word = re.compile(rb"(?<![\w-])pytest(?![\w])")
    return any(word.search(files.get(name) or b"") for name in ("pyproject.toml", "setup.cfg", "tox.ini"))


# --- other languages ----------------------------------------------------------------------------------------


def _node(files: Files) -> list[_Found]:
    scripts = _table(_json(files, "package.json"), "scripts")
    found = []
    runner = _node_runner(files)
    if isinstance(scripts.get("lint"), str):
        found.append(_Found(f"{runner} run lint", 'package.json has a "lint" script'))
    test = scripts.get("test")
    if isinstance(test, str) and test.strip() and _NPM_PLACEHOLDER not in test:
        found.append(_Found(f"{runner} test", 'package.json has a "test" script'))
    return found


def _node_runner(files: Files) -> str:
    if "pnpm-lock.yaml" in files:
        return "pnpm"
    if "yarn.lock" in files:
        return "yarn"
    return "npm"


def _rust(files: Files) -> list[_Found]:
    return [_Found("cargo test --quiet", "Cargo.toml is there")] if "Cargo.toml" in files else []


def _go(files: Files) -> list[_Found]:
    if "go.mod" not in files:
        return []
    return [_Found("go vet ./...", "go.mod is there"), _Found("go test ./...", "go.mod is there")]


def _others(files: Files) -> list[_Found]:
    if "gradlew" in files:
        return [_Found("./gradlew test", "gradlew is there")]
    if "mvnw" in files:
        return [_Found("./mvnw -q test", "mvnw is there")]
    if "pom.xml" in files:
        return [_Found("mvn -q test", "pom.xml is there")]
    if "mix.exs" in files:
        return [_Found("mix test", "mix.exs is there")]
    return []


def _make(files: Files) -> list[_Found]:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        if re.search(r"(?m)^test\s*:(?!=)", _text(files, name)):
            return [_Found("make test", f"{name} has a target `test`")]
    if re.search(r"(?m)^test\b[^:=\n]*:(?!=)", _text(files, "justfile")):
        return [_Found("just test", "justfile has a recipe `test`")]
    return []


# --- reading ------------------------------------------------------------------------------------------------


def _text(files: Files, path: str) -> str:
    return (files.get(path) or b"").decode("utf-8", "replace")


def _toml(files: Files, path: str) -> Any:
    try:
        return read_toml(_text(files, path))
    except (ValueError, RecursionError):
        return None


def _json(files: Files, path: str) -> Any:
    try:
        return json.loads(_text(files, path))
    except (ValueError, RecursionError):
        return None


def _ini(files: Files, path: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(_text(files, path))
    except configparser.Error:
        return configparser.ConfigParser()
    return parser


def _table(value: Any, key: str) -> Mapping[str, Any]:
    inner = value.get(key) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}
