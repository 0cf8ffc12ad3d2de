"""What a test runner has to show beyond what it prints. Pure.

Rules
- The code under test runs in the runner's process and can print whatever the runner would print, and end it then. So
  the last line of a runner is not enough where more can be had.
- pytest is asked for a report of its own, under a name that is drawn for that one command. Where it must have written
  one and there is none, it did not get to its end. It is asked only where it starts once, so that the report is about
  all of its tests, and where the project asks for none: there is one report a run, and who waits for it needs it.
- unittest has no such report. A command of it that passed runs once more with a test that has to fail: where it passes
  again, it runs no tests.
- Only what the words of a command leave no doubt about is asked for: nothing here may fail a command that is sound.
- Nor may it change what the commands after it find: a second run comes after all of them, writes into no folder that
  was not there, and has its coverage elsewhere.
"""

import re
import shlex
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from quarterdeck.delivery.validation.commands import once, recognise, sole, stays, words
from quarterdeck.delivery.validation.runners import PYTEST, UNITTEST

REPORT_LIMIT: Final = 256 * 1024
"""Bytes of a report that are looked at. What counts stands at its beginning."""

USAGE: Final = 4
"""The exit status with which pytest refuses an option."""

LONG: Final = 60.0
"""A unittest command that took more seconds than this is only loaded once more, not run."""

_OWN: Final = re.compile(r"junit|PYTEST_ADDOPTS|(?<!\S)env\s+-")
"""It has a report of its own, or does not hand on what is asked of it."""
_MAYBE: Final = re.compile(r"\|\||(?<!&)&(?!&)|[`$]|(?<!\S)(?:if|case)(?!\S)")
"""Whether the runner is started at all, or ends in time, is not told by the words."""
_AGAIN: Final = re.compile(r"(?<!\S)(?:while|until|for|select|function|xargs)(?!\S)|\(\s*\)")
"""What is written once is started as often as it comes round."""
_WROTE: Final = re.compile(r"generated xml file: (.*)")
_SUITE: Final = re.compile(r"<testsuite\b[^<>]*>")
_COUNT: Final = re.compile(r"\b(tests|skipped)=\"(\d{1,9})\"")
_EXPECTED: Final = 'type="pytest.xfail"'
_PATTERN: Final = re.compile(r"(?<!\S)(?:-k|-p|-t|--pattern|--top-level-directory)")
_MODULE: Final = re.compile(r"-m\s+unittest(?!\S)")
_DATA: Final = re.compile(r"--data-file|COVERAGE_")
"""What is measured is put where the command says, and may be needed."""
_FAILS: Final = (
    "import unittest\n\n\nclass TestFails(unittest.TestCase):\n    def test_it(self):\n        self.fail()\n"
)


@dataclass(frozen=True, slots=True)
class Report:
    """What was asked of pytest, and what it wrote."""

    path: str
    due: bool
    """The words of the command leave no doubt that it has to be there."""
    executed: int | None = None
    """Tests that it says were executed; None = there is no report."""

    @property
    def env(self) -> dict[str, str]:
        """How pytest is told, in the environment: that reaches it behind any wrapper.

        The older family of reports, because tests may write properties that the newer one warns of. pytest takes these
        words apart as a shell does.
        """
        return {"PYTEST_ADDOPTS": f"-o junit_family=xunit1 {shlex.quote(f'--junitxml={self.path}')}"}

    def read(self, text: str, output: str) -> "Report":
        """The report with what its text says; `output`: of pytest, which may say that it wrote another one instead."""
        elsewhere = any(self.path not in line for line in _WROTE.findall(output))
        return replace(self, executed=counted(text), due=self.due and not elsewhere)


def asked(command: str, path: str) -> Report | None:
    """What this shell command is asked for, as a file at `path`; None = nothing."""
    if not once(command, PYTEST) or _OWN.search(command) or _AGAIN.search(command):
        return None
    if "$" in path:  # pytest takes it for a variable
        return None
    return Report(path, due=not _MAYBE.search(command))


