"""A way to a TCP server that can be cut and lost.

Rules
- Nothing is looked at or changed on the way.
- `cut` ends every connection at once; `lose` lets nothing through in either direction, and tells nobody, until `find`.
- What came from whoever connects is counted.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_CHUNK: Final = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on a port of its own. `where`: host and port behind it, asked for with each connection. `host`: the
    address it listens on."""

    def __init__(self, where: Callable[[], tuple[str, int]], host: str = "127.0.0.1") -> None:
        self._where = where
        self.host = host
        self._through = asyncio.Event()
        self._through.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.heard = 0
        """Bytes that came from who connected."""

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._open) // 2

    async def start(self) -> None:
        """Listen; `port` is known afterwards."""
        self._server = await asyncio.start_server(self._taken, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> int:
        """End all connections; how many there were."""
        count = self.connections
        for writer in self._open:
            # With a reset, as of a host that is gone: an end in order would let each side finish.
            if (opened := writer.get_extra_info("socket")) is not None:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return count

    def lose(self) -> None:
        """From now on nothing arrives any more."""
        self._through.clear()

    def find(self) -> None:
        """What was held back goes on."""
        self._through.set()

    async def close(self) -> None:
        """End everything. Idempotent."""
        self.find()
        self.cut()
        if self._server is not None:
            self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            with suppress(asyncio.CancelledError):  # by `close`: whoever serves it would complain
                await self._carry(reader, writer)
        finally:
            self._carrying.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._through.wait()
        host, port = self._where()
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._open |= ends
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer, heard=True))
                both.create_task(self._pump(far_reader, writer))
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, heard: bool = False) -> None:
        with suppress(OSError):  # which of the two sides ended it does not matter
            while data := await source.read(_CHUNK):
                await self._through.wait()
                self.heard += len(data) if heard else 0
                target.write(data)
                await target.drain()
            target.write_eof()  # after what is still on its way; the other direction may have more to say
            return
        target.transport.abort()
