"""Whatever has a deck runs on both databases by itself, and what does not say why, or where its deck lies, fails."""

import os
import subprocess
import sys
from pathlib import Path

import both_stores
import pytest

TESTS = Path(__file__).parents[1]
SCENES = """\
import os, sqlite3, subprocess, sys
from pathlib import Path
import pytest, store_kit
from quarterdeck.store.sqlite import SqliteStore

async def test_that_says_where(tmp_path, store_kind):
    store = await store_kit.open_at(tmp_path / "deck.db")
    assert store.dialect == store_kind
    await store.close()

@pytest.mark.parametrize("home", ["one"])
def test_whose_program_is_not_told(tmp_path, home):
    environment = {**os.environ, "QUARTERDECK_HOME": str(tmp_path / home)}
    subprocess.run([sys.executable, "-m", "quarterdeck.cli.main", "db", "upgrade"], env=environment, check=True)

async def test_that_has_a_file(tmp_path):
    await (await SqliteStore.open(tmp_path / "deck.db")).close()

async def test_that_forgets_the_server(tmp_path):
    await (await SqliteStore.open(tmp_path / "other.db")).close()

@pytest.fixture(scope="module")
def looked_at_in_the_end(tmp_path_factory):
    yield
    sqlite3.connect(tmp_path_factory.mktemp("shared") / "deck.db").close()

@pytest.mark.embedded("is about files")
async def test_that_stays(tmp_path, looked_at_in_the_end):
    await (await SqliteStore.open(tmp_path / "deck.db")).close()

def test_without_a_store():
    pass
"""


def run(folder: Path, scenes: str) -> str:
    """What pytest says of these tests, with the rules of ours."""
    file = folder / "test_scenes.py"
    file.write_text(scenes)
    command = [sys.executable, "-m", "pytest", "-c", str(TESTS.parent / "pyproject.toml"), "-p", "conftest", "-p"]
    command += ["no:cacheprovider", f"--basetemp={folder / 'base'}", "--store", "both", "-rA", str(file)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    environment["PYTHONPATH"] = str(TESTS)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120).stdout


def test_what_opens_a_store_runs_on_both_or_says_why_not(tmp_path: Path) -> None:
    said = run(tmp_path, SCENES)
    assert "5 tests on SQLite, 4 on PostgreSQL, 1 that open no store" in said, said
    assert "1 on SQLite alone: is about files" in said
    assert "PASSED ::test_that_says_where[postgres]\n" in said
    in_a_file = "this test's deck lies in a file, although it runs on PostgreSQL"
    none = "this test opened a store on SQLite, and asked for none on PostgreSQL"
    for name, why in (
        ("test_whose_program_is_not_told[one-postgres]", in_a_file),
        ("test_that_has_a_file[postgres]", in_a_file),
        ("test_that_forgets_the_server[postgres]", none),
    ):
        assert f"ERROR ::{name} - Failed: this test" in said, said
        assert why in said.partition(f"ERROR at teardown of {name.partition('[')[0]}")[2]


class Item(pytest.Item):
    """Marked, and no more."""

    def runtest(self) -> None:
        raise AssertionError("it is only looked at")


def test_who_stays_on_one_says_why(request: pytest.FixtureRequest) -> None:
    item = Item.from_parent(request.node.parent, name="x")
    item.add_marker(pytest.mark.embedded)
    with pytest.raises(pytest.UsageError, match="does not say why it stays on SQLite"):
        both_stores.why_embedded(item)
    item.add_marker(pytest.mark.embedded("a reason"), append=False)
    assert both_stores.why_embedded(item) == "a reason"
