"""The MCP server for agents: the tools of an attempt's desk over streamable HTTP. Loaded by `mcp_door` alone.

Rules
- Both kinds of the protocol: 2026-07-28 without sessions, and the handshake of 2025-11-25 and before with them.
- It decides nothing. Every call goes to the desk that the request's key belongs to, and the desk says which tools there
  are.
- What an agent did wrong, and what is wrong with us for the moment, is a tool's answer that says so; the protocol's
  errors are for what is no call at all.
- A request is known by its session, its client where that names itself, and its JSON-RPC id: made again, it gets the
  same answer.
- Bounded: the size of a request, the number of sessions, how long one may be idle. A session belongs to its key, and is
  ended some time after its desk has closed: an agent that is killed does not do that. Of a key that begins ever more of
  them, the one longest unused is ended, so that no agent keeps another one out. Only hosts and origins of the loopback
  are answered.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import mcp_types as types
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from quarterdeck import __version__
from quarterdeck.agents.outside_call import Reply
from quarterdeck.agents.prompts import told
from quarterdeck.doors.mcp_door import KEY, App, Desk, Desks, Message, Receive, Scope, Send
from quarterdeck.kernel import ids
from quarterdeck.kernel.failures import QuarterdeckError
from quarterdeck.tools.port import Tool

_log = logging.getLogger(__name__)

NAME: Final = "quarterdeck"

INSTRUCTIONS: Final = (
    "You work on one task of a larger plan. Call `task` first. Record with `note` what the other tasks rely on. When "
    "you are done, hand in with `submit`: nothing else ends your work well."
)

MAX_BODY: Final = 4 * 1024 * 1024
MAX_SESSIONS: Final = 2_000
SESSIONS_OF_ONE: Final = 40
"""Of one key: some clients begin a session for each call."""
IDLE_SECONDS: Final = 30 * 60.0
MAX_ID: Final = 200
"""Characters of what a client calls itself or a request."""

CLIENT_HEADER: Final = b"x-quarterdeck-client"
"""A name of the client's own choice that no other client of the key has."""

_SESSION: Final = b"mcp-session-id"

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")

_READS: Final = types.ToolAnnotations(read_only_hint=True, open_world_hint=False)
_KEEPS: Final = types.ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
)
_ACTS: Final = types.ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False)
_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "description": "What the answer says."},
        "ended": {"type": "boolean", "description": "Whether your work is over."},
        "messages": {"type": "array", "items": {"type": "string"}, "description": "What a person says to you."},
        "reminder": {"type": "string", "description": "What others change that you have changed too."},
    },
    "required": ["text", "ended", "messages"],
}
_DOCUMENT: Final[dict[str, Any]] = {"type": "object"}

_Context = ServerRequestContext[Any, Any]


def listed(desk: Desk | None) -> list[types.Tool]:
    """The desk's tools as the protocol has them."""
    return [] if desk is None else [_tool(tool) for tool in desk.tools().values()]


def _tool(tool: Tool) -> types.Tool:
    reads = tool.effect == "read"
    return types.Tool(
        name=tool.spec.name,
        description=tool.spec.description,
        input_schema=tool.spec.parameters,
        output_schema=_DOCUMENT if reads else _ANSWER,
        annotations=_READS if reads else _ACTS if tool.effect == "execute" else _KEEPS,
    )


def answer(reply: Reply) -> types.CallToolResult:
    """What the desk said, as the protocol has it. Pure."""
    content: list[types.ContentBlock] = [types.TextContent(text=reply.text)]
    content += [types.TextContent(text=told(message)) for message in reply.messages]
    structured: dict[str, Any] = {"text": reply.text, "ended": reply.ended, "messages": list(reply.messages)}
    if reply.document is not None:
        structured = {**reply.document, "messages": list(reply.messages)}
    if reply.reminder:
        content.append(types.TextContent(text=reply.reminder))
        structured["reminder"] = reply.reminder
    return types.CallToolResult(content=content, structured_content=structured, is_error=not reply.ok)


def request_name(scope: Mapping[str, Any], request_id: object) -> str:
    """What a client calls its request; empty = it does not say. Pure."""
    if request_id is None or isinstance(request_id, bool):
        return ""
    found = {bytes(name).lower(): bytes(value) for name, value in scope.get("headers", ())}
    session = found.get(_SESSION, b"").decode("latin-1")[:MAX_ID]
    client = found.get(CLIENT_HEADER, b"").decode("latin-1")[:MAX_ID]
    return f"{session}\0{client}\0{str(request_id)[:MAX_ID]!r}\0{type(request_id).__name__}"


