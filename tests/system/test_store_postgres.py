"""The store over a real PostgreSQL: conformance, and what only a server can suffer from."""

import asyncio
import hashlib
import os
import secrets
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import psycopg
import pytest

from quarterdeck.engine.procrastinate_schema import foundations
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events import RunPaused
from quarterdeck.kernel.failures import BadConfiguration, InDoubt, StoreLost, StoreUnavailable, StoreUnreachable
from quarterdeck.store import postgres
from quarterdeck.store import session as session_module
from quarterdeck.store.port import Store, Tx
from quarterdeck.store.postgres import PostgresStore
from quarterdeck.store.session import Session, address, connect
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.store.statements import migrations, numbered, statements, workers_statements
from quarterdeck.store.upgrading import LOCK
from quarterdeck.testing.journal_conformance import JournalConformance, OpenJournal
from quarterdeck.testing.postgres_server import REPLICATING, Server, start
from quarterdeck.testing.store_conformance import OpenStore, StoreConformance

pytest_plugins = ("postgres_kit",)


@pytest.fixture
async def open_store(postgres_url: str) -> AsyncIterator[OpenStore]:
    opened: list[PostgresStore] = []

    async def make() -> Store:
        opened.append(await PostgresStore.open(postgres_url))
        return opened[-1]

    yield make
    for store in opened:
        await store.close()


@pytest.fixture
async def open_journal(open_store: OpenStore) -> OpenJournal:
    async def make() -> Journal:
        return Log(await open_store(), SystemClock())

    return make


class TestPostgres(StoreConformance):
    pass


class TestLogOnPostgres(JournalConformance):
    pass


def _claim(stream: str) -> Callable[[Tx], int]:
    def work(tx: Tx) -> int:
        return int(tx.run("stream_claim", stream=stream)[0]["epoch"])

    return work


