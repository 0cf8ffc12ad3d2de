"""The journal over SQLite: conformance, tampering, and faults of the store."""

import asyncio
import json
import resource
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_kit import open_at

from quarterdeck.agents.attempt_log import AttemptLog
from quarterdeck.journal import anchors
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events import DeckAnchored, RunPaused, RunPlanned
from quarterdeck.kernel.failures import NotFound, StoreUnavailable
from quarterdeck.store.port import Store, Tx
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.testing.journal_conformance import JournalConformance, OpenJournal


@pytest.fixture
async def open_journal(tmp_path: Path) -> AsyncIterator[OpenJournal]:
    opened: list[SqliteStore] = []

    async def make() -> Journal:
        store = await SqliteStore.open(tmp_path / "deck.db", durability="normal")
        opened.append(store)
        return Log(store, SystemClock())

    yield make
    for store in opened:
        await store.close()


@pytest.mark.embedded("test_store_postgres has the same for PostgreSQL")
class TestLog(JournalConformance):
    pass


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_at(tmp_path / "deck.db")
    yield store
    await store.close()


@pytest.mark.embedded("changes a file behind the store's back; test_store_postgres does so in a server")
@pytest.mark.parametrize(
    ("tampering", "problem"),
    [
        ("UPDATE events SET body = replace(body, 'by', 'bx') WHERE seq = 2 AND stream = {a}", "hash does not match"),
        ("UPDATE events SET at = at + 1 WHERE seq = 2 AND stream = {a}", "hash does not match"),
        ("UPDATE events SET epoch = epoch + 1 WHERE seq = 3 AND stream = {a}", "hash does not match"),
        ("DELETE FROM events WHERE seq = 2 AND stream = {a}", "is missing"),
        ("DELETE FROM events WHERE seq = 3 AND stream = {a}", "ends before its head"),
        (
            "DELETE FROM events WHERE seq = 3 AND stream = {a};"
            "UPDATE streams SET seq = 2, hash = (SELECT hash FROM events WHERE seq = 2 AND stream = {a}),"
            " last = (SELECT id FROM events WHERE seq = 2 AND stream = {a}) WHERE id = {a}",
            "anchored head",
        ),
        ("DELETE FROM streams WHERE id = {a}", "the stream is gone"),
        ("UPDATE blobs SET body = 'else', codec = 0 WHERE length(body) > 20", "holds something else"),
    ],
)
async def test_tampering_is_noticed(store: SqliteStore, tampering: str, problem: str) -> None:
    log = Log(store, SystemClock())
    deck, claim = await log.claim(ids.DECK_STREAM), await log.claim("run/a")
    for n in range(3):
        await log.append(claim, RunPaused(by=f"by {n}"))
    await log.put(b"a body that is long enough")
    await log.anchor(deck)
    assert (await log.verify()).faults == ()
    connection = sqlite3.connect(store.path)
    (a,) = connection.execute("SELECT id FROM streams WHERE name = 'run/a'").fetchone()
    connection.executescript(tampering.format(a=a))
    connection.close()
    faults = (await log.verify()).faults
    assert any(problem in fault.problem for fault in faults), faults


@pytest.mark.embedded("changes a file behind the store's back; test_store_postgres does so in a server")
async def test_a_rewritten_stream_does_not_match_its_anchor(store: SqliteStore) -> None:
    log = Log(store, SystemClock())
    deck, claim = await log.claim(ids.DECK_STREAM), await log.claim("run/a")
    await log.append(claim, RunPaused(by="me"))
    await log.anchor(deck)
    connection = sqlite3.connect(store.path)
    connection.executescript(
        "DELETE FROM events WHERE stream = (SELECT id FROM streams WHERE name = 'run/a');"
        "UPDATE streams SET seq = 0, last = 0, hash = zeroblob(32) WHERE name = 'run/a'"
    )
    connection.close()
    forger = Log(store, SystemClock())
    await forger.append(await forger.claim("run/a"), RunPaused(by="somebody else"))
    assert [fault.problem for fault in (await log.verify()).faults] == ["the record is another one than was anchored"]


async def _anchors(log: Log) -> list[dict[str, object]]:
    """What each anchor names."""
    records = await log.read(ids.DECK_STREAM)
    return [json.loads(await log.get(r.event.heads_blob)) for r in records if isinstance(r.event, DeckAnchored)]


@pytest.mark.embedded("changes a file behind the store's back; test_store_postgres does so in a server")
async def test_an_anchor_names_what_moved_since_the_one_before(store: SqliteStore) -> None:
    log = Log(store, SystemClock())
    claims = {name: await log.claim(f"run/{name}") for name in "abc"}
    for name in "ab":
        await log.append(claims[name], RunPaused(by=name))
    deck = await log.claim(ids.DECK_STREAM)
    await log.anchor(deck)
    await log.append(claims["b"], RunPaused(by="again"))
    await log.append(claims["c"], RunPaused(by="first"))
    await log.anchor(deck)
    await log.anchor(deck)
    assert [sorted(named) for named in await _anchors(log)] == [["run/a", "run/b"], ["run/b", "run/c"]]
    assert (await log.verify()).faults == ()
    connection = sqlite3.connect(store.path)
    connection.execute("DELETE FROM streams WHERE name = 'run/a'")
    connection.commit()
    connection.close()
    assert [fault.stream for fault in (await log.verify()).faults] == ["run/a"]


