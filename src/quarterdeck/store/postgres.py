"""A PostgreSQL database, used by any number of processes on any number of machines.

Rules
- All writes of this process go through one thread and one connection, and what waits at that moment is committed as one
  transaction, as in the embedded store. A transaction begins by taking the deck's lock: writers of a deck take turns,
  over all processes, so that what a write has read stays so until it ends and ids rise in the order of the commits.
- A write that goes on alone (one in its turn) is sent and committed in few journeys; where several share a turn, each
  has a savepoint, and is over before the next begins.
- Before any write of a turn has run, a lost connection is replaced without a word. Later, the turn fails as
  StoreUnavailable. Where the answer to a commit was lost, the server is asked what became of it, for a minute: nothing
  is reported as failed that has happened. If it stays away, that this is not known is what is said (InDoubt).
- A writer that stands still inside a transaction is thrown out by the server after some seconds.
- Reads run on a few connections of their own; several reads see one snapshot.
- Every commit says so once (NOTIFY); whoever waits for changes listens. Where the listening was interrupted, everybody
  who waits is woken once: something may have been missed.
- Whoever comes back to another deck than before, or to one of a newer version, writes nothing into it.
- Whoever only reads takes no lock and needs no right to write: what writing needs is there from the first write on.
- Whoever has written knows what is there, and relies on it: to take something away needs the database alone. Whoever
  was cut off while somebody had that writes no more. Who has just ended is waited for: the server finds that by itself,
  a moment later.
"""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self, TypeVar

import psycopg

from quarterdeck.kernel.failures import Conflicting, StoreLost, StoreUnreachable
from quarterdeck.store.foundations import Foundation, complete
from quarterdeck.store.listening import Listening
from quarterdeck.store.port import Ask, Dialect, Laid, Row, Tx, Write
from quarterdeck.store.readers import Readers
from quarterdeck.store.sameness import Stored, must_be_the_same
from quarterdeck.store.session import Address, Session, address, connect, cut, in_doubt, unavailable, unwell
from quarterdeck.store.statements import migrations
from quarterdeck.store.turns import Turns, Waiting, perform
from quarterdeck.store.upgrading import begin, found, migrate, version_of
from quarterdeck.store.use import shared, taken

T = TypeVar("T")

USE: Final = 0x71646D32
"""The advisory lock of those who use the database: together, or one of them alone."""
_PATIENCE: Final = 5.0
"""Seconds in which a server that restarts is waited for."""
_DOUBT: Final = 60.0
"""Seconds in which a server that went away is asked what became of a commit."""
_PAUSE: Final = 0.1
_NOTICED: Final = 2.0
"""Seconds in which the server has noticed that a process has ended."""
_LOOK: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_COMMIT: Final = "COMMIT"
_NOTIFY: Final = "NOTIFY quarterdeck"


