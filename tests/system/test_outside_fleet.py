"""Triggers, results and messages where one process is configured for them and the one that works is not.

A server has the file and the secrets and performs nothing of the runs; a worker beside it has a home without a file.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from test_triggers_clock import webhook
from trigger_kit import BAD, SECRET, World, post, signed, until, world_at

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.assembly.gone import Gone
from quarterdeck.engine.procrastinate import ProcrastinateEngine
from quarterdeck.engine.seats import Pace, Place, Seat
from quarterdeck.journal.firings import FiringView
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import outside
from quarterdeck.kernel.triggers import Origin
from quarterdeck.triggers import publishing
from quarterdeck.triggers.clock import LOOK, Timekeeper
from quarterdeck.triggers.port import Received
from quarterdeck.workplace.ground import Ground

pytest_plugins = ("postgres_kit",)
pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

SERVER = Place(queues=(), capacity=4)
HOURLY = """
[triggers.hourly]
kind = "cron"
schedule = "0 * * * *"
concurrent = 50
repository = "{repository}"
plan = "{plan}"
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(publishing, "PAUSES", (0.01,) * 11)
    with world_at(tmp_path, monkeypatch) as made:
        made.server.issue(7, "Crash on start", "It crashes.")
        yield made
        Ground(tmp_path / "worker").destroy()


@asynccontextmanager
async def opened(world: World, url: str, home: str, place: Place | None, *, serve: bool = True) -> AsyncIterator[Deck]:
    """A deck of one process with a home of its own."""
    settings = replace(world.place.settings, home=world.place.root / home, database_url=url)
    async with open_deck(settings, place=place) as deck:
        serving = asyncio.create_task(deck.serve()) if serve else None
        try:
            yield deck
        finally:
            if serving is not None:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def both(world: World, url: str) -> AsyncIterator[tuple[Deck, Deck]]:
    """The server that is configured, and the worker that is not; the worker works first."""
    async with opened(world, url, "worker", None) as worker:
        await until(worker, worker.attended)
        async with opened(world, url, world.place.home.name, SERVER) as server:
            yield server, worker


@asynccontextmanager
async def performing(deck: Deck) -> AsyncIterator[None]:
    """It performs jobs, and its own keeper of schedules, which has the database's clock, does not look at them."""
    serving = asyncio.create_task(deck._parts.engine.serve(deck.outside.handlers, until_idle=False))
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def ended(deck: Deck) -> str:
    """The run that ended."""
    runs = await deck.views.runs()
    return runs[0].run if runs and runs[0].status.finished else ""


async def test_what_a_server_took_becomes_a_pull_request_beside_a_worker_without_its_file(
    world: World, workers_url: str
) -> None:
    async with both(world, workers_url) as (server, worker):
        assert (await post(server, "issues", *signed(world.server.labeled(7))))[0] == 202
        assert (await post(worker, "issues", *signed(world.server.labeled(7), delivery="d-2", secret=SECRET)))[0] == 401
        run = await until(server, lambda: ended(server))

        async def published() -> list[e.EventBase]:
            records = await server.journal.read(ids.publish_stream(run))
            return [record.event for record in records if isinstance(record.event, outside.PullOpened)]

        assert len(await until(server, published)) == 1
        found = await server.outside.firings.firing("issues", "d-1")
        assert found is not None
        assert (found.status, found.run) == ("ordered", run)
        problems = [
            record.event
            for record in await server.journal.read(ids.publish_stream(run))
            if isinstance(record.event, outside.OutboxFailed | outside.OutboxDelayed)
        ]
        assert problems == [], "no try of a process without the token"
        assert len(world.server.pulls) == 1
        assert await worker.outside.attended() is False, "its own file has no trigger"
        assert await server.outside.attended()
        deck = [record.event for record in await server.journal.read(ids.DECK_STREAM)]
        assert {event.owner for event in deck if isinstance(event, e.DeckOwned)} == {worker._parts.owner}
        assert [one.pid for one in await worker._parts.engine.workers()] == [os.getpid()], "the server is no worker"


