"""A client that takes little of the machine that it measures on: a proxy shares two cores with whoever asks it.

Rules
- HTTP/1.1 on connections that are kept, one request on each at a time. It reads an answer's status, where it ends, and
  how the body ends; nothing else.
- Times are of the monotonic clock: from the moment before the request is written.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self, cast
from urllib.parse import urlsplit

import httptools

_KEPT: Final = 256
"""Bytes of the end of a body."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of one request."""

    status: int
    first: float
    """Seconds to the first byte of the body; to its end, where it has none."""
    whole: float
    """Seconds to its end."""
    end: bytes
    """The last of the body."""


class LightClient(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answered] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._began = self._first = 0.0
        self._end = b""

    @classmethod
    async def connect(cls, url: str) -> Self:
        """A connection to the server of that address. Raises OSError."""
        place, loop = urlsplit(url), asyncio.get_running_loop()
        assert place.hostname is not None  # whoever serves has said where
        assert place.port is not None
        return (await loop.create_connection(cls, place.hostname, place.port))[1]

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """Ask there, on this connection. Raises ConnectionError, httptools.HttpParserError."""
        place = urlsplit(url)
        said = {"host": place.netloc, "content-length": str(len(body)), **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        request = f"POST {place.path} HTTP/1.1\r\n{head}\r\n".encode() + body
        assert self._transport is not None  # it was connected
        if self._transport.is_closing():
            raise ConnectionResetError("the server closed the connection")
        self._answer = asyncio.get_running_loop().create_future()
        self._parser, self._first, self._end = httptools.HttpResponseParser(self), 0.0, b""
        self._began = time.perf_counter()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- what the connection and the parser say ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._parser is not None  # a server speaks when it is asked
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionResetError("the server closed the connection"))

    def on_body(self, body: bytes) -> None:
        self._first = self._first or time.perf_counter()
        self._end = body[-_KEPT:] if len(body) >= _KEPT else (self._end + body)[-_KEPT:]

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._answer.done():
            assert self._parser is not None  # it is the one that says so
            ended = time.perf_counter()
            first, whole = (self._first or ended) - self._began, ended - self._began
            self._answer.set_result(Answered(self._parser.get_status_code(), first, whole, self._end))

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
