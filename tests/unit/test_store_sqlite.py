"""The embedded store: conformance, and what only SQLite can suffer from."""

import asyncio
import re
import resource
import sqlite3
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from quarterdeck.kernel.failures import BadConfiguration, StoreUnavailable
from quarterdeck.store.blobs import PLAIN, ZLIB, pack, unpack
from quarterdeck.store.copying import copy
from quarterdeck.store.port import Store, Tx
from quarterdeck.store.room import length
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.store.statements import migrations, parse, split, statements
from quarterdeck.testing.store_conformance import OpenStore, StoreConformance

pytestmark = pytest.mark.embedded("the store over SQLite itself")


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[OpenStore]:
    opened: list[SqliteStore] = []

    async def make() -> Store:
        store = await SqliteStore.open(tmp_path / "home" / "deck.db", durability="normal")
        opened.append(store)
        return store

    yield make
    for store in opened:
        await store.close()


class TestSqlite(StoreConformance):
    pass


async def test_the_file_is_for_the_user_alone_and_in_wal_mode(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "deck.db")
    assert store.path.stat().st_mode & 0o077 == 0
    await store.close()
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
    connection.close()


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deck.db"
    await (await SqliteStore.open(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9999")
    connection.commit()
    connection.close()
    with pytest.raises(BadConfiguration, match="newer"):
        await SqliteStore.open(path)


async def test_something_else_than_a_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deck.db"
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreUnavailable):
        await SqliteStore.open(path)


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "deck.db")
    await store.close()
    for call in (store.write(lambda tx: None), store.read("stream_names", prefix=""), store.changed(0, 1)):
        with pytest.raises(StoreUnavailable):
            await call