ASKS_ITSELF: Final = """\
git grep -qE --untracked -e 'junit-?xml|xmlpath|PYTEST_ADDOPTS' -- '*.ini' '*.toml' '*.cfg' '*.env' '*conftest.py' ||
git grep -qE --untracked -e 'option[.]xmlpath' -- '*.py' ':(exclude)*_pytest/*'
"""
"""A shell command that says whether anything in the workspace asks pytest for a report, or may: `NOTHING` = no."""

NOTHING: Final = 1
"""The exit status with which git has found nothing."""


def refused(command_exit: int | None) -> bool:
    """Whether pytest may not have known what it was asked for. It says so before any test."""
    return command_exit == USAGE


def counted(text: str) -> int | None:
    """How many tests a report in JUnit's XML says were executed; None = it is none.

    `text` may be the beginning of it. A test that is expected to fail was executed.
    """
    suite = _SUITE.search(text)
    counts = dict(_COUNT.findall(suite[0])) if suite else {}
    if "tests" not in counts:
        return None
    return max(0, int(counts["tests"]) - int(counts.get("skipped", 0)) + text.count(_EXPECTED))


@dataclass(frozen=True, slots=True)
class Sabotage:
    """A unittest command that has to fail."""

    command: str
    file: str = ""
    """Where a test that fails has to be put for it; "" = nowhere, the command names a test that there is not."""
    text: str = _FAILS

    @property
    def folder(self) -> str:
        """Where the file is put: it has to be there, because a new folder would be taken for a package's name."""
        return str(PurePosixPath(self.file).parent)

    @property
    def package(self) -> str:
        """The file that may say by itself which tests there are: then nothing follows from one that is passed over."""
        return str(PurePosixPath(self.file).parent / "__init__.py") if self.file else ""


def sabotaged(command: str, token: str, seconds: float) -> Sabotage | None:
    """This command of unittest with a test that fails; None = its words do not tell where to put one.

    `token`: what nobody can guess, letters and digits. `seconds`: how long the command took without.
    """
    if recognise(command)[0] != (UNITTEST,) or not sole(command) or not _MODULE.search(command):
        return None
    if _DATA.search(command):
        return None
    name, *given = words(command)
    if PurePosixPath(name).name != UNITTEST.name:
        return None
    names = _names(given)
    if names and names[0] != "discover":
        if seconds <= LONG:
            return _beside(command, names[-1], rf"\g<0> quarterdeck_{token}")
        quick = _beside(command, names[0], rf"quarterdeck_{token} \g<0>")
        return None if quick is None or _PATTERN.search(command) else Sabotage(_MODULE.sub(r"\g<0> -f", quick.command))
    start = _start(given)
    if start is None or _PATTERN.search(command) or not stays(command):
        return None
    if seconds <= LONG:
        return Sabotage(command, str(PurePosixPath(start) / f"test_zz{token}.py"))
    return Sabotage(f"{command.rstrip()} -f", str(PurePosixPath(start) / f"test_00{token}.py"))


def _names(given: list[str]) -> list[str]:
    """What a unittest command is told to run."""
    valued = {at + 1 for at, word in enumerate(given) if word in ("-k", "--durations")}
    return [word for at, word in enumerate(given) if at not in valued and not word.startswith("-")]


def _beside(command: str, name: str, put: str) -> Sabotage | None:
    """The command with its last word `name` replaced; names have to stand beside each other, else it is refused."""
    found = list(re.finditer(rf"(?<!\S){re.escape(name)}(?!\S)", command))
    if not found:
        return None
    return Sabotage(command[: found[-1].start()] + found[-1].expand(put) + command[found[-1].end() :])


def _start(given: list[str]) -> str | None:
    """The folder that unittest discovers tests in; None = the words do not tell."""
    plain = [word for word in given if not re.fullmatch(r"-[qvfbc]+|--(?:quiet|verbose|failfast|buffer|catch)", word)]
    if plain in ([], ["discover"]):
        return "."
    if plain[0] == "discover":
        rest = plain[1:]
        if len(rest) == 2 and rest[0] in ("-s", "--start-directory"):
            rest = rest[1:]
        if len(rest) == 1 and re.fullmatch(r"[\w.][\w./-]*", rest[0]) and ".." not in rest[0]:
            return rest[0]
    return None
