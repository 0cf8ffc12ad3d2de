"""The embedded database: one SQLite file in WAL mode, used by one or several processes of one machine.

Rules
- All writes of this process go through one thread and one connection. What waits at that moment is committed as one
  transaction; each write has a savepoint of its own, so a failing one undoes only itself.
- A transaction begins with BEGIN IMMEDIATE: it waits for another process's transaction, it never fails half-way for it.
- When the database itself fails (disk full, I/O error, locked for too long), every write of that turn fails as
  StoreUnavailable, the connection is dropped and the next turn opens a new one: nothing has to be restarted.
- A database that is deleted, replaced or damaged under us is lost: that is said at once, and nothing more is written
  into a file that nobody will ever open again.
- Reads run on a few connections of their own and see the last commit.
- Whoever has written knows what is there, and relies on it: to take something away needs the database alone
  (`quarterdeck.store.use`).
- Changes by other processes are seen through `PRAGMA data_version`, polled only while somebody waits for a change.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

from quarterdeck.kernel.failures import BadConfiguration, StoreLost, StoreUnavailable
from quarterdeck.store.port import Ask, Dialect, Row, Torn, Tx, Write
from quarterdeck.store.readers import Readers
from quarterdeck.store.room import CHECKPOINT_PAGES, Room
from quarterdeck.store.sqlite_faults import UNAVAILABLE, primary, unavailable
from quarterdeck.store.statements import migrations, statements
from quarterdeck.store.turns import Looking, Turns, Waiting, perform
from quarterdeck.store.use import Use

T = TypeVar("T")

Durability = Literal["full", "normal"]
"""`full`: a commit survives a power cut. `normal`: it survives `kill -9`, a power cut may lose the last moments."""

_BUSY_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.04


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is; None where there is none. Raises OSError."""
    try:
        info = os.stat(path)  # noqa: PTH116 - called for each commit, and twice as fast as Path.stat
    except FileNotFoundError:
        return None
    return info.st_dev, info.st_ino


