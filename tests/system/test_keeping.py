"""The deck in the hands of an operator: copies, moving to another database, pruning; and the proof after it."""

import asyncio
import contextlib
import json
import resource
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import store_kit
from cli_kit import Said, assert_refused, call
from deck_kit import Place, place_at, task
from store_kit import open_at

from quarterdeck.assembly import keeping, open_deck
from quarterdeck.delivery import jobs
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.port import Link
from quarterdeck.journal.log import Log
from quarterdeck.journal.packs import Packs
from quarterdeck.journal.port import ChainFault
from quarterdeck.journal.proof import grounds, verify
from quarterdeck.journal.pruning import chosen, ended, prune, sweep
from quarterdeck.journal.transfer import transfer
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events.outside import BranchPushed
from quarterdeck.kernel.events.packs import PackKept
from quarterdeck.kernel.failures import BadInput, Conflicting, StaleClaim, StoreUnavailable
from quarterdeck.settings import Settings
from quarterdeck.store import copying
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Ask, Row, Store, Tx
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.store.statements import migrations
from quarterdeck.testing import stories
from quarterdeck.triggers.port import look, publish
from quarterdeck.triggers.publishing import Publishing

pytest_plugins = ("postgres_kit",)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


@pytest.fixture
async def stores(tmp_path: Path, workers_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """An SQLite file and a PostgreSQL database, both empty."""
    embedded, served = await SqliteStore.open(tmp_path / "one.db", durability="normal"), await open_url(workers_url)
    yield embedded, served
    await embedded.close()
    await served.close()


async def _run(log: Log, run: str, *, ends: bool = True) -> None:
    blob = await log.put(f"the goal of {run}".encode())
    nested = await log.put(json.dumps({"parts": [await log.put(f"a part of {run}".encode())]}).encode())
    created = stories.created(run, goal_blob=blob, config_blob=nested, budget_nusd=10, max_parallel=1)
    claim = await log.claim(ids.run_stream(run))
    await log.append(claim, created, e.RunPaused(by="ada"), e.RunResumed(by="ada"))
    attempt = ids.attempt_id(run, "a", 1)
    await log.append(await log.claim(ids.attempt_stream(attempt)), e.NoteRecorded(task="a", text=f"note of {run}"))
    if ends:
        await log.append(claim, e.RunFinished(status=e.RunStatus.DONE, exit_code=0, sha="s"))


async def _call(place: Place, *arguments: str, **environment: str) -> Said:
    """One command, beside the stores that the test has open."""
    return Said(*await asyncio.to_thread(partial(place.call, *arguments, **environment)))


async def _everything(store: Store) -> list[object]:
    """What must be the same everywhere; where rows lie is not."""
    events = await store.read("events_all", prefix="", after=0, limit=10_000)
    chains = sorted(
        (row["stream"], row["seq"], row["at"], row["epoch"], bytes(row["hash"]), bytes(row["body"])) for row in events
    )
    heads = [(row["name"], row["seq"], bytes(row["hash"])) for row in await store.read("stream_heads", prefix="")]
    blobs = sorted(bytes(row["digest"]) for row in await store.read("blobs_all", after=0, limit=10_000))
    order = [row["stream"] for row in events]
    return [
        chains,
        heads,
        blobs,
        order,
        await store.read("view_runs"),
        await store.read("view_purses", first="", last="z"),
    ]


# --- from one database into another -------------------------------------------------------------------------------


async def test_a_deck_goes_there_and_back_and_is_the_same(stores: tuple[Store, Store], tmp_path: Path) -> None:
    embedded, served = stores
    log = Log(embedded, SystemClock())
    await _run(log, "r-1")
    await _run(log, "r-2", ends=False)
    await log.anchor(await log.claim(ids.DECK_STREAM))
    await embedded.write(lambda tx: tx.run("purse_open", purse="run/r-1", cap=5))
    first = await transfer(embedded, served)
    assert (first.streams, first.events) == (5, 10)
    assert await _everything(served) == await _everything(embedded)
    assert (await Log(served, SystemClock()).verify()).faults == ()
    back = await SqliteStore.open(tmp_path / "back.db", durability="normal")
    await transfer(served, back)
    assert await _everything(back) == await _everything(embedded)
    again = await transfer(embedded, served)
    assert (again.events, again.blobs) == (0, 0)
    await back.close()


async def test_a_second_transfer_brings_what_is_new_and_what_went_apart_is_refused(stores: tuple[Store, Store]) -> None:
    embedded, served = stores
    log, there = Log(embedded, SystemClock()), Log(served, SystemClock())
    await _run(log, "r-1", ends=False)
    await transfer(embedded, served)
    await log.append(await log.claim("run/r-1"), e.RunPaused(by="later"))
    await _run(log, "r-2")
    assert (await transfer(embedded, served)).events == 6
    assert await _everything(served) == await _everything(embedded)
    await log.append(await log.claim("run/r-1"), e.RunPaused(by="here"))
    await there.append(await there.claim("run/r-1"), e.RunPaused(by="there"))
    before = await _everything(served)
    with pytest.raises(Conflicting, match="run/r-1"):
        await transfer(embedded, served)
    assert await _everything(served) == before


class _Watched:
    """A store that is read from, and something that happens once, right after a statement was read."""

    def __init__(
        self, store: Store, statement: str, happens: Callable[[], Awaitable[None]], *, number: int = 1
    ) -> None:
        self._store = store
        self._statement = statement
        self._happens: Callable[[], Awaitable[None]] | None = happens
        self._number = number
        """How often it is read before."""

    async def read(self, statement: str, /, **parameters: Any) -> list[Row]:
        return (await self.reads((statement, parameters)))[0]

    async def reads(self, *asks: Ask) -> list[list[Row]]:
        found = await self._store.reads(*asks)
        if self._happens is not None and self._statement in {statement for statement, _ in asks}:
            self._number -= 1
            if self._number == 0:
                happens, self._happens = self._happens, None
                await happens()
        return found


async def _money(store: Store) -> tuple[dict[str, int], dict[str, int]]:
    """What purses have set aside, and what is held."""
    purses = {row["purse"]: row["reserved"] for row in await store.read("left_reserved")}
    return purses, {row["holder"]: row["amount"] for row in await store.read("left_reservations")}


@pytest.mark.parametrize("statement", ["purses_all", "held_all"])
async def test_money_that_moves_while_it_is_copied_is_neither_lost_nor_doubled(
    stores: tuple[Store, Store], statement: str
) -> None:
    embedded, served = stores
    log, treasury = Log(served, SystemClock()), Budgets()
    await _run(log, "r-1", ends=False)
    await log.append(await log.claim("attempt/r-1.a.1"), e.NoteRecorded(task="a", text="at work"))
    chain = (Link("run/r-1", None, opened=True), Link("deck/2026-01-31", 100))
    await served.write(lambda tx: treasury.open(tx, "run/r-1", 50))
    await served.write(lambda tx: treasury.reserve(tx, chain, "r-1.a.1/1/1", 5))

    async def moves() -> None:
        await served.write(lambda tx: treasury.settle(tx, "r-1.a.1/1/1", 3))
        await served.write(lambda tx: treasury.reserve(tx, chain, "r-1.a.1/2/1", 7))

    await transfer(_Watched(served, statement, moves), embedded)
    assert await _money(embedded) == ({"run/r-1": 5, "deck/2026-01-31": 5}, {"r-1.a.1/1/1": 5})
    await transfer(served, embedded)  # what was settled meanwhile is not held any more
    assert await _money(embedded) == ({"run/r-1": 7, "deck/2026-01-31": 7}, {"r-1.a.1/2/1": 7})
    assert await _money(embedded) == await _money(served)


async def test_a_deck_that_is_pruned_while_it_is_copied_is_to_be_copied_again(stores: tuple[Store, Store]) -> None:
    embedded, served = stores
    log = Log(embedded, SystemClock())
    await _run(log, "r-1")

    async def pruned() -> None:
        await prune(embedded, log, ["r-1"], "ada")

    with pytest.raises(Conflicting, match="pruned"):
        await transfer(_Watched(embedded, "blobs_all", pruned), served)
    assert (await transfer(embedded, served)).streams == 3
    assert (await Log(served, SystemClock()).verify()).faults == ()


class _AtWork:
    """A deck of which more is written whenever it is read from."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = Log(store, SystemClock())
        self._number = 0

    async def read(self, statement: str, /, **parameters: Any) -> list[Row]:
        return (await self.reads((statement, parameters)))[0]

    async def reads(self, *asks: Ask) -> list[list[Row]]:
        self._number += 1
        assert self._number < 100, "what was written meanwhile was read as well, and so on"
        body = await self._log.put(f"body {self._number}".encode())
        await self._log.append(await self._log.claim("attempt/r-1.a.1"), e.NoteRecorded(task="a", text=body))
        return await self._store.reads(*asks)


async def test_a_copy_of_a_deck_at_work_comes_to_its_end(stores: tuple[Store, Store]) -> None:
    embedded, served = stores
    await _run(Log(served, SystemClock()), "r-1", ends=False)
    found = await transfer(_AtWork(served), embedded)
    assert found.events == len(await embedded.read("events_all", prefix="", after=0, limit=10_000))
    assert (await Log(embedded, SystemClock()).verify()).faults == ()


async def test_nothing_is_brought_into_a_deck_that_somebody_works_on(
    stores: tuple[Store, Store], tmp_path: Path, workers_url: str
) -> None:
    """A worker that began meanwhile wrote into the deck's own stream what was then written over."""
    embedded, served = stores
    await _run(Log(embedded, SystemClock()), "r-1")
    copying.copy(tmp_path / "one.db", tmp_path / "copy")
    settings = Settings(home=tmp_path / "home", user="ada", path="", database_url=workers_url)
    await Log(served, SystemClock()).claim(ids.DECK_STREAM)
    with pytest.raises(Conflicting, match="uses the database"):
        await keeping.bring(settings, tmp_path / "copy")
    await served.close()
    assert (await keeping.bring(settings, tmp_path / "copy")).streams == 2


async def test_what_was_changed_is_not_brought(stores: tuple[Store, Store]) -> None:
    embedded, served = stores
    log = Log(embedded, SystemClock())
    await _run(log, "r-1")
    await embedded.write(lambda tx: tx.run("blob_drop", digest=bytes.fromhex(ids.digest(b"a part of r-1"))))
    await embedded.write(
        lambda tx: tx.run_many("blob_put", [(bytes.fromhex(ids.digest(b"a part of r-1")), 0, b"another")])
    )
    with pytest.raises(BadInput, match="changed"):
        await transfer(embedded, served)
    assert await served.read("stream_names", prefix="") == []


async def test_a_run_that_began_on_sqlite_ends_on_postgresql(place: Place, workers_url: str) -> None:
    """Its second task starts only there."""
    place.begin()
    tasks = (task("one", "echo 1 > one.txt"), task("two", "echo 2 > two.txt", needs=["one"]))
    async with open_deck(place.settings) as deck:
        run = await deck.create(place.order(*tasks))
        await deck.control(run, "pause")
        await deck.work(run)
        assert (await deck.views.run(run)).status is e.RunStatus.PAUSED
        before = [record.hash for record in await deck.journal.read(ids.run_stream(run))]
    file = place.root / "deck.export"
    assert (await _call(place, "export", "--all", str(file))).code == 0
    there = {"QUARTERDECK_DATABASE_URL": workers_url}
    said = await _call(place, "import", str(file), **there)
    assert (said.code, "records" in said.out) == (0, True)
    assert (await _call(place, "audit", "verify", **there)).code == 0
    assert (await _call(place, "resume", run, **there)).code == 0
    settings = Settings(home=place.home, user="ada", path=place.settings.path, database_url=workers_url)
    async with open_deck(settings) as deck:
        result = await deck.result(run)
        assert {one.id: str(one.status) for one in result.tasks} == {"one": "merged", "two": "merged"}
        after = [record.hash for record in await deck.journal.read(ids.run_stream(run))]
        assert after[: len(before)] == before and len(after) > len(before)
        assert (await deck.verify()).faults == ()


# --- copies -----------------------------------------------------------------------------------------------------


async def test_a_copy_is_restored_where_nothing_is(place: Place, tmp_path: Path) -> None:
    place.begin()
    store = await open_at(place.home / "deck.db")
    await _run(Log(store, SystemClock()), "r-1")
    file = tmp_path / "copy"
    assert (await _call(place, "db", "backup", str(file))).code == 0
    assert file.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir() if "copy" in path.name) == ["copy"]  # noqa: ASYNC240 - a test may wait
    refused = await _call(place, "db", "backup", str(file))
    assert refused.code == 7 and "exists" in refused.err
    occupied = await _call(place, "db", "restore", str(file))
    assert occupied.code == 7 and "holds a deck" in occupied.err
    with place_at(tmp_path / "other") as other:
        other.root.mkdir(exist_ok=True)
        other.begin()
        assert (await _call(other, "db", "restore", str(file))).code == 0
        assert (await _call(other, "db", "check")).code == 0
        copy = await open_at(other.home / "deck.db")
        assert await _everything(copy) == await _everything(store)
        await copy.close()
        assert sorted(path.name for path in other.home.iterdir() if "import" in path.name) == []
    await store.close()