def _asked(url: str, query: str) -> list[tuple[object, ...]]:
    """What another client sees."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def _run(url: str, *commands: str) -> None:
    """What another client does."""
    with psycopg.connect(url, autocommit=True) as connection:
        for command in commands:
            connection.execute(command.encode())


def _cut(url: str, role: str = "%") -> None:
    """End all other sessions of the database."""
    _asked(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()",
    )


# --- statements and schema -----------------------------------------------------------------------------------


def test_every_statement_can_be_prepared(postgres_url: str, workers_url: str) -> None:
    shared = workers_statements().keys()
    wrong = _wrong(postgres_url, numbered().keys() - shared) | _wrong(workers_url, shared)
    assert wrong == {}


def _wrong(url: str, names: Iterable[str]) -> dict[str, str]:
    """What the server has against these statements."""
    wrong: dict[str, str] = {}
    session = connect(address(url), "reader")
    for name in names:
        try:
            session._prepare(name)
        except (psycopg.Error, KeyError) as error:
            wrong[name] = str(error)
            session.close()
            session = connect(address(url), "reader")
    session.close()
    return wrong


def test_both_databases_have_the_same_statements() -> None:
    both, alone = set(statements("sqlite")), set(statements("postgres"))
    assert both <= alone
    assert all(name.startswith("session_") for name in alone - both - workers_statements().keys())


async def test_both_databases_have_the_same_tables(postgres_url: str, tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path / "deck.db")).close()
    connection = sqlite3.connect(tmp_path / "deck.db")
    embedded = {
        (table, column)
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
        for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")
    }
    indexes = {
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL")
    }
    connection.close()
    served = set(
        _asked(
            postgres_url,
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE table_schema = 'public'",
        )
    )
    own = {
        (table, column)
        for table, column in served
        if table in ("schema_version", "turns", "foundations") or column == "rowid"
    }
    assert own and served - own >= embedded
    assert not [pair for pair in served - own - embedded if not str(pair[0]).startswith("procrastinate")]
    made = {
        name for (name,) in _asked(postgres_url, "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'")
    }
    assert indexes <= made
    assert migrations("sqlite")[-1].version == migrations("postgres")[-1].version


def test_names_sort_by_their_bytes(postgres_url: str) -> None:
    loose = _asked(
        postgres_url,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND data_type = 'text' AND coalesce(collation_name, '') <> 'C' AND table_name NOT LIKE 'procrastinate%'"
        " AND (table_name, column_name) <> ('schema_version', 'deck')",
    )
    assert loose == []


# --- values --------------------------------------------------------------------------------------------------


async def test_chains_are_the_same_on_both(open_store: OpenStore, tmp_path: Path) -> None:
    class At:
        def wall(self) -> float:
            return 1_700_000_000.123456

        def monotonic(self) -> float:
            return 0.0

    served, embedded = await open_store(), await SqliteStore.open(tmp_path / "deck.db", durability="normal")
    found: list[list[tuple[object, ...]]] = []
    for store in (served, embedded):
        log = Log(store, At())
        claim = await log.claim("run/ä\U0001f600")
        await log.put(b"\0\xff" * 5000)  # it is there once something was recorded after it
        for n in range(5):
            await log.append(claim, RunPaused(by=f"by {n} é"))
        rows = await store.read("events_all", prefix="", after=0, limit=100)
        heads = await store.read("stream_heads", prefix="")
        blobs = await store.read("blobs_all", after=0, limit=100)
        found.append([tuple(row.items()) for row in (*rows, *heads, *blobs)])
        assert (await log.verify()).faults == ()
    await embedded.close()
    assert found[0] == found[1]


async def test_values_come_back_as_they_were(open_store: OpenStore) -> None:
    store = await open_store()
    body = bytes(range(256)) * 40_000
    await store.write(lambda tx: tx.run_many("blob_put", [(hashlib.sha256(body).digest(), 0, body)]))
    assert (await store.read("blobs_all", after=0, limit=1))[0]["body"] == body
    note = {"run": "r", "task": "t", "attempt": "a", "text": "nul \0 and ☃", "at": -0.1}
    await store.write(lambda tx: tx.run("project_note", **note))
    assert await store.read("view_notes", run="r", limit=1) == [
        {"task": "t", "text": "nul \ufffd and ☃", "at": -0.1, "number": 1}
    ]
    await store.write(lambda tx: tx.run("purse_open", purse="p", cap=2**62))
    await store.write(lambda tx: tx.run("purses_settle", purses='["p"]', cost=-(2**40), amount=True))
    assert await store.read("view_purses", first="", last="q") == [
        {"purse": "p", "cap": 2**62, "settled": -(2**40), "reserved": -1}
    ]


# --- faults --------------------------------------------------------------------------------------------------


async def test_a_cut_between_turns_is_not_noticed(open_store: OpenStore, postgres_url: str) -> None:
    store = await open_store()
    assert await store.write(_claim("run/a")) == 1
    assert len(await store.read("stream_names", prefix="")) == 1
    _cut(postgres_url)
    assert await store.write(_claim("run/a")) == 2
    assert len(await store.read("stream_names", prefix="")) == 1


async def test_a_cut_inside_a_turn_fails_it_and_keeps_nothing(open_store: OpenStore, postgres_url: str) -> None:
    store = await open_store()

    def cut(tx: Tx) -> int:
        epoch = _claim("run/b")(tx)
        _cut(postgres_url)
        return epoch + _claim("run/b")(tx)

    results = await asyncio.gather(
        store.write(_claim("run/a")), store.write(cut), store.write(_claim("run/c")), return_exceptions=True
    )
    assert any(isinstance(result, StoreUnavailable) for result in results)
    kept = {row["name"] for row in await store.read("stream_names", prefix="")}
    assert kept == {f"run/{name}" for name, result in zip("abc", results, strict=True) if result == 1}
    assert "run/b" not in kept
    assert await store.write(_claim("run/b")) == 1


async def test_where_the_answer_to_a_commit_is_lost_the_server_is_asked(
    open_store: OpenStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit arrives and its answer does not: what has happened is not reported as failed."""
    store = await open_store()
    real, lost = Session.settle, list[bool]()

    def settle(session: Session) -> object:
        answer = real(session)
        if answer is not None and answer.command_status == b"COMMIT" and not lost:
            lost.append(True)
            _cut(postgres_url)
            raise psycopg.OperationalError("the connection was lost")
        return answer

    monkeypatch.setattr(Session, "settle", settle)
    assert await store.write(_claim("run/a")) == 1
    assert lost
    assert await store.write(_claim("run/a")) == 2


