"""Check commands become results."""

from collections.abc import Sequence

import pytest

from quarterdeck.delivery.validation.checks import (
    KEEP_LIMIT,
    LIVES,
    bounded,
    deadly,
    headline,
    judge,
    outlived,
    passed,
    summary,
    told,
)
from quarterdeck.delivery.validation.evidence import Report
from quarterdeck.kernel.entities import CheckResult
from quarterdeck.kernel.failures import SandboxDied
from quarterdeck.workplace.port import ExecResult


def done(exit_code: int | None = 0, stdout: bytes = b"", stderr: bytes = b"", flags: Sequence[str] = ()) -> ExecResult:
    return ExecResult(exit_code, stdout, stderr, 1.0, tuple(flags))


@pytest.mark.parametrize(
    ("finished", "reason"),
    [
        (done(None, flags=["timeout"]), "timeout after 30 s"),
        (done(None, flags=["memory"]), "memory limit exceeded"),
        (done(0, flags=["disk"]), "disk limit exceeded"),
        (done(None), "killed"),
        (done(5, b"no tests ran in 0.01s"), "pytest executed no test (exit 5)"),
    ],
)
def test_what_speaks_against_a_command(finished: ExecResult, reason: str) -> None:
    result = judge("pytest -q", finished, 30)
    assert result.reason == reason
    assert not result.passed


def test_exit_zero_passes_and_non_zero_does_not() -> None:
    assert judge("true", done(0), 1).passed
    assert not judge("false", done(1), 1).passed
    assert passed(())
    assert not passed((judge("true", done(0), 1), judge("false", done(1), 1)))


def test_output_is_kept_bounded_and_readable() -> None:
    result = judge("x", done(1, b"\xff\0" + b"a" * 100_000, b"the end"), 1)
    assert len(result.output) <= KEEP_LIMIT
    assert result.output.endswith("the end")
    assert "\0" not in result.output
    assert "left out" in result.output


def test_a_report_that_was_asked_for_is_no_part_of_the_output() -> None:
    report = Report("home/4f.xml", due=True, executed=1)
    said = b"one\n- generated xml file: home/4f.xml -\n1 passed in 0.1s"
    result = judge("pytest", done(0, said), 1, report)
    assert (result.output, result.passed) == ("one\n1 passed in 0.1s", True)


@pytest.mark.parametrize("limit", [0, 1, 50, 500, 5000])
def test_bounds_hold(limit: int) -> None:
    assert len(bounded("x" * 5001, limit)) <= limit
    results = tuple(CheckResult(command=f"c{n}", exit_code=n, seconds=1, output="y" * 3000) for n in range(3))
    assert len(summary(results, limit)) <= limit


def test_the_summary_shows_what_failed() -> None:
    results = (
        CheckResult(command="ruff check .", exit_code=0, seconds=1, output="fine"),
        CheckResult(command="pytest -q", exit_code=1, seconds=2, output="E assert 1 == 2"),
    )
    text = summary(results, 1000)
    assert "$ ruff check .\n[passed, 1.0 s]" in text
    assert "$ pytest -q\n[exit 1, 2.0 s]" in text
    assert "E assert 1 == 2" in text
    assert "fine" not in text
    assert headline(results) == "`pytest -q` failed: exit 1: assert 1 == 2"
    assert headline(results[:1]) == ""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            "E   AssertionError: no\n=== summary ===\nFAILED tests/t.py::test_x - AssertionError: no\n1 failed in 0.1s",
            "FAILED tests/t.py::test_x - AssertionError: no",
        ),
        (
            "Traceback\nAssertionError: -1800 != 180\n\nRan 1 test\n\nFAILED (failures=1)",
            "AssertionError: -1800 != 180",
        ),
        ("src/a.py:3:1: F401 `os` imported\nFound 1 error.", "src/a.py:3:1: F401 `os` imported"),
        ("ok x\n--- FAIL: TestB (0.00s)\nFAIL\nexit status 1", "--- FAIL: TestB (0.00s)"),
        ("error[E0308]: mismatched types", "error[E0308]: mismatched types"),
        ("\x1b[31merror: no such thing\x1b[0m", "error: no such thing"),
        ("12:30:05: all is well\nit is not good", ""),
        (
            "E   assert 1 == 2\nt/a.py:2: AssertionError\nt/a.py:9: UserWarning: old\n1 failed",
            "t/a.py:2: AssertionError",
        ),
        ("a.py:3: error: no  [x]\na.py:3: note: see there\na.c:1:2: warning: unused", "a.py:3: error: no [x]"),
        ("x" * 400_000 + " AssertionError: far away", ""),
        ("", ""),
    ],
)
def test_what_failed_is_told_in_the_line_that_names_it(output: str, line: str) -> None:
    assert told(output) == line


@pytest.mark.parametrize("deaths", range(LIVES + 1))
async def test_a_check_outlives_some_sandboxes(deaths: int) -> None:
    made = 0

    async def check() -> str:
        nonlocal made
        made += 1
        if made <= deaths:
            raise SandboxDied
        return "seen"

    if deaths < LIVES:
        assert (await outlived(check), made) == ("seen", deaths + 1)
    else:
        with pytest.raises(SandboxDied):
            await outlived(check)
        assert made == LIVES


def test_what_no_sandbox_outlives_has_failed() -> None:
    results = deadly(SandboxDied(why="under the command `kill -9 -1`"))
    assert not passed(results)
    assert "kill -9 -1" in summary(results)


@pytest.mark.parametrize(
    ("flags", "died"), [(["died"], True), (["died", "memory"], False), (["died", "disk"], False), (["timeout"], False)]
)
def test_a_death_by_a_limit_is_no_accident(flags: list[str], died: bool) -> None:
    assert done(None, flags=flags).died is died
