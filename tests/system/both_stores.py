"""In which kind of database a test's decks lie, and how whatever has a deck comes to run on both.

Rules
- `--store sqlite` (the default): on SQLite. `--store both`: on SQLite, and what opened a deck's store there runs once
  more, on PostgreSQL, right afterwards. `--store postgres`: on PostgreSQL from the beginning. Nothing has to be written
  for that.
- What a test opens is seen, not declared: connections of this process, and the files of the decks of programs that it
  started.
- `@pytest.mark.embedded("why")` keeps a test on SQLite: it is about SQLite, or cannot be on PostgreSQL. It says why.
- A test that takes a database of `postgres_kit` for itself is about PostgreSQL, and runs once.
- On PostgreSQL a test has to say where its deck lies (`store_kit`). One whose deck lies in a file all the same fails,
  and is told what to write.
"""

import os
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest
import store_kit
from audit_kit import hear

_SERVED: Final = frozenset({"empty_url", "own_server", "postgres_url", "workers_url"})
"""Fixtures that give a test a database of its own on a server."""
_DECK: Final = "deck.db"
_PROPERTY: Final = "store"
_AGAIN: Final = "again on"
_KIND: Final = pytest.StashKey[str]()
_OPENED: Final = pytest.StashKey[bool]()
_WRITE: Final = (
    "have it lie where store_kit says (store_kit.url, .told or .open_at, or Place.settings), "
    'or write @pytest.mark.embedded("why it cannot be on PostgreSQL")'
)


# --- what is opened -----------------------------------------------------------------------------------------

_files: set[Path] = set()
"""SQLite files that were opened since the test began."""
_decks: set[Path] = set()
"""Where the decks lie of the programs that it started."""


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "sqlite3.connect":
        name = os.fsdecode(arguments[0])
        if name and name != ":memory:":
            _files.add(Path(unquote(name.removeprefix("file://").partition("?")[0])))
    elif event == "subprocess.Popen":
        _note(arguments[3])
    elif event == "quarterdeck.testing.start":
        _note(arguments[1])


def _note(environment: Mapping[Any, Any] | None) -> None:
    """A program was started, and what its environment says of its deck."""
    told = {os.fsdecode(name): os.fsdecode(value) for name, value in (environment or os.environ).items()}
    place, home = told.get("QUARTERDECK_DATABASE_URL", ""), told.get("QUARTERDECK_HOME", "")
    if "://" not in place and (place or home):
        _decks.add(Path(place) if place else Path(home) / _DECK)


hear(_watch, "sqlite3.connect", "subprocess.Popen", "quarterdeck.testing.start")


# --- where a test runs --------------------------------------------------------------------------------------


def why_embedded(item: pytest.Item) -> str | None:
    """Why it stays on SQLite; None = it does not."""
    mark = item.get_closest_marker("embedded")
    if mark is None:
        return None
    if len(mark.args) != 1 or not str(mark.args[0]).strip():
        raise pytest.UsageError(f'{item.nodeid} does not say why it stays on SQLite: @pytest.mark.embedded("why")')
    return str(mark.args[0])


def _served(item: pytest.Item) -> bool:
    """Whether it is about PostgreSQL by itself."""
    return not _SERVED.isdisjoint(getattr(item, "fixturenames", ()))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    first = "postgres" if config.getoption("--store") == "postgres" else "sqlite"
    for item in items:
        item.stash[_KIND] = "sqlite" if why_embedded(item) is not None or _served(item) else first


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object | None, object | None]:
    _files.clear()
    _decks.clear()
    done = yield
    again = item.config.getoption("--store") == "both" and item.stash[_KIND] == "sqlite"
    if again and item.stash.get(_OPENED, False) and why_embedded(item) is None and not _served(item):
        session = item.session
        if not (session.shouldfail or session.shouldstop):
            item.stash[_KIND] = "postgres"
            item.user_properties[:] = [(_AGAIN, "postgres")]
            item._report_sections.clear()
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    return done


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    _files.update(path for path in _decks if path.exists())


@pytest.fixture(autouse=True)
def store_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """In which kind of database the test's decks lie."""
    kind = request.node.stash[_KIND]
    if kind == "sqlite":
        yield kind
        # Before what a whole module shares ends, which may look at its deck then: that is not of this test, the last.
        request.node.stash[_OPENED] = bool(_files)
        return
    with store_kit.on(request.getfixturevalue("postgres_server")):
        yield kind
        asked, both = store_kit.asked(), request.config.getoption("--store") == "both"
        request.node.stash[_OPENED] = asked or both
        strays = sorted(str(path) for path in _files if path.name == _DECK)
        if strays:
            pytest.fail(f"this test's deck lies in a file, although it runs on PostgreSQL: {strays[0]}; {_WRITE}")
        if both and not asked:
            pytest.fail(f"this test opened a store on SQLite, and asked for none on PostgreSQL; {_WRITE}")


# --- what is told -------------------------------------------------------------------------------------------

_ran: Counter[str] = Counter()
"""How many tests ran in each kind of database; under the empty name, those that opened none."""
_reasons: Counter[str] = Counter()
"""Why some stayed on SQLite, and how many."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    kind = item.stash[_KIND]
    if call.when == "teardown":
        opened = item.stash.setdefault(_OPENED, bool(_files))
        where = "postgres" if _served(item) else kind if opened else ""
        report.user_properties.append((_PROPERTY, f"{where}:{why_embedded(item) or ''}"))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # told to people by another process; a worker knows its tests by their names
    for name, told in report.user_properties:
        if name == _AGAIN:
            known = report.nodeid
            report.nodeid = f"{known[:-1]}-{told}]" if known.endswith("]") else f"{known}[{told}]"
        if name == _PROPERTY:
            where, _, why = str(told).partition(":")
            _ran[where] += 1
            if where == "sqlite" and why:
                _reasons[why] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("--store") == "sqlite":
        return
    say = terminalreporter.write_line
    say(f"{_ran['sqlite']} tests on SQLite, {_ran['postgres']} on PostgreSQL, {_ran['']} that open no store")
    for why, count in _reasons.most_common():
        say(f"{count:6} on SQLite alone: {why}")
