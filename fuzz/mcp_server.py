"""What reaches the MCP server for agents: a request over HTTP in either revision, and lines and answers at the program
that stands for the server inside a sandbox.

Rules
- Declared: a request is answered, by a status below 500 and without an internal error; who has no key of a desk gets
  401 and nothing else. Afterwards each call at the desk has an intent and an outcome, and the desk still answers.
- The program answers each request once, with its id, whatever comes back; what it puts into headers can stand there.
"""

import asyncio
import atexit
import io
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import httpx2
from conformance.place import Place, place

from fuzz.shapes import Choices, as_json
from quarterdeck.doors import mcp as _server  # loaded here: the first input is not to pay for it
from quarterdeck.doors.mcp_door import McpDoor
from quarterdeck.kernel import events as e
from quarterdeck.workplace.worker_mcp import Bridge, Lost, events_of, headers_of

INSTRUMENTED = ("quarterdeck.doors", "quarterdeck.agents", "quarterdeck.tools", "quarterdeck.workplace")
WORDS = (
    *(
        '"jsonrpc":"2.0"',
        '"id":',
        '"method":',
        '"params":',
        '"name":',
        '"arguments":',
        '"_meta":',
        '"result":',
        '"error":',
    ),
    *("initialize", "notifications/initialized", "tools/call", "tools/list", "server/discover", "ping", "2026-07-28"),
    *("task", "todo", "note", "ask", "submit", "2025-11-25", "data: ", "\r\n\r\n", "event: message", "\\ud83d", "NaN"),
    *("=?base64?", "Bearer qd-1", "qd-1", "mcp-session-id", "io.modelcontextprotocol/protocolVersion"),
)

KEY: Final = "qd-1"
NEW: Final = "2026-07-28"
EACH: Final = 100
"""Inputs after which the place is made anew: what a desk and a server remember grows."""
_SECONDS: Final = 20.0

