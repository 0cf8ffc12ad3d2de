"""Several processes of one deck: one of them tells the journal, another one goes on, and figures are where they are
read."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from deck_kit import Place, place_at, task
from otlp_kit import Receiver, receiving
from trigger_kit import until

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.engine.seats import Place as Takes
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Store
from quarterdeck.telemetry import turn
from quarterdeck.telemetry.port import trace_id
from quarterdeck.telemetry.turn import SharedTurn
from quarterdeck.workplace.ground import Ground

pytest_plugins = ("postgres_kit",)

SERVER = Takes(queues=(), capacity=4)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        made.begin()
        yield made
        for home in ("first", "second"):
            Ground(tmp_path / home).destroy()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@asynccontextmanager
async def working(place: Place, url: str, home: str, told: str, takes: Takes | None = None) -> AsyncIterator[Deck]:
    """A deck of one process with a home of its own, at work."""
    (place.root / home).mkdir(exist_ok=True)
    (place.root / home / "deck.toml").write_text(f"[telemetry]\n{told}\n")
    settings = replace(place.settings, home=place.root / home, database_url=url)
    async with open_deck(settings, place=takes) as deck, AsyncExitStack() as more:
        if takes is SERVER:
            at = await more.enter_async_context(deck.serving("127.0.0.1", 0))
            deck.at = at.url  # type: ignore[attr-defined]  # for the test that asks it
        serving = asyncio.create_task(deck.serve())
        try:
            yield deck
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def run(place: Place, deck: Deck) -> str:
    """A run, to its end."""
    made = await deck.create(place.order(task("one", "echo one > one.txt")))

    async def ended() -> bool:
        return (await deck.views.run(made)).status.finished

    await until(deck, ended)
    return made


async def arrived(deck: Deck, receiver: Receiver, made: str) -> None:
    """Until the root of the run's trace is there, which is sent last."""

    async def there() -> bool:
        return any(span.trace == f"{trace_id(made):032x}" and not span.parent for span in receiver.spans)

    await until(deck, there)


def tellers(receiver: Receiver) -> set[str]:
    return {resource["service.instance.id"] for resource in receiver.resources}


@pytest.mark.sandbox
@pytest.mark.slow
async def test_two_processes_tell_everything_once_and_the_second_goes_on(
    place: Place, receiver: Receiver, workers_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedTurn, "every", 0.1)
    told = f'otlp = "{receiver.url}"\nlogs = "json"\nlog_file = "lines.json"'
    async with AsyncExitStack() as opened:
        first = await opened.enter_async_context(working(place, workers_url, "first", told))
        await holder(first, first)
        async with working(place, workers_url, "second", told) as second:
            before = await run(place, second)
            await arrived(second, receiver, before)
            assert tellers(receiver) == {first._parts.owner}
            await opened.aclose()
            await holder(second, second)
            after = await run(place, second)
            await arrived(second, receiver, after)
            recorded = await second.journal._store.read("events_all", prefix="", after=0, limit=10_000)
    assert len(tellers(receiver)) == 2
    assert Counter(span.id for span in receiver.spans).most_common(1)[0][1] == 1, "each span once"
    assert {span.trace for span in receiver.spans} == {f"{trace_id(each):032x}" for each in (before, after)}
    lines = Counter[tuple[Any, ...]]()
    for home in ("first", "second"):
        lines.update(events(place.root / home / "lines.json"))
    assert lines.most_common(1)[0][1] == 1, "each record once"
    assert {(row["stream"], row["seq"]) for row in recorded} <= lines.keys(), "each record"


def events(path: Path) -> list[tuple[str, int]]:
    """The records of the journal that a file of log lines tells of."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["stream"], line["seq"]) for line in lines if "event" in line]


@pytest.mark.sandbox
@pytest.mark.slow
async def test_a_server_that_performs_nothing_has_the_figures(
    place: Place, receiver: Receiver, workers_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SharedTurn, "every", 0.1)
    told = f'otlp = "{receiver.url}"\nprometheus = true'
    async with working(place, workers_url, "second", told) as worker:
        await holder(worker, worker)
        async with working(place, workers_url, "first", told, SERVER) as server:
            await holder(server, server)  # who has a port goes before who has none
            await run(place, worker)
            async with httpx2.AsyncClient(base_url=server.at) as client:  # type: ignore[attr-defined]  # set above

                async def counted() -> bool:
                    text = (await client.get("/metrics")).text
                    return 'quarterdeck_tasks_total{status="merged"} 1.0' in text

                await until(server, counted)
        await holder(worker, worker)


async def holder(asking: Deck, whose: Deck) -> None:
    """Until it is that process's turn."""

    async def there() -> bool:
        rows = await asking.journal._store.read("telling_get", name="journal")
        return bool(rows) and rows[0]["holder"] == whose._parts.owner

    async with asyncio.timeout(30):
        while not await there():
            await asking.journal._store.changed(0, 0.05)


# --- turns --------------------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path, workers_url: str) -> AsyncIterator[Store]:
    made = await open_url(workers_url)
    yield made
    await made.close()


async def works(holder: str) -> bool:
    return True


async def test_a_turn_is_one_processs_until_it_is_silent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = SharedTurn(store, "o-1"), SharedTurn(store, "o-2")
    for each in (first, second):
        monkeypatch.setattr(each, "_works", works)
    assert await first.take(shows=False) == 0
    assert await second.take(shows=False) is None
    assert await first.keep(0)
    monkeypatch.setattr(turn, "LEASE", 0.05)
    assert await first.keep(0), "from now on it lasts for a moment"
    async with asyncio.timeout(30):
        while (taken := await second.take(shows=False)) is None:
            await store.changed(0, 0.02)
    assert taken == 0
    assert not await first.keep(0)
    assert not await first.sure(0)
    await first.give(7)
    assert (await store.read("telling_get", name="journal"))[0]["holder"] == "o-2", "it is not its own to give"


async def test_a_turn_of_one_that_was_struck_off_is_free(store: Store) -> None:
    first, second = SharedTurn(store, "o-1"), SharedTurn(store, "o-2")
    assert await first.take(shows=False) == 0
    assert await second.take(shows=False) == 0, "nobody of that name is on record"
    assert not await first.keep(0)


async def test_who_shows_figures_goes_before_who_does_not(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, shows = SharedTurn(store, "o-1"), SharedTurn(store, "o-2")
    for each in (plain, shows):
        monkeypatch.setattr(each, "_works", works)
    assert await plain.take(shows=False) == 0
    assert await shows.take(shows=True) is None
    assert not await plain.keep(0), "it is asked for"
    await plain.give(0)
    assert await plain.take(shows=False) is None
    assert await shows.take(shows=True) == 0
    assert await shows.keep(0)
    assert await plain.take(shows=False) is None
