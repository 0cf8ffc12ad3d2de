"""The deck in the hands of an operator: copies, moving to another database, pruning; and the proof after it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
from cli_kit import Said, call
from deck_kit import Place, place_at, task
from store_kit import open_at

from quarterdeck.assembly import open_deck
from quarterdeck.journal.log import Log
from quarterdeck.journal.pruning import chosen, ended, prune, sweep
from quarterdeck.journal.transfer import transfer
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import BadInput, Conflicting
from quarterdeck.settings import Settings
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Store, Tx
from quarterdeck.store.sqlite import SqliteStore

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
    created = e.RunCreated(
        run=run, goal="g", goal_blob=blob, repository="/r", target="t", base="b", into="i", config_blob=nested,
        budget_nusd=10, max_parallel=1, user="ada", sandbox="none",
    )  # fmt: skip
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


async def test_what_was_changed_is_not_brought(stores: tuple[Store, Store]) -> None:
    embedded, served = stores
    log = Log(embedded, SystemClock())
    await _run(log, "r-1")
    await embedded.write(lambda tx: tx.run("blob_drop", digest=bytes.fromhex(ids.digest(b"a part of r-1"))))
    await embedded.write(
        lambda tx: tx.run("blob_put", digest=bytes.fromhex(ids.digest(b"a part of r-1")), codec=0, body=b"another")
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


@pytest.mark.both_stores
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
        other.root.mkdir()
        other.begin()
        assert (await _call(other, "db", "restore", str(file))).code == 0
        assert (await _call(other, "db", "check")).code == 0
        copy = await open_at(other.home / "deck.db")
        assert await _everything(copy) == await _everything(store)
        await copy.close()
    await store.close()


# --- pruning ----------------------------------------------------------------------------------------------------


def test_what_goes_is_what_ended_before_and_beyond_the_newest() -> None:
    ended = [("d", 40.0), ("c", 30.0), ("b", 20.0), ("a", 10.0)]
    assert chosen(ended, None, 1) == ["c", "b", "a"]
    assert chosen(ended, 25.0, None) == ["b", "a"]
    assert chosen(ended, 25.0, 3) == ["a"]
    assert chosen(ended, None, 9) == []


@pytest.mark.both_stores
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


@pytest.mark.both_stores
async def test_what_cannot_be_proved_is_not_taken_out(place: Place) -> None:
    place.begin()
    store = await open_at(place.home / "deck.db")
    log = Log(store, SystemClock())
    await _run(log, "r-1")
    await store.write(lambda tx: tx.run("prune_stream", stream="run/r-1"))
    with pytest.raises(Conflicting, match="was changed"):
        await prune(store, log, ["r-1"], "ada")
    await store.close()


def test_pruning_by_command_says_what_goes_first(place: Place) -> None:
    place.begin()
    plan = str(place.plan(task("a", "echo a > a.txt")))
    assert call(place, "run", "--plan", plan, "--sandbox", "none", cwd=place.repository).code == 0
    nothing = call(place, "db", "prune")
    assert nothing.code == 2 and "--keep" in nothing.err
    trial = call(place, "db", "prune", "--keep", "0", "--dry-run")
    assert trial.out.startswith("r-") and "nothing was done" in trial.err
    assert call(place, "db", "prune", "--before", "1d").out == ""
    done: Said = call(place, "db", "prune", "--keep", "0", "--bodies")
    assert done.out == trial.out
    assert call(place, "ps").out.strip() in ("", "no runs")
    assert call(place, "audit", "verify").code == 0
    assert call(place, "doctor").code == 0
