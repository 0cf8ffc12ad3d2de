"""The gateway's endpoint: from HTTP to the gateway and back, as a plain ASGI application.

Rules
- Plain ASGI: a framework would copy every chunk once more.
- A client that goes away cancels its call; a call that broke off breaks the client's connection.
- The key is looked at before the body: of a request without a living one nothing is kept. What the bodies under way
  hold is bounded, for each key and for all; a body of very many values holds many times its bytes.
- The virtual key is read here and goes no further; of the request's headers only what concerns the provider goes on.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from quarterdeck.gateway import wires
from quarterdeck.gateway.gateway import LARGEST, ModelGateway
from quarterdeck.gateway.keys import PREFIX
from quarterdeck.gateway.wires import Operation

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

AT_ONCE: Final = "quarterdeck.at_once"
"""Extension of a request (ASGI 3, `scope["extensions"]`).

`write` takes a part of the body, after the first was sent, and says whether the next can go that way as well. The end
of the body is sent as ever. Not for an answer whose head says its length.

`gone` takes what to call when the client goes away, once the request's body was received, and gives what to call when
that need not be known any more; None where it is gone already."""

_WhenGone = Callable[[Callable[[], None]], Callable[[], None] | None]

_NOT_FOR_PROVIDERS: Final = frozenset(
    {
        *("authorization", "x-api-key", "x-goog-api-key", "cookie", "host", "content-length", "content-encoding"),
        *("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization"),
        *("accept-encoding", "expect", "forwarded", "x-forwarded-for", "origin", "referer"),
    }
)
_FOR_PROXIES: Final = ("x-litellm-", "x-portkey-", "helicone-", "cf-aig-")
"""How headers begin by which a client tells a proxy behind us where to ask, or which model, beside its body."""


MOST_OF_KEY: Final = 256 * 1024 * 1024
"""Bytes of bodies of one key that are held at once."""
MOST: Final = 1024 * 1024 * 1024
"""The same of all keys."""
_VALUE: Final = 100
"""Bytes that each value of a body takes besides, once it is read."""
_SMALL: Final = 64 * 1024
"""Bytes of a body of which that is not worth to be counted."""


def virtual_key(headers: Iterable[tuple[str, str]], query: str) -> str:
    """The key of a request; empty = it has none. One of ours comes before what else a client sends: who is logged in at
    the vendor as well sends that login, too. Pure."""
    found = dict(headers)
    bearer = found.get("authorization", "")
    sent = [
        bearer[len("bearer ") :] if bearer.lower().startswith("bearer ") else "",
        found.get("x-api-key", ""),
        found.get("x-goog-api-key", ""),
        *(parse_qs(query).get("key") or () if query else ()),
    ]
    keys = [key.strip() for key in sent if key.strip()]
    return next((key for key in keys if key.startswith(PREFIX)), keys[0] if keys else "")


class _Unreadable(Exception):
    """The request's body cannot be taken."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _Room:
    """Bytes of bodies that are held at once."""

    def __init__(self) -> None:
        self._of = dict[str, int]()
        self._all = 0

    def take(self, secret: str, size: int) -> None:
        """Raises _Unreadable where there is no room."""
        if self._of.get(secret, 0) + size > MOST_OF_KEY or self._all + size > MOST:
            raise _Unreadable(429, "too much is being sent at once; try again when other calls have ended")
        self._of[secret] = self._of.get(secret, 0) + size
        self._all += size

    def give(self, secret: str, size: int) -> None:
        self._all -= size
        self._of[secret] = self._of.get(secret, 0) - size
        if self._of[secret] <= 0:
            del self._of[secret]


