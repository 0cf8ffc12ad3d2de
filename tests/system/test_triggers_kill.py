"""Killed at each point on the way from a message to its pull request: one run, one branch, one pull request."""

import json
import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from trigger_kit import BAD, NOTIFY, World, signed, until, world_at

from quarterdeck.assembly import open_deck
from quarterdeck.journal.views import RunView
from quarterdeck.kernel import probes
from quarterdeck.kernel.events import RunStatus, outside
from quarterdeck.kernel.events.base import EventBase
from quarterdeck.triggers import signature

pytestmark = [pytest.mark.sandbox, pytest.mark.slow, pytest.mark.timeout(240)]

MERGED = ("trigger.received", "trigger.fired", "trigger.stored", "publish.pushed", "publish.opened")
COMMENTED = ("publish.commented",)
TOLD = ("notice.sent",)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with world_at(tmp_path, monkeypatch) as made:
        yield made


@contextmanager
def webhook() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """The operator's webhook: its address, and what it was sent."""
    got: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/needs", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def carried_through(world: World, points: tuple[str, ...]) -> None:
    """Serve the deck, killed at each of the points in turn; the message comes to the first of them."""
    headers, body = signed(world.server.labeled(7))
    for number, point in enumerate(points):
        with world.place.quarterdeck("up", "--port", "0", QUARTERDECK_PROBE=f"{point}:1:kill") as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if number == 0:
                request = urllib.request.Request(f"{url}/hooks/issues", body, headers)
                with urllib.request.urlopen(request, timeout=20) as answer:
                    assert answer.status == 202
            assert process.wait(timeout=60) == -signal.SIGKILL, point


async def undisturbed(world: World, stream: str, kind: type[EventBase]) -> RunView:
    """Serve the deck until an event of that kind stands in such a stream; the one run that there is."""
    with world.place.quarterdeck("up", "--port", "0") as process:
        assert process.stdout is not None
        process.stdout.readline()
        async with open_deck(world.place.settings) as deck:

            async def there() -> bool:
                names = await deck.journal.streams(stream)
                pages = [await deck.journal.read(name) for name in names]
                return any(isinstance(record.event, kind) for page in pages for record in page)

            await until(deck, there)
            [run] = await deck.views.runs()
            return run


async def test_killed_on_the_way_to_a_pull_request(world: World) -> None:
    world.server.issue(7, "Crash on start", "It crashes.")
    carried_through(world, MERGED)
    run = await undisturbed(world, "publish/", outside.PullOpened)
    assert run.status is RunStatus.DONE
    [pull] = world.server.pulls
    assert pull["head"]["ref"] == f"quarterdeck/{run.run}"
    assert world.tip(pull["head"]["ref"]) == run.sha
    assert world.server.complaints == []


async def test_killed_on_the_way_to_a_comment(world: World) -> None:
    world.server.issue(7, "Crash on start", "It crashes.")
    world.configure(plan=BAD)
    carried_through(world, COMMENTED)
    assert (await undisturbed(world, "publish/", outside.IssueCommented)).status is RunStatus.FAILED
    assert len(world.server.comments[7]) == 1


async def test_killed_on_the_way_to_a_person(world: World) -> None:
    world.server.issue(7, "Crash on start", "It crashes.")
    with webhook() as (url, got):
        world.configure(notify=url, plan=BAD)
        carried_through(world, TOLD)
        run = await undisturbed(world, "notice/", outside.NoticeSent)
    failed = [(headers, body) for headers, body in got if json.loads(body)["kind"] == "failed"]
    # Killed between the receipt and its record it is sent twice, under one id.
    assert len(failed) == 2
    assert {headers["webhook-id"] for headers, _ in failed} == {json.loads(failed[0][1])["id"]}
    for headers, body in failed:
        assert signature.flaw(NOTIFY, headers, body, float(headers["webhook-timestamp"])) == ""
    assert json.loads(failed[0][1])["next"] == f"quarterdeck show {run.run}"


def test_every_point_of_the_outside_is_killed_at() -> None:
    mine = {name for name in probes.NAMES if name.startswith(("trigger.", "publish.", "notice."))}
    assert mine == {*MERGED, *COMMENTED, *TOLD}