async def test_a_full_disk_fails_the_turn_and_the_store_recovers(tmp_path: Path) -> None:
    """The limit on file size makes the operating system refuse to write, as a full disk does."""
    store = await SqliteStore.open(tmp_path / "deck.db")

    def put(name: bytes, size: int) -> "asyncio.Future[None]":
        def work(tx: Tx) -> None:
            tx.run_many("blob_put", [(name, PLAIN, bytes(size))])

        return asyncio.ensure_future(store.write(work))

    await put(b"before", 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        results = await asyncio.gather(put(b"one", 2_000_000), put(b"two", 100), return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
    assert await store.read("blob_get", digest=b"two") == []
    await put(b"after", 100)
    assert len(await store.read("blobs_all", after=0, limit=10)) == 2
    await store.close()


async def test_a_held_lock_is_unavailable_then_well_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.store.sqlite._BUSY_SECONDS", 0.05)
    store = await SqliteStore.open(tmp_path / "deck.db")
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.write(lambda tx: tx.run("stream_claim", stream="run/a"))
    assert await store.read("stream_names", prefix="") == []
    holder.execute("ROLLBACK")
    holder.close()
    assert await store.write(lambda tx: tx.run("stream_claim", stream="run/a")) == [{"epoch": 1}]
    await store.close()


async def test_a_copy_is_made_beside_a_busy_writer(tmp_path: Path) -> None:
    """Whoever copies in portions begins anew whenever somebody commits between two of them."""
    store = await SqliteStore.open(tmp_path / "deck.db", durability="normal")
    body = bytes(4_000_000)
    for number in range(10):
        await store.write(partial(_put, number, body))
    copying = asyncio.ensure_future(asyncio.to_thread(copy, tmp_path / "deck.db", tmp_path / "copy"))
    written = 10
    while not copying.done() and written < 20_000:
        written += 1
        await store.write(partial(_put, written, b""))
    assert copying.done()
    await copying
    await store.close()
    copied = await SqliteStore.open(tmp_path / "copy", durability="normal")
    assert 10 <= (await copied.read("blobs_count"))[0]["n"] <= written
    await copied.close()


def test_a_log_has_as_much_room_as_was_used() -> None:
    grain, most = 256 * 1024, 16 * 1024 * 1024
    for size in (32, 4_152, grain - 1, grain + 1, 5_000_000, most // 2 + 1, most - 1):
        longer = length(size - 4_120, size)
        assert longer % grain == 0 and size < longer <= most
        assert longer == most or 0 <= longer - 2 * size < grain
        assert length(size, longer) == longer
        assert length(0, size) == longer if size <= grain else size
    assert length(0, 0) == 0
    assert length(most, most + 1) == most + 1


async def test_commits_do_not_make_the_log_longer_and_what_a_kill_leaves_is_whole(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "deck.db")
    log, body = tmp_path / "deck.db-wal", bytes(3_000)
    sizes = set[int]()
    for number in range(100):
        await store.write(partial(_put, number, body))
        sizes.add(log.stat().st_size)
        if number % 25 == 0:  # as a kill, or a cut of the power, would leave it
            left = tmp_path / f"left{number}"
            left.mkdir()
            for name in ("deck.db", "deck.db-wal"):
                (left / name).write_bytes((tmp_path / name).read_bytes())
            found = await SqliteStore.open(left / "deck.db")
            assert (await found.read("blobs_count"))[0]["n"] == number + 1
            await found.write(partial(_put, 1_000, body))
            assert (await found.read("database_faults"))[0]["integrity_check"] == "ok"
            await found.close()
    assert len(sizes) < 20
    await store.close()
    assert not log.exists()


async def test_where_there_is_no_room_commits_go_on_to_the_last_page(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "deck.db")
    await store.write(partial(_put, 0, b"before"))
    log, body = tmp_path / "deck.db-wal", bytes(20_000)
    most = log.stat().st_size + 100_000
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    kept = 1
    try:
        with pytest.raises(StoreUnavailable):
            while kept < 200:
                await store.write(partial(_put, kept, body))
                kept += 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept > 50_000 // len(body)
    for _ in range(2):
        await store.write(partial(_put, kept, body))
        kept += 1
    assert (await store.read("blobs_count"))[0]["n"] == kept
    assert length(most, log.stat().st_size) == log.stat().st_size
    await store.close()


def _put(number: int, body: bytes, tx: Tx) -> None:
    tx.run_many("blob_put", [(number.to_bytes(32), 0, body)])


async def test_waiting_writes_share_a_transaction(tmp_path: Path) -> None:
    """While the first write is held, the others gather; then one more commit is enough for all of them."""
    store = await SqliteStore.open(tmp_path / "deck.db", durability="normal")
    loop, started, release = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    versions: list[int] = []

    def first(tx: Tx) -> None:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    def claim(tx: Tx) -> None:
        tx.run("stream_claim", stream="run/a")

    holding = asyncio.ensure_future(store.write(first))
    await started.wait()
    mark = await store.changed(0, 1)
    others = [asyncio.ensure_future(store.write(claim)) for _ in range(30)]
    await asyncio.sleep(0)
    release.set()
    await asyncio.gather(holding, *others)
    versions.append(await store.changed(0, 1))
    assert versions[-1] - mark == 2
    await store.close()


async def test_a_write_whose_caller_is_gone_is_not_begun(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "deck.db", durability="normal")
    loop, started, release = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def first(tx: Tx) -> None:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    holding = asyncio.ensure_future(store.write(first))
    await started.wait()
    gone = asyncio.ensure_future(store.write(lambda tx: tx.run("stream_claim", stream="run/gone")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    release.set()
    await holding
    assert await store.read("stream_names", prefix="") == []
    await store.close()


def test_statements_are_named_and_explained() -> None:
    assert parse("-- name: a\n-- Why.\nSELECT 1;\n", "x.sql") == {"a": "SELECT 1"}
    for bad in (
        "-- name: a\nSELECT 1;",
        "-- name: a\n-- Why.\n",
        "-- name: a\n-- W\nSELECT 1;\n-- name: a\n-- W\nSELECT 2;",
    ):
        with pytest.raises(ValueError, match=r"x\.sql"):
            parse(bad, "x.sql")


async def test_every_statement_is_valid(tmp_path: Path) -> None:
    await (await SqliteStore.open(tmp_path / "deck.db")).close()
    connection = sqlite3.connect(tmp_path / "deck.db")
    for name, sql in statements().items():
        try:
            numbered = len(set(re.findall(r"\?\d+", sql)))
            connection.execute(f"EXPLAIN {sql}", (None,) * numbered or dict.fromkeys(_parameters(sql)))
        except sqlite3.Error as error:
            pytest.fail(f"{name}: {error}")
    connection.close()


def _parameters(sql: str) -> list[str]:
    return [
        word.strip(":") for word in "".join(c if c.isalnum() or c in ":_" else " " for c in sql).split() if ":" in word
    ]


def test_scripts_are_split_into_statements() -> None:
    assert split("-- c\nCREATE TABLE a (\n x\n);\n\nCREATE TABLE b (y);") == (
        "CREATE TABLE a (\n x\n);",
        "CREATE TABLE b (y);",
    )
    with pytest.raises(ValueError, match="not complete"):
        split("CREATE TABLE a (")


def test_bodies_are_compressed_where_it_helps() -> None:
    assert pack(b"x" * 10_000)[0] == ZLIB
    assert pack(b"short")[0] == PLAIN
    assert pack(bytes(range(256)) * 1)[0] == PLAIN
    for data in (b"", b"short", b"x" * 10_000):
        assert unpack(*pack(data)) == data
    with pytest.raises(ValueError, match="incorrect header"):
        unpack(ZLIB, b"junk")
    with pytest.raises(ValueError, match="codec"):
        unpack(7, b"")