async def test_a_large_anchor_is_several(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchors, "AT_ONCE", 2)
    log = Log(store, SystemClock())
    for name in "abcde":
        await log.append(await log.claim(f"run/{name}"), RunPaused(by=name))
    await log.anchor(await log.claim(ids.DECK_STREAM))
    assert [sorted(named) for named in await _anchors(log)] == [["run/a", "run/b"], ["run/c", "run/d"], ["run/e"]]
    assert not await anchors.due(store, SystemClock().wall(), 60)
    assert await anchors.due(store, SystemClock().wall() + 61, 60)
    assert await anchors.due(store, SystemClock().wall() - 61, 60)  # a clock was wrong


def test_of_several_anchors_the_most_holds_and_of_the_same_the_first() -> None:
    heads: anchors.Heads = {}
    for later in ({"a": (2, "x"), "b": (1, "y")}, {"a": (1, "z"), "b": (1, "forged")}, {"a": (3, "w")}):
        anchors.fold(heads, later)
    assert heads == {"a": (3, "w"), "b": (1, "y")}


@pytest.mark.embedded("changes a file behind the store's back; test_store_postgres does so in a server")
async def test_one_stream_is_checked_along_its_own_chain(store: SqliteStore) -> None:
    log = Log(store, SystemClock())
    for name in ("run/a", "run/ab"):
        claim = await log.claim(name)
        for n in range(4):
            await log.append(claim, RunPaused(by=f"by {n}"))
    connection = sqlite3.connect(store.path)
    connection.execute("DELETE FROM events WHERE seq = 2 AND stream = (SELECT id FROM streams WHERE name = 'run/a')")
    connection.commit()
    connection.close()
    found = await log.verify("run/a")
    assert [(fault.stream, fault.seq, fault.problem) for fault in found.faults] == [
        ("run/a", 2, "the record is missing")
    ]
    assert (await log.verify("run/ab")).faults == ()


async def test_heads_that_moved_behind_the_cache_are_read_again(store: Store) -> None:
    """Two logs of one process that share a claim: the second one's appends are not known to the first."""
    one, other = Log(store, SystemClock()), Log(store, SystemClock())
    claim = await one.claim("run/a")
    for n in range(3):
        await one.append(claim, RunPaused(by=f"one {n}"))
        await other.append(claim, RunPaused(by=f"other {n}"))
    found = await one.verify()
    assert (found.records, found.faults) == (6, ())


async def test_a_projection_that_fails_harms_only_its_own_commit(store: Store) -> None:
    log = Log(store, SystemClock())
    a, b = await log.claim("run/a"), await log.claim("run/b")
    nonsense = await log.put(b"no plan")
    results = await asyncio.gather(
        log.append(a, RunPlanned(plan_blob=nonsense, tasks=1)),
        log.append(b, RunPaused(by="me")),
        log.append(b, RunPlanned(plan_blob="0" * 64, tasks=1)),
        return_exceptions=True,
    )
    assert isinstance(results[0], ValueError)
    assert results[1] is None
    assert isinstance(results[2], ValueError)
    assert len(await log.read("run/b")) == 1


async def test_a_commit_that_fails_half_way_is_undone_and_spares_its_neighbours(store: Store) -> None:
    """Its own changes, too: it had no savepoint the first time."""
    log = Log(store, SystemClock())
    a, b, c = [await log.claim(name) for name in ("run/a", "run/b", "run/c")]

    def half(tx: Tx) -> None:
        tx.run("stream_claim", stream="run/half")
        raise ValueError("it was not to be")

    def whole(tx: Tx) -> None:
        tx.run("stream_claim", stream="run/whole")

    results = await asyncio.gather(
        log.append(a, RunPaused(by="me")),
        log.append(b, RunPaused(by="me"), also=half),
        log.append(c, RunPaused(by="me"), also=whole),
        return_exceptions=True,
    )
    assert isinstance(results[1], ValueError)
    assert [results[0], results[2]] == [None, None]
    assert await log.lengths("run/") == {"run/a": 1, "run/b": 0, "run/c": 1, "run/whole": 0}
    await log.append(b, RunPaused(by="me"))
    assert (await log.verify()).faults == ()


