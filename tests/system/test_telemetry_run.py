"""A real run is told to a real receiver: through a kill, complete, in one trace, with the journal's own figures."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import store_kit
from deck_kit import place_at
from kill_kit import MakeScene, order, scenes
from otlp_kit import Receiver, receiving
from server_kit import served

from quarterdeck.kernel.entities import NUSD_PER_USD
from quarterdeck.settings.tokens import Role, add_token
from quarterdeck.telemetry.port import trace_id
from quarterdeck.testing.chaos.processes import Seen, Worker, model_server
from quarterdeck.testing.chaos.scene import Scene, Size

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

SIZE = Size(commands=1, natives=1, seconds=0.0, parallel=4, review=True)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[MakeScene]:
    yield from scenes(tmp_path)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def records(scene: Scene) -> list[dict[str, Any]]:
    """The journal, as it stands in the database."""

    async def read() -> list[dict[str, Any]]:
        store = await store_kit.open_at(scene.home / "deck.db")
        try:
            rows = await store.read("events_all", prefix="", after=0, limit=100_000)
        finally:
            await store.close()
        return [{"stream": row["stream"], **json.loads(row["body"])} for row in rows]

    return asyncio.run(read())


def test_a_killed_run_is_one_whole_trace_with_the_journals_figures(
    scene: MakeScene, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = scene(SIZE)
    with (small.home / "deck.toml").open("a") as file:
        file.write(f'[telemetry]\notlp = "{receiver.url}"\nlogs = "json"\nlog_file = "lines.json"\n')
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of-this-test")
    seen = Seen()
    with model_server(small) as model:
        with Worker(small, *order(small), seen=seen, model_url=model.url, probe="tool.intended:3:kill") as worker:
            worker.finish()
        run = worker.run
        with Worker(small, "resume", run, seen=seen, model_url=model.url) as worker:
            assert worker.finish() == 0, worker.errors
    journal = records(small)
    check_tree(receiver, run)
    check_figures(receiver, journal)
    check_lines(small, journal, run)
    assert {header["authorization"] for header in receiver.headers} == {"Bearer of-this-test"}
    assert b"Append a line" not in receiver.raw, "what was said stays here"
    assert b"of-this-test" not in receiver.raw


def check_tree(receiver: Receiver, run: str) -> None:
    spans = receiver.once()
    assert {span.trace for span in spans} == {f"{trace_id(run):032x}"}
    by_id = {span.id: span for span in spans}
    (root,) = [span for span in spans if not span.parent]
    assert root.name == "run"
    assert root.attributes["quarterdeck.status"] == "done"
    parents = {span.name.split()[0]: set[str]() for span in spans}
    for span in spans:
        assert span.start <= span.end
        if span is not root:
            parents[span.name.split()[0]].add(by_id[span.parent].name.split()[0])
            assert by_id[span.parent].start <= span.start
    assert parents["task"] == {"run"}
    assert parents["attempt"] == {"task"}
    assert parents["chat"] == {"step"}
    assert parents["execute_tool"] == {"step"}
    assert parents["invoke_agent"] == {"implement", "review"}
    assert parents["gate"] == {"attempt", "gate"}, "the node in its attempt, its check in the node"
    # The agent that the kill cut off, and the one that went on: two spans of one attempt.
    incarnations = [
        span.attributes["quarterdeck.incarnation"]
        for span in spans
        if span.name.startswith("invoke_agent") and span.attributes["quarterdeck.attempt"] == f"{run}.n1.1"
    ]
    assert sorted(incarnations) in ([1, 2], [1])


def check_figures(receiver: Receiver, journal: list[dict[str, Any]]) -> None:
    answered = [record for record in journal if record["kind"] in ("model.answered", "model.erred")]
    chats = [span.attributes for span in receiver.once() if span.name.startswith("chat ")]
    whole = [chat for chat in chats if "quarterdeck.cut_off" not in chat]
    assert len(whole) == len(answered) > 4
    usage = Counter[str]()
    for record in answered:
        usage.update(record["usage"])
    prompt = usage["input"] + usage["cache_read"] + usage["cache_write"]
    assert sum(chat["gen_ai.usage.input_tokens"] for chat in whole) == prompt
    assert sum(chat["gen_ai.usage.output_tokens"] for chat in whole) == usage["output"]
    assert sum(chat["gen_ai.usage.cache_read.input_tokens"] for chat in whole) == usage["cache_read"]
    cost = sum(record["cost_nusd"] for record in answered) / NUSD_PER_USD
    assert sum(chat["quarterdeck.cost_usd"] for chat in whole) == pytest.approx(cost)
    assert {chat["gen_ai.provider.name"] for chat in chats} == {"anthropic"}
    tools = [span for span in receiver.once() if span.name.startswith("execute_tool ")]
    done = Counter(record["tool"] for record in journal if record["kind"] == "tool.done")
    finished = [span for span in tools if "quarterdeck.cut_off" not in span.attributes]
    assert Counter(span.attributes["gen_ai.tool.name"] for span in finished) == done
    # The process that was killed told none of its metrics; the other one told all of its own at its end.
    tokens = receiver.metrics["gen_ai.client.token.usage"][-1]
    assert 0 < sum(point.sum for point in tokens) <= prompt + usage["output"]
    landed = receiver.metrics["quarterdeck.changes"][-1]
    assert sum(point.as_int or point.as_double for point in landed) == SIZE.tasks


def check_lines(scene: Scene, journal: list[dict[str, Any]], run: str) -> None:
    text = (scene.home / "lines.json").read_text()
    assert "Append a line" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    told = {(line["stream"], line["seq"]) for line in lines if "event" in line}
    ours = [line for line in lines if line.get("event") == "tool.done"]
    assert all(line["run"] == run and line["attempt"].startswith(f"{run}.{line['task']}.") for line in ours)
    places = Counter[str]()
    for record in journal:
        places[record["stream"]] += 1
    assert told == {(stream, seq) for stream, count in places.items() for seq in range(1, count + 1)}


async def test_the_servers_metrics_need_what_its_api_needs(tmp_path: Path) -> None:
    with place_at(tmp_path) as place:
        place.home.mkdir(exist_ok=True)
        (place.home / "deck.toml").write_text("[telemetry]\nprometheus = true\n")
        async with served(place) as (_, client):
            answer = await client.get("/metrics")
            assert answer.status_code == 200
            assert "# TYPE quarterdeck_runs_open gauge" in answer.text
            token = add_token(place.home, "grafana", Role.VIEWER, time.time())
            assert (await client.get("/metrics")).status_code == 401
            again = await client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
            assert again.status_code == 200