_META: Final = {"io.modelcontextprotocol/protocolVersion": NEW, "io.modelcontextprotocol/clientCapabilities": {}}
_HELLO: Final = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
_MESSAGES: Final[tuple[Mapping[str, Any], ...]] = (
    {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": _META}},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "task", "arguments": {}, "_meta": _META}},
    {
        "jsonrpc": "2.0",
        "id": "3",
        "method": "tools/call",
        "params": {"name": "note", "arguments": {"text": "a"}, "_meta": _META},
    },
    {
        "jsonrpc": "2.0",
        "id": 4,
        "method": "tools/call",
        "params": {"name": "submit", "arguments": {"summary": "Done.", "limitations": []}, "_meta": _META},
    },
    {
        "jsonrpc": "2.0",
        "id": 5,
        "method": "tools/call",
        "params": {"name": "todo", "arguments": {"items": [{"text": "a", "status": "open"}]}, "_meta": _META},
    },
    {"jsonrpc": "2.0", "id": 6, "method": "server/discover", "params": {"_meta": _META}},
    {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": _HELLO},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 7, "result": {}},
)


class _Scene:
    """A served desk on an event loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._left = 0
        self._stack = AsyncExitStack()
        self.here: Place
        self.http: httpx2.AsyncClient
        self._number = 0

    def run(self, choices: Choices) -> None:
        self.loop.run_until_complete(asyncio.wait_for(self._run(choices), _SECONDS))

    async def _run(self, choices: Choices) -> None:
        if self._left == 0:
            await self._anew()
        self._left -= 1
        await self._asked(choices)

    async def _anew(self) -> None:
        await self._stack.aclose()
        self._stack, self._left, self._number = AsyncExitStack(), EACH, 0
        directory = Path(tempfile.mkdtemp(prefix="quarterdeck-fuzz-"))
        atexit.register(shutil.rmtree, directory, True)  # nobody closes the last one; a search clears away itself
        self._stack.callback(shutil.rmtree, directory, True)
        self.here = await self._stack.enter_async_context(place(directory))
        door = McpDoor(self.here.desks)
        self._stack.push_async_callback(door.close)
        self.http = await self._stack.enter_async_context(httpx2.AsyncClient(transport=httpx2.ASGITransport(door)))

    async def _asked(self, choices: Choices) -> None:
        self._number += 1
        desk = await self.here.seat(KEY, self._number)
        desk.message("A word.") if choices.number() % 8 == 7 else None
        body, headers, known = _request(choices)
        answer = await self.http.request("POST", "http://127.0.0.1/mcp", content=body, headers=headers)
        assert answer.status_code < 500, (answer.status_code, answer.text)
        assert (answer.status_code == 401) is not known, answer.status_code
        _no_internal_error(answer)
        happened = await self.here.events(self._number)
        intents = [event.call for event in happened if isinstance(event, e.ToolIntended)]
        outcomes = [event.call for event in happened if isinstance(event, e.ToolDone)]
        assert sorted(intents) == sorted(outcomes), (intents, outcomes)
        assert (await desk.call("task", {})).text
        await self.here.desks.close(KEY)


def _request(choices: Choices) -> tuple[bytes, list[tuple[bytes, bytes]], bool]:
    """(body, headers, whether its key is known)."""
    how = choices.number()
    template = choices.pick(_MESSAGES)
    key = choices.pick((KEY, KEY, KEY, KEY, KEY, KEY, "", "qd-2"))
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        **({"authorization": f"Bearer {key}"} if key else {}),
    }
    if how & 1 and isinstance(template.get("params"), dict):
        headers |= headers_of(dict(template), "")
    for _ in range(choices.number() % 4):
        name = choices.pick(
            ("mcp-protocol-version", "mcp-session-id", "mcp-name", "mcp-method", "x-quarterdeck-client")
        )
        headers[name] = choices.text().encode("ascii", "replace").decode().translate(_SAFE)
    body = choices.rest() if how & 2 else as_json(choices.mangled(dict(template)))
    return body, [(name.encode(), value.encode()) for name, value in headers.items()], key == KEY


_SAFE: Final = dict.fromkeys((*range(32), 127), ".")
"""What no client library lets stand in a header."""


def _no_internal_error(answer: httpx2.Response) -> None:
    kind = answer.headers.get("content-type", "")
    found = events_of(answer.content) if kind.startswith("text/event-stream") else [answer.content]
    for each in found if kind else ():
        said = json.loads(each) if kind.startswith(("application/json", "text/event-stream")) else {}
        error = said.get("error") if isinstance(said, dict) else None
        assert not (isinstance(error, dict) and error.get("code") == -32603), said


class _Wire(Bridge):
    """The program with an answer of our choice instead of a connection."""

    def __init__(self, out: io.BytesIO, choices: Choices) -> None:
        super().__init__("http://127.0.0.1:1/mcp", "Bearer qd-1", out)
        self._choices = choices
        self.pauses = ()

    def _exchange(self, method: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, str, str, bytes]:
        for name, value in headers.items():
            assert (name + value).isascii() and (name + value).isprintable(), (name, value)
        how = self._choices.number()
        if how % 8 == 7:
            raise Lost("as chosen")
        status = self._choices.pick((200, 200, 200, 202, 400, 401, 404, 500))
        kind = self._choices.pick(("application/json", "text/event-stream", "", "text/html"))
        return status, kind, self._choices.pick(("", "s1", "s2")), self._choices.chunk()


def _program(choices: Choices) -> None:
    template = dict(choices.pick(_MESSAGES))
    line = choices.chunk() if choices.number() % 4 == 3 else as_json(choices.mangled(template))
    out = io.BytesIO()
    _Wire(out, choices).run(io.BytesIO(line.replace(b"\n", b" ") + b"\n"), wait=True)
    said = [json.loads(each) for each in out.getvalue().splitlines()]
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        return
    if isinstance(asked, dict) and "id" in asked:
        assert len([each for each in said if isinstance(each, dict) and _same(each.get("id"), asked["id"])]) >= 1, said
    elif isinstance(asked, dict):
        assert said == [], said


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)


_SCENE: Final = _Scene()


def one(data: bytes) -> None:
    """A choice of the side, then a request or a line with what is answered to it."""
    assert _server is not None
    choices = Choices(data)
    if choices.number() % 2:
        _program(choices)
    else:
        _SCENE.run(choices)


def seeds() -> Sequence[bytes]:
    """Every message at both sides, as it is and as plain bytes, with and without the headers of the new revision."""
    found = []
    for number, message in enumerate(_MESSAGES):
        text = as_json(message)
        found += [bytes([0, 0, 1, number, 0, 0]), bytes([0, 0, 0, number, 0, 0]), bytes([0, 7, 3, number, 0, 0]) + text]
        answer = as_json({"jsonrpc": "2.0", "id": message.get("id"), "result": {}})
        found.append(bytes([1, number, 0, 0, 0, 0, 0, 0, len(answer)]) + answer)
    return [*found, bytes([0, 0, 1, 0, 6, 0]), b"\0\0\2\0\0\0" + b"[" * 3000, b"\0\0\2\0\0\0{}"]