async def test_a_commit_that_spoils_the_transaction_spares_those_that_come_meanwhile(store: Store) -> None:
    log = Log(store, SystemClock())
    a, b = await log.claim("run/a"), await log.claim("run/b")

    def fences_itself(tx: Tx) -> None:
        tx.run("stream_claim", stream="run/a")

    digest = await log.put(b"kept all the same")
    first = log.append(a, RunPaused(by="me"), also=fences_itself)
    await asyncio.sleep(0)
    second = log.append(b, RunPaused(by="me"))
    with pytest.raises(Exception, match="streams"):  # the database's own error
        await first
    await second
    assert await Log(store, SystemClock()).get(digest) == b"kept all the same"
    assert await log.read("run/a") == []


async def test_what_a_lost_connection_did_to_a_commit_is_not_held_against_later_ones(store: Store) -> None:
    """Whoever comes later would hear of the database's own error, as if it were a fault of what it appends."""
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")
    write = store.write

    async def cut(work):  # type: ignore[no-untyped-def]  # as the store's own
        def lost(tx: Tx) -> None:
            work(tx)
            raise StoreUnavailable("The connection was lost")

        return await write(lost)

    def broken(tx: Tx) -> None:
        raise sqlite3.OperationalError("the connection was lost")

    store.write = cut  # type: ignore[method-assign]  # the same, but that nothing is kept
    with pytest.raises(StoreUnavailable):
        await log.append_soon(claim, RunPaused(by="me"), also=broken)
    store.write = write  # type: ignore[method-assign]  # the store as it was
    await log.append(claim, RunPaused(by="you"))
    assert len(await log.read("run/a")) == 1


@pytest.mark.embedded("what is full is the disk of this process")
async def test_after_an_outcome_that_could_not_be_recorded_nothing_is(store: SqliteStore) -> None:
    """Not even where the database is well again: the attempt is taken up from what is on record."""
    log = Log(store, SystemClock())
    claim = await log.claim("attempt/r-1.a.1")
    attempt = AttemptLog(log, claim)
    await attempt.say("Begin.", "task")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        await log.put(b"".join(ids.digest(str(n).encode()).encode() for n in range(20_000)))
        attempt.append_soon(RunPaused(by="lost"))
        with pytest.raises(StoreUnavailable):
            await attempt.recorded()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with pytest.raises(StoreUnavailable):
        await attempt.append(RunPaused(by="next"))
    assert len(await log.read(claim.stream)) == 1
    await log.append(claim, RunPaused(by="whoever goes on"))
    assert len(await log.read(claim.stream)) == 2


@pytest.mark.embedded("what is full is the disk of this process")
async def test_while_the_disk_is_full_blobs_wait_and_nothing_is_lost(store: SqliteStore) -> None:
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    body = b"".join(ids.digest(str(n).encode()).encode() for n in range(20_000))
    try:
        digest = await log.put(body)
        with pytest.raises(StoreUnavailable):
            await log.append(claim, RunPaused(by="me"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert await log.read("run/a") == []
    await log.append(claim, RunPaused(by="me"))
    assert await Log(store, SystemClock()).get(digest) == body
    assert (await log.verify()).faults == ()


async def test_what_may_wait_waits_until_somebody_hurries(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.journal.log._PATIENCE", 3600.0)
    log, other = Log(store, SystemClock()), Log(store, SystemClock())
    claim = await log.claim("run/a")
    body = await log.put(b"a body", patiently=True)
    waits = log.append_patiently(claim, RunPaused(by="me"))
    await other.append(await other.claim("run/b"), RunPaused(by="another process"))
    assert not waits.done() and await log.get(body) == b"a body"
    with pytest.raises(NotFound):
        await other.get(body)
    log.hurry()
    await asyncio.wait_for(waits, 10)
    assert await other.get(body) == b"a body"
    behind = log.append_patiently(claim, RunPaused(by="again"))
    await log.put(b"somebody waits for this one")
    await asyncio.wait_for(behind, 10)
    assert [record.event for record in await log.read("run/a")] == [RunPaused(by="me"), RunPaused(by="again")]


async def test_many_bodies_do_not_wait_for_company(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.journal.log._PATIENCE", 3600.0)
    monkeypatch.setattr("quarterdeck.journal.log._BLOB_ROOM", 10)
    monkeypatch.setattr("quarterdeck.journal.log._BLOB_BACKLOG", 12)
    log = Log(store, SystemClock())
    bodies = [await asyncio.wait_for(log.put(b"body %d" % n, patiently=True), 10) for n in range(5)]
    assert await asyncio.wait_for(Log(store, SystemClock()).get(bodies[0]), 10) == b"body 0"


async def test_a_caller_that_gives_up_leaves_the_others_alone(store: Store) -> None:
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")
    first = asyncio.ensure_future(log.append(claim, RunPaused(by="gone")))
    second = asyncio.ensure_future(log.append(claim, RunPaused(by="here")))
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert "here" in [r.event.by for r in await log.read("run/a") if isinstance(r.event, RunPaused)]
