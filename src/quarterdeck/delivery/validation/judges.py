"""Which files of a repository decide what the gate checks. Pure.

Rules
- A file that a command of the gate runs, whatever runs it: a shell, an interpreter, `python -m`, itself. So is what a
  launcher reads in order to know what to do, and what an option names as configuration.
- A program in a language of its own (`python3 main.py`, `node tests/all.js`) may as well be what the change is about: a
  test, or the program itself that is tried out. Such a file only counts where its name or its folder says that it
  checks or builds (`tools/check.py`). Else it is worth a look, and no more.
- Where one of several names is read first (`GNUmakefile` before `Makefile`), all of them count as soon as one is
  there. Where none is there, the change may bring it.
- A command that only asks (`python3 app.py --help`) checks the program itself: that is what changes are about. So are
  the tests that a test runner is given.
- Of what declares dependencies too (`package.json`, `pom.xml`, `build.gradle`), `builds` tells what counts.
- What the commands run that build the environment decides what the gate runs on: all of it counts.
"""

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from quarterdeck.delivery.validation.builds import PACKAGE
from quarterdeck.delivery.validation.commands import ONLY_ASKS, SHELLS, plain_commands, runs_tests
from quarterdeck.delivery.validation.survey.sources import is_test
from quarterdeck.kernel.config import DeckConfig

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
_FILES_OF_SHELLS: Final = frozenset(("--rcfile", "--init-file"))
_INSTALLS: Final = frozenset(("pip", "pip3", "uv"))
_NAMES_A_FOLDER: Final = frozenset(("-C", "--directory", "--prefix", "-d", "--working-directory"))


_PROGRAM: Final = re.compile(r"\.(py|[cm]?[jt]sx?|rb|pl|php|lua|R)$")
"""A source of a language in which programs are written, too."""
_CHECKS: Final = re.compile(
    r"(?:^|.*/)(?:\.?ci|\.github|tools?|scripts?|hack|qa|checks?|builds?)/"
    r"|(?:^|.*[/._-])(?:ci|gate|qa|quality|preflight|presubmit|check(?:s|er|all)?|lint(?:s|er)?|verify|validate|build"
    r"|run[_-]?(?:all[_-]?)?(?:tests?|checks?)|test[_-]?runner)(?:[._-]|$)",
    re.IGNORECASE,
)
"""Folders and names of what checks or builds."""
_SHOWN: Final = 40

Named = tuple[tuple[str, ...], bool]
"""Names that count together, and whether it is sure that what they say is how is checked."""


def deciding(deck: DeckConfig, existing: Collection[str]) -> frozenset[str]:
    """The paths at which a change would change what this deck checks. `existing`: the files of the base."""
    setup = deck.sandbox.setup or ()
    return judges((*deck.checks.gate, *setup), existing) | may_judge(setup, existing)


def judges(commands: Sequence[str], existing: Collection[str]) -> frozenset[str]:
    """The paths at which a change would change what these commands check. `existing`: the files of the base."""
    return frozenset(path for path, sure in _known(commands, existing).items() if sure)


def may_judge(commands: Sequence[str], existing: Collection[str]) -> frozenset[str]:
    """The paths at which a change may do so: programs that these commands run."""
    return frozenset(path for path, sure in _known(commands, existing).items() if not sure)


def told(paths: Collection[str], existing: Collection[str]) -> str:
    """Those of the paths that are there, which a task has to name in order to change them, one a line; empty = none."""
    found = sorted(set(paths).intersection(existing))
    more = [f"- and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return "\n".join([*(f"- {path}" for path in found[:_SHOWN]), *more])


def _known(commands: Sequence[str], existing: Collection[str]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for command in commands:
        for names, sure in _groups(command):
            if any(name in existing for name in names):
                found.update((name, sure or found.get(name, False)) for name in names)
    return found


def _decides(path: str) -> bool:
    """Whether it is sure that what runs there checks something, and is not what is checked."""
    return not _PROGRAM.search(path) or (not is_test(path) and _CHECKS.match(path) is not None)


def _groups(command: str) -> Iterator[Named]:
    """Names that count together; each at the root, and in the folders that the command goes to."""
    folders = [""]
    for words in plain_commands(command):
        name = PurePosixPath(words[0]).name
        if name == "cd" and len(words) == 2:
            folders.append(posixpath.join(folders[-1], words[1]))
        elif ONLY_ASKS.intersection(words[1:]):
            continue
        inside = list(_options(words, _NAMES_A_FOLDER))
        for names, sure in _read_by(name, words):
            for folder in (*folders, *inside):
                yield tuple(posixpath.normpath(posixpath.join(folder, each)) for each in names), sure


def _read_by(name: str, words: Sequence[str]) -> Iterator[Named]:
    """What one plain command runs and reads."""
    if name in SHELLS:
        yield from _given_to_shell(words[1:])
        return
    if words[0] in (".", "source"):
        yield from (((word,), True) for word in words[1:2])
        return
    yield _run(words[0])
    if "/" not in words[0]:  # `python -m tools.check`
        module = words[0].replace(".", "/")
        yield from (_run(f"{module}.py"), _run(f"{module}/__main__.py"))
    if name in _RECIPES:
        yield _RECIPES[name], True
    if name in _INTERPRETERS and not runs_tests(words):
        yield from map(_run, [word for word in words[1:] if word and not word.startswith("-") and word != "run"][:1])
    if not _INSTALLS.intersection((name, *words[1:3])):  # what `-c` names there are versions
        yield from (((given,), True) for given in _options(words, _NAMES_A_FILE))


def _run(path: str) -> Named:
    return (path,), _decides(posixpath.normpath(path))


def _options(words: Sequence[str], known: Collection[str]) -> Iterator[str]:
    for at, word in enumerate(words):
        option, gives, value = word.partition("=")
        if option in known and gives:
            yield value
        elif word in known and at + 1 < len(words):
            yield words[at + 1]


def _given_to_shell(words: Sequence[str]) -> Iterator[Named]:
    """What a shell is told to run: a file, also as its input, or with `-c` a line."""
    line = skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "<":
            continue
        elif word.startswith("<") and not word.startswith("<<"):
            yield (word[1:],), True
            return
        elif len(word) > 1 and word[0] in "-+":
            long = word.startswith("--")
            line = line or (not long and word[0] == "-" and "c" in word)
            # `-o NAME`, also at the end of others: `-euo pipefail`
            skip = word in _FILES_OF_SHELLS if long else word[-1] in "oO"
        else:
            yield from _groups(word) if line else [((word,), True)]
            return
