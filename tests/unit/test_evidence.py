"""What a runner is asked for, and when it may be taken to be silent."""

import shlex

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
        ("./setup.sh && pytest -q", True),
        ("pytest --version && pytest -q", None),
        ("bash -ec 'pytest -q tests'", True),
        # One report cannot stand for several runs.
        ("pytest tests/unit && pytest tests/integration", None),
        ("sh -c 'pytest a; pytest b'", None),
        ("pytest tests/unit && make integration", None),
        ("pytest tests/unit; ./more.sh", None),
        ("pytest -q && pytest -q --collect-only", None),
        ("for each in a b; do pytest $each; done", None),
        ("ls tests | xargs -n 1 pytest", None),
        ("while read each; do pytest $each; done < list", None),
        ("try() { pytest $1; }; try a && try b", None),
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


@pytest.mark.parametrize("home", ["/h/Application Support/deck", "/h/it's", "/h/a\\b"])
def test_a_report_can_lie_anywhere(home: str) -> None:
    report = asked("pytest", f"{home}/abc.xml")
    assert report is not None
    assert shlex.split(report.env["PYTEST_ADDOPTS"])[-1] == f"--junitxml={home}/abc.xml"


def test_pytest_would_take_a_dollar_for_a_variable() -> None:
    assert asked("pytest", "/h/$cash/abc.xml") is None


@pytest.mark.parametrize(
    ("output", "due"),
    [
        ("1 passed in 0.01s", True),
        ("- generated xml file: /h/abc.xml -\n1 passed in 0.01s", True),
        ("\x1b[1m- generated xml file: own.xml -\n1 passed in 0.01s", False),
    ],
)
def test_a_report_that_pytest_wrote_elsewhere_is_not_missed(output: str, due: bool) -> None:
    report = asked("pytest", "/h/abc.xml")
    assert report is not None
    assert report.read("", output).due is due


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


def test_what_pytest_does_not_take_is_not_asked_again() -> None:
    assert refused(4)
    assert not refused(1)
    assert not refused(None)


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
        (
            "uv run --directory a python -m unittest b",
            1,
            "uv run --directory a python -m unittest b quarterdeck_ab",
            "",
        ),
        *[
            (f"{around} -m unittest", 1, f"{around} -m unittest", "test_zzab.py")
            for around in (
                "timeout 60 .venv/bin/python -X dev",
                "A=1 env B=2 nice -n 5 python3",
                "uv run --frozen --group dev -- python",
                "poetry run coverage run --branch --source=a",
            )
        ],
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
        "python3 -m unittest_parallel",
        # What is found is in another folder.
        "uv run --directory backend python -m unittest discover -s tests",
        "uv --directory=backend run python -m unittest",
        "UV_WORKING_DIR=backend uv run python -m unittest",
        "poetry -C backend run python -m unittest",
        "poetry --directory=backend run python -m unittest discover tests",
        "env --chdir=backend python3 -m unittest discover tests",
        "env -C backend python3 -m unittest",
        "conda run --cwd backend python -m unittest",
        "pixi run --manifest-path backend/pixi.toml python -m unittest",
        # What it measures would be written over.
        "coverage run --data-file=build/data -m unittest",
        "COVERAGE_FILE=build/data coverage run -m unittest a",
        "python3 -m unittest 'a'",
        "make test",
        "true",
    ],
)
def test_where_the_words_do_not_tell_nothing_is_sabotaged(command: str) -> None:
    assert sabotaged(command, "ab", 1) is None
