"""The MCP server for agents, served on sockets, to clients that are processes of their own."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent_kit import RUN, Kit, deck, kit, scenario

from quarterdeck.agents.mail import Mail
from quarterdeck.agents.outside import OutsideDesk, OutsideDesks
from quarterdeck.doors.mcp_door import App, McpDoor, Receive, Scope, Send
from quarterdeck.doors.serve import Doors, Endpoint
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Submission
from quarterdeck.models.scripted.scenario import Turn, act
from quarterdeck.workplace import worker_mcp

CLIENT = Path(__file__).parent / "mcp_client.py"
LEAD = Agent(name="lead", delegates_to=("scout",))
SCOUT = Agent(name="scout", description="looks")
CONFIG = RunConfig(deck=deck(), agents={"lead": LEAD, "scout": SCOUT})
FOUND = Turn(actions=(act("submit", summary="Found it."),))


Step = tuple[tuple[str, dict[str, Any]], ...]
Visit = tuple[str, str, str, tuple[Step, ...]]


async def ran(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None, given: bytes = b"", lines: int = 0
) -> bytes:
    """What a Python program prints; `lines`: after so many its input ends."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(given)
    first = b"".join([await process.stdout.readline() for _ in range(lines)])
    process.stdin.close()
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-4000:]
    return first + out


@dataclass
class Served:
    """Desks behind an endpoint."""

    kit: Kit
    desks: OutsideDesks
    endpoint: Endpoint
    socket: Path

    async def seat(self, key: str, number: int, agent: Agent = LEAD) -> OutsideDesk:
        return await self.desks.open(key, await self.kit.assignment(agent, number, config=CONFIG))

    async def visited(self, *visits: Visit) -> list[dict[str, Any]]:
        """What clients in a process of their own are answered (`mcp_client.py`)."""
        out = await ran((str(CLIENT), json.dumps(visits)))
        return [json.loads(line) for line in out.splitlines()]

    async def happened(self, number: int, kind: type[e.EventBase]) -> list[e.EventBase]:
        return [each for each in await self.kit.events(f"{RUN}.greet.{number}") if isinstance(each, kind)]


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("only the desk is asked for here")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with kit(tmp_path) as bench, bench.native(scenario(FOUND), policy=DefaultPolicy()) as wire:
        desks = OutsideDesks(lambda config: wire.harness, Mail())
        door = McpDoor(desks)
        mounts: Mapping[str, App] = {"/mcp": door}
        endpoint = Endpoint(Doors(_nothing, mounts), tmp_path)
        try:
            yield Served(bench, desks, endpoint, await endpoint.open())
        finally:
            await desks.close_all()
            await door.close()
            await endpoint.close()


SESSION: tuple[Step, ...] = (
    (("task", {}),),
    (("todo", {"items": [{"text": "look", "status": "doing"}]}),),
    (("note", {"text": "port 7373"}), ("note", {"text": "port 7374"})),
    (("delegate", {"agent": "scout", "task": "Find hello."}),),
    (("submit", {"summary": ""}),),
    (("submit", {"summary": "Written."}),),
)


async def test_every_tool_in_both_revisions_over_the_socket_and_through_the_program(served: Served) -> None:
    desks = [await served.seat(f"qd-{number}", number) for number in (1, 2, 3)]
    host, port = await served.endpoint.listen("127.0.0.1", 0)
    socket, address = str(served.socket), f"http://{host}:{port}/mcp"
    answers = await served.visited(
        (socket, "qd-1", "legacy", SESSION),
        (address, "qd-2", "auto", SESSION),
        (address, "qd-3", "legacy", ((("ask", {"question": "Which port?"}),),)),
        (socket, "qd-wrong", "legacy", ((("task", {}),),)),
    )
    for number, revision, seven in ((1, "2025-11-25", answers[:7]), (2, "2026-07-28", answers[7:14])):
        task, todo, one, other, delegated, refused, submitted = seven
        assert {answer["revision"] for answer in seven} == {revision}
        assert sorted(task["tools"]) == ["ask", "delegate", "note", "submit", "task", "todo"]
        assert task["answer"]["task"]["id"] == "greet"
        assert [answer["ok"] for answer in (todo, one, other, refused)] == [True, True, True, False]
        assert delegated["answer"]["text"] == "Found it."
        assert submitted["answer"] == {"text": "Accepted.", "ended": True, "messages": []}
        assert desks[number - 1].handoff == Submission(summary="Written.")
        assert len(await served.happened(number, e.NoteRecorded)) == 2
        intents, outcomes = await served.happened(number, e.ToolIntended), await served.happened(number, e.ToolDone)
        assert len(intents) == len(outcomes) == 7
    asked, wrong = answers[14:]
    assert asked["ok"]
    assert desks[2].question == "Which port?"
    assert "Unauthorized" in wrong["error"] or "401" in wrong["error"]


