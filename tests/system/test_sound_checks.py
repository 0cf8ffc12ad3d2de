"""Checks of sound projects pass as they would without us: real runners, whatever else we ask of them.

No sandbox is around them, so that the workspace lies where the deck's home does.
"""

import compileall
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import _pytest
import iniconfig
import packaging
import pluggy
import pytest

from quarterdeck.delivery.validation.checks import ANYWAY, run_checks
from quarterdeck.kernel.entities import CheckResult
from quarterdeck.testing.sandbox_conformance import opened
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Sandbox, Spec

RUNNER = "/runner"
PYTEST = "python3 -uB -m pytest -p no:cacheprovider"
PASSES = "def test_it():\n    assert True\n"
SKIPS = "import pytest\n\n\n@pytest.mark.skip\ndef test_it():\n    pass\n"
UNIT = "import unittest\n\n\nclass TestIt(unittest.TestCase):\n    def test_it(self):\n        {}\n"
REFUSES = """\
import pytest

def pytest_load_initial_conftests(args):
    if any("junit" in each for each in args):
        raise pytest.UsageError("no reports here")
"""
FORGES = """\
import os

for fd in range(1, 20):  # the runner keeps the real output somewhere here
    try:
        os.write(fd, b"{}\\n")
    except OSError:
        pass
os._exit(0)
"""
PASSED = "==== 1 passed in 0.01s ===="
LOST = "pytest executed no test: it ended without saying that any ran"


@pytest.fixture(scope="module")
def runner() -> Iterator[Path]:
    """A real pytest, which workspaces have not by themselves."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-runner-") as name:
        place = Path(name)
        place.chmod(0o755)
        for package in (_pytest, iniconfig, packaging, pluggy, pytest):
            home = Path(package.__file__ or "").parent
            shutil.copytree(home, place / home.name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(Path(pytest.__file__ or "").parent.parent / "py.py", place)
        about = place / "pluggy-1.dist-info" / "METADATA"
        about.parent.mkdir()
        about.write_text(f"Metadata-Version: 2.1\nName: pluggy\nVersion: {pluggy.__version__}\n")
        compileall.compile_dir(place, quiet=2)
        yield place


@pytest.fixture
def ground() -> Iterator[Ground]:
    """With a space in its path, where agents can get to whoever runs this."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck deck ") as name:
        place = Path(name)
        place.chmod(0o711)
        (place / "home").mkdir()
        made = Ground(place / "home", shared=place / "shared").prepare()
        yield made
        made.destroy()


@asynccontextmanager
async def workspace(ground: Ground, files: dict[str, str], runner: Path | None = None) -> AsyncIterator[Sandbox]:
    """A workspace with these files."""
    async with opened(Plain(ground), Spec("one", mounts={} if runner is None else {RUNNER: runner})) as sandbox:
        for path, text in files.items():
            await sandbox.write(path, text.encode())
        assert (await sandbox.exec("git init -q && git add -A", timeout=20)).exit_code == 0
        yield sandbox


async def checked(sandbox: Sandbox, *commands: str) -> CheckResult:
    """What the last of these commands came to."""
    told = await run_checks(sandbox, commands, timeout=60, env={"PYTHONPATH": sandbox.where(RUNNER)})
    return told[-1]


@pytest.mark.parametrize(
    ("files", "command", "reason"),
    [
        ({"test_a.py": PASSES}, PYTEST, ""),
        ({"test_a.py": SKIPS}, PYTEST, "pytest executed no test"),
        ({"test_a.py": FORGES.format(PASSED)}, PYTEST, LOST),
        ({"test_a.py": PASSES, "pytest.ini": "[pytest]\naddopts = -p no:junitxml\n"}, PYTEST, ""),
        ({"test_a.py": PASSES, "guard.py": REFUSES}, f"{PYTEST} -p guard", ""),
        # Two runs, and one report.
        ({"a/test_a.py": PASSES, "b/test_b.py": SKIPS}, f"{PYTEST} a && {PYTEST} b", ""),
        ({"a/test_a.py": PASSES, "b/test_b.py": SKIPS}, f"for at in a b; do {PYTEST} $at; done", ""),
        ({"a/test_a.py": SKIPS, "b/test_b.py": SKIPS}, f"{PYTEST} a && {PYTEST} b", "pytest executed no test"),
        # A report of the command's own.
        ({"test_a.py": UNIT.format("with self.subTest(a=1): pass")}, f"{PYTEST} -v --junitxml=own.xml", ""),
        ({"test_a.py": "import os\nos._exit(0)\n"}, f"{PYTEST} -v --junitxml=own.xml", LOST),
    ],
)
async def test_what_pytest_shows(
    ground: Ground, runner: Path, files: dict[str, str], command: str, reason: str
) -> None:
    async with workspace(ground, files, runner) as sandbox:
        result = await checked(sandbox, command)
    assert (result.reason, result.exit_code) == (reason, 0), result.output


