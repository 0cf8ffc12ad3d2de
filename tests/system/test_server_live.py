"""What the server shows live: once and as a stream, of a real run that is worked on in this process."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from deck_kit import Place, place_at, task
from server_kit import API, served

from quarterdeck.board.port import Delta, Snapshot


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as place:
        place.begin()
        yield place


@asynccontextmanager
async def watched(client: httpx2.AsyncClient, query: str = "", **headers: str) -> AsyncIterator[AsyncIterator[Any]]:
    """(event, id, data) as they come."""

    async def events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, int, dict[str, Any]]]:
        found: dict[str, str] = {}
        async for line in lines:
            name, _, value = line.partition(": ")
            if line:
                found[name] = value
            elif "data" in found:
                yield found["event"], int(found["id"]), json.loads(found["data"])
                found = {}

    async with client.stream("GET", f"{API}/stream{query}", headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer.aiter_lines())


async def test_a_run_is_seen_from_its_order_to_its_end(place: Place) -> None:
    async with served(place) as (deck, client), watched(client, "?topics=runs,deck") as seen:
        event, first, shot = await anext(seen)
        assert (event, shot["runs"], shot["agents"]) == ("snapshot", [], [])
        assert Snapshot.model_validate(shot).deck is not None
        plan = place.plan(task("a", "echo x > a.txt")).read_text()
        order = {"plan": plan, "repository": str(place.repository), "sandbox": "none"}
        run = (await client.post(f"{API}/runs", json=order)).json()["run"]
        working = asyncio.create_task(deck.work(run))
        statuses = []
        async with asyncio.timeout(60):
            async for event, number, data in seen:
                assert event == "delta" and number > first
                first = number
                statuses += [row.status for row in Delta.model_validate(data).runs.set]
                if statuses and statuses[-1].finished:
                    break
        await working
        assert statuses[-1] == "done"
        # Whoever was away goes on behind what they saw; a number that nobody gave gets a snapshot.
        async with watched(client, "?topics=runs", **{"last-event-id": "1"}) as again:
            event, _, data = await anext(again)
            assert (event, data["runs"][0]["run"], data["runs"][0]["status"]) == ("snapshot", run, "done")
        rows = (await client.get(f"{API}/runs")).json()
        assert [(row["run"], row["tasks"]["merged"]) for row in rows] == [(run, 1)]
        shot = (await client.get(f"{API}/snapshot?run={run}&topics=deck")).json()
        assert [(row["task"], row["status"]) for row in shot["tasks"]] == [("a", "merged")]
        assert shot["deck"]["unreviewed"] == {"merged": 1, "total": 1}
        assert (await client.get(f"{API}/gates")).json()[0]["landed"][0]["run"] == run
        for path in ("/agents", "/needs", "/deck"):
            assert (await client.get(f"{API}{path}")).status_code == 200


async def test_what_there_is_not_cannot_be_watched(place: Place) -> None:
    async with served(place) as (_, client):
        for path, status in (("/stream?run=r-0", 404), ("/snapshot?run=r-0", 404), ("/stream?topics=nothing", 422)):
            answer = await client.get(f"{API}{path}")
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
