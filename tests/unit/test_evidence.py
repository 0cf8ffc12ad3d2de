"""What a runner is asked for, and when it may be taken to be silent."""

import pytest

from quarterdeck.delivery.validation.evidence import LONG, asked, counted, refused, sabotaged
from quarterdeck.workplace.port import HOME

SUITE = '<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="0" {}>'


@pytest.mark.parametrize(
    ("command", "due"),
    [
        ("pytest -q", True),
        ("cd sub && uv run --frozen python -m pytest -q tests | tee log", True),
        ("ruff check . && pytest", True),
        ("test -e done || pytest", False),
        ("pytest -q &", False),
        ("if test -e x; then pytest; fi", False),
        ("pytest $MORE", False),
        ("pytest --junitxml=mine.xml", None),
        ("PYTEST_ADDOPTS=-x pytest", None),
        ("env -i pytest", None),
        ("pytest -p no:junitxml", None),
        ("pytest --version", None),
        ("make test", None),
        ("python -m unittest", None),
    ],
)
def test_pytest_is_asked_for_a_report_where_it_can_be(command: str, due: bool | None) -> None:
    report = asked(command, f"{HOME}/abc.xml")
    assert (report.due if report else None) == due
    assert report is None or report.env["PYTEST_ADDOPTS"].endswith(f"--junitxml={HOME}/abc.xml")


@pytest.mark.parametrize(
    ("text", "executed"),
    [
        (SUITE.format('failures="1" skipped="2" tests="5"'), 3),
        (
            SUITE.format('failures="0" skipped="2" tests="2"') + '<testcase><skipped type="pytest.xfail" /></testcase>',
            1,
        ),
        (SUITE.format('failures="0" skipped="2" tests="2"'), 0),
        (SUITE.format('tests="0"'), 0),
        ("", None),
        ("<testsuite", None),
        ("<testsuite " * 25_000, None),
        ('<testsuite tests="' + "9" * 250_000, None),
        ("no report", None),
    ],
)
def test_a_report_is_read(text: str, executed: int | None) -> None:
    assert counted(text) == executed


def test_a_pytest_that_knows_no_reports_is_not_asked_again() -> None:
    assert refused(4, "error: unrecognized arguments: --junitxml=/x")
    assert not refused(4, "file or directory not found: a")
    assert not refused(1, "junit")


@pytest.mark.parametrize(
    ("command", "seconds", "becomes", "file"),
    [
        ("python3 -m unittest -q test_a", 1, "python3 -m unittest -q test_a quarterdeck_ab", ""),
        ("python3 -m unittest a b -v", 1, "python3 -m unittest a b quarterdeck_ab -v", ""),
        ("python3 -m unittest -k a -q a", 1, "python3 -m unittest -k a -q a quarterdeck_ab", ""),
        ("python3 -m unittest -q a b", LONG + 1, "python3 -m unittest -f -q quarterdeck_ab a b", ""),
        ("python3 -m unittest", 1, "python3 -m unittest", "test_zzab.py"),
        ("uv run python -m unittest discover -q", 1, "uv run python -m unittest discover -q", "test_zzab.py"),
        ("python3 -m unittest discover -s tests", 1, "python3 -m unittest discover -s tests", "tests/test_zzab.py"),
        ("python3 -m unittest", LONG + 1, "python3 -m unittest -f", "test_00ab.py"),
    ],
)
def test_unittest_gets_a_test_that_fails(command: str, seconds: float, becomes: str, file: str) -> None:
    wrong = sabotaged(command, "ab", seconds)
    assert wrong is not None
    assert (wrong.command, wrong.file) == (becomes, file)


@pytest.mark.parametrize(
    "command",
    [
        "pytest -q",
        "python manage.py test",
        "cd sub && python3 -m unittest a",
        "python3 -m unittest discover -s tests -p 'check_*.py'",
        "python3 -m unittest discover -s /elsewhere",
        "python3 -m unittest discover ../up",
        "python3 -m unittest -k add",
        "python3 -m unittest 'a'",
        "make test",
        "true",
    ],
)
def test_where_the_words_do_not_tell_nothing_is_sabotaged(command: str) -> None:
    assert sabotaged(command, "ab", 1) is None
