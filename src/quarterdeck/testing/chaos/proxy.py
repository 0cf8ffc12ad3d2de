"""A way to a TCP server that can be cut and lost.

Rules
- Nothing is looked at or changed on the way.
- `cut` ends every connection at once; `lose` lets nothing through in either direction, and tells nobody, until `find`.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_CHUNK: Final = 64 * 1024


class Proxy:
    """Listens on a loopback port of its own. `where`: host and port behind it, asked for with each connection."""

    def __init__(self, where: Callable[[], tuple[str, int]]) -> None:
        self._where = where
        self._through = asyncio.Event()
        self._through.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen; `port` is known afterwards."""
        self._server = await asyncio.start_server(self._taken, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> int:
        """End all connections; how many there were."""
        count = len(self._open) // 2
        for writer in self._open:
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
                both.create_task(self._pump(reader, far_writer))
                both.create_task(self._pump(far_reader, writer))
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # which of the two sides ended it does not matter
            while data := await source.read(_CHUNK):
                await self._through.wait()
                target.write(data)
                await target.drain()
        target.transport.abort()