def _as_mapping(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def _connect(path: Path, durability: Durability, *, reader: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.row_factory = _as_mapping
        connection.execute("PRAGMA foreign_keys = ON")
        if reader:
            connection.execute("PRAGMA query_only = ON")
        else:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode["journal_mode"] != "wal":
                raise sqlite3.OperationalError("this file system cannot hold a database in WAL mode")
            connection.execute(f"PRAGMA synchronous = {durability.upper()}")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute("PRAGMA cache_size = -16000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
    except BaseException:
        connection.close()
        raise
    return connection


def _rows(connection: sqlite3.Connection, asks: Sequence[tuple[str, Mapping[str, Any]]]) -> list[list[Row]]:
    """What the statements find; where there are several, in one transaction, so that all see the same commit."""
    if len(asks) == 1:
        return [connection.execute(*asks[0]).fetchall()]
    connection.execute("BEGIN")
    try:
        return [connection.execute(sql, parameters).fetchall() for sql, parameters in asks]
    finally:
        connection.execute("ROLLBACK")


def _migrate(connection: sqlite3.Connection, path: Path) -> int:
    """Bring the schema up to date; from which version. Raises BadConfiguration where the database is newer than this
    code."""
    steps = migrations()

    def version() -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()["user_version"])

    came_from = version()
    if came_from < len(steps):
        connection.execute("BEGIN IMMEDIATE")
        try:
            came_from = version()
            for step in steps[came_from:]:
                for statement in step.statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {step.version}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
    if version() > len(steps):
        raise BadConfiguration(
            f"The database {path} was written by a newer version of quarterdeck",
            why=f"its schema is version {version()}, this version knows {len(steps)}",
            fix="pip install --upgrade quarterdeck",
        )
    return came_from


class _SqliteTx:
    """One open transaction; lives on the writer's thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._sql = statements()
        self.broken: sqlite3.Error | None = None
        """Set once the database itself has failed: nothing of this transaction can be kept."""

    def run(self, statement: str, /, **parameters: Any) -> list[Row]:
        sql = self._sql[statement]
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            self._note(error)
            raise

    def run_many(self, statement: str, rows: Sequence[Mapping[str, Any]] | Sequence[tuple[Any, ...]], /) -> None:
        sql = self._sql[statement]
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            self._note(error)
            raise

    def alone(self, work: Callable[[Tx], T], /) -> T:
        self._control("SAVEPOINT alone")
        try:
            value = work(self)
        except BaseException:
            if self.broken is None:
                self._control("ROLLBACK TO alone")
                self._control("RELEASE alone")
            raise
        if self.broken is None:
            self._control("RELEASE alone")
        return value

    def lightly(self, work: Callable[[Tx], T], /) -> T:
        before = self._connection.total_changes
        try:
            return work(self)
        except Exception as error:
            if self.broken is None and self._connection.total_changes != before:
                raise Torn from error
            raise

    def _control(self, sql: str) -> None:
        try:
            self._connection.execute(sql)
        except sqlite3.Error as error:
            self.broken = error
            raise

    def _note(self, error: sqlite3.Error) -> None:
        if primary(error) in UNAVAILABLE or not self._connection.in_transaction:
            self.broken = error


class SqliteStore:
    """A `Store` over one SQLite file. Make it with `SqliteStore.open`.

    path: the database file; it and its directory are created, readable by the user alone.
    durability: `full` (default) waits for the disk at every commit; see `Durability`.
    """

    def __init__(self, path: Path, *, durability: Durability = "full") -> None:
        self._path = path
        self._durability: Durability = durability
        self._turns = Turns(self._commit, self._drop, Looking(self._poll, _POLL_SECONDS))
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._came_from = 0
        self._use = Use(path)
        self._room = Room(path)
        self._data_version: int | None = None
        self._readers: Readers[sqlite3.Connection] = Readers(self._turns, self._read)
        self.read, self.reads = self._readers.read, self._readers.reads

    @classmethod
    async def open(cls, path: Path, *, durability: Durability = "full") -> Self:
        """Create or open the database and bring its schema up to date.

        Raises StoreUnavailable, and BadConfiguration where a newer version of quarterdeck wrote it.
        """
        store = cls(path, durability=durability)
        try:
            await asyncio.to_thread(store._prepare)
        except BaseException:
            store._readers.end()
            raise
        store._turns.start()
        return store

    @property
    def path(self) -> Path:
        return self._path

    @property
    def dialect(self) -> Dialect:
        return "sqlite"

    @property
    def where(self) -> str:
        return str(self._path)

    @property
    def came_from(self) -> int:
        return self._came_from

    async def write(self, work: Write[T]) -> T:
        return await self._turns.write(work)

    @asynccontextmanager
    async def sole(self) -> AsyncIterator[None]:
        await self._turns.write(lambda _: self._use.alone())
        try:
            yield
        finally:
            self._use.share()

    async def changed(self, since: int, timeout: float) -> int:
        return await self._turns.changed(since, timeout)

    async def close(self) -> None:
        await self._turns.close(self._end_reading)

    def _end_reading(self) -> None:
        self._readers.end()
        self._use.end()

    # --- the writer's thread --------------------------------------------------------------------------------

    def _prepare(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = _identity(self._path)
            self._connection = _connect(self._path, self._durability, reader=False)
            self._came_from = _migrate(self._connection, self._path)
        except sqlite3.Error as error:
            self._drop()
            raise unavailable(self._path, error) from error
        except OSError as error:
            raise StoreUnavailable(
                f"The database {self._path} cannot be opened",
                why=error.strerror or str(error),
                fix=f"make {self._path.parent} writable, or set QUARTERDECK_HOME to another directory",
            ) from error
        except BaseException:
            self._drop()
            raise

    def _commit(self, asks: list[Waiting]) -> bool:
        """One transaction for all asks; True where it was committed."""
        try:
            self._must_be_there()
            self._use.begin()
            if self._connection is None:
                self._connection = _connect(self._path, self._durability, reader=False)
                self._data_version = None
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            if self._durability == "full":
                self._room.make()
            if not perform(_SqliteTx(connection), asks):
                connection.execute("ROLLBACK")
                return False
            connection.execute("COMMIT")
        except (sqlite3.Error, StoreUnavailable) as error:
            self._drop()
            for ask in asks:
                ask.error = unavailable(self._path, error) if isinstance(error, sqlite3.Error) else error
            return False
        return True

    def _must_be_there(self) -> None:
        """SQLite would go on writing into a deleted file. Raises StoreLost, StoreUnavailable."""
        try:
            now = _identity(self._path)
        except OSError as error:
            raise StoreUnavailable(f"The database {self._path} cannot be reached", why=str(error)) from error
        if now != self._file:
            what = "was deleted" if now is None else "was replaced by another file"
            raise StoreLost(
                f"The database {self._path} {what} while it was in use",
                why="what was stored in it is gone; merged commits stay in their branches",
                fix="restore it from a backup, then `quarterdeck ps`; without one, start the run again",
            )

    def _poll(self) -> None:
        """See whether another process has committed. On this connection own commits do not count."""
        if self._connection is None:
            return
        try:
            self._must_be_there()
            version = self._connection.execute("PRAGMA data_version").fetchone()["data_version"]
        except (sqlite3.Error, StoreUnavailable):
            self._drop()  # the next write opens a new one, or says what is wrong
            self._turns.tell(self._turns.bump)  # and so does a read
            return
        if version != self._data_version:
            self._data_version = version
            self._turns.tell(self._turns.bump)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._room.close()
        self._room = Room(self._path)
        try:
            if connection.in_transaction:
                connection.rollback()
        except sqlite3.Error:
            connection.close()  # closing undoes what could not be rolled back
            return
        connection.close()

    # --- the readers' threads -------------------------------------------------------------------------------

    def _read(self, asks: Sequence[Ask]) -> list[list[Row]]:
        named = statements()
        self._must_be_there()
        try:
            connection = self._readers.idle() or _connect(self._path, self._durability, reader=True)
            try:
                rows = _rows(connection, [(named[statement], parameters) for statement, parameters in asks])
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            if primary(error) in UNAVAILABLE:
                raise unavailable(self._path, error) from error
            raise
        self._readers.keep(connection)
        return rows