class _Counter:
    """Answers the protocol's requests from the desks."""

    def __init__(self, desks: Desks) -> None:
        self._desks = desks

    async def list_tools(self, context: _Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=listed(self._desk(context)))

    async def call_tool(self, context: _Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        desk = self._desk(context)
        if desk is None:
            return answer(Reply("This attempt is over: its desk is closed. End your work.", ok=False, ended=True))
        request = request_name(context.request.scope, context.request_id) if context.request is not None else ""
        try:
            return answer(await desk.call(params.name, params.arguments or {}, request))
        except QuarterdeckError as error:
            _log.warning("a call of %s failed: %s", params.name, error)
            return answer(Reply(f"Not done, and not by your fault: {error}. Try again in a moment.", ok=False))

    def _desk(self, context: _Context) -> Desk | None:
        key = context.request.scope.get(KEY, "") if context.request is not None else ""
        return self._desks.find(key) if key else None


class _Sessions:
    """Whose sessions there are, so that those of closed desks are ended, and those that are too many."""

    def __init__(self, desks: Desks, handle: App) -> None:
        self._desks = desks
        self._handle = handle
        self._of: dict[str, dict[bytes, Any]] = {}
        """By key: the sessions' ids, the one longest unused first, with the user that they belong to."""

    def watched(self, scope: Scope, send: Send) -> Send:
        """`send`, noticing the session that the request begins."""
        own = self._of.get(scope[KEY], {})
        used = next((value for name, value in scope["headers"] if name.lower() == _SESSION), None)
        if used in own:
            own[used] = own.pop(used)  # it is the one used last

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                for name, value in message.get("headers", ()):
                    if name.lower() == _SESSION:
                        self._of.setdefault(scope[KEY], {})[value] = scope["user"]
            await send(message)

        return sent if scope["method"] == "POST" and used is None else send

    async def sweep(self) -> None:
        """End the sessions of desks that are closed, and of each key those that are too many."""
        over: dict[bytes, Any] = {}
        for key, own in list(self._of.items()):
            if self._desks.find(key) is None:
                over |= self._of.pop(key)
            else:
                over |= {session: own.pop(session) for session in list(own)[: max(0, len(own) - SESSIONS_OF_ONE)]}
        for session, user in over.items():
            await self._handle(_deletion(session, user), _no_body, _unheard)


def _deletion(session: bytes, user: object) -> Scope:
    headers = [(b"host", b"localhost"), (_SESSION, session)]
    more = {"scheme": "http", "path": "/mcp", "raw_path": b"/mcp", "query_string": b"", "headers": headers}
    return {"type": "http", "http_version": "1.1", "method": "DELETE", "user": user, **more}


async def _no_body() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _unheard(message: Message) -> None:
    """What is answered to a deletion of our own."""


@asynccontextmanager
async def serving(desks: Desks) -> AsyncIterator[App]:
    """The server; it answers while the context is open, in whose task it must also be closed."""
    counter = _Counter(desks)
    server: Server[Any] = Server(
        NAME,
        version=__version__,
        title="Quarterdeck",
        instructions=INSTRUCTIONS,
        on_list_tools=counter.list_tools,
        on_call_tool=counter.call_tool,
    )
    hosts = [entry for host in _LOOPBACK for entry in (host, f"{host}:*")]
    manager = StreamableHTTPSessionManager(
        app=server,
        security_settings=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=hosts,
            allowed_origins=[f"http://{host}" for host in hosts],
        ),
        session_idle_timeout=IDLE_SECONDS,
        max_request_body_size=MAX_BODY,
        max_sessions=MAX_SESSIONS,
    )

    sessions = _Sessions(desks, manager.handle_request)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # The key's digest: a session of one attempt is none for another, and no log ever holds the key.
        name = ids.digest(str(scope[KEY]).encode())[:16]
        user = AuthenticatedUser(AccessToken(token=name, client_id=name, scopes=[]))
        scope = {**scope, "user": user}
        await sessions.sweep()
        await manager.handle_request(scope, receive, sessions.watched(scope, send))

    async with manager.run():
        yield app