OWN = "def pytest_configure(config):\n    config.option.xmlpath = 'own.xml'\n"


@pytest.mark.parametrize(
    "files",
    [
        {"pytest.ini": "[pytest]\naddopts = --junitxml=own.xml\n"},
        {"pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--junit-xml=own.xml'\n"},
        {"conftest.py": OWN},
        {"conftest.py": "pytest_plugins = ['reporting']\n", "reporting.py": OWN},
    ],
)
@pytest.mark.parametrize("quiet", ["", " -q"])
async def test_a_report_that_the_project_asks_for_is_written(
    ground: Ground, runner: Path, files: dict[str, str], quiet: str
) -> None:
    async with workspace(ground, {"test_a.py": PASSES, **files}, runner) as sandbox:
        result = await checked(sandbox, PYTEST + quiet, "grep -q testcase own.xml")
    assert result.passed, result


UNITTEST = "python3 -m unittest"
PLACES = {"tests/__init__.py": ""}
PACKAGE = f"{UNITTEST} discover pkg.tests"
MEASURES = """\
import os
import pathlib
import unittest


class TestIt(unittest.TestCase):
    def test_it(self):
        found = sorted(str(each) for each in pathlib.Path().rglob("test_*.py"))
        pathlib.Path(os.environ.get("COVERAGE_FILE", "measured")).write_text("\\n".join(found))
        with open("ran", "a") as ran:
            print("once", file=ran)
"""


async def test_no_other_command_finds_what_a_second_run_left(ground: Ground) -> None:
    async with workspace(ground, {"tests/test_a.py": MEASURES}) as sandbox:
        result = await checked(sandbox, f"{UNITTEST} discover -s tests", 'test "$(cat ran)" = once')
        assert result.passed, result
        # It did run again, where it measures something else.
        assert await sandbox.read("ran") == b"once\nonce\n"
        assert await sandbox.read("measured") == b"tests/test_a.py"
        left = await sandbox.exec("find . -name '*zz*'", timeout=20)
        assert left.stdout == b""


@pytest.mark.parametrize(
    ("files", "command", "reason"),
    [
        ({"test_a.py": UNIT.format("pass")}, UNITTEST, ""),
        ({"test_a.py": FORGES.format("Ran 1 test in 0.01s")}, UNITTEST, ANYWAY),
        ({"pkg/__init__.py": "", "pkg/tests/__init__.py": "", "pkg/tests/test_a.py": UNIT.format("pass")}, PACKAGE, ""),
        (
            {**PLACES, "backend/tests/test_a.py": UNIT.format("pass")},
            f"env --chdir=backend {UNITTEST} discover tests",
            "",
        ),
        ({"backend/test_a.py": UNIT.format("pass")}, f"env --chdir=backend {UNITTEST}", ""),
    ],
)
async def test_what_unittest_shows(ground: Ground, files: dict[str, str], command: str, reason: str) -> None:
    async with workspace(ground, files) as sandbox:
        result = await checked(sandbox, command)
        assert result.reason == reason, result
        if not reason:  # nor does it stand in the way of itself
            assert (await checked(sandbox, command)).passed
        left = await sandbox.exec("find . -name '*pkg.tests*' -o -name 'test_zz*'", timeout=20)
        assert left.stdout == b""


async def test_a_forged_runner_before_other_commands_is_named_itself(ground: Ground) -> None:
    async with workspace(ground, {"test_a.py": FORGES.format("Ran 1 test in 0.01s")}) as sandbox:
        told = await run_checks(sandbox, (UNITTEST, "true"), timeout=60)
    assert [(result.command, result.reason) for result in told] == [(UNITTEST, ANYWAY)]