class _PostgresTx:
    """One open transaction; lives on the writer's thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.broken: psycopg.Error | None = None
        """Set once the server or the session has failed: nothing of this transaction can be kept."""

    def run(self, statement: str, /, **parameters: Any) -> list[Row]:
        return self._doing(lambda: self._session.run(statement, parameters))

    def run_many(self, statement: str, rows: Sequence[Mapping[str, Any]] | Sequence[tuple[Any, ...]], /) -> None:
        self._doing(lambda: self._session.send(statement, rows))

    def alone(self, work: Callable[[Tx], T], /) -> T:
        self._session.control("SAVEPOINT alone")
        try:
            value = work(self)
            self._session.control("RELEASE alone")
            self.settle()
        except BaseException:
            if self.broken is None:
                self._undo_to("alone")
            raise
        return value

    def lightly(self, work: Callable[[Tx], T], /) -> T:
        return self.alone(work)  # a statement that fails ends the transaction, unless there is a savepoint

    def settle(self) -> None:
        """Hear what became of everything that was sent. Raises psycopg.Error."""
        self._doing(self._session.settle)

    def _undo_to(self, savepoint: str) -> None:
        try:
            self._session.settle()
        except psycopg.Error as error:
            self._note(error)  # else it is undone with the rest
        if self.broken is None:
            self._session.control(f"ROLLBACK TO {savepoint}")
            self._session.control(f"RELEASE {savepoint}")
            self.settle()

    def _doing(self, what: Callable[[], T]) -> T:
        try:
            return what()
        except psycopg.Error as error:
            self._note(error)
            raise

    def _note(self, error: psycopg.Error) -> None:
        if unwell(error) or not self._session.alive:
            self.broken = error


def _deck(session: Session) -> Row | None:
    """The deck that the database holds. Raises psycopg.Error."""
    try:
        return session.run("session_deck", {})[0]
    except psycopg.errors.UndefinedTable:
        return None


class PostgresStore:
    """A `Store` over one PostgreSQL database. Make it with `PostgresStore.open`."""

    def __init__(self, at: Address) -> None:
        self._at = at
        self._turns = Turns(self._commit, self._drop)
        self._session: Session | None = None
        self._deck = ""
        self._came_from = 0
        self._sole: int | None = None
        """How often somebody had the database alone, as of the first write; None = there was none."""
        self._alone = False
        self._name = uuid.uuid4().hex
        self._number = 0
        self._stored = Stored(self._name)
        self._stopping = threading.Event()
        self._listening = Listening(at, self._turns, self._is_mine)
        self._readers: Readers[Session] = Readers(self._turns, self._read)
        self.read, self.reads = self._readers.read, self._readers.reads

    @classmethod
    async def open(cls, url: str) -> Self:
        """Connect, and bring the schema up to date.

        url: `postgresql://USER:PASSWORD@HOST/DATABASE`, or a connection string of libpq.
        Raises StoreUnavailable, and BadConfiguration where the address is wrong or a newer version of quarterdeck wrote
        the database.
        """
        store = cls(address(url))
        try:
            await asyncio.to_thread(store._prepare)
        except BaseException:
            store._readers.end()
            raise
        store._turns.start()
        return store

    @property
    def dialect(self) -> Dialect:
        return "postgres"

    @property
    def where(self) -> str:
        return self._at.where

    @property
    def came_from(self) -> int:
        return self._came_from

    async def lay(self, foundations: Sequence[Foundation]) -> tuple[Laid, ...]:
        """Bring what stands beside the deck's own schema up to date; what was laid. Raises StoreUnavailable."""
        return await asyncio.to_thread(self._lay, foundations)

    async def write(self, work: Write[T]) -> T:
        return await self._turns.write(work)

    @asynccontextmanager
    async def sole(self) -> AsyncIterator[None]:
        until = time.monotonic() + _NOTICED
        while True:
            try:
                await self._turns.write(self._take_alone)
                break
            except Conflicting:
                if time.monotonic() >= until:
                    raise
                await asyncio.sleep(_PAUSE)
        self._alone = True
        try:
            yield
        finally:
            self._alone = False
            await self._turns.write(lambda tx: tx.run("session_share", key=USE))

    async def changed(self, since: int, timeout: float) -> int:
        self._listening.begin()
        return await self._turns.changed(since, timeout)

    async def close(self) -> None:
        self._stopping.set()
        await self._turns.close(self._readers.end)
        await self._listening.end()

    def _is_mine(self, pid: int) -> bool:
        """Whether that process of the server serves this store's writer."""
        session = self._session
        return session is not None and session.pid == pid

    # --- the writer's thread --------------------------------------------------------------------------------

    def _prepare(self) -> None:
        try:
            reader = connect(self._at, "reader")
            try:
                self._came_from = version_of(reader)
                if self._came_from != migrations("postgres")[-1].version:
                    self._as_writer(self._migrate)
                self._deck = reader.run("session_deck", {})[0]["deck"]
            except BaseException:
                reader.close()
                raise
        except psycopg.Error as error:
            raise unavailable(self._at.where, error) from error
        self._readers.keep(reader)

    def _migrate(self, session: Session) -> None:
        self._came_from = migrate(session, self._at.where)

    def _lay(self, foundations: Sequence[Foundation]) -> tuple[Laid, ...]:
        asks: list[Ask] = [("session_laid", {"name": one.name}) for one in foundations]
        laid = [{str(row["step"]) for row in rows} for rows in self._read(asks)]
        lacking = [
            one for one, there in zip(foundations, laid, strict=True) if not complete(one, there, self._at.where)
        ]
        done: list[Laid] = []
        if not lacking:
            return ()
        try:
            self._as_writer(lambda session: done.extend(found(session, lacking)))
        except psycopg.Error as error:
            raise unavailable(self._at.where, error) from error
        return tuple(done)

    def _as_writer(self, work: Callable[[Session], object]) -> None:
        session = connect(self._at, "writer")
        try:
            work(session)
        finally:
            session.close()

    def _commit(self, asks: list[Waiting]) -> bool:
        """One transaction for all asks; True where it was committed."""
        try:
            session = self._begun()
            tx = _PostgresTx(session)
            if not perform(tx, asks):
                session.undo()
                return False
            return self._end(session, tx, asks)
        except Exception as error:  # noqa: BLE001 - every caller is told
            self._drop()
            for ask in asks:
                ask.error = unavailable(self._at.where, error) if isinstance(error, psycopg.Error) else error
            return False

    def _begun(self) -> Session:
        """A session in a transaction of which nothing was done yet but its number."""
        session = self._session
        try:
            if session is not None:
                begin(session)
        except psycopg.Error as error:
            if not cut(error):
                raise
            self._drop()
        if self._session is None:
            self._session = session = self._writer(_PATIENCE)
            begin(session)
        assert session is not None  # it is the one that was begun with
        self._number += 1
        session.send("session_turn", ({"writer": self._name, "number": self._number},))
        return session

    def _writer(self, patience: float) -> Session:
        """A new session with the same deck, which uses it with others. Raises psycopg.Error, StoreUnavailable."""
        if self._alone:
            raise StoreUnreachable(f"The connection to {self._at.where} was lost", fix="the same command again")
        session = connect(self._at, "writer", patience, self._stopping)
        try:
            must_be_the_same(_deck(session), self._deck, self._at.where)
            if not session.run("session_use", {"key": USE})[0]["given"]:
                raise taken(self._at.where)
            self._must_know(session)
            self._stored.must_be_in(session, self._at.where)
        except BaseException:
            session.close()
            raise
        return session

    def _must_know(self, session: Session) -> None:
        """What this process knows to be there is there. Raises psycopg.Error, StoreLost."""
        sole = int(session.run("session_sole", {})[0]["sole"])
        if self._sole is None:
            session.run("session_forget", {})
        elif sole != self._sole:
            raise StoreLost(
                f"Somebody had the database {self._at.where} alone while this process was cut off from it",
                why="what it relies on may be gone",
                fix="start it again",
            )
        self._sole = sole

    def _take_alone(self, tx: Tx) -> None:
        if not tx.run("session_alone", key=USE)[0]["given"]:
            raise shared(self._at.where)
        self._sole = int(tx.run("session_sole_again")[0]["sole"])

    def _end(self, session: Session, tx: _PostgresTx, asks: list[Waiting]) -> bool:
        """Commit; True where that happened."""
        try:
            session.control(_NOTIFY)
            session.control(_COMMIT)
            tx.settle()
        except psycopg.Error as error:
            if tx.broken is None and len(asks) == 1:  # what it sent last went wrong
                asks[0].error = error
                session.undo()
                return False
            self._drop()
            if not self._happened():
                raise
        self._stored.heard(self._number)
        return True

    def _happened(self) -> bool:
        """Whether a transaction was committed whose end was not heard. Raises StoreUnavailable, which is InDoubt where
        the server cannot be asked."""
        until = time.monotonic() + _DOUBT
        while True:
            try:
                self._session = session = self._writer(_PATIENCE)
                begin(session)  # its lock is there once the other transaction is over
                rows = session.run("session_turned", {"writer": self._name})
                session.undo()
                return bool(rows) and rows[0]["number"] == self._number
            except psycopg.Error as error:
                self._drop()
                if time.monotonic() >= until or self._stopping.wait(_PAUSE):
                    raise in_doubt(self._at.where) from error

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    # --- the readers' threads -------------------------------------------------------------------------------

    def _read(self, asks: Sequence[Ask]) -> list[list[Row]]:
        try:
            session = self._readers.idle()
            if session is None:
                return self._read_with(self._reader(), asks)
            try:
                return self._read_with(session, asks)
            except psycopg.Error as error:
                if not unwell(error):
                    raise
            self._readers.forget()  # it may have been cut while nobody used it: so were the others
            return self._read_with(self._reader(), asks)
        except psycopg.Error as error:
            if unwell(error):
                raise unavailable(self._at.where, error) from error
            raise

    def _reader(self) -> Session:
        return connect(self._at, "reader", _PATIENCE, self._stopping)

    def _read_with(self, session: Session, asks: Sequence[Ask]) -> list[list[Row]]:
        try:
            found = [session.run(*asks[0])] if len(asks) == 1 else session.run_all(asks, _LOOK, _COMMIT)
        except BaseException:
            session.close()
            raise
        self._readers.keep(session)
        return found
