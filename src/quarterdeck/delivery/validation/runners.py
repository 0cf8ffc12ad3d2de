"""What test runners say in their output: how many tests they executed.

Rules
- A skipped or deselected test is not executed; one that failed is.
- A reader that finds nothing of its runner in the output says nothing: that is not the same as "none".
- What a program prints is whatever its author likes. Reading it takes time in proportion to its length: no expression
  runs on over the end of a line, or tries a run of digits or of space again from each of its characters. A number of
  more than nine digits is none.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

Verdict = Callable[[str], int | None]
"""Output of a runner to the number of tests it says it executed; None = it says nothing about it."""


class _Words:
    """A regular expression that is compiled when it is first looked for: a run meets one runner and not all of them."""

    def __init__(self, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> None:
        self._pattern = pattern
        self._flags = flags

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self._pattern, self._flags)

    def findall(self, output: str) -> list[Any]:
        return self._compiled.findall(output)

    def search(self, output: str) -> re.Match[str] | None:
        return self._compiled.search(output)

    def sub(self, put: str, output: str) -> str:
        return self._compiled.sub(put, output)


_ANSI: Final = _Words(r"\x1b\[[0-9;?]*[A-Za-z]")
_PYTEST: Final = _Words(
    r"^=*[ \t]*((?:\d{1,9} [a-z]+(?: [a-z]+)?(?:, )?)+|no tests ran)[ \t]+in[ \t]+[\d.:]+ ?s", re.MULTILINE
)
_UNITTEST: Final = _Words(r"^Ran (\d{1,9}) tests? in ", re.MULTILINE)
_UNITTEST_SKIPPED: Final = _Words(r"^(?:OK|FAILED|NO TESTS RAN) \([^)\n]*skipped=(\d{1,9})\b", re.MULTILINE)
_GO_RAN: Final = _Words(r"^(?:ok|FAIL|---[ \t]+\w+:|===[ \t]+RUN)\s(?!.*\[no tests to run\])", re.MULTILINE)
_GO_NONE: Final = _Words(r"\[no test files\]|\[no tests to run\]|no packages to test|matched no packages")
_CARGO: Final = _Words(r"^test result: \w+\. (\d{1,9}) passed; (\d{1,9}) failed", re.MULTILINE)
_NEXTEST: Final = _Words(r"^[ \t]*Summary .*?\b(\d{1,9}) tests? run:", re.MULTILINE)
_JS_TOTALS: Final = _Words(r"^[ \t]*Tests:?[ \t]+(.*)$", re.MULTILINE)
_JS_NONE: Final = _Words(r"No tests? (?:files? )?found|No test suite found", re.IGNORECASE)
_JS_RAN: Final = _Words(r"\b(\d{1,9}) (?:passed|failed|todo)")
_MOCHA: Final = _Words(r"^[ \t]*(\d{1,9}) (?:passing|failing)\b", re.MULTILINE)
_NODE: Final = _Words(r"^(?:#|ℹ) (pass|fail|cancelled) (\d{1,9})[ \t\r]*$", re.MULTILINE)
_NODE_ALL: Final = _Words(r"^(?:#|ℹ) tests (\d{1,9})[ \t\r]*$", re.MULTILINE)
_CTEST: Final = _Words(r"tests passed, \d{1,9} tests failed out of (\d{1,9})\b")
_MAVEN: Final = _Words(
    r"^(?:\[\w+\] )?Tests run: (\d{1,9}), Failures: \d+, Errors: \d+, Skipped: (\d{1,9})[ \t\r]*$", re.MULTILINE
)
_DOTNET: Final = _Words(r"Failed:[ \t]+(\d{1,9}), Passed:[ \t]+(\d{1,9}), Skipped:")
_PHPUNIT: Final = _Words(r"^(?:OK \(|Tests: )(\d{1,9})\b", re.MULTILINE)
_PHPUNIT_SKIPPED: Final = _Words(r"^Tests: .*Skipped: (\d{1,9})\b", re.MULTILINE)
_BUN: Final = _Words(r"^ *(\d{1,9}) (?:pass|fail)$", re.MULTILINE)
_DENO: Final = _Words(r"^(?:ok|FAILED) \| (\d{1,9}) passed(?: \([^)\n]*\))? \| (\d{1,9}) failed", re.MULTILINE)
_RSPEC: Final = _Words(r"^(\d{1,9}) examples?, \d+ failures?(?:, (\d{1,9}) pending)?", re.MULTILINE)


def _pytest(output: str) -> int | None:
    lines = _PYTEST.findall(output)
    if not lines:
        return None
    ran = 0
    for line in lines:
        for count, what in re.findall(r"(\d{1,9}) (?:subtests )?([a-z]+)", line):
            if what in {"passed", "failed", "error", "errors", "xfailed", "xpassed"}:
                ran += int(count)
    return ran


def _unittest(output: str) -> int | None:
    counts = _UNITTEST.findall(output)
    if not counts:
        return None
    return max(0, sum(map(int, counts)) - sum(map(int, _UNITTEST_SKIPPED.findall(output))))


def _go(output: str) -> int | None:
    ran = len(_GO_RAN.findall(output))
    return ran if ran or _GO_NONE.search(output) else None


def _cargo(output: str) -> int | None:
    if "no tests to run" in output:
        return 0
    results = [int(a) + int(b) for a, b in _CARGO.findall(output)] + [int(n) for n in _NEXTEST.findall(output)]
    return sum(results) if results else None


def _javascript(output: str) -> int | None:
    ran = sum(int(n) for line in _JS_TOTALS.findall(output) for n in _JS_RAN.findall(line))
    if ran:
        return ran
    return 0 if _JS_NONE.search(output) or _JS_TOTALS.search(output) else None


def _mocha(output: str) -> int | None:
    counts = _MOCHA.findall(output)
    if counts:
        return sum(map(int, counts))
    return 0 if _JS_NONE.search(output) else None


def _node(output: str) -> int | None:
    if not _NODE_ALL.search(output):
        return None
    return sum(int(count) for _, count in _NODE.findall(output))


def _ctest(output: str) -> int | None:
    if "No tests were found" in output:
        return 0
    counts = _CTEST.findall(output)
    return sum(map(int, counts)) if counts else None


def _rspec(output: str) -> int | None:
    counts = _RSPEC.findall(output)
    return sum(max(0, int(n) - int(pending or 0)) for n, pending in counts) if counts else None


def _maven(output: str) -> int | None:
    counts = _MAVEN.findall(output)
    if counts:
        return sum(max(0, int(n) - int(skipped)) for n, skipped in counts)
    return 0 if "No tests to run" in output else None


def _dotnet(output: str) -> int | None:
    counts = _DOTNET.findall(output)
    if counts:
        return sum(int(a) + int(b) for a, b in counts)
    return 0 if "No test is available" in output or "No test matches the given" in output else None


def _phpunit(output: str) -> int | None:
    if "No tests executed!" in output:
        return 0
    counts = _PHPUNIT.findall(output)
    return max(0, sum(map(int, counts)) - sum(map(int, _PHPUNIT_SKIPPED.findall(output)))) if counts else None


def _bun(output: str) -> int | None:
    counts = _BUN.findall(output)
    if counts:
        return sum(map(int, counts))
    return 0 if "No tests found!" in output or "had no matches" in output else None


def _deno(output: str) -> int | None:
    counts = _DENO.findall(output)
    if counts:
        return sum(int(a) + int(b) for a, b in counts)
    return 0 if "No test modules found" in output else None


@dataclass(frozen=True, slots=True)
class Runner:
    """A test runner that we know how to read."""

    name: str
    executed: Verdict
    empty_exit: int | None = None
    """The exit status with which it says that nothing was selected."""


PYTEST: Final = Runner("pytest", _pytest, empty_exit=5)
UNITTEST: Final = Runner("unittest", _unittest, empty_exit=5)
GO: Final = Runner("go test", _go)
CARGO: Final = Runner("cargo test", _cargo)
JAVASCRIPT: Final = Runner("the JavaScript test runner", _javascript)
MOCHA: Final = Runner("mocha", _mocha)
NODE: Final = Runner("node --test", _node)
CTEST: Final = Runner("ctest", _ctest)
RSPEC: Final = Runner("rspec", _rspec)

MAVEN: Final = Runner("maven", _maven)
DOTNET: Final = Runner("dotnet test", _dotnet)
PHPUNIT: Final = Runner("phpunit", _phpunit)
BUN: Final = Runner("bun test", _bun)
DENO: Final = Runner("deno test", _deno)

RUNNERS: Final = (
    *(PYTEST, UNITTEST, GO, CARGO, JAVASCRIPT, MOCHA, NODE, CTEST, RSPEC),
    *(MAVEN, DOTNET, PHPUNIT, BUN, DENO),
)


def _any(output: str) -> int | None:
    said = [count for runner in RUNNERS if (count := runner.executed(output)) is not None]
    return max(said, default=None)


ANY: Final = Runner("the test runner", _any)
"""Whichever runner a launcher hides."""


def plain(output: str) -> str:
    """A runner's output without its colours."""
    return _ANSI.sub("", output)
