"""The way to the MCP server for agents: who may come in, and the server itself when the first one does.

Rules
- A virtual key says whose desk it is; it comes as `Authorization: Bearer`, `x-api-key`, `x-goog-api-key` or `?key=`. A
  key that no desk has or had is refused (401) before anything of the request is read. A desk that is closed is told by
  the tools: an agent reads a tool's answer, and tries to log in after a 401.
- The SDK takes more than a second to load. It is loaded in a thread, when an agent comes in or is about to; a deck
  whose agents are all native never loads it.
- The server lives from the first request to `close`, in a task of its own.
"""

import asyncio
import importlib
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from quarterdeck.agents.outside_call import Reply
from quarterdeck.tools.port import Tool

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MODULE: Final = "quarterdeck.doors.mcp"
KEY: Final = "quarterdeck.key"
"""Where the key stands in the scope of a request that was let in."""

_HEADERS: Final = (b"x-api-key", b"x-goog-api-key")


class Desk(Protocol):
    """One attempt's desk, as the server sees it (`agents.outside.OutsideDesk`)."""

    def tools(self) -> Mapping[str, Tool]: ...

    async def call(self, tool: str, arguments: Mapping[str, Any], request: str = "") -> Reply: ...


class Desks(Protocol):
    """Desks by virtual key (`agents.outside.OutsideDesks`)."""

    def find(self, key: str) -> Desk | None: ...

    def known(self, key: str) -> bool: ...


def key_of(scope: Scope) -> str:
    """The virtual key of a request; empty = it has none. Pure."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope.get("headers", ()):
        headers.setdefault(bytes(name).lower(), bytes(value))
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for name in _HEADERS:
        if found := headers.get(name, b"").decode("latin-1").strip():
            return found
    return parse_qs(bytes(scope.get("query_string", b"")).decode("latin-1")).get("key", [""])[0]


class McpDoor:
    """The ASGI application of `/mcp`; whatever its path is, it is the whole of it."""

    def __init__(self, desks: Desks) -> None:
        self._desks = desks
        self._starting: asyncio.Task[App] | None = None
        self._living: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        key = key_of(scope)
        if not key or not self._desks.known(key):
            await _refuse(send, "missing" if not key else "unknown or ended")
            return
        app = await self.warm()
        await app({**scope, KEY: key}, receive, send)

    async def warm(self) -> App:
        """The server, started; whoever puts an agent to work that will come in may do so before it comes."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def close(self) -> None:
        """End the server and what is under way in it. Idempotent."""
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        self._stop.set()
        if self._living is not None:
            await self._living

    async def _start(self) -> App:
        try:
            module = await asyncio.to_thread(importlib.import_module, MODULE)
            serving: AbstractAsyncContextManager[App] = module.serving(self._desks)
            started: asyncio.Future[App] = asyncio.get_running_loop().create_future()
            self._living = asyncio.create_task(self._live(serving, started))
            return await started
        except BaseException:
            self._starting = None  # the next one tries again
            raise

    async def _live(self, serving: AbstractAsyncContextManager[App], started: asyncio.Future[App]) -> None:
        """The server's whole life in one task, as its task group wants it."""
        try:
            async with serving as app:
                started.set_result(app)
                await self._stop.wait()
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)


async def _refuse(send: Send, what: str) -> None:
    """401, in the form of a JSON-RPC error that belongs to no request."""
    error = {"code": -32001, "message": f"Unauthorized: the key of this attempt is {what}."}
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"www-authenticate", b"Bearer"),
    ]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": body})