async def test_a_copy_stays_as_it_is_where_it_is_brought_in(
    stores: tuple[Store, Store], tmp_path: Path, workers_url: str
) -> None:
    embedded, served = stores
    await _run(Log(embedded, SystemClock()), "r-1")
    media = tmp_path / "media"
    media.mkdir()
    copying.copy(tmp_path / "one.db", media / "copy")
    before = (media / "copy").read_bytes()
    settings = Settings(home=tmp_path / "home", user="ada", path="", database_url=workers_url)
    assert (await keeping.bring(settings, media / "copy")).streams == 2
    assert await _everything(served) == await _everything(embedded)
    assert [path.name for path in media.iterdir()] == ["copy"]
    assert (media / "copy").read_bytes() == before
    (media / "other").write_text("something else")
    with pytest.raises(BadInput, match="no copy of a deck"):
        await keeping.bring(settings, media / "other")


async def test_a_restore_that_was_interrupted_goes_on_as_an_import(
    stores: tuple[Store, Store], place: Place, workers_url: str
) -> None:
    place.begin()
    embedded, served = stores
    log, begun = Log(embedded, SystemClock()), await open_url(workers_url)
    await _run(log, "r-1")
    await _run(log, "r-2", ends=False)

    async def cut() -> None:
        raise StoreUnavailable("for the test")

    with pytest.raises(StoreUnavailable):
        # Its events are there by then: reading on is what failed.
        await transfer(_Watched(embedded, "events_all", cut, number=2), begun)
    await begun.close()
    assert await served.read("stream_names", prefix="") != []
    file, there = place.root / "a copy", {"QUARTERDECK_DATABASE_URL": workers_url}
    copying.copy(place.root / "one.db", file)
    refused = await _call(place, "db", "restore", str(file), **there)
    assert_refused(refused, 7, "holds a deck", f"quarterdeck import '{file}'")
    assert (await _call(place, "import", str(file), **there)).code == 0
    assert await _everything(served) == await _everything(embedded)
    assert (await _call(place, "db", "check", **there)).code == 0


