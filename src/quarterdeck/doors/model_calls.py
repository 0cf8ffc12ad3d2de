"""The gateway's endpoint: from HTTP to the gateway and back, as a plain ASGI application.

Rules
- Plain ASGI: a framework would copy every chunk once more.
- A client that goes away cancels its call; a call that broke off breaks the client's connection.
- The virtual key is read here and goes no further; of the request's headers only what concerns the provider goes on.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from quarterdeck.gateway import wires
from quarterdeck.gateway.gateway import LARGEST, ModelGateway
from quarterdeck.gateway.wires import Operation

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_NOT_FOR_PROVIDERS: Final = frozenset(
    {
        *("authorization", "x-api-key", "x-goog-api-key", "cookie", "host", "content-length", "content-encoding"),
        *("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization"),
        *("accept-encoding", "expect", "forwarded", "x-forwarded-for", "origin", "referer"),
    }
)


def virtual_key(headers: Iterable[tuple[str, str]], query: str) -> str:
    """The key of a request; empty = it has none. Pure."""
    found = dict(headers)
    bearer = found.get("authorization", "")
    if bearer.lower().startswith("bearer "):
        return bearer[len("bearer ") :].strip()
    if key := found.get("x-api-key") or found.get("x-goog-api-key"):
        return key.strip()
    return (parse_qs(query).get("key") or [""])[0]


class _Unreadable(Exception):
    """The request's body cannot be taken."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class ModelCalls:
    """The ASGI application."""

    def __init__(self, gateway: ModelGateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, query = scope["path"], scope.get("query_string", b"").decode("latin-1")
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        client = _Sender(send)
        where = wires.place(scope["method"], path)
        if where is None:
            if scope["method"] in ("GET", "HEAD") and path == "/":
                return await client.short(200, b"Quarterdeck's model gateway\n")
            return await client.short(404, f"Quarterdeck's gateway has no {scope['method']} {path}\n".encode())
        try:
            raw = b"" if where.operation is Operation.LIST else await _body(receive, dict(headers))
        except _Unreadable as error:
            return await client.short(error.status, f"Quarterdeck: {error}\n".encode())
        passed = [pair for pair in headers if pair[0] not in _NOT_FOR_PROVIDERS]
        call = asyncio.create_task(self._gateway.answer(where, virtual_key(headers, query), raw, query, passed, client))
        return await _unless_gone(call, receive, client)


async def _unless_gone(call: asyncio.Task[None], receive: Receive, client: "_Sender") -> None:
    """Wait for the call; cancel it when its client goes away before it has its answer.

    Where the call broke off, so does the connection: the answer is left without its end.
    """
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((call, gone), return_when=asyncio.FIRST_COMPLETED)
        if client.ended:  # what is left to do is to put it on record
            await asyncio.wait((call,))
    finally:
        gone.cancel()
        call.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await asyncio.wait((call,))
    if not call.cancelled() and not isinstance(call.exception(), ConnectionAbortedError):
        call.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


async def _body(receive: Receive, headers: dict[str, str]) -> bytes:
    """The whole body, without its compression. Raises _Unreadable."""
    read = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Unreadable(400, "the request broke off")
        read += message.get("body", b"")
        if len(read) > LARGEST:
            raise _Unreadable(413, f"a request of more than {LARGEST} bytes")
        if not message.get("more_body"):
            break
    match headers.get("content-encoding", "identity").strip().lower():
        case "" | "identity":
            return bytes(read)
        case "gzip" | "x-gzip":
            return _inflated(bytes(read), gzip_wrapped=True)
        case "deflate":
            return _inflated(bytes(read), gzip_wrapped=False)
        case other:
            raise _Unreadable(415, f"a body compressed with {other[:40]} cannot be read; send it plain or as gzip")


def _inflated(data: bytes, *, gzip_wrapped: bool) -> bytes:
    machine = zlib.decompressobj(zlib.MAX_WBITS | 16 if gzip_wrapped else zlib.MAX_WBITS)
    try:
        found = machine.decompress(data, LARGEST)
    except zlib.error as error:
        raise _Unreadable(400, f"the compressed body cannot be read: {error}") from error
    if machine.unconsumed_tail:
        raise _Unreadable(413, f"a request of more than {LARGEST} bytes")
    return found


class _Sender:
    """The client, over ASGI."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.ended = False
        """It has its whole answer."""

    async def head(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        self.begun = True
        named = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": named})

    async def body(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        self.ended = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def short(self, status: int, text: bytes) -> None:
        """A whole answer."""
        await self.head(status, [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(text)))])
        await self.body(text)
        await self.end()
