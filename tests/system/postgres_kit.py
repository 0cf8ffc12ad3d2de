"""What tests on PostgreSQL share: one server for all processes of a test session, and a fresh database for each test.

Rules
- The server is started by the first test that needs one, and ends with the last process that used it.
- A database is a copy of one that has the schema already: that takes some hundredths of a second.
- A test that cuts or restarts the server has one of its own (`own_server`).
"""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_kit import TEMPLATE, WORKERS

from quarterdeck.engine.procrastinate_schema import foundations
from quarterdeck.store.session import address, connect
from quarterdeck.store.upgrading import found, migrate
from quarterdeck.testing.postgres_server import Server, shared, start


def prepare(server: Server, folder: Path) -> None:
    """Have a database with the schema of now, to make copies of."""
    with (folder / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if TEMPLATE in server.databases():
            return
        name = server.create()
        session = connect(address(server.url(name)), "writer")
        try:
            migrate(session, name)
        finally:
            session.close()
        server.rename(name, TEMPLATE)
        name = server.create(TEMPLATE)
        session = connect(address(server.url(name)), "writer")
        try:
            found(session, foundations())
        finally:
            session.close()
        server.rename(name, WORKERS)


_joined: list[Server] = []
"""The server, from its first use in this process to the end of the process."""


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that others use too: not to be restarted."""
    if not _joined:
        folder = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            folder = folder.parent
        _joined.append(shared(folder, os.environ.get("PYTEST_DEBUG_TEMPROOT")))
        prepare(_joined[0], folder)
    return _joined[0]


@pytest.fixture
def postgres_url(postgres_server: Server) -> Iterator[str]:
    """The address of a fresh database with the schema."""
    name = postgres_server.create(TEMPLATE)
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def workers_url(postgres_server: Server) -> Iterator[str]:
    """The address of a fresh database that workers can share."""
    name = postgres_server.create(WORKERS)
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def empty_url(postgres_server: Server) -> Iterator[str]:
    """The address of a fresh database that holds nothing."""
    name = postgres_server.create()
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that the test may end, restart and cut off."""
    server = start(under=os.environ.get("PYTEST_DEBUG_TEMPROOT"))
    yield server
    server.stop()
