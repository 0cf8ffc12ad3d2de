"""The MCP server for agents without sockets: who comes in, what both revisions of the protocol get."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conformance.place import Place, place

from quarterdeck.doors import mcp
from quarterdeck.doors.mcp_door import McpDoor, key_of
from quarterdeck.kernel import events as e
from quarterdeck.workplace.worker_mcp import events_of, headers_of

pytestmark = pytest.mark.embedded("the conformance tool's place has a file; test_outside_desk is on both")

KEY = "qd-1"
OTHER = "qd-2"
MODERN = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@dataclass
class Web:
    """A client of the door."""

    here: Place
    door: McpDoor
    http: httpx2.AsyncClient

    async def post(self, message: Any, key: str = KEY, **headers: str) -> httpx2.Response:
        sent = {"accept": "application/json, text/event-stream", "content-type": "application/json", **headers}
        if key:
            sent["authorization"] = f"Bearer {key}"
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.http.post("http://127.0.0.1/mcp", content=body, headers=sent)

    async def modern(self, method: str, params: Mapping[str, Any], id: Any = 1, key: str = KEY) -> httpx2.Response:
        message = {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": META}}
        return await self.post(message, key, **headers_of(message, ""))

    async def call(self, tool: str, arguments: Mapping[str, Any], id: Any = 1, key: str = KEY) -> dict[str, Any]:
        answer = await self.modern("tools/call", {"name": tool, "arguments": arguments}, id, key)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()["result"]
        return result


@asynccontextmanager
async def web(directory: Path) -> AsyncIterator[Web]:
    async with place(directory) as here:
        await here.seat(KEY)
        await here.seat(OTHER, 2)
        door = McpDoor(here.desks)
        try:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(door)) as http:
                yield Web(here, door, http)
        finally:
            await door.close()


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ([(b"authorization", b"Bearer qd-a")], b"", "qd-a"),
        ([(b"Authorization", b"bearer  qd-a ")], b"key=qd-b", "qd-a"),
        ([(b"authorization", b"Basic abc"), (b"x-api-key", b"qd-c")], b"", "qd-c"),
        ([(b"x-goog-api-key", b"qd-d")], b"", "qd-d"),
        ([], b"key=qd-e&key=qd-f", "qd-e"),
        ([(b"authorization", b"Bearer ")], b"", ""),
        ([], b"", ""),
    ],
)
def test_where_a_key_may_stand(headers: list[tuple[bytes, bytes]], query: bytes, key: str) -> None:
    assert key_of({"headers": headers, "query_string": query}) == key


async def test_who_has_no_key_or_an_unknown_one_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    async with web(tmp_path) as client:
        for key in ("", "qd-unknown"):
            answer = await client.modern("tools/list", {}, key=key)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == -32001
        assert client.door._starting is None


def test_a_deck_without_such_agents_never_loads_the_protocol() -> None:
    script = (
        "import sys, quarterdeck.assembly;"
        "heavy = {'mcp', 'mcp_types', 'acp', 'starlette', 'uvicorn', 'fastapi', 'quarterdeck.board'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


async def test_the_stateless_revision(tmp_path: Path) -> None:
    async with web(tmp_path) as client:
        found = (await client.modern("server/discover", {})).json()["result"]
        assert MODERN in found["supportedVersions"]
        assert list(found["capabilities"]) == ["tools"]
        tools = (await client.modern("tools/list", {})).json()["result"]["tools"]
        assert [tool["name"] for tool in tools] == ["task", "todo", "note", "ask", "submit"]
        assert tools[-1]["inputSchema"]["required"] == ["summary"]
        document = (await client.call("task", {}))["structuredContent"]
        assert document["task"]["id"] == "greet"
        assert (await client.call("todo", {"items": [{"text": "a", "status": "open"}]}, 2))["isError"] is False
        refused = await client.call("submit", {"summary": ""}, 3)
        assert refused["isError"] is True
        assert "An example" in refused["content"][0]["text"]
        done = await client.call("submit", {"summary": "Written."}, 4)
        assert done["structuredContent"] == {"text": "Accepted.", "ended": True, "messages": []}
        assert (await client.modern("tools/list", {}, key="qd-3")).status_code == 401


async def test_the_revision_with_a_handshake_has_sessions_that_belong_to_a_key(tmp_path: Path) -> None:
    async with web(tmp_path) as client:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        begun = await client.post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello})
        (answer,) = [json.loads(each) for each in events_of(begun.content)]
        assert answer["result"]["protocolVersion"] == "2025-11-25"
        session = {"mcp-session-id": begun.headers["mcp-session-id"], "mcp-protocol-version": "2025-11-25"}
        told = await client.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, **session)
        assert told.status_code == 202
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "note", "arguments": {"text": "a"}},
        }
        (noted,) = [json.loads(each) for each in events_of((await client.post(call, **session)).content)]
        assert noted["result"]["isError"] is False
        foreign = await client.post(call, OTHER, **session)
        assert foreign.status_code == 404
        assert not any(isinstance(event, e.NoteRecorded) for event in await client.here.events(2))


async def test_sessions_of_an_agent_that_was_killed_are_ended_with_its_desk(tmp_path: Path) -> None:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with web(tmp_path) as client:
        begun = [(await client.post(begin, key)).headers["mcp-session-id"] for key in (KEY, KEY, OTHER)]
        await client.here.desks.close(KEY)
        assert (await client.post(ping, OTHER, **{"mcp-session-id": begun[2]})).status_code == 200
        for session in begun[:2]:
            assert (await client.post(ping, KEY, **{"mcp-session-id": session})).status_code == 404
        assert (await client.post(begin, KEY)).status_code == 200


async def test_an_agent_that_begins_a_session_for_each_call_keeps_no_other_one_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp, "MAX_SESSIONS", 10)
    monkeypatch.setattr(mcp, "SESSIONS_OF_ONE", 4)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    begin = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with web(tmp_path) as client:
        first = (await client.post(begin)).headers["mcp-session-id"]
        later = []
        for _ in range(20):
            begun = await client.post(begin)
            assert begun.status_code == 200, begun.text
            later.append(begun.headers["mcp-session-id"])
            assert (await client.post(ping, **{"mcp-session-id": first})).status_code == 200  # it is in use
        assert (await client.post(ping, **{"mcp-session-id": later[0]})).status_code == 404
        assert (await client.post(ping, **{"mcp-session-id": later[-1]})).status_code == 200
        assert (await client.post(begin, OTHER)).status_code == 200


async def test_a_request_that_is_repeated_is_performed_once(tmp_path: Path) -> None:
    async with web(tmp_path) as client:
        answers = await asyncio.gather(*(client.call("note", {"text": "a"}, "same") for _ in range(3)))
        assert answers[0] == answers[1] == answers[2]
        await client.call("note", {"text": "a"}, "other")
        notes = [event for event in await client.here.events() if isinstance(event, e.NoteRecorded)]
        assert len(notes) == 2


async def test_a_closed_desk_says_so_in_a_tools_answer(tmp_path: Path) -> None:
    async with web(tmp_path) as client:
        await client.here.desks.close(KEY)
        answer = await client.call("note", {"text": "late"})
        assert answer["isError"] is True
        assert "over" in answer["content"][0]["text"]
        assert (await client.modern("tools/list", {})).json()["result"]["tools"] == []


async def test_a_persons_message_is_shown_with_the_answer(tmp_path: Path) -> None:
    async with web(tmp_path) as client:
        desk = client.here.desks.find(KEY)
        assert desk is not None
        desk.message("Use port 7373.")
        answer = await client.call("note", {"text": "a"})
        assert answer["structuredContent"]["messages"] == ["Use port 7373."]
        assert "Use port 7373." in answer["content"][1]["text"]


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:3129", "", 200),
        ("localhost", "http://localhost:3129", 200),
        ("evil.example", "", 421),
        ("127.0.0.1", "https://evil.example", 403),
    ],
)
async def test_only_hosts_and_origins_of_the_loopback_are_answered(
    tmp_path: Path, host: str, origin: str, status: int
) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
    headers = {**headers_of(message, ""), "host": host, **({"origin": origin} if origin else {})}
    async with web(tmp_path) as client:
        assert (await client.post(message, **headers)).status_code == status


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","id":1}', b"\xff\xfe", b"[" * 100_000),
        b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":1,"method":"' + b"a" * 9000 + b'"}',
    ],
)
async def test_what_is_no_request_is_an_error_of_the_clients(tmp_path: Path, body: bytes) -> None:
    async with web(tmp_path) as client:
        for headers in ({}, {"mcp-protocol-version": MODERN}):
            assert 400 <= (await client.post(body, **headers)).status_code < 500
        assert (await client.call("note", {"text": "still there"}))["isError"] is False


async def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with web(tmp_path) as client:
        answer = await client.modern("tools/call", {"name": "note", "arguments": {"text": "x" * 5_000_000}})
        assert answer.status_code == 413


@pytest.mark.parametrize("arguments", [{"text": float("nan")}, {"text": 3}, {"text": "a" * 3000}, {"deep": None}])
async def test_arguments_that_do_not_fit_are_a_tools_answer(tmp_path: Path, arguments: dict[str, Any]) -> None:
    if "deep" in arguments:
        nest: Any = "x"
        for _ in range(200):
            nest = [nest]
        arguments = {"text": nest}
    async with web(tmp_path) as client:
        answer = await client.call("note", arguments)
        assert answer["isError"] is True
