"""One session with a PostgreSQL server: named statements, prepared once, with values in their binary form.

Rules
- The server says which type each parameter of a statement has, and a value is sent as that type: a null or a truth
  value needs no type of its own.
- What gives no rows is sent without waiting for its answer. `settle` waits for everything that was sent, and raises
  what went wrong with the first that failed; the server does nothing of what was sent after it.
- Waiting for the server holds no lock of the interpreter, and has an end: a server that keeps a connection and says
  nothing is like one that is gone.
- No error that leaves this file shows a password.
"""

import select
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from quarterdeck.kernel.failures import BadConfiguration, InDoubt, StoreLost, StoreUnavailable, StoreUnreachable
from quarterdeck.store.binary import DUMPS, LOADS
from quarterdeck.store.port import Row
from quarterdeck.store.statements import Numbered, numbered

Role = Literal["writer", "reader", "listener"]

OLDEST: Final = 150000
"""The oldest server that has what is asked of it, as it numbers its versions."""

_UNDO: Final = "ROLLBACK"
_AT_ONCE: Final = 256
"""Most commands that are sent without reading an answer: their answers fit into the socket's buffers."""
_PAUSE: Final = 0.1
_SILENCE: Final[Mapping[Role, float]] = {"writer": 300.0, "reader": 90.0, "listener": 30.0}
"""Seconds within which a session of that kind is answered. A step of the schema may take longer: it has an hour."""
_STEP: Final = 3600.0
_DEFAULTS: Final[Mapping[str, str | int]] = {
    "application_name": "quarterdeck",
    "connect_timeout": 10,
    # A dead host is noticed within half a minute; by default that takes hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_EVERY: Final = "SET client_encoding = 'UTF8'; SET jit = off; SET lock_timeout = '15s'"
# A writer that was stopped inside a transaction must not keep the others from writing.
_SETUP: Final[Mapping[Role, str]] = {
    "writer": f"{_EVERY}; SET idle_in_transaction_session_timeout = '5s'",
    "reader": f"{_EVERY}; SET default_transaction_read_only = on; SET statement_timeout = '60s'",
    "listener": f"{_EVERY}; LISTEN quarterdeck",
}

_UNWELL: Final = ("08", "53", "57", "58", "XX", "40", "25")
"""Classes of the server's errors that say something about the server or the session, not about what was asked."""
_UNWELL_TOO: Final = frozenset({"55P03", "0A000"})
"""A lock that was not given in time; a plan that a change of the schema made useless."""
_DAMAGED: Final = frozenset({"XX001", "XX002"})
_FULL: Final = ("too many clients", "too many connections", "connection slots are reserved")
"""How the server words that it has no connection left: whoever is not let in hears no code of it."""
_ROOM: Final = "raise max_connections of the server, or put a pooler in front of it (in session mode)"
_LOOK: Final = (
    "see whether its server runs and QUARTERDECK_DATABASE_URL leads to it; what is at work goes on once it answers"
)
_LOG: Final = "see what the server's log says; work goes on by itself once it can"
_RIGHTS: Final = "use an address whose user may write there, on a server that takes writes; to look needs neither"
_RESTORE: Final = "restore the database from a backup"
_FIXES: Final[Mapping[str, str]] = {
    "53100": "free some space on the disk of the database's server",
    "55P03": "another process holds the database; look for one that hangs",
    **dict.fromkeys(("42501", "25006"), _RIGHTS),
    **dict.fromkeys(_DAMAGED, _RESTORE),
}
"""What to do about which of the server's errors."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement that this session has prepared."""

    label: bytes
    names: tuple[str, ...]
    dumps: tuple[Callable[[Any], bytes], ...]
    formats: tuple[int, ...]
    columns: tuple[tuple[int, str, Callable[[bytes], Any]], ...]

    def values(self, given: Mapping[str, Any] | Sequence[Any]) -> list[bytes | None]:
        row = [given[name] for name in self.names] if isinstance(given, Mapping) else given
        return [None if value is None else dump(value) for dump, value in zip(self.dumps, row, strict=True)]

    def rows(self, result: PGresult) -> list[Row]:
        get = result.get_value
        return [
            {name: None if (value := get(line, place)) is None else load(value) for place, name, load in self.columns}
            for line in range(result.ntuples)
        ]


# --- errors -----------------------------------------------------------------------------------------------


def unwell(error: psycopg.Error) -> bool:
    """Whether the server or the session is at fault, so that nothing of the transaction can be kept."""
    state = error.sqlstate
    return state is None or state.startswith(_UNWELL) or state in _UNWELL_TOO


def cut(error: psycopg.Error) -> bool:
    """Whether the connection was lost, or the server ends or begins: another connection may do."""
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))


