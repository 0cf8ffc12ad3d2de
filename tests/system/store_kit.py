"""In which database the decks of a test lie.

Rules
- A test asks for the database of a path, whichever kind it is run on; the same path is the same database. On PostgreSQL
  each is a fresh copy, and goes with the test.
- Which kind, and which tests run on both: `both_stores`.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Store
from quarterdeck.store.sqlite import SqliteStore


class Databases(Protocol):
    """Where databases are made."""

    def create(self, template: str) -> str: ...

    def drop(self, name: str) -> None: ...

    def url(self, database: str) -> str: ...

    def rows(self, name: str) -> Iterator[tuple[str, tuple[object, ...]]]: ...


TEMPLATE = "deck_template"
WORKERS = "workers_template"
"""Databases with the schema of now; the other one has also what workers share."""

_server: list[Databases] = []
"""The server that the running test's databases lie on; empty = they are files."""
_names: dict[Path, str] = {}


@contextmanager
def on(server: Databases) -> Iterator[None]:
    """Have the databases of a test on that server."""
    _server.append(server)
    try:
        yield
    finally:
        _server.clear()
        for name in _names.values():
            server.drop(name)
        _names.clear()


def served() -> bool:
    """Whether the running test's databases lie on a server."""
    return bool(_server)


def asked() -> bool:
    """Whether the running test asked for the address of a database."""
    return bool(_names)


def url(path: Path) -> str | None:
    """The address of the database that stands for that file; None = it is the file."""
    if not _server:
        return None
    if path not in _names:
        _names[path] = _server[0].create(WORKERS)
    return _server[0].url(_names[path])


def told(path: Path) -> dict[str, str]:
    """What the environment of a process says that uses the database."""
    address = url(path)
    return {} if address is None else {"QUARTERDECK_DATABASE_URL": address}


def rows(path: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Everything that the tables of the database hold: each row with the name of its table."""
    if _server:
        yield from _server[0].rows(_names[path])
        return
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in database.execute(f"SELECT * FROM {table}"):
                yield table, row


def words(path: Path) -> str:
    """The same as text."""
    return "\n".join(_text(value) for _, row in rows(path) for value in row)


def _text(value: object) -> str:
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | memoryview) else str(value)


def first_on_both(why: str, rows: Iterable[Any]) -> list[Any]:
    """Rows of a parametrized test, of which only the first runs on PostgreSQL, too: in what they differ is gone before
    anything of it comes to a database. `why`: in what that is."""
    first, *others = rows
    alone = pytest.mark.embedded(f"{why}; the first row is on both")
    return [first, *(pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=alone) for row in others)]


async def open_at(path: Path) -> Store:
    """The store there."""
    address = url(path)
    return await SqliteStore.open(path, durability="normal") if address is None else await open_url(address)
