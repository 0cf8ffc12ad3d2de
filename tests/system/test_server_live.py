"""What the server shows live: once and as a stream, of a real run that is worked on in this process."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from deck_kit import Place, place_at, task
from server_kit import API, served

from quarterdeck.board.port import Delta, Snapshot
from quarterdeck.kernel.events import RunStatus


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
                runs = Delta.model_validate(data).runs
                statuses += [row.status for row in runs.set]
                statuses += [RunStatus(row["status"]) for row in runs.changed.values() if "status" in row]
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


async def test_an_approval_is_given_once_for_exactly_what_was_seen(tmp_path: Path) -> None:
    with place_at(tmp_path) as place:
        place.begin(deck='[approve]\nmerge = "always"\n')
        async with served(place) as (deck, client):
            plan = place.plan(task("a", "echo x > a.txt")).read_text()
            order = {"plan": plan, "repository": str(place.repository), "sandbox": "none"}
            run = (await client.post(f"{API}/runs", json=order)).json()["run"]
            await deck.work(run)
            (row,) = (await client.get(f"{API}/approvals")).json()
            assert (row["run"], row["what"], row["status"]) == (run, "merge", "open")
            detail = (await client.get(f"{API}/approvals/{row['approval']}")).json()
            assert detail["diff"]["files"][0]["path"] == "a.txt" and '"a.txt"' in detail["subject"]
            path, shown = f"{API}/approvals/{row['approval']}", row["action_hash"]

            async def decide(verdict: str, action_hash: str, **headers: str) -> int:
                body = {"verdict": verdict, "action_hash": action_hash, "reason": "because"}
                answer = await client.post(path, json=body, headers=headers)
                assert answer.status_code == 200 or answer.json()["fix"], answer.text
                return answer.status_code

            assert await decide("approve", "0" * len(shown)) == 409, "what was seen is not what is asked"
            assert await decide("approve", shown, origin="http://evil.example") == 403
            assert (await client.post(path, json={"verdict": "approve"})).status_code == 422
            given = [await decide("approve", shown, **{"idempotency-key": "seen"}) for _ in range(2)]
            assert given == [200, 200], "the same request, answered alike"
            assert [await decide(verdict, shown) for verdict in ("approve", "deny")] == [409, 409], "replayed"
            assert (await client.get(f"{API}/approvals")).json() == []
            (row,) = (await client.get(f"{API}/approvals?open=false")).json()
            assert (row["status"], row["by"], row["reason"]) == ("approved", "ada", "because")
            await deck.work(run)
            assert (await client.get(f"{API}/runs/{run}/result")).json()["status"] == "done"


async def test_what_is_read_on_demand_is_what_happened(place: Place) -> None:
    async with served(place) as (deck, client):

        async def get(path: str) -> Any:
            answer = await client.get(f"{API}{path}")
            assert answer.status_code == 200, answer.text
            return answer.json()

        plan = place.plan(task("a", "echo x > a.txt"), task("b", "exit 3")).read_text()
        order = {"plan": plan, "repository": str(place.repository), "sandbox": "none"}
        run = (await client.post(f"{API}/runs", json=order)).json()["run"]
        await deck.work(run)
        answer = await client.get(f"{API}/runs/{run}")
        detail = answer.json()
        assert answer.headers["etag"] == f'"{detail["run"]["version"]}"'
        assert {row["task"]: row["status"] for row in detail["tasks"]} == {"a": "merged", "b": "failed"}
        assert detail["first_bad"]["attempt"].startswith(f"{run}.b.")
        timeline = await get(f"/runs/{run}/timeline")
        assert {lane["task"] for lane in timeline["lanes"]} == {"a", "b"}
        assert len({len(column) for column in timeline["spans"].values()}) == 1
        diff = await get(f"/attempts/{run}.a.1/diff")
        assert [(file["path"], file["status"]) for file in diff["files"]] == [("a.txt", "added")]
        thread = await get(f"/attempts/{run}.a.1/thread?limit=5")
        assert thread["attempt"]["attempt"] == f"{run}.a.1" and thread["entries"]
        assert (await client.get(f"{API}/attempts/{run}.b.1/diff")).status_code == 404
        found = await get(f"/events?stream=run/{run}&kind=task.merged")
        assert [event["body"]["task"] for event in found["events"]] == ["a"]
        verified = (await client.post(f"{API}/audit/verify", json={"run": run})).json()
        assert verified["faults"] == [] and verified["records"] > 10
        assert (await get("/audit"))["events"] >= verified["records"]
        for by in ("user", "agent", "model", "run", "day"):
            await get(f"/costs?by={by}&days=3")
        assert (await get(f"/runs/{run}/config"))["config"]["checks"]["gate"] == ["sh check.sh"]
        packed = await client.get(f"{API}/runs/{run}/export")
        with zipfile.ZipFile(io.BytesIO(packed.content)) as opened:
            assert {f"{run}/report.md", f"{run}/plan.yaml", f"{run}/run/{run}.jsonl"} <= set(opened.namelist())
        # A task that did not merge is tried again in the name of whoever asks.
        retried = await client.post(f"{API}/tasks/{run}/b/retry", json={})
        assert retried.status_code == 202, retried.text
        told = await client.post(
            f"{API}/attempts/{run}.b.1/comments", json={"path": "b.txt", "line": 1, "text": "why?"}
        )
        assert told.status_code == 202, told.text
        assert (await client.post(f"{API}/attempts/{run}.a.1/comments", json={"text": "why?"})).status_code == 409
