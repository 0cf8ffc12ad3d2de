"""One HTTP/1.1 connection over asyncio streams, close enough to the socket to misbehave on purpose."""

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import h11

MAX_BODY: Final = 64 * 1024 * 1024
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str
    """Without the query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


def _plain(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body as it was before the client compressed it. Raises h11.RemoteProtocolError."""
    encoding = headers.get("content-encoding", "identity")
    if encoding == "identity":
        return body
    if encoding not in ("gzip", "deflate"):
        raise h11.RemoteProtocolError(f"content-encoding {encoding} is not known here", error_status_hint=415)
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = unpacking.decompress(body, MAX_BODY)
    except zlib.error as error:
        raise h11.RemoteProtocolError("the body is not compressed as its header says") from error
    if not unpacking.eof:
        raise h11.RemoteProtocolError("the request is too large, or its end is missing")
    return plain


class Connection:
    """A client's connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._h11 = h11.Connection(h11.SERVER)
        self._bodiless = False

    async def receive(self) -> HttpRequest | None:
        """The next request; None when the client is done. Raises h11.RemoteProtocolError."""
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        if self._h11.our_state is not h11.IDLE:
            return None
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    self._write(h11.InformationalResponse(status_code=100, headers=[]))
                self._h11.receive_data(await self._reader.read(_CHUNK))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    raise h11.RemoteProtocolError("the request is too large")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
                path = head.target.decode("latin-1").partition("?")[0]
                self._bodiless = head.method == b"HEAD"
                return HttpRequest(head.method.decode(), path, headers, _plain(bytes(body), headers))
            else:
                return None

    async def gone(self) -> None:
        """Return when the client has closed the connection."""
        while data := await self._reader.read(_CHUNK):
            self._h11.receive_data(data)

    def _write(self, event: h11.InformationalResponse | h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = self._h11.send(event)
        if data:
            self._writer.write(data)

    async def head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        """Send the status line and headers."""
        self._write(h11.Response(status_code=status, headers=[*headers, ("request-id", "req_scripted")]))
        await self._writer.drain()

    async def send(self, data: bytes) -> None:
        """Send a piece of the body."""
        self._write(h11.Data(data=data))
        await self._writer.drain()

    async def end(self) -> None:
        """Complete the response."""
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    async def whole(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> None:
        """Send a complete response."""
        await self.head(status, (*headers, ("content-length", str(len(body)))))
        if not self._bodiless:
            await self.send(body)
        await self.end()

    async def json(self, status: int, data: dict[str, Any]) -> None:
        """Send a complete JSON response."""
        await self.whole(status, (("content-type", "application/json"),), json.dumps(data).encode())

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        raw: socket.socket | None = self._writer.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:  # the client may have closed it already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection; what was sent still arrives."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except (ConnectionError, BrokenPipeError):
            # The client was faster: there is nothing left to close.
            return