def unavailable(where: str, error: psycopg.Error) -> StoreUnavailable:
    """What the caller is told."""
    state = error.sqlstate or ""
    first = (str(error).strip().splitlines() or ["the connection was lost"])[0]
    if cut(error):
        full = any(sign in str(error) for sign in _FULL)
        return StoreUnreachable(f"The database {where} cannot be reached", why=first, fix=_ROOM if full else _LOOK)
    kind = StoreLost if state in _DAMAGED else StoreUnavailable
    return kind(f"The database {where} cannot be used", why=first, fix=_FIXES.get(state, _LOG))


def in_doubt(where: str) -> InDoubt:
    """The server went away before it said whether it has committed, and did not come back in time."""
    return InDoubt(
        f"It is not known whether the database {where} has stored something",
        why="it went away before it said so",
        fix="look once it is back: quarterdeck ps",
    )


# --- where it is ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is, and how to get in."""

    conninfo: str
    """Holds the password: never shown."""
    where: str
    """For people."""

    def __repr__(self) -> str:
        return f"Address({self.where!r})"


def address(url: str) -> Address:
    """Of a URL or a connection string. Raises BadConfiguration, which does not repeat it: it may hold a password.

    Of several servers the one is meant that can be written to, unless it says otherwise: after a failover, another.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise BadConfiguration(
            "The address of the database cannot be read",
            why="it must look like postgresql://USER:PASSWORD@HOST/DATABASE",
            fix="set QUARTERDECK_DATABASE_URL",
        ) from None
    host = given.get("host") or given.get("hostaddr") or "this machine"
    name = given.get("dbname") or given.get("user") or "of the user's name"
    port = f":{given['port']}" if given.get("port") else ""
    several = {"target_session_attrs": "read-write"} if "," in str(host) else {}
    told: dict[str, Any] = {**_DEFAULTS, **several, **given}
    return Address(make_conninfo(**told), f"{name} at {host}{port}")


# --- the session ------------------------------------------------------------------------------------------


class Session:
    """One connection; used by one thread at a time. Make it with `connect`."""

    def __init__(self, connection: psycopg.Connection[Any], silence: float) -> None:
        self._connection = connection
        self._silence = silence
        self._texts: Mapping[str, Numbered] = numbered()
        self._known: dict[str, _Prepared] = {}
        self._pg: PGconn = connection.pgconn
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        self._sent = 0
        self._labels = 0
        self._pg.nonblocking = 1
        self._pg.enter_pipeline_mode()

    @property
    def pid(self) -> int:
        """Of the server's process that serves this session."""
        return self._pg.backend_pid

    @property
    def pg(self) -> PGconn:
        """The connection itself."""
        return self._pg

    @property
    def alive(self) -> bool:
        return self._pg.status == ConnStatus.OK

    def script(self, text: str) -> None:
        """Statements without parameters, one after the other. Raises psycopg.Error."""
        self.settle()
        self._pg.exit_pipeline_mode()
        self._pg.send_query(text.encode())
        self._flush()
        failed: PGresult | None = None
        while (result := self._next(_STEP)) is not None:
            if result.status == ExecStatus.FATAL_ERROR:
                failed = failed or result
        if self.alive:
            self._pg.enter_pipeline_mode()
        if failed is not None:
            raise error_from_result(failed, encoding="utf-8")

    def run(self, name: str, given: Mapping[str, Any] | Sequence[Any]) -> list[Row]:
        """The rows of a named statement. Raises KeyError, psycopg.Error."""
        known = self._known.get(name) or self._prepare(name)
        self._send(known, given)
        if not known.columns:
            return []
        result = self.settle()
        assert result is not None  # one was sent
        return known.rows(result)

    def run_all(self, asks: Sequence[tuple[str, Mapping[str, Any]]], before: str, after: str) -> list[list[Row]]:
        """The rows of several statements, with one command before and one after them, in one journey to the server."""
        prepared = [self._known.get(name) or self._prepare(name) for name, _ in asks]
        self.control(before)
        for known, (_, given) in zip(prepared, asks, strict=True):
            self._send(known, given)
        self.control(after)
        results = self._answers()[1:-1]
        return [known.rows(result) for known, result in zip(prepared, results, strict=True)]

    def send(self, name: str, rows: Sequence[Mapping[str, Any]] | Sequence[tuple[Any, ...]]) -> None:
        """The named statement once for each row, without waiting. Raises KeyError, psycopg.Error of what was sent
        before."""
        known = self._known.get(name) or self._prepare(name)
        for row in rows:
            self._send(known, row)
            if self._sent >= _AT_ONCE:
                self.settle()

    def control(self, command: str) -> None:
        """A command that steers the transaction, without waiting."""
        self._pg.send_query_params(command.encode(), None)
        self._sent += 1

    def settle(self) -> PGresult | None:
        """Wait for all answers; the last one, None where nothing was sent. Raises psycopg.Error."""
        return self._answers()[-1] if self._sent else None

    def undo(self) -> None:
        """Undo the open transaction. Raises psycopg.Error where the server or the session is at fault."""
        try:
            self.settle()
        except psycopg.Error as error:
            if unwell(error) or not self.alive:
                raise
        self.control(_UNDO)
        self.settle()

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()

    def _send(self, known: _Prepared, given: Mapping[str, Any] | Sequence[Any]) -> None:
        values = known.values(given)
        self._pg.send_query_prepared(known.label, values, known.formats, 1)
        self._sent += 1

    def _prepare(self, name: str) -> _Prepared:
        text = self._texts[name]
        self.settle()
        self._labels += 1
        label = f"q{self._labels}".encode()
        self._pg.send_prepare(label, text.sql.encode())
        self._pg.send_describe_prepared(label)
        self._sent += 2
        described = self._answers()[-1]
        types = [described.param_type(place) for place in range(described.nparams)]
        found = [
            (place, (described.fname(place) or b"").decode(), LOADS[described.ftype(place)])
            for place in range(described.nfields)
        ]
        known = _Prepared(label, text.names, tuple(DUMPS[one] for one in types), (1,) * len(types), tuple(found))
        self._known[name] = known
        return known

    def _answers(self) -> list[PGresult]:
        """Everything that was sent, answered. Raises the first error."""
        self._pg.pipeline_sync()
        self._flush()
        sent, self._sent = self._sent, 0
        results: list[PGresult] = []
        for _ in range(sent):
            result = self._next()
            if result is None or self._next() is not None:
                raise psycopg.OperationalError("the connection was lost")
            results.append(result)
        self._next()  # the answer to the synchronization
        for result in results:
            if result.status == ExecStatus.FATAL_ERROR:
                raise error_from_result(result, encoding="utf-8")
        return results

    def _flush(self) -> None:
        while self._pg.flush():
            self._poll.modify(self._pg.socket, select.POLLIN | select.POLLOUT)
            for _, event in self._wait(self._silence):
                if event & select.POLLIN:
                    self._pg.consume_input()
            self._poll.modify(self._pg.socket, select.POLLIN)

    def _next(self, silence: float | None = None) -> PGresult | None:
        while self._pg.is_busy():
            self._wait(silence or self._silence)
            self._pg.consume_input()
        return self._pg.get_result()

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        """Until the connection has something for us, or takes something. Raises psycopg.Error."""
        events = self._poll.poll(seconds * 1000)
        if not events:
            raise psycopg.OperationalError(f"the server has said nothing for {seconds:g} s")
        return events


