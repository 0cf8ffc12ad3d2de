"""Links to tool servers by the SDK's client, of either revision of the protocol.

Rules
- One task owns a link from its opening to its end, as the SDK's scopes want it; calls are made from anywhere.
- The newer revision is tried first, and the handshake of the older ones where the server does not know it.
- What a server says of the shape of its results is not checked here: the agent reads them as text, and a pattern of a
  stranger's is never run.
- A server that wants to be asked again later is; one that wants input (a model, a person, files) is refused.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, cast

import httpx2
from mcp.client import Client
from mcp.client.session import IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    HEADER_MISMATCH,
    INVALID_REQUEST,
    AudioContent,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    Implementation,
    InputRequiredResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
    ToolListChangedNotification,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from quarterdeck import __version__
from quarterdeck.kernel.failures import ToolServerFailed
from quarterdeck.models.tls import needless
from quarterdeck.tools.shed.answers import Answer, Part
from quarterdeck.tools.shed.catalogue import MAX_TOOLS, Offered
from quarterdeck.tools.shed.port import MAX_MESSAGE, Link, Pipe, ServerGone
from quarterdeck.tools.shed.wire.bounded import Bounded
from quarterdeck.tools.shed.wire.lines import PipeTransport, Streams

_PAGES: Final = 50
_ROUNDS: Final = 10
"""How often a server may answer that it wants to be asked again."""
_PAUSE: Final = 0.05
_CLOSING: Final = 5.0
_LOGGERS: Final = ("mcp", "client")
_EXPIRED: Final = "Session terminated"
"""What the SDK makes of an address that does not know the session any more."""
_LAST: Final = 2.0
"""Seconds in which the reason of an end is known."""
_RESULT: Final[TypeAdapter[CallToolResult | InputRequiredResult]] = TypeAdapter(CallToolResult | InputRequiredResult)


class SdkLink:
    """Implements `Link`."""

    def __init__(self, transport: Callable[[Callable[[str], None]], AbstractAsyncContextManager[Streams]]) -> None:
        """`transport` makes one, which tells what it is given when the other side is gone, and why."""
        self._transport = transport(self._gone)
        self._why = ""
        self._client: Client | None = None
        self._closing = asyncio.Event()
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()

    def _gone(self, why: str) -> None:
        self._why = self._why or why
        self._closing.set()

    async def open(self, timeout: float) -> None:
        """Raises ToolServerFailed."""
        self._owner = asyncio.create_task(self._own())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.shield(self._opened)
        except TimeoutError as error:
            await self.close()
            raise ToolServerFailed("the server does not answer", why=f"nothing came in {timeout:.0f} s") from error
        except BaseException:
            await self.close()
            raise

    async def _own(self) -> None:
        try:
            async with self._entered() as client:
                self._client = client
                self._opened.set_result(None)
                async with self._listening(client):
                    await self._closing.wait()
        except asyncio.CancelledError:
            self._fail(ToolServerFailed("the connection was given up"))
            raise
        except Exception as error:  # noqa: BLE001 - whatever a stranger's answer leads to, it is reported
            self._why = self._why or words(error)
            self._fail(ToolServerFailed("the server cannot be used", why=self._why))
        finally:
            self._client = None
            self._ended.set()

    @asynccontextmanager
    async def _entered(self) -> AsyncIterator[Client]:
        client = Client(
            cast(Any, self._transport),  # the SDK's protocol wants its own stream classes; it says itself that any do
            cache=None,
            client_info=Implementation(name="quarterdeck", version=__version__),
            message_handler=self._heard,
        )
        async with client:
            yield client

    def _fail(self, error: ToolServerFailed) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # whoever opened it may be gone

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._changed.set()

    @asynccontextmanager
    async def _listening(self, client: Client) -> AsyncIterator[None]:
        """The newer revision says that tools changed only to who subscribed to it."""
        offers = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or offers is None or not offers.list_changed:
            yield
            return
        listener = asyncio.create_task(self._listen(client))
        try:
            yield
        finally:
            listener.cancel()
            await asyncio.wait((listener,))

    async def _listen(self, client: Client) -> None:
        with contextlib.suppress(MCPError, RuntimeError, TimeoutError):  # it does not tell then; nothing else depends
            async with client.listen(tools_list_changed=True) as told:
                async for _ in told:
                    self._changed.set()

    @property
    def changed(self) -> asyncio.Event:
        """See the port."""
        return self._changed

    @property
    def ended(self) -> asyncio.Event:
        """See the port."""
        return self._ended

    @property
    def revision(self) -> str:
        return self._connected().protocol_version

    async def tools(self) -> tuple[Offered, ...]:
        """What it offers now. Raises ToolServerFailed."""
        client = self._connected()
        if client.server_capabilities.tools is None:
            return ()
        found: list[Offered] = []
        cursor: str | None = None
        try:
            for _ in range(_PAGES):
                params = None if cursor is None else PaginatedRequestParams(cursor=cursor)
                page = await client.session.list_tools(params=params)
                found += map(_offered, page.tools)
                cursor = page.next_cursor
                if cursor is None or len(found) > MAX_TOOLS:
                    break
        except MCPError as error:
            if await self._over(error):
                raise ServerGone("the connection ended", why=self._why) from error
            raise ToolServerFailed("the server refused", why=error.message[:500]) from error
        except (ValidationError, ValueError, RuntimeError) as error:
            raise ToolServerFailed("its list of tools is not one", why=words(error)) from error
        return tuple(found)

    async def call(self, tool: str, arguments: Mapping[str, Any], timeout: float) -> Answer:
        """See the port."""
        client = self._connected()
        try:
            async with asyncio.timeout(timeout):
                return _answer(await self._asked(client, tool, dict(arguments)))
        except MCPError as error:
            if await self._over(error):
                raise ServerGone("the connection ended", why=self._why) from error
            return Answer.refusal(f"The server refused the call: {error.message}")
        except (ValidationError, ValueError, RuntimeError) as error:
            return Answer.refusal(f"The server answered with something that is no result: {words(error)}")

    async def _asked(self, client: Client, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        state: str | None = None
        listed = False
        for number in range(_ROUNDS):
            params = CallToolRequestParams(name=tool, arguments=arguments, request_state=state)
            try:
                result = await client.session.send_request(CallToolRequest(params=params), _RESULT)
            except MCPError as error:
                if error.code != HEADER_MISMATCH or listed:
                    raise
                listed = True
                await self.tools()  # what goes into headers is in the list, which has changed
                continue
            if isinstance(result, CallToolResult):
                return result
            if result.input_requests:
                asked = ", ".join(sorted({request.method for request in result.input_requests.values()}))
                raise ValueError(f"it asks for {asked}, which is not given to servers")
            state = result.request_state
            await asyncio.sleep(_PAUSE * 2**number)
        raise ValueError(f"it wanted to be asked more than {_ROUNDS} times")

    async def close(self) -> None:
        """Idempotent."""
        self._closing.set()
        if self._owner is None:
            return
        if self._client is None:
            self._owner.cancel()
        await asyncio.wait((self._owner,), timeout=_CLOSING)
        if not self._owner.done():
            self._owner.cancel()
            await asyncio.wait((self._owner,))

    def _connected(self) -> Client:
        if self._client is None or self._ended.is_set():
            raise ServerGone("the server is gone", why=self._why)
        return self._client

    async def _over(self, error: MCPError) -> bool:
        """Whether the connection is gone: a server may send that code as well. Why it is gone may be known later."""
        if error.code == INVALID_REQUEST and error.message == _EXPIRED:
            self._gone("its session is over")
        elif error.code != CONNECTION_CLOSED:
            return False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST):
                await self._ended.wait()
        return self._ended.is_set()


class SdkLinker:
    """Implements `Linker`."""

    def __init__(self) -> None:
        # The SDK tells its log what servers send; without a handler that would be printed to the person's terminal.
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(logging.NullHandler())

    async def over_pipe(self, pipe: Pipe, *, timeout: float) -> Link:
        """See the port."""
        link = SdkLink(lambda gone: PipeTransport(pipe, gone))
        await link.open(timeout)
        return link

    async def to_address(self, url: str, headers: Mapping[str, str], *, timeout: float) -> Link:
        """See the port."""
        link = SdkLink(lambda gone: _to(url, headers, timeout))
        await link.open(timeout)
        return link


@asynccontextmanager
async def _to(url: str, headers: Mapping[str, str], timeout: float) -> AsyncIterator[Streams]:
    plain, sent = needless(url), {**headers, "accept-encoding": "identity"}
    inner = httpx2.AsyncHTTPTransport(verify=True if plain is None else plain)
    times = httpx2.Timeout(timeout, read=None)  # a call has its own deadline
    async with (
        httpx2.AsyncClient(transport=Bounded(inner, MAX_MESSAGE), headers=sent, timeout=times) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=MAX_MESSAGE) as streams,
    ):
        yield cast(Streams, streams)


def words(error: BaseException) -> str:
    """What an exception says, the innermost of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:500]
    return f"{error}"[:500] or type(error).__name__


def _offered(tool: Tool) -> Offered:
    hints = tool.annotations
    return Offered(
        name=tool.name,
        description=tool.description or tool.title or "",
        schema=tool.input_schema,
        read_only=bool(hints and hints.read_only_hint),
        destructive=bool(hints and hints.destructive_hint),
        idempotent=bool(hints and hints.idempotent_hint),
    )


def _answer(result: CallToolResult) -> Answer:
    return Answer(tuple(map(_part, result.content)), result.structured_content, result.is_error)


def _part(block: ContentBlock) -> Part:
    match block:
        case TextContent():
            return Part("text", block.text)
        case ImageContent():
            return Part("image", mime=block.mime_type[:100], size=len(block.data) * 3 // 4)
        case AudioContent():
            return Part("audio", mime=block.mime_type[:100], size=len(block.data) * 3 // 4)
        case ResourceLink():
            return Part("link", block.title or block.name, uri=str(block.uri)[:1000])
        case EmbeddedResource():
            held = block.resource
            place = str(held.uri)[:1000]
            if isinstance(held, TextResourceContents):
                return Part("resource", held.text, uri=place)
            return Part("resource", mime=held.mime_type or "", uri=place, size=max(1, len(held.blob) * 3 // 4))