class _Lost:
    """The server goes away with the answer to a commit, and stays away until it is let back."""

    def __init__(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        self._server = server
        self.away = ExitStack()
        self.happened = False
        self._settle = Session.settle
        monkeypatch.setattr(Session, "settle", lambda session: self._lose(session))

    def _lose(self, session: Session) -> object:
        answer = self._settle(session)
        if answer is not None and answer.command_status == b"COMMIT" and not self.happened:
            self.happened = True
            self.away.enter_context(self._server.down())
            raise psycopg.OperationalError("the connection was lost")
        return answer


async def test_a_server_that_takes_its_time_is_asked_what_became_of_a_commit(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For longer than it is waited for elsewhere: what has happened is not reported as failed."""
    monkeypatch.setattr(postgres, "_PATIENCE", 0.0)
    store = await PostgresStore.open(own_server.url(own_server.create()))
    assert await store.write(_claim("run/a")) == 1
    lost, refused = _Lost(own_server, monkeypatch), list[bool]()

    def asked(*arguments: Any) -> Session:
        try:
            return connect(*arguments)
        except psycopg.OperationalError:
            refused.append(True)
            if len(refused) == 3:
                lost.away.close()
            raise

    monkeypatch.setattr(postgres, "connect", asked)
    assert await store.write(_claim("run/a")) == 2
    assert len(refused) >= 3
    await store.close()


async def test_where_a_server_stays_away_that_it_is_not_known_is_said(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_PATIENCE", 0.0)
    monkeypatch.setattr(postgres, "_DOUBT", 0.2)
    store = await PostgresStore.open(own_server.url(own_server.create()))
    lost = _Lost(own_server, monkeypatch)
    with lost.away:
        with pytest.raises(InDoubt) as told:
            await store.write(_claim("run/a"))
        assert told.value.fix
    assert await store.write(_claim("run/a")) == 2
    await store.close()


async def test_a_session_that_says_nothing_is_given_up(
    open_store: OpenStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose process in the server hangs, while the machine answers for it."""
    monkeypatch.setitem(cast(dict[str, float], session_module._SILENCE), "reader", 0.3)
    store = await open_store()
    await store.read("stream_names", prefix="")
    ours = _asked(
        postgres_url,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    stopped = [int(str(pid)) for (pid,) in ours]
    assert stopped
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert await store.read("stream_names", prefix="") == []
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


async def test_whoever_looks_waits_for_no_writer(postgres_url: str, workers_url: str) -> None:
    """Not for its lock, and not for the right to write."""
    for url in (postgres_url, workers_url):
        with psycopg.connect(url) as writer:
            writer.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            store = await asyncio.wait_for(PostgresStore.open(url), 10)
            assert await store.read("stream_names", prefix="") == []
            if url == workers_url:
                await asyncio.wait_for(store.lay(foundations()), 10)
            await store.close()
    role = f"looker_{secrets.token_hex(4)}"
    _run(workers_url, f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    try:
        store = await PostgresStore.open(workers_url.replace("//postgres@", f"//{role}@"))
        await store.lay(foundations())
        assert await store.read("view_runs") == []
        with pytest.raises(StoreUnavailable, match="permission"):
            await store.write(_claim("run/a"))
        await store.close()
    finally:
        _run(workers_url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


async def test_a_part_of_a_newer_version_is_refused(workers_url: str) -> None:
    _run(workers_url, "INSERT INTO foundations (name, step) VALUES ('engine', '9999_later.sql')")
    store = await PostgresStore.open(workers_url)
    with pytest.raises(BadConfiguration, match="newer"):
        await store.lay(foundations())
    await store.close()


async def test_whoever_was_cut_off_while_somebody_had_it_alone_writes_no_more(
    open_store: OpenStore, postgres_url: str
) -> None:
    one, other = await open_store(), await open_store()
    await other.write(_claim("run/a"))
    _cut(postgres_url)
    async with one.sole():
        await one.write(_claim("run/a"))
    with pytest.raises(StoreLost, match="alone while"):
        await other.write(_claim("run/a"))
    assert await one.write(_claim("run/a")) == 3


async def test_whoever_loses_what_it_had_alone_goes_no_further(open_store: OpenStore, postgres_url: str) -> None:
    one = await open_store()
    with pytest.raises(StoreUnavailable, match="lost"):
        async with one.sole():
            _cut(postgres_url)
            await one.write(_claim("run/a"))


async def test_a_commit_that_did_not_arrive_failed(
    open_store: OpenStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    real, lost = Session.control, list[bool]()

    def control(session: Session, command: str) -> None:
        if command == "COMMIT" and not lost:
            lost.append(True)
            _cut(postgres_url)
        real(session, command)

    monkeypatch.setattr(Session, "control", control)
    with pytest.raises(StoreUnavailable):
        await store.write(_claim("run/a"))
    assert await store.write(_claim("run/a")) == 1


async def test_a_restart_of_the_server_is_survived(own_server: Server) -> None:
    url = own_server.url(own_server.create())
    store, other = await PostgresStore.open(url), await PostgresStore.open(url)
    log, claim = Log(store, SystemClock()), await Log(store, SystemClock()).claim("run/a")
    mark = await other.changed(0, 5)
    mark = await other.changed(mark, 5)
    for how in (signal.SIGINT, signal.SIGKILL):
        await log.append(claim, RunPaused(by=str(how)))
        await asyncio.to_thread(own_server.restart, how)
        await log.append(claim, RunPaused(by="after"))
        mark = await other.changed(mark, 30)  # woken by the cut
        mark = await other.changed(mark, 30)  # listening again
        waiting = asyncio.ensure_future(other.changed(mark, 30))
        await log.append(claim, RunPaused(by="heard"))
        assert await waiting != mark
    assert len(await log.read("run/a")) == 6
    assert (await log.verify()).faults == ()
    await store.close()
    await other.close()


async def test_without_a_server_everything_says_so_and_goes_on_once_it_is_back(
    own_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.store.postgres._PATIENCE", 0.1)
    store = await PostgresStore.open(own_server.url(own_server.create()))
    with own_server.down():
        for call in (store.write(_claim("run/a")), store.read("stream_names", prefix="")):
            with pytest.raises(StoreUnavailable) as told:
                await call
            assert told.value.fix
    assert await store.write(_claim("run/a")) == 1
    await store.close()


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server, str]]:
    """A server, a standby of it, and the address of both, the standby first."""
    under = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    first = start(under=under, settings=REPLICATING)
    try:
        name = first.create()
        second = start(under=under, follows=first)
        try:
            sockets = ",".join(str(server.directory / "sockets") for server in (second, first))
            yield first, second, f"postgresql://postgres@/{name}?host={quote(sockets, safe=',')}"
        finally:
            second.stop()
    finally:
        first.stop()


def _sent(server: Server) -> bool:
    """Whether its standby has all of it."""
    query = "SELECT replay_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication"
    return _asked(server.url(), query) == [(True,)]


async def test_after_a_failover_everything_goes_on_at_the_other_server(
    pair: tuple[Server, Server, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.store.postgres._PATIENCE", 0.1)
    first, second, url = pair
    store, other = await PostgresStore.open(url), await PostgresStore.open(url)
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")
    mark = await other.changed(await other.changed(0, 5), 5)
    await log.append(claim, RunPaused(by="before"))
    while not _sent(first):
        await asyncio.sleep(0)
    with first.down(signal.SIGKILL):
        with pytest.raises(StoreUnavailable) as told:  # the standby is not written to
            await log.append(claim, RunPaused(by="meanwhile"))
        assert told.value.fix
        second.promote()
        await log.append(claim, RunPaused(by="after"))
        async with asyncio.timeout(60):
            while len(await Log(other, SystemClock()).read("run/a")) < 2:
                mark = await other.changed(mark, 30)  # it is heard there
        again = await PostgresStore.open(url)
        assert [record.event for record in await Log(again, SystemClock()).read("run/a")] == [
            RunPaused(by="before"),
            RunPaused(by="after"),
        ]
        assert (await Log(again, SystemClock()).verify()).faults == ()
        for each in (store, other, again):
            await each.close()


async def test_a_server_that_lacks_what_was_stored_is_not_gone_on_with(pair: tuple[Server, Server, str]) -> None:
    """The old server comes back after a failover and can be written to: it does not have what came since."""
    first, second, url = pair
    store, bystander = await PostgresStore.open(url), await PostgresStore.open(url)
    await store.write(_claim("run/a"))
    while not _sent(first):
        await asyncio.sleep(0)
    with first.down(signal.SIGKILL):
        second.promote()
        assert await store.write(_claim("run/a")) == 2
    with second.down():
        with pytest.raises(StoreLost, match="lacks what this process has stored"):
            await store.write(_claim("run/a"))
        with pytest.raises(StoreLost, match="lacks"):  # and it stays so
            await store.write(_claim("run/a"))
        assert await bystander.write(_claim("run/b")) == 1, "who has stored nothing lacks nothing"
    await store.close()
    await bystander.close()


async def test_a_writer_that_stands_still_is_thrown_out(
    open_store: OpenStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that was stopped (SIGSTOP): the others write on."""
    sleeper = connect(address(postgres_url), "writer")
    sleeper.script("SET idle_in_transaction_session_timeout = '200ms'")
    sleeper.control("BEGIN")
    sleeper.run("session_begun", {"key": LOCK})
    sleeper.run("stream_claim", {"stream": "run/a"})
    store = await open_store()
    assert await store.write(_claim("run/b")) == 1
    with pytest.raises(psycopg.Error):
        sleeper.run("stream_claim", {"stream": "run/a"})
    sleeper.close()
    assert [row["name"] for row in await store.read("stream_names", prefix="")] == ["run/b"]


async def test_another_deck_under_the_same_name_is_not_written_into(own_server: Server) -> None:
    name = own_server.create()
    store = await PostgresStore.open(own_server.url(name))
    await store.write(_claim("run/a"))
    own_server.drop(name)
    own_server.rename(own_server.create(), name)
    with pytest.raises(StoreLost, match="another deck"):
        await store.write(_claim("run/a"))
    again = await PostgresStore.open(own_server.url(name))
    with pytest.raises(StoreLost, match="another deck"):
        await store.write(_claim("run/a"))
    await again.close()
    await store.close()


async def test_a_copy_that_was_restored_under_a_running_process_is_not_written_into(own_server: Server) -> None:
    """Bodies that the process knows to be stored are not there."""
    name = own_server.create()
    before = await PostgresStore.open(own_server.url(name))
    await before.write(_claim("run/a"))
    await before.close()
    copy = own_server.create(name)
    store, looker = await PostgresStore.open(own_server.url(name)), await PostgresStore.open(own_server.url(name))
    await store.write(_claim("run/b"))
    own_server.drop(name)
    own_server.rename(copy, name)
    with pytest.raises(StoreLost, match="restored from a copy"):
        await store.write(_claim("run/a"))
    assert await looker.write(_claim("run/a")) == 2, "it relies on nothing"
    again = await PostgresStore.open(own_server.url(name))
    assert await again.write(_claim("run/a")) == 3
    for each in (store, looker, again):
        await each.close()


async def test_a_server_without_a_connection_left_is_told_from_one_that_is_away(postgres_url: str) -> None:
    role = f"few_{secrets.token_hex(4)}"
    _run(postgres_url, f"CREATE ROLE {role} LOGIN IN ROLE postgres CONNECTION LIMIT 0")
    try:
        with pytest.raises(StoreUnreachable, match="too many connections") as refused:
            await PostgresStore.open(postgres_url.replace("postgres@", f"{role}@", 1))
        assert "max_connections" in refused.value.fix
    finally:
        _run(postgres_url, f"DROP ROLE {role}")


async def test_a_newer_database_is_refused(postgres_url: str) -> None:
    _asked(postgres_url, "UPDATE schema_version SET version = 9999 RETURNING 1")
    with pytest.raises(BadConfiguration, match="newer"):
        await PostgresStore.open(postgres_url)


async def test_many_processes_bring_the_schema_up_to_date_once(own_server: Server) -> None:
    url = own_server.url(own_server.create())
    stores = await asyncio.gather(*(PostgresStore.open(url) for _ in range(5)))
    assert [await store.write(_claim("run/a")) for store in stores] == [1, 2, 3, 4, 5]
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:tell-nobody@127.0.0.1:1/deck",
        "postgresql://ada:tell-nobody@127.0.0.1:port/deck",
        "postgresql://ada:tell-nobody@127.0.0.1/deck?nonsense=1",
        "host=127.0.0.1 port=1 password=tell-nobody dbname=deck",
        "password = 'tell-nobody",
    ],
)
async def test_a_password_is_never_shown(url: str) -> None:
    with pytest.raises((StoreUnavailable, BadConfiguration)) as told:
        await PostgresStore.open(url)
    error: BaseException | None = told.value
    while error is not None:
        assert "tell-nobody" not in f"{error!r} {error} {getattr(error, 'fix', '')} {getattr(error, 'why', '')}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


async def test_the_proof_covers_what_lies_in_the_server(open_store: OpenStore, postgres_url: str) -> None:
    log = Log(await open_store(), SystemClock())
    claim = await log.claim("run/a")
    for n in range(3):
        await log.append(claim, RunPaused(by=f"by {n}"))
    await log.put(b"a body that is long enough")
    await log.anchor(await log.claim(ids.DECK_STREAM))
    assert (await log.verify()).faults == ()
    _asked(postgres_url, "UPDATE events SET at = at + 1 WHERE seq = 2 RETURNING 1")
    _asked(postgres_url, "UPDATE blobs SET body = 'else', codec = 0 WHERE length(body) > 20 RETURNING 1")
    problems = " ".join(fault.problem for fault in (await log.verify()).faults)
    assert "hash does not match" in problems and "holds something else" in problems