def connect(at: Address, role: Role, patience: float = 0.0, stopping: threading.Event | None = None) -> Session:
    """A new session. Raises psycopg.Error, BadConfiguration.

    patience: how long a server that refuses connections is asked again, seconds. stopping: ends that early.
    """
    until = time.monotonic() + patience
    while True:
        try:
            connection = psycopg.Connection.connect(at.conninfo, autocommit=True)
            break
        except psycopg.OperationalError:
            if time.monotonic() >= until or (stopping or threading.Event()).wait(_PAUSE):
                raise
    session = Session(connection, _SILENCE[role])
    try:
        _must_do(session.pg, at.where)
        session.script(_SETUP[role])
    except BaseException:
        session.close()
        raise
    return session


def _must_do(pg: PGconn, where: str) -> None:
    if pg.server_version < OLDEST:
        raise BadConfiguration(
            f"The server of the database {where} is too old",
            why=f"it is PostgreSQL {pg.server_version // 10_000}",
            fix=f"PostgreSQL {OLDEST // 10_000} or newer is needed",
        )
    if (encoding := pg.parameter_status(b"server_encoding")) != b"UTF8":
        raise BadConfiguration(
            f"The database {where} cannot hold every text",
            why=f"its encoding is {(encoding or b'').decode()}",
            fix="make another one: CREATE DATABASE quarterdeck ENCODING 'UTF8' TEMPLATE template0",
        )