@contextlib.contextmanager
def _short_of_room(size: int) -> Iterator[None]:
    """The operating system refuses to make files longer, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.embedded("copies SQLite's file; that a server's disk is full is said by the server")
async def test_a_full_disk_is_said_as_that(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", user="ada", path="")
    await keeping.upgrade(settings)
    deck, file, media = settings.home / "deck.db", tmp_path / "copy", tmp_path / "media"
    copying.copy(deck, media)
    room = deck.stat().st_size // 2
    with _short_of_room(room), pytest.raises(StoreUnavailable, match="cannot be made") as unmade:
        await keeping.backup(settings, file)
    assert "room" in unmade.value.fix
    with _short_of_room(room), pytest.raises(StoreUnavailable, match="cannot be copied into") as unread:
        await keeping.bring(settings, media)
    assert "room" in unread.value.fix
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "media"]  # noqa: ASYNC240 - a test may wait
    assert not [path for path in settings.home.iterdir() if "import" in path.name]
    with pytest.raises(BadInput, match="cannot be written"):
        await keeping.backup(settings, tmp_path / "nowhere" / "copy")


# --- bringing it up to date ---------------------------------------------------------------------------------------


async def test_after_the_upgrade_whoever_may_only_read_sees_the_deck(place: Place, empty_url: str) -> None:
    """The engine's part is there as well: nobody else has opened the deck."""
    place.begin()
    role = f"looker_{secrets.token_hex(4)}"
    owner = {"QUARTERDECK_DATABASE_URL": empty_url}
    reader = {"QUARTERDECK_DATABASE_URL": empty_url.replace("//postgres@", f"//{role}@")}
    try:
        made = await _call(place, "db", "upgrade", **owner)
        newest = migrations("postgres")[-1].version
        assert (made.code, f"version {newest} of the schema (from nothing, " in made.out) == (0, True), made
        assert "steps of procrastinate" in made.out and "of engine)" in made.out
        with psycopg.connect(empty_url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN")
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        shown = await _call(place, "ps", "--json", **reader)
        assert (shown.code, shown.out) == (0, ""), shown
        again = await _call(place, "db", "upgrade", "--json", **reader)
        told = json.loads(again.out)
        assert (again.code, told["version"], told["before"], told["laid"]) == (0, newest, newest, [])
        assert (await _call(place, "db", "upgrade", **owner)).out.strip().endswith("of the schema, as before")
        assert_refused(await _call(place, "worker", **reader), 1, "permission denied", "whose user may write")
    finally:
        with psycopg.connect(empty_url, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {role}")
            connection.execute(f"DROP ROLE IF EXISTS {role}")


@pytest.mark.embedded("upgrades a file of an older version")
async def test_an_upgrade_says_from_where_to_where(place: Place) -> None:
    place.begin()
    place.home.mkdir()
    steps = migrations()[:-1]
    with contextlib.closing(sqlite3.connect(place.home / "deck.db")) as old:
        for statement in (statement for step in steps for statement in step.statements):
            old.execute(statement)
        old.execute(f"PRAGMA user_version = {steps[-1].version}")
        old.commit()
    done = await _call(place, "db", "upgrade")
    assert f"version {steps[-1].version + 1} of the schema (from version {steps[-1].version})" in done.out
    assert (await _call(place, "db", "upgrade")).out.strip().endswith("as before")


# --- pruning ----------------------------------------------------------------------------------------------------


def test_what_goes_is_what_ended_before_and_beyond_the_newest() -> None:
    ended = [("d", 40.0), ("c", 30.0), ("b", 20.0), ("a", 10.0)]
    assert chosen(ended, None, 1) == ["c", "b", "a"]
    assert chosen(ended, 25.0, None) == ["b", "a"]
    assert chosen(ended, 25.0, 3) == ["a"]
    assert chosen(ended, None, 9) == []


async def test_what_was_pruned_is_gone_and_the_rest_can_be_proved(place: Place) -> None:
    place.begin()
    store = await open_at(place.home / "deck.db")
    log = Log(store, SystemClock())
    for run in ("r-1", "r-10", "r-2"):
        await _run(log, run, ends=run != "r-2")
    await log.anchor(await log.claim(ids.DECK_STREAM))
    assert sorted(run for run, _ in await ended(store)) == ["r-1", "r-10"]
    gone = await prune(store, log, ["r-1"], "ada")
    assert (gone.runs, gone.streams, gone.records) == (1, 2, 5)
    assert await log.read("run/r-1") == []
    assert len(await log.read("run/r-10")) == 4
    assert [row["run"] for row in await store.read("view_runs")] == ["r-2", "r-10"]
    assert await sweep(store, Log(store, SystemClock())) == 3
    found = await Log(store, SystemClock()).verify()
    assert (found.faults, found.pruned_streams, found.pruned_records) == ((), 2, 5)
    assert "pruned" in (await _call(place, "audit", "verify")).out
    with pytest.raises(Exception, match="no ended run"):
        await ended(store, "r-1")
    copy = await SqliteStore.open(place.root / "copy.db", durability="normal")
    await transfer(store, copy)
    assert (await Log(copy, SystemClock()).verify()) == found
    await copy.close()

    def forge(tx: Tx) -> None:
        tx.run("stream_put", name="run/r-1", epoch=9, seq=4, hash=bytes(32), last=0, at=0.0, steps=0)

    await store.write(forge)
    problems = [fault.problem for fault in (await Log(store, SystemClock()).verify()).faults]
    assert problems and "ends before its head" in problems[0]
    await store.close()


async def test_what_cannot_be_proved_is_not_taken_out(place: Place) -> None:
    place.begin()
    store = await open_at(place.home / "deck.db")
    log = Log(store, SystemClock())
    await _run(log, "r-1")
    await _run(log, "r-10")
    await store.write(lambda tx: tx.run("prune_stream", stream="run/r-10"))
    assert (await prune(store, log, ["r-1"], "ada")).runs == 1  # what is wrong with another run is in nobody's way
    with pytest.raises(Conflicting, match="was changed"):
        await prune(store, log, ["r-10"], "ada")
    await store.close()


async def test_what_is_written_after_a_run_was_pruned_can_be_proved(place: Place) -> None:
    """Its result was on its way outside, and arrives."""
    place.begin()
    store = await open_at(place.home / "deck.db")
    log = Log(store, SystemClock())
    await _run(log, "r-1")
    late = await log.claim(ids.publish_stream("r-1"))
    pushed = BranchPushed(run="r-1", repository="o/r", branch="b", commit="c")
    await log.append(late, pushed)
    await prune(store, log, ["r-1"], "ada")
    with pytest.raises(StaleClaim):
        await log.append(late, pushed)
    await log.append(await log.claim(ids.publish_stream("r-1")), pushed)
    found = await Log(store, SystemClock()).verify()
    assert (found.faults, found.pruned_records) == ((), 6)
    assert len(await log.read(ids.publish_stream("r-1"))) == 1
    anything: Any = None
    publishing = Publishing(log, anything, anything, anything, anything, anything)
    await publishing.publish(publish("r-1", "finished"))  # a job that only begins now has nothing to do
    await store.close()


@pytest.mark.parametrize("prefix", ["", "run/"])
async def test_a_check_beside_a_prune_finds_nothing_wrong(place: Place, prefix: str) -> None:
    place.begin()
    store = await open_at(place.home / "deck.db")
    log = Log(store, SystemClock())
    for run in ("r-1", "r-2"):
        await _run(log, run)
    await log.anchor(await log.claim(ids.DECK_STREAM))

    async def pruned() -> None:
        await prune(store, log, ["r-1"], "ada")

    faults: list[ChainFault] = []
    heads, gone = await grounds(store, faults)
    found = await verify(_Watched(store, "stream_heads", pruned), prefix, heads, faults, gone)
    assert found.faults == ()
    assert found.pruned_streams == (2 if not prefix else 1)
    await store.close()


async def test_a_run_of_which_a_job_is_left_stays(place: Place) -> None:
    place.begin()
    async with open_deck(place.settings) as deck:
        parts = deck._parts
        for run in ("r-1", "r-2", "r-3", "r-4"):
            await _run(deck.journal, run)
        job = publish("r-2", "finished", number=9)
        await parts.store.write(lambda tx: parts.engine.defer(tx, job))
        await parts.store.write(lambda tx: parts.engine.defer(tx, jobs.advance("r-3", delay=60)))
        await parts.store.write(lambda tx: parts.engine.defer(tx, look("r-4", "finished")))
        assert [run for run, _ in await ended(parts.store)] == ["r-1"]
        for run in ("r-2", "r-4"):
            with pytest.raises(Conflicting, match=f"{run} is left"):
                await prune(parts.store, deck.journal, [run], "ada")


async def _pack(log: Log, run: str, commit: str, onto: str) -> str:
    blob = await log.put(f"{onto}..{commit} of {run}".encode())
    kept = PackKept(commit=commit, onto=(onto,), pack_blob=blob, pack_bytes=1)
    await log.append(await log.claim(ids.run_stream(run)), kept)
    return blob


@pytest.mark.parametrize("later", ["r-1", "r-2"])
async def test_a_commit_that_a_run_needs_is_found_after_another_run_with_it_was_pruned(
    place: Place, later: str
) -> None:
    place.begin()
    store = await open_at(place.home / "deck.db")
    log = Log(store, SystemClock())
    packs, base = Packs(store, log), "b" * 40
    for run in ("r-1", "r-2"):
        await _run(log, run, ends=run == "r-1")
    for run in sorted(("r-1", "r-2"), key=lambda run: run == later):
        await _pack(log, run, base, "a" * 40 if run == "r-1" else "c" * 40)
    await _pack(log, "r-1", "d" * 40, base)
    found = await packs.find(base)
    assert found is not None and found.onto == ("a" * 40 if later == "r-1" else "c" * 40,)
    await prune(store, log, ["r-1"], "ada")
    await sweep(store, log)
    found = await packs.find(base)
    assert found is not None and found.onto == ("c" * 40,)
    assert await packs.find("d" * 40) is None
    await store.close()


async def test_bodies_go_only_while_nobody_relies_on_them(place: Place) -> None:
    """A server that does no work has stored a configuration, whose runs are all pruned; then it orders one more."""
    place.begin()
    server = await open_at(place.home / "deck.db")
    log = Log(server, SystemClock())
    await _run(log, "r-1")
    refused = await _call(place, "db", "prune", "--keep", "0", "--bodies")
    assert refused.code == 7 and "uses the database" in refused.err
    assert len(await log.read("run/r-1")) == 4
    await server.close()
    assert (await _call(place, "db", "prune", "--keep", "0", "--bodies")).code == 0
    store = await open_at(place.home / "deck.db")
    assert await ended(store) == []
    log = Log(store, SystemClock())
    blob = await log.put(b"the goal of r-2")
    claim = await log.claim("run/r-2")
    await log.append(claim, e.RunPaused(by="ada"))
    async with store.sole():
        assert await sweep(store, log) == 1
    assert await log.put(b"the goal of r-2") == blob
    await log.append(claim, e.RunPaused(by="ada"))
    assert await Log(store, SystemClock()).get(blob) == b"the goal of r-2"
    await store.close()


@pytest.mark.parametrize("when", ["²d", "٣d", "d", "-1d", "yesterday", "9" * 5_000 + "d"])
@pytest.mark.embedded("it is refused before anything depends on where the deck lies")
def test_a_day_that_is_none_is_refused(place: Place, when: str) -> None:
    assert_refused(call(place, "db", "prune", "--before", when), 2, "is no day", "--before 90d")


def test_pruning_by_command_says_what_goes_first(place: Place) -> None:
    place.begin()
    plan = str(place.plan(task("a", "echo a > a.txt")))
    assert call(place, "run", "--plan", plan, "--sandbox", "none", cwd=place.repository).code == 0
    nothing = call(place, "db", "prune")
    assert nothing.code == 2 and "--keep" in nothing.err
    trial = call(place, "db", "prune", "--keep", "0", "--dry-run")
    assert trial.out.startswith("r-") and "nothing was done" in trial.err
    assert call(place, "db", "prune", "--before", "1d").out == ""
    run = trial.out.strip()
    assert _rows_of(place, run) > {"runs", "tasks", "attempts", "intents", "purses", "starts", "landings"}
    done: Said = call(place, "db", "prune", "--keep", "0", "--bodies")
    assert done.out == trial.out
    assert _rows_of(place, run) == {"landings", "streams"}
    assert call(place, "ps").out.strip() in ("", "no runs")
    assert call(place, "audit", "verify").code == 0
    assert call(place, "doctor").code == 0


def _rows_of(place: Place, run: str) -> set[str]:
    """The tables in which something of a run stands."""
    every = store_kit.rows(place.home / "deck.db")
    return {table for table, row in every if any(isinstance(value, str) and run in value for value in row)}
