"""What clients send beside plain requests: programs as tool calls, asides, compressed bodies, upgrades, HEAD."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from quarterdeck.models.scripted import answer, heard, wire_responses
from quarterdeck.models.scripted.heard import Format
from quarterdeck.models.scripted.scenario import Match, Rule, Scenario, Turn, act, choose
from quarterdeck.models.scripted.server import ScriptedServer

EXEC = """Run JavaScript code to call tools.

### `exec_command`
```ts
declare const tools: { exec_command(args: {
  // The command.
  cmd: string;
  // As a login shell.
  login?: boolean;
  prefix?: Array<string>;
}): Promise<{
  output: string;
}>; };
```
### `apply_patch`
```ts
declare const tools: { apply_patch(input: string): Promise<unknown>; };
```
"""
CODE_MODE = {
    "type": "additional_tools",
    "role": "developer",
    "tools": [
        {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec", "description": EXEC}]},
        {"type": "namespace", "name": "clock", "tools": [{"type": "function", "name": "sleep", "parameters": {}}]},
    ],
}


def responses(*items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "stream": True, "input": list(items), **more}


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def say(*actions: Any, said: str = "") -> Scenario:
    return Scenario(rules=(Rule(match=Match(said=said), turns=(Turn(text="I go.", actions=actions),)),))


def composed(scenario: Scenario, body: dict[str, Any]) -> list[dict[str, Any]]:
    request = wire_responses.hear(body)
    said = answer.compose(scenario, choose(scenario, request).turn, request, None)
    return [item for item in wire_responses.body(said, "m")["output"] if item["type"] != "message"]


def test_tools_inside_programs_are_called_by_programs() -> None:
    call = composed(say(act("run", command="ls")), responses(CODE_MODE, user("go")))[0]
    assert (call["type"], call["name"], call["namespace"]) == ("custom_tool_call", "exec", "functions")
    assert 'await tools["exec_command"]({"cmd": "ls"})' in call["input"]


def test_what_a_program_is_not_told_of_it_looks_for() -> None:
    call = composed(say(act("submit", summary="It's done")), responses(CODE_MODE, user("go")))[0]
    assert '"submit"' in call["input"]
    assert "ALL_TOOLS" in call["input"]
    assert '"It\'s done"' in call["input"]


def test_files_are_written_by_the_patch_that_makes_them() -> None:
    call = composed(say(act("write", path="a.py", content="x\ny\n")), responses(CODE_MODE, user("go")))[0]
    patch = "*** Begin Patch\n*** Add File: a.py\n+x\n+y\n*** End Patch\n"
    assert f'await tools["apply_patch"]({json.dumps(patch)})' in call["input"]


def test_tools_of_a_namespace_are_called_with_it() -> None:
    tools = [
        {
            "type": "namespace",
            "name": "mcp__deck",
            "tools": [{"type": "function", "name": "submit", "parameters": {"properties": {"summary": {}}}}],
        },
        {"type": "web_search"},
    ]
    call = composed(say(act("submit", summary="s")), responses(user("go"), tools=tools))[0]
    assert (call["type"], call["name"], call["namespace"]) == ("function_call", "submit", "mcp__deck")


def test_programs_count_as_steps_and_stream_their_text() -> None:
    body = responses(
        CODE_MODE,
        user("go"),
        {"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": "text(1)"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "1"},
    )
    request = wire_responses.hear(body)
    assert heard.step(request) == 1
    first = wire_responses.hear(responses(CODE_MODE, user("go")))
    scenario = say(act("run", command="ls"))
    said = answer.compose(scenario, choose(scenario, first).turn, first, None)
    sent = b"".join(frame.data for frame in wire_responses.frames(said, "m")).decode()
    events = [json.loads(block.partition("data: ")[2]) for block in sent.strip().split("\n\n")]
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == said.calls[0].arguments


def test_a_conversation_is_known_by_anything_its_user_said() -> None:
    scenario = say(act("run", command="ls"), said="TASK-7")
    body = responses(CODE_MODE, user("<environment>x</environment>"), user("TASK-7, please"), user("And go on."))
    assert choose(scenario, wire_responses.hear(body)).rule == "#0"
    other = responses(CODE_MODE, user("TASK-8"))
    assert choose(scenario, wire_responses.hear(other)).rule == ""


def test_a_request_without_tools_is_beside_the_work() -> None:
    chosen = choose(say(act("run", command="ls")), wire_responses.hear(responses(user("A title for this?"))))
    assert (chosen.rule, chosen.turn.actions) == ("", ())


async def raw(server: ScriptedServer, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *lines, "", ""])
    writer.write(head.encode() + body)
    try:
        answered = await reader.readuntil(b"\r\n\r\n")
        head_text = answered.decode().lower()
        length = int(head_text.partition("content-length: ")[2].partition("\r\n")[0] or 0)
        return int(answered.split()[1]), await reader.readexactly(length if method != "HEAD" else 0)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_client_that_looks_whether_anybody_is_there_is_answered() -> None:
    async with ScriptedServer(Scenario()) as server:
        assert await raw(server, "HEAD", "/") == (200, b"")


async def test_an_upgrade_is_refused_so_that_the_client_falls_back() -> None:
    async with ScriptedServer(Scenario()) as server:
        status, _ = await raw(server, "GET", "/v1/responses", upgrade="websocket", connection="Upgrade")
        assert status == 426


@pytest.mark.parametrize("wire", [Format.RESPONSES, Format.GEMINI])
async def test_compressed_bodies_are_read(wire: Format) -> None:
    body: dict[str, Any] = {"model": "m", "input": "who?"}
    path = "/v1/responses"
    if wire is Format.GEMINI:
        body, path = {"contents": [{"parts": [{"text": "who?"}]}]}, "/v1beta/models/m:generateContent"
    async with ScriptedServer(Scenario(done="I am.")) as server:
        packed = gzip.compress(json.dumps(body).encode())
        status, answered = await raw(server, "POST", path, packed, content_encoding="gzip")
        assert status == 200
        assert b"I am." in answered
        with pytest.raises(ConnectionError):  # what cannot be unpacked is nobody's request
            await raw(server, "POST", path, b"not packed", content_encoding="gzip")


async def test_a_key_is_taken_from_any_vendors_header() -> None:
    body = json.dumps({"contents": [{"parts": [{"text": "who?"}]}]}).encode()
    async with ScriptedServer(Scenario(key="k")) as server:
        for headers in ({"x_goog_api_key": "k"}, {"authorization": "Bearer k"}, {"x_api_key": "k"}):
            assert (await raw(server, "POST", "/v1beta/models/m:generateContent", body, **headers))[0] == 200
        assert (await raw(server, "POST", "/v1beta/models/m:generateContent", body))[0] == 400