async def test_a_result_that_nobody_can_publish_is_said_at_once_and_waits(world: World, workers_url: str) -> None:
    home = world.place.home.name
    async with opened(world, workers_url, home, SERVER, serve=False) as server:
        order = world.place.order(BAD, repository=repository(world), budget_usd=1.0)
        origin = Origin(repository="acme/shop", issue=7, title="Crash", by="ada", base="main", publish=True, subject="")
        run = await server.create(order.model_copy(update={"origin": origin}))
        async with opened(world, workers_url, "worker", None) as worker:
            await until(worker, lambda: ended(worker))
            async with asyncio.timeout(20):
                assert "token" in await worker.outside.publish(run)
            assert await worker.journal.read(ids.publish_stream(run)) == [], "no try was used up"
        async with asyncio.timeout(60):
            assert await server.outside.publish(run) == ""
        said = await server.journal.read(ids.publish_stream(run))
        assert [record.event.kind for record in said] == ["issue.commented"]


async def test_people_are_told_of_what_a_worker_without_notify_put_on_record(
    world: World, workers_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook([]) as (address, got):
        world.configure(notify=address, plan=BAD)
        async with both(world, workers_url) as (server, worker):
            await post(server, "issues", *signed(world.server.labeled(7)))
            run = await until(server, lambda: ended(server))

            async def told() -> list[outside.NoticeSent]:
                names = await server.journal.streams("notice/")
                pages = [await server.journal.read(name) for name in names]
                sent = [record.event for page in pages for record in page]
                return [one for one in sent if isinstance(one, outside.NoticeSent) and one.need == "failed"]

            [notice] = await until(server, told)
            assert (notice.run, notice.number) == (run, 1)
            assert (await worker.views.run(run)).status == e.RunStatus.FAILED
        assert len([body for _, body in got if b'"kind":"failed"' in body]) == 1


async def test_a_message_waits_for_the_machine_that_has_its_trigger(world: World, workers_url: str) -> None:
    home = world.place.home.name
    async with opened(world, workers_url, "worker", None) as worker:
        async with opened(world, workers_url, home, SERVER, serve=False) as server:
            assert (await post(server, "issues", *signed(world.server.labeled(7))))[0] == 202
        # Once a whole run is done by the worker, it has had every chance to take the message.
        run = await worker.create(world.place.order(BAD, repository=repository(world)))

        async def finished() -> bool:
            return (await worker.views.run(run)).status.finished

        await until(worker, finished)
        assert await worker.outside.firings.firing("issues", "d-1") is None, "neither taken nor refused"
        async with opened(world, workers_url, home, SERVER) as server:

            async def ordered() -> FiringView | None:
                found = await server.outside.firings.firing("issues", "d-1")
                return found if found is not None and found.status == "ordered" else None

            assert (await until(server, ordered)).run


async def test_a_message_whose_trigger_stands_in_no_file_any_more_is_refused_once_nobody_has_had_it_for_a_day(
    world: World, workers_url: str
) -> None:
    home, clock = world.place.home, Clock(1000.0)
    with webhook([]) as (address, got):
        world.configure(notify=address)
        async with opened(world, workers_url, home.name, SERVER) as server:
            has = {"kind": "trigger", "provider": "issues"}
            await until(server, lambda: server._parts.store.read("told_of", **has, since=0.0))
        world.place.operator(f'[notify]\nurl = "{address}"\nsecret_env = "TEST_NOTIFY"\n')
        async with opened(world, workers_url, "worker", None) as worker:
            parts, machine = worker._parts, (home / "machine").read_text()
            asking = ProcrastinateEngine(parts.store, workers_url, Seat(ids.new_owner_id()), clock, Pace(0.0))
            gone = Gone(parts.store, asking, clock)

            async def waits(minutes: int) -> bool:
                """Whether it is still left to those who have the trigger, that much later."""
                clock.now += minutes * 60.0
                await gone.look()
                return [one.wants for one in await asking.untaken()] == ["trigger/issues"]

            async def said(hours_ago: float) -> None:
                what = {**has, "holder": machine, "most": 1, "until": time.time() - hours_ago * 3600.0, "lasting": 1}
                await parts.store.write(lambda tx: tx.run("told_say", **what))

            async def refused() -> FiringView | None:
                return await worker.outside.firings.firing("issues", "d-1")

            message = Received(trigger="issues", delivery="d-1", event="issues", body="{}", at=time.time() - 3600.0)
            await worker.outside.receiving.put(message)
            assert [await waits(minutes) for minutes in (0, 9, 30)] == [True] * 3, "it was there a moment ago"
            await said(hours_ago=23)
            assert await waits(5)
            await said(hours_ago=25)
            assert not await waits(5)
            found = await until(worker, refused)
            assert (found.status, found.code, found.reason) == ("refused", "gone", "there is no trigger issues")
            await asking.close()
            async with opened(world, workers_url, home.name, SERVER) as server:

                async def told() -> bool:
                    return any(b"the trigger issues could not start its run" in body for _, body in got)

                await until(server, told)


async def test_a_message_waits_ten_minutes_for_a_trigger_that_was_taken_out_of_its_file(
    world: World, workers_url: str
) -> None:
    clock = Clock(1000.0)
    async with opened(world, workers_url, world.place.home.name, SERVER, serve=False) as server:
        parts = server._parts
        asking = ProcrastinateEngine(parts.store, workers_url, Seat(ids.new_owner_id()), clock, Pace(0.0))
        gone = Gone(parts.store, asking, clock)
        assert (await post(server, "issues", *signed(world.server.labeled(7))))[0] == 202
        for minutes, wants in (
            (0, "trigger/issues"),
            (9, "trigger/issues"),
            (1, ""),
        ):  # nobody has said that there is one
            clock.now += minutes * 60.0
            await gone.look()
            assert [one.wants for one in await asking.untaken()] == [wants]
        await asking.close()


def repository(world: World) -> Path:
    """A repository of this machine."""
    return world.place.begin(name="other")


class Clock:
    """A wall clock that is set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


async def test_a_schedule_is_kept_by_whoever_has_it_and_nothing_is_missed_that_another_one_fired(
    world: World, workers_url: str
) -> None:
    plan = world.place.plan(BAD)
    world.configure(HOURLY.format(repository=repository(world), plan=plan))
    clock = Clock(1_800_000_000.0 - 1_800_000_000 % 3600 - 60)
    async with (
        opened(world, workers_url, "worker", None) as worker,
        opened(world, workers_url, world.place.home.name, SERVER, serve=False) as server,
        performing(server),
    ):

        def keeper(deck: Deck) -> Timekeeper:
            return Timekeeper(deck.journal, deck._parts.engine, deck.outside.configured, clock)

        async def fired(count: int) -> bool:
            records = await server.journal.read(ids.trigger_stream("hourly"))
            return sum(isinstance(record.event, outside.TriggerOrdered) for record in records) == count

        async def scheduled() -> bool:
            return await server.journal.last(ids.trigger_stream("hourly")) is not None

        first, second, idle = keeper(server), keeper(server), keeper(worker)
        assert await idle.look() == LOOK, "it knows of no schedule"
        assert await first.look() == 60.0
        await until(server, scheduled)
        assert await second.look() == 60.0
        for count in (1, 2, 3):
            clock.now += 60.0 if count == 1 else 3600.0
            await first.look()
            await until(server, partial(fired, count))
        await second.look()  # three hours late: another one has fired all of them
        await idle.look()
        streams = await server.journal.read(ids.trigger_stream("hourly"))
        assert not [record for record in streams if isinstance(record.event, outside.TriggerRefused)]
        assert len(streams) == 1 + 3 * 2, "each moment fired once, and ordered"
        assert len(await server.views.runs()) == 3
