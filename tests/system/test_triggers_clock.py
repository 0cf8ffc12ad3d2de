"""What the clock fires: each moment once, over restarts and changes of the clock; and what is told is told once."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from deck_kit import Place, place_at, task
from trigger_kit import NOTIFY, until

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.assembly.reacting import OperatorsFile
from quarterdeck.engine.port import Job, Later
from quarterdeck.journal.firings import FiringView
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import outside
from quarterdeck.settings import DECK_FILE
from quarterdeck.triggers import port, publishing, signature
from quarterdeck.triggers.clock import Timekeeper

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.embedded("a deck on PostgreSQL has its server's clock, which a test does not set"),
]

NIGHTLY = """
[sandbox]
backend = "none"
[triggers.nightly]
kind = "cron"
schedule = "30 2 * * *"
timezone = "Europe/Berlin"
missed = "{missed}"
concurrent = 50
repository = "{repository}"
plan = "{plan}"
"""


class Clock:
    """A wall clock that is set."""

    def __init__(self, now: float) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


def berlin(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        made.begin()
        yield made


def configure(place: Place, missed: str, more: str = "") -> None:
    plan = place.plan(task("fix", "echo fixed > fix.txt"))
    text = NIGHTLY.format(missed=missed, repository=place.repository, plan=plan)
    place.operator(text + more)


@asynccontextmanager
async def taking(place: Place, clock: Clock) -> AsyncIterator[Deck]:
    """A deck in which messages are decided about, and no run is worked on."""

    async def later(job: Job) -> None:
        raise Later(3600.0, "not in this test")

    async with open_deck(place.settings, clock) as deck:
        await until(deck, deck._parts.engine.try_own)
        mine = (port.TAKE, port.RECORD, port.NOTIFY)
        handlers = {kind: handler if kind in mine else later for kind, handler in deck.outside.handlers.items()}
        serving = asyncio.create_task(deck._parts.engine.serve(handlers, until_idle=False))
        try:
            yield deck
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


async def look(deck: Deck) -> float:
    """One look at the clock; in how many seconds the next one is due."""
    return await deck.outside.timekeeper.look()


async def scheduled(deck: Deck, count: int) -> bool:
    """Whether there are so many records of a schedule."""
    found = await deck.journal.read(ids.trigger_stream("nightly"))
    return sum(isinstance(record.event, outside.TriggerScheduled) for record in found) >= count


async def decided(deck: Deck, delivery: str) -> FiringView:
    async def there() -> FiringView | None:
        found = await deck.outside.firings.firing("nightly", delivery)
        return found if found is not None and found.status in ("ordered", "refused") else None

    found = await until(deck, there)
    assert isinstance(found, FiringView)
    return found


async def test_each_moment_makes_one_run_over_a_change_of_the_clock(place: Place) -> None:
    configure(place, "skip")
    clock = Clock(berlin("2026-03-28T02:29"))
    async with taking(place, clock) as deck:
        assert await look(deck) == 60.0
        clock.now += 60.0
        await look(deck)
        assert (await decided(deck, "clock/2026-03-28T01:30Z")).status == "ordered"
        await look(deck)
        clock.now = berlin("2026-03-29T03:00")  # 02:30 does not exist on that day
        await look(deck)
        assert (await decided(deck, "clock/2026-03-29T01:00Z")).status == "ordered"
        assert len(await deck.views.runs()) == 2
    async with taking(place, clock) as deck:  # who starts anew knows what was fired
        await look(deck)
        clock.now = berlin("2026-03-30T02:30")
        await look(deck)
        assert (await decided(deck, "clock/2026-03-30T00:30Z")).status == "ordered"
        assert len(await deck.views.runs()) == 3


async def test_machines_whose_files_differ_keep_each_its_own_schedule_and_say_it_once(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    configure(place, "skip")
    other = place.root / "other"
    other.mkdir()
    (other / DECK_FILE).write_text((place.home / DECK_FILE).read_text().replace("30 2 *", "45 2 *"))
    clock = Clock(berlin("2026-06-01T12:00"))
    async with taking(place, clock) as deck:

        async def scheduled(count: int) -> bool:
            found = await deck.journal.read(ids.trigger_stream("nightly"))
            return sum(isinstance(record.event, outside.TriggerScheduled) for record in found) == count

        later = Timekeeper(deck.journal, deck._parts.engine, OperatorsFile(other), clock)
        for count, keeper in enumerate((deck.outside.timekeeper, later), 1):
            await keeper.look()
            await until(deck, partial(scheduled, count))
        for _ in range(3):
            await look(deck)
            await later.look()
        clock.now = berlin("2026-06-02T02:30:20")
        await later.look()
        await look(deck)
        assert (await decided(deck, "clock/2026-06-02T00:30Z")).status == "ordered"
        clock.now = berlin("2026-06-02T02:45:20")
        await look(deck)
        await later.look()
        assert (await decided(deck, "clock/2026-06-02T00:45Z")).status == "ordered"
        clock.now = berlin("2026-06-03T02:45:20")
        await later.look()
        assert (await decided(deck, "clock/2026-06-03T00:45Z")).status == "ordered"
        await look(deck)  # a quarter of an hour late: what another machine fired later does not hide that
        assert (await decided(deck, "clock/2026-06-03T00:30Z")).code == "missed"
        assert await scheduled(2), "each change once"
        assert len(await deck.views.runs()) == 3
    said = [record.getMessage() for record in caplog.records if "another machine" in record.getMessage()]
    assert len(said) == 1
    assert "45 2 * * * (Europe/Berlin), this one's 30 2" in said[0]


async def test_what_was_missed_is_known_after_a_restart_also_where_files_differ(place: Place) -> None:
    configure(place, "once")
    other = place.root / "other"
    other.mkdir()
    (other / DECK_FILE).write_text((place.home / DECK_FILE).read_text().replace("30 2 *", "45 2 *"))
    clock = Clock(berlin("2026-06-01T12:00"))
    for at, moment in ((clock.now, None), (berlin("2026-06-04T12:00"), "06-04"), (berlin("2026-06-06T12:00"), "06-06")):
        clock.now = at
        async with taking(place, clock) as deck:
            later = Timekeeper(deck.journal, deck._parts.engine, OperatorsFile(other), clock, "another one")
            await look(deck)
            await until(deck, partial(scheduled, deck, 1))
            await later.look()
            await until(deck, partial(scheduled, deck, 2))
            for time in ("00:30", "00:45") if moment else ():
                assert (await decided(deck, f"clock/2026-{moment}T{time}Z")).status == "ordered"


async def test_what_passed_while_the_file_had_another_schedule_was_not_missed(place: Place) -> None:
    clock = Clock(berlin("2026-06-01T12:00"))
    for count, (day, hours) in enumerate(((1, "2 *"), (4, "9 9"), (7, "2 *")), 1):
        configure(place, "once")
        file = place.home / DECK_FILE
        file.write_text(file.read_text().replace("30 2 *", f"30 {hours}"))
        clock.now = berlin(f"2026-06-0{day}T12:00")
        async with taking(place, clock) as deck:
            await look(deck)
            await until(deck, partial(scheduled, deck, count))
            await look(deck)
            assert await deck.views.runs() == []
            assert await deck.outside.firings.last("nightly") is None


@pytest.mark.parametrize(("missed", "status", "runs"), [("skip", "refused", 0), ("once", "ordered", 1)])
async def test_missed_moments_are_one_run_or_none(place: Place, missed: str, status: str, runs: int) -> None:
    configure(place, missed)
    clock = Clock(berlin("2026-06-01T12:00"))
    async with taking(place, clock) as deck:
        await look(deck)
        stream = ids.trigger_stream("nightly")
        await until(deck, lambda: deck.journal.last(stream))
    clock.now = berlin("2026-06-04T12:00")
    async with taking(place, clock) as deck:
        await look(deck)
        found = await decided(deck, "clock/2026-06-04T00:30Z")
        assert found.status == status
        assert len(await deck.views.runs()) == runs
        if missed == "skip":
            assert "3 moments passed" in found.reason


async def test_a_run_that_cannot_be_stored_for_a_day_is_given_up_with_the_reason(place: Place) -> None:
    configure(place, "skip")
    objects = place.repository / ".git" / "objects"
    objects.rename(objects.with_name("away"))
    objects.mkdir()
    clock = Clock(berlin("2026-06-01T02:29"))
    async with taking(place, clock) as deck:
        await look(deck)
        clock.now += 60.0
        await look(deck)
        delivery = "clock/2026-06-01T00:30Z"

        async def stands(status: str) -> FiringView | None:
            found = await deck.outside.firings.firing("nightly", delivery)
            return found if found is not None and found.status == status else None

        intended = await until(deck, lambda: stands("fired"))
        clock.now += 25 * 3600
        await deck.journal.commit(also=lambda tx: None)
        refused = await until(deck, lambda: stands("refused"))
        assert (refused.code, refused.reason != "") == ("order", True)
        assert intended.run and await deck.views.runs() == []


@contextmanager
def webhook(statuses: list[int]) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A webhook that answers with these statuses, then with 200."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(({key.lower(): value for key, value in self.headers.items()}, self._read()))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def _read(self) -> bytes:
            return self.rfile.read(int(self.headers["content-length"]))

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_a_trigger_that_cannot_start_its_run_is_told_until_it_is_heard(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "PAUSES", (0.01,) * 11)
    monkeypatch.setenv("TEST_NOTIFY", NOTIFY)
    clock = Clock(berlin("2026-06-01T12:00"))
    with webhook([503, 301]) as (url, got):
        configure(place, "skip", f'[notify]\nurl = "{url}"\nsecret_env = "TEST_NOTIFY"\n')
        place.plan(task("fix", "true", agent="nobody"))
        async with taking(place, clock) as deck:
            fired = await deck.outside.fire("nightly", None)
            assert fired is not None
            assert (fired.status, fired.code) == ("refused", "order")

            async def sent() -> list[outside.NoticeSent]:
                pages = [await deck.journal.read(name) for name in await deck.journal.streams("notice/")]
                return [
                    record.event for page in pages for record in page if isinstance(record.event, outside.NoticeSent)
                ]

            [notice] = await until(deck, sent)
            assert (notice.need, notice.status, notice.number) == ("trigger", 200, 3)
    assert len(got) == 3
    assert {headers["webhook-id"] for headers, _ in got} == {notice.notice}
    for headers, body in got:
        assert signature.flaw(NOTIFY, headers, body, clock.now) == ""
        told = json.loads(body)
        assert (told["kind"], told["trigger"], told["next"]) == ("trigger", "nightly", "quarterdeck triggers")