def message(id: object, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {
        "jsonrpc": "2.0",
        "id": id,
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": meta},
    }


def request(body: bytes, tool: str, **more: str) -> bytes:
    """A request as it stands on the wire."""
    headers = {
        "Host": "localhost",
        "Authorization": "Bearer qd-a",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": tool,
        "Content-Length": str(len(body)),
        "Connection": "close",
        **more,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    return f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + body


async def test_a_connection_cut_in_the_middle_of_a_submission_loses_nothing(served: Served) -> None:
    desk = await served.seat("qd-a", 1)
    body = json.dumps(message("s", "submit", {"summary": "x"})).encode()
    _, writer = await asyncio.open_unix_connection(str(served.socket))
    writer.write(request(body, "submit"))
    await writer.drain()
    async for record in served.kit.journal.follow(f"attempt/{RUN}.greet.1"):
        if isinstance(record.event, e.ToolIntended):
            break
    writer.transport.abort()
    await desk.ended.wait()
    reader, writer = await asyncio.open_unix_connection(str(served.socket))
    writer.write(request(body, "submit"))
    answer = await reader.read()
    writer.close()
    assert b'"ended":true' in answer
    assert len(await served.happened(1, e.ToolDone)) == 1


async def test_a_body_that_is_too_large_is_refused_before_it_is_sent(served: Served) -> None:
    await served.seat("qd-a", 1)
    reader, writer = await asyncio.open_unix_connection(str(served.socket))
    writer.write(request(b"{", "note", **{"Content-Length": "5000000"}))
    assert b" 413 " in await reader.readline()
    writer.transport.abort()


async def test_the_program_begins_a_session_anew_that_the_server_lost(tmp_path: Path) -> None:
    async with kit(tmp_path) as bench, bench.native(scenario(FOUND), policy=DefaultPolicy()) as wire:
        desks = OutsideDesks(lambda config: wire.harness, Mail())
        await desks.open("qd-a", await bench.assignment(LEAD, 1, config=CONFIG))
        doors = [McpDoor(desks)]

        async def newest(scope: Scope, receive: Receive, send: Send) -> None:
            await doors[-1](scope, receive, send)

        endpoint = Endpoint(newest, tmp_path)
        host, port = await endpoint.listen("127.0.0.1", 0)
        environment = {"QUARTERDECK_MCP_URL": f"http://{host}:{port}/mcp", "QUARTERDECK_MCP_KEY": "qd-a"}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", worker_mcp.__file__),
            env={**os.environ, **environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        call = {"name": "note", "arguments": {"text": "a"}}
        for message, answered in (
            ({"id": 0, "method": "initialize", "params": hello}, "protocolVersion"),
            ({"method": "notifications/initialized"}, ""),
            ({"id": 1, "method": "tools/call", "params": call}, "Recorded"),
            ({"id": 2, "method": "tools/call", "params": call}, "Recorded"),
        ):
            if message.get("id") == 2:
                await doors[-1].close()
                doors.append(McpDoor(desks))
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            if answered:
                assert answered in (await process.stdout.readline()).decode()
        process.stdin.close()
        assert await process.wait() == 0
        await desks.close("qd-a")
        await doors[-1].close()
        await endpoint.close()


async def test_the_program_sends_again_what_a_lost_connection_swallowed(served: Served) -> None:
    """Between it and the server stands somebody who loses the first answer to each call of a tool."""
    desk = await served.seat("qd-a", 1)
    lost: list[bytes] = []

    @asynccontextmanager
    async def lossy() -> AsyncIterator[int]:
        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
            )
            body = await reader.readexactly(length)
            inner, outer = await asyncio.open_unix_connection(str(served.socket))
            outer.write(head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + body)
            answer = await inner.read()
            outer.close()
            if b'"tools/call"' in body and body not in lost:
                lost.append(body)
                writer.transport.abort()
                return
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(meet, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async with lossy() as port:
        environment = {"QUARTERDECK_MCP_URL": f"http://127.0.0.1:{port}/mcp", "QUARTERDECK_MCP_KEY": "Bearer qd-a"}
        given = json.dumps(message("s", "submit", {"summary": "Written."})).encode() + b"\n"
        out = await ran(("-I", "-S", worker_mcp.__file__), environment, given, lines=1)
    (answer,) = out.splitlines()
    assert json.loads(answer)["result"]["structuredContent"] == {"text": "Accepted.", "ended": True, "messages": []}
    assert len(lost) == 1
    assert len(await served.happened(1, e.ToolIntended)) == 1
    assert desk.handoff == Submission(summary="Written.")
