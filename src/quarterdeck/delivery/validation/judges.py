"""Which files of a repository decide what the gate checks. Pure.

Rules
- A file that a command of the gate runs, whatever runs it: a shell, an interpreter, `python -m`, itself. So is what a
  launcher reads in order to know what to do, and what an option names as configuration.
- Where one of several names is read first (`GNUmakefile` before `Makefile`), all of them count as soon as one is
  there.
- A command that only asks (`python3 app.py --help`) checks the program itself: that is what changes are about. So are
  the tests that a test runner is given.
- Of a `package.json` its scripts count, and nothing else.
"""

import json
import posixpath
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from quarterdeck.delivery.validation.commands import ONLY_ASKS, SHELLS, plain_commands, runs_tests

PACKAGE: Final = "package.json"
_MAKE: Final = ("GNUmakefile", "makefile", "Makefile")
_GRADLE: Final = (
    *("build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "gradle.properties"),
    *("gradlew", "gradle/wrapper/gradle-wrapper.properties", "gradle/wrapper/gradle-wrapper.jar"),
)
_RECIPES: Final = {
    "make": _MAKE,
    "gmake": _MAKE,
    "tox": ("tox.ini",),
    "nox": ("noxfile.py",),
    "just": ("justfile", "Justfile", ".justfile"),
    "rake": ("rakefile", "Rakefile", "rakefile.rb", "Rakefile.rb"),
    "invoke": ("tasks.py",),
    "task": ("Taskfile.yml", "taskfile.yml", "Taskfile.yaml", "taskfile.yaml"),
    "pre-commit": (".pre-commit-config.yaml",),
    **dict.fromkeys(("gradle", "gradlew"), _GRADLE),
    **dict.fromkeys(("mvn", "mvnw"), ("pom.xml",)),
    **dict.fromkeys(("npm", "pnpm", "yarn", "bun"), (PACKAGE,)),
}
"""Where a launcher reads what it has to do; names of which it takes the first that is there, or all."""
_INTERPRETERS: Final = frozenset(("node", "deno", "bun", "ruby", "perl", "php", "lua", "Rscript", "tsx", "ts-node"))
_NAMES_A_FILE: Final = frozenset(
    ("-f", "-c", "--file", "--makefile", "--justfile", "--config", "--config-file", "--rcfile")
)
_NAMES_A_FOLDER: Final = frozenset(("-C", "--directory", "--prefix", "-d", "--working-directory"))


def judges(commands: Sequence[str], existing: Collection[str]) -> frozenset[str]:
    """The paths at which a change would change what these commands check. `existing`: the files of the base."""
    found: set[str] = set()
    for command in commands:
        for names in _groups(command):
            if not existing or any(name in existing for name in names):
                found.update(names)
    return frozenset(found)


def _groups(command: str) -> Iterator[tuple[str, ...]]:
    """Names that count together; each at the root, and in the folders that the command goes to."""
    folders = [""]
    for words in plain_commands(command):
        name = PurePosixPath(words[0]).name
        if name == "cd" and len(words) == 2:
            folders.append(posixpath.join(folders[-1], words[1]))
        elif ONLY_ASKS.intersection(words[1:]):
            continue
        inside = list(_options(words, _NAMES_A_FOLDER))
        for names in _read_by(name, words):
            for folder in (*folders, *inside):
                yield tuple(posixpath.normpath(posixpath.join(folder, each)) for each in names)


def _read_by(name: str, words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What one plain command runs and reads."""
    if name in SHELLS:
        yield from _given_to_shell(words[1:])
        return
    yield (words[0],)
    if "." in words[0] and "/" not in words[0]:  # `python -m tools.check`
        module = words[0].replace(".", "/")
        yield from ((f"{module}.py",), (f"{module}/__main__.py",))
    if name in _RECIPES:
        yield _RECIPES[name]
    if name in _INTERPRETERS and not runs_tests(words):
        yield from (
            (word,) for word in [word for word in words[1:] if not word.startswith("-") and word != "run"][:1] if word
        )
    yield from ((given,) for given in _options(words, _NAMES_A_FILE))


def _options(words: Sequence[str], known: Collection[str]) -> Iterator[str]:
    for at, word in enumerate(words):
        option, gives, value = word.partition("=")
        if option in known and gives:
            yield value
        elif word in known and at + 1 < len(words):
            yield words[at + 1]


def _given_to_shell(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for at, word in enumerate(words):
        if word.startswith("-") and word.endswith("c"):
            for inner in words[at + 1 : at + 2]:
                yield from _groups(inner)
            return
        if not word.startswith(("-", "+")):
            yield (word,)
            return


def same_scripts(before: bytes | None, after: bytes | None) -> bool:
    """Whether two versions of a `package.json` run the same; None = it is not there."""
    one, other = _scripts(before), _scripts(after)
    return one is not None and one == other


def _scripts(data: bytes | None) -> Any:
    """The scripts of a package; None = it cannot be told."""
    try:
        package = json.loads((data or b"null").decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return package.get("scripts", {}) if isinstance(package, dict) else None
