"""A provider's key is nowhere but in our own memory: after whole runs with faults, all state is searched for it."""

import asyncio
import json
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from deck_kit import Place, place_at, task
from gateway_kit import CLAUDE, REAL_KEY, bench, body, client
from gateway_kit import path as model_path
from store_kit import open_at

from quarterdeck.assembly import open_deck
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.events import RunStatus
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.scenario import Match, Rule, Scenario, Served, Turn, act
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.store import blobs
from quarterdeck.workplace.ground import Ground

pytestmark = pytest.mark.sandbox

KEY = "sk-planted-0123456789abcdef-quarterdeck"
PASSWORD = "word-of-the-address-0123456789"
BASIC = b64encode(f"user:{PASSWORD}".encode()).decode()
KEYS = f"{REAL_KEY} {PASSWORD} {BASIC}"
LOOK = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\\\0' '\\\\n'; cat ~/.* 2>/dev/null; true"
ACP = """\
---
name: outside
description: an agent that speaks ACP
harness: acp
model: chat:local
command: ["python3", "/workspace/acp_agent.py"]
---
Do it.
"""
DECK = """\
[tiers]
hands = ["{first}"]
[prices]
"anthropic:scripted" = {{ input = 3, output = 15 }}
"chat:local" = {{ input = 3, output = 15 }}
"chat:echo" = {{ input = 3, output = 15 }}
[models."anthropic:scripted"]
context = 100000
max_output = 4096
[models."chat:local"]
context = 100000
max_output = 400
[models."chat:echo"]
context = 100000
max_output = 400
base_url = "{echo}"
api_key_env = "OPENAI_API_KEY"
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """A server that answers every request with an error that repeats all that it was sent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"error": {"message": f"not understood: {head.decode()}", "type": "invalid_request_error"}})
        said = f"HTTP/1.1 400 Bad\r\nx-seen: {KEY}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}"
        writer.write(said.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1"


def script() -> Scenario:
    """Two native tasks with faults; the third party is the ACP agent's own call."""
    look = Turn(text="I look around.", actions=(act("run", command=f"({LOOK}) > seen.txt"),))
    submit = Turn(actions=(act("submit", summary="Done."),))
    faults = (
        Fault(kind=Kind.OVERLOADED, step=0),
        Fault(kind=Kind.CUT, step=1, after=4),
    )
    rules = (
        Rule(match=Match(first="Task: native\n"), turns=(look, submit), faults=faults),
        Rule(match=Match(first="Task: refused\n"), turns=(look,), faults=(Fault(kind=Kind.UNAUTHORIZED, times=0),)),
        Rule(match=Match(prompt="hello"), turns=(Turn(text="Hello yourself."),), repeat=True),
    )
    price = Price(input=3.0, output=15.0)
    return Scenario(rules=rules, models={"local": Served()}, key=KEY, prices={"scripted": price, "local": price})


def holders(place: Place) -> Iterator[tuple[str, bytes]]:
    """Everything that is kept anywhere: files as they are, and git objects and blobs unpacked."""
    ground = Ground(place.home)
    for root in (place.home, place.repository, ground.root):
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield str(path), path.read_bytes()
    repositories = [place.repository, *(path.parent for path in ground.mirrors.rglob("HEAD"))]
    for repository in repositories:
        objects = ["git", "-C", str(repository), "cat-file", "--batch-all-objects", "--batch"]
        yield f"objects of {repository}", subprocess.run(objects, capture_output=True, check=True).stdout


async def bodies(place: Place) -> list[bytes]:
    """All blobs of the deck, unpacked."""
    store = await open_at(place.home / "deck.db")
    try:
        rows = await store.read("blobs_all", after=0, limit=100_000)
    finally:
        await store.close()
    return [blobs.unpack(row["codec"], row["body"]) for row in rows]


async def test_no_state_holds_the_key_after_a_run_with_faults(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedServer(script()) as server, echo() as repeating:
        place.url, place.keys = server.url, {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": KEY}
        agent = Path(__file__).with_name("acp_agent.py").read_text()
        look, hand_in = {"run": f"({LOOK}) > outside.txt"}, {"tool": ["submit", {"summary": "Done."}]}
        steps = [look, {"model": 2}, {"keep": "answers.json"}, hand_in]
        talk = "---\nname: talk\nmodel: chat:echo\n---\nDo it.\n"
        files = {
            "acp_agent.py": agent,
            ".quarterdeck/agents/outside.md": ACP,
            ".quarterdeck/agents/talk.md": talk,
        }
        place.begin(files)
        place.operator(DECK.format(first="anthropic:scripted", echo=repeating))
        tasks = (
            task("native", "", agent="implementer", paths=["seen.txt"]),
            task("refused", "", agent="implementer", paths=["seen2.txt"]),
            task("echoed", "", agent="talk", paths=["seen3.txt"]),
            task("command", f"({LOOK}) > command.txt", paths=["command.txt"]),
            task("acp", f"DO:{json.dumps(steps)}", agent="outside", paths=["outside.txt", "answers.json"]),
        )
        async with open_deck(place.settings) as deck:
            run = await deck.create(place.order(*tasks))
            await deck.work(run)
            result = await deck.result(run)
            exported = place.root / "exported"
            await deck.export(run, exported)
    kept = await bodies(place)
    status = {item.id: item.status for item in result.tasks}
    assert result.status is RunStatus.PARTIAL
    assert {name for name, of in status.items() if of == "merged"} == {"native", "command", "acp"}, result
    assert server.total.requests >= 4
    found = [name for name, data in holders(place) if KEY.encode() in data]
    found += [str(path) for path in exported.rglob("*") if path.is_file() and KEY in path.read_text(errors="replace")]
    found += ["a blob" for blob in kept if KEY.encode() in blob]
    found += ["the log"] * (KEY in caplog.text)
    assert found == []
    assert kept, "there was something to search"
    seen = place.tree(result)
    assert "OPENAI_API_KEY=qd-" in seen["outside.txt"], "what the agent has is a key of ours"
    assert "PATH=" in seen["command.txt"]


@asynccontextmanager
async def repeating() -> AsyncIterator[str]:
    """A provider that repeats its keys in the error of a stream that began well, in pieces, and to those who count."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        error = json.dumps({"type": "error", "error": {"type": "api_error", "message": f"{head} {KEYS}"}})
        if "count_tokens" in head:
            writer.write(f"HTTP/1.1 401 No\r\ncontent-length: {len(error)}\r\n\r\n{error}".encode())
        else:
            said = f"event: error\ndata: {error}\n\n"
            cut = said.index(REAL_KEY) + 5
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            writer.write(said[:cut].encode())
            await writer.drain()
            writer.write(said[cut:].encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://user:{PASSWORD}@127.0.0.1:{port}"


async def test_what_a_provider_repeats_reaches_neither_client_nor_journal(tmp_path: Path) -> None:
    async with ScriptedServer(script()) as server, repeating() as url, bench(tmp_path, server, base=url) as at:
        async with client(await at.grant()) as inside:
            streamed = await inside.post(model_path(CLAUDE), json=body(CLAUDE))
            counted = await inside.post("/v1/messages/count_tokens", json=body(CLAUDE))
        events = await at.events(2)
    for said in (streamed.text, counted.text, str(events)):
        assert "[key]" in said
        assert [secret for secret in KEYS.split() if secret in said] == []
