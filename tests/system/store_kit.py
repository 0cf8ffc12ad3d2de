"""In which database the decks of a test lie.

Rules
- A test asks for the database of a path, whichever kind it is run on; the same path is the same database. On PostgreSQL
  each is a fresh copy, and goes with the test.
- Which kind: `--store sqlite` (the default), `--store postgres` (everything but what is marked `embedded`),
  `--store both` (what is marked `both_stores` runs on each).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Store
from quarterdeck.store.sqlite import SqliteStore


class Databases(Protocol):
    """Where databases are made."""

    def create(self, template: str) -> str: ...

    def drop(self, name: str) -> None: ...

    def url(self, database: str) -> str: ...


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


async def open_at(path: Path) -> Store:
    """The store there."""
    address = url(path)
    return await SqliteStore.open(path, durability="normal") if address is None else await open_url(address)