def for_provider(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those headers of a request that go on. Pure. `headers`: with their names in lower case."""
    return [pair for pair in headers if pair[0] not in _NOT_FOR_PROVIDERS and not pair[0].startswith(_FOR_PROXIES)]


class _Share:
    """What one request holds of the room; nothing, where its key is not good."""

    def __init__(self, room: _Room, secret: str, *, kept: bool) -> None:
        self._room = room
        self._secret = secret
        self.kept = kept
        self._size = 0

    def take(self, size: int) -> None:
        self._room.take(self._secret, size)
        self._size += size

    def give(self) -> None:
        if self._size:
            self._room.give(self._secret, self._size)


class ModelCalls:
    """The ASGI application."""

    def __init__(self, gateway: ModelGateway) -> None:
        self._gateway = gateway
        self._room = _Room()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, query = scope["path"], scope.get("query_string", b"").decode("latin-1")
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        able = scope.get("extensions", {}).get(AT_ONCE, {})
        client = _Sender(send, able.get("write"))
        where = wires.place(scope["method"], path)
        if where is None:
            if scope["method"] in ("GET", "HEAD") and path == "/":
                return await client.short(200, b"Quarterdeck's model gateway\n")
            return await client.short(404, f"Quarterdeck's gateway has no {scope['method']} {path}\n".encode())
        secret = virtual_key(headers, query)
        share = _Share(self._room, secret, kept=self._gateway.living(secret))
        try:
            raw = b"" if where.operation is Operation.LIST else await _body(receive, dict(headers), share)
            if len(raw) > _SMALL:
                share.take(_VALUE * min(wires.values(raw), wires.MOST))
            call = self._gateway.answer(where, secret, raw, query, for_provider(headers), client)
            return await _while_there(call, receive, client, able.get("gone"))
        except _Unreadable as error:
            return await client.short(error.status, f"Quarterdeck: {error}\n".encode())
        finally:
            share.give()


async def _while_there(
    answer: Coroutine[None, None, None], receive: Receive, client: "_Sender", when_gone: _WhenGone | None
) -> None:
    """Answer, in the request's own task; a client that goes away before it has its answer cancels that.

    Where the answer broke off, or its key was revoked, so does the connection: the answer is left without its end.
    """
    call = asyncio.current_task()
    assert call is not None  # the server runs each request as a task

    def left() -> None:
        if not client.ended:
            call.cancel()

    if when_gone is None:
        watch = asyncio.create_task(_watch(receive, left))
        forget: Callable[[], object] | None = watch.cancel
    elif (forget := when_gone(left)) is None:
        left()
    try:
        await answer
    except (asyncio.CancelledError, ConnectionAbortedError):
        return  # nothing of the request comes after this
    finally:
        if forget is not None:
            forget()


async def _watch(receive: Receive, left: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
    left()


async def _body(receive: Receive, headers: dict[str, str], share: _Share) -> bytes:
    """The whole body, without its compression; empty where it is not to be kept. Raises _Unreadable."""
    read, size = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Unreadable(400, "the request broke off")
        part = message.get("body", b"")
        size += len(part)
        if share.kept:
            share.take(len(part))
            read += part
        if size > LARGEST:
            raise _Unreadable(413, f"a request of more than {LARGEST} bytes")
        if not message.get("more_body"):
            break
    if not share.kept:
        return b""
    match headers.get("content-encoding", "identity").strip().lower():
        case "" | "identity":
            return bytes(read)
        case "gzip" | "x-gzip":
            return _inflated(bytes(read), share, gzip_wrapped=True)
        case "deflate":
            return _inflated(bytes(read), share, gzip_wrapped=False)
        case other:
            raise _Unreadable(415, f"a body compressed with {other[:40]} cannot be read; send it plain or as gzip")


def _inflated(data: bytes, share: _Share, *, gzip_wrapped: bool) -> bytes:
    machine = zlib.decompressobj(zlib.MAX_WBITS | 16 if gzip_wrapped else zlib.MAX_WBITS)
    try:
        found = machine.decompress(data, LARGEST)
    except zlib.error as error:
        raise _Unreadable(400, f"the compressed body cannot be read: {error}") from error
    if machine.unconsumed_tail:
        raise _Unreadable(413, f"a request of more than {LARGEST} bytes")
    share.take(len(found))
    return found


class _Sender:
    """The client, over ASGI."""

    def __init__(self, send: Send, at_once: Callable[[bytes], bool] | None) -> None:
        self._send = send
        self.at_once = at_once
        self.begun = False
        self.ended = False
        """It has its whole answer."""

    async def head(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        self.begun = True
        headers = [*headers]
        if any(name.lower() == "content-length" for name, _ in headers):
            self.at_once = None
        named = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": named})

    async def body(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        self.ended = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def short(self, status: int, text: bytes) -> None:
        """A whole answer."""
        await self.head(status, [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(text)))])
        await self.end(text)
