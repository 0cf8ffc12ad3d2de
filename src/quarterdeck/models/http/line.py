"""One connection to a server: a request out, its answer in, again and again.

Rules
- One exchange at a time. What arrives is handed on as it is, in the order in which it came; what came before a
  connection broke is handed on before the break is told.
- An answer ends where its head says (RFC 9112, 6.3), or with the connection where it says nothing. What ends before
  that is broken. Answers that are only on the way to one (1xx) are passed over.
- Nobody who reads slowly makes us keep much: the server is held up.
- What many small pieces cost is the waking of who waits for each: `pour` hands them on without that.
- A line is used again only when both sides have said all they had to say.
"""

import asyncio
import math
import select
import ssl
from collections.abc import Callable
from typing import Final, cast

import httptools

from quarterdeck.models.http.port import Broken

_LONGEST_HEAD: Final = 128 * 1024
_HELD_UP: Final = 256 * 1024
"""Bytes that wait to be read."""


class Line(asyncio.Protocol):
    """The connection."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf
        self._sink: Callable[[bytes], bool] | None = None
        self._next_due: Callable[[], float] = lambda: math.inf
        self._parser: httptools.HttpResponseParser | None = None
        self._error: Broken | None = None
        self._surplus = False
        self.idle_since = 0.0
        self._clear()

    def _clear(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self._size = 0
        self._interim = False
        self._headed = False
        self._complete = False
        self._stays = False
        self._to_the_end = False
        self._parts: list[bytes] = []
        self._held = 0
        self._paused = False

    # --- an exchange --------------------------------------------------------------------------------------

    def send(self, head: bytes, body: bytes) -> None:
        """Begin an exchange."""
        self._clear()
        self._parser = httptools.HttpResponseParser(self)
        assert self._transport is not None  # whoever has a line was connected
        self._transport.write(head + body if len(body) < _HELD_UP else head)
        if len(body) >= _HELD_UP:
            self._transport.write(body)

    async def answered(self, due: float = math.inf) -> None:
        """Until the head of the answer is there. Raises Broken; TimeoutError at `due`, by the loop's clock."""
        while not self._headed:
            if self._error is not None:
                raise self._error
            await self._wait(due)

    async def chunk(self, due: float = math.inf) -> bytes:
        """What has come of the body since; empty = it is over. Raises Broken; TimeoutError at `due`."""
        while not self._parts:
            if self._complete:
                return b""
            if self._error is not None:
                raise self._error
            await self._wait(due)
        return self._taken()

    async def pour(self, sink: Callable[[bytes], bool], due: Callable[[], float] = lambda: math.inf) -> None:
        """Hand what comes of the body to `sink` in the very turn of the loop in which it comes, as long as `sink` says
        that it takes more. Returns when it does not, and when the end is there: that and the last part are `chunk`'s,
        as is what waits already.

        `due`: when something must have come, by the loop's clock; asked again when that has passed, and not for each
        piece. Raises TimeoutError then, and what `sink` raises.
        """
        if self._parts or self._complete or self._error is not None:
            return
        self._sink, self._next_due = sink, due
        try:
            await self._wait(due())
        finally:
            self._sink = None

    @property
    def over(self) -> bool:
        """Whether all of the answer has been handed out."""
        return self._complete and not self._parts

    def finished(self) -> bool:
        """End the exchange; whether the line can be used again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._parser = None
        transport, self.idle_since = self._transport, self._loop.time()
        return (
            self._complete
            and not self._surplus
            and not self._paused
            and self._stays
            and transport is not None
            and not transport.is_closing()
            and transport.get_write_buffer_size() == 0
        )

    def quiet(self) -> bool:
        """Whether it is still connected, and the other side has neither closed it nor said anything unasked."""
        if self._transport is None or self._transport.is_closing() or self._surplus:
            return False
        look = select.poll()
        look.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not look.poll(0)

    async def close(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()
            await asyncio.wait((self._closed,))

    def drop(self) -> None:
        """The same, without waiting until it is closed."""
        if self._transport is not None:
            self._transport.abort()

    async def encrypt(self, context: ssl.SSLContext, host: str) -> None:
        """Go on in TLS with `host`. Raises OSError."""
        assert self._transport is not None  # whoever has a line was connected
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=host)
        if transport is None:
            raise ConnectionResetError("the connection was closed while TLS was begun")
        self._transport = transport

    # --- waiting ------------------------------------------------------------------------------------------

    async def _wait(self, due: float) -> None:
        self._waiter = self._loop.create_future()
        self._due = due
        # One timer for many waits: it looks again when it goes off, because most deadlines have moved by then.
        if due != math.inf and (self._timer is None or due < self._timer.when()):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._late)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _late(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._sink is not None:
            self._due = self._next_due()
        if self._due == math.inf:
            return
        if self._loop.time() < self._due:
            self._timer = self._loop.call_at(self._due, self._late)
        else:
            self._waiter.set_exception(TimeoutError())

    def _pour(self, sink: Callable[[bytes], bool]) -> None:
        assert self._waiter is not None  # whoever pours waits
        try:
            if sink(self._taken()):
                return
        except Exception as error:  # noqa: BLE001 - it is raised where it is poured
            self._waiter.set_exception(error)
        self._sink = None
        self._wake()

    def _taken(self) -> bytes:
        """What has come."""
        found = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._held = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return found

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- what the connection says ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._surplus = True
            self.drop()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail("what the server says is no HTTP", error.__context__ or error)
            self.drop()
        if self._sink is None or self._complete or self._error is not None:
            self._wake()
        elif self._parts and self._waiter is not None and not self._waiter.done():
            self._pour(self._sink)

    def eof_received(self) -> None:
        if self._headed and self._to_the_end:
            self._complete = True
        self._fail("the server closed the connection" + (" in the middle of its answer" if self._headed else ""))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection was lost", exc)
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)
        self._wake()

    def _fail(self, why: str, cause: BaseException | None = None) -> None:
        if self._complete or self._error is not None:
            self._surplus = True
            return
        self._error = Broken(why)
        self._error.__cause__ = cause

    # --- what the parser says -------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._surplus = self._surplus or self._complete

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value)
        if self._size > _LONGEST_HEAD:
            raise ValueError(f"the head of an answer is longer than {_LONGEST_HEAD} bytes")
        if not self._headed:  # what follows a body belongs to it
            self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        assert self._parser is not None  # it is the one that says so
        if self._complete:
            return
        self.status = self._parser.get_status_code()
        self._interim = 100 <= self.status < 200 and self.status != 101
        if self._interim:
            self.headers.clear()
            return
        self._headed = True
        said = dict(self.headers)
        bodiless = self.status in (204, 304)
        chunked = said.get("transfer-encoding", "").lower().endswith("chunked")
        self._to_the_end = not (bodiless or chunked or ("content-length" in said and "transfer-encoding" not in said))

    def on_body(self, body: bytes) -> None:
        if self._complete:
            return
        self._parts.append(body)
        self._held += len(body)
        if self._held > _HELD_UP and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._complete = True
            assert self._parser is not None  # it is the one that says so
            self._stays = self._parser.should_keep_alive()
