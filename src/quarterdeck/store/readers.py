"""Where a store's reads run: a few threads, and connections that are kept for the next read.

Rules
- A connection serves one read at a time. One that a read failed on is not kept; that is its store's to decide.
- Nothing is read any more once closing has begun.
"""

import asyncio
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, Protocol, TypeVar

from quarterdeck.store.port import Ask, Row
from quarterdeck.store.turns import Turns

_THREADS: Final = 4


class Closable(Protocol):
    """A connection, as far as it matters here."""

    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class Readers(Generic[C]):
    """The reads of one store. turns: they know whether it is closed. look: what these statements find, as of one
    commit; runs on a thread."""

    def __init__(self, turns: Turns, look: Callable[[Sequence[Ask]], list[list[Row]]]) -> None:
        self._turns = turns
        self._look = look
        self._loop = asyncio.get_running_loop()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="store-reader")
        self._idle: queue.SimpleQueue[C] = queue.SimpleQueue()

    async def read(self, statement: str, /, **parameters: Any) -> list[Row]:
        """`Store.read`."""
        self._turns.must_be_open()
        return (await self._loop.run_in_executor(self._pool, self._look, ((statement, parameters),)))[0]

    async def reads(self, *asks: Ask) -> list[list[Row]]:
        """`Store.reads`."""
        self._turns.must_be_open()
        return await self._loop.run_in_executor(self._pool, self._look, asks)

    # --- the threads ----------------------------------------------------------------------------------------

    def idle(self) -> C | None:
        """A connection that nobody uses; None = there is none, and a new one is needed."""
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            return None

    def keep(self, connection: C) -> None:
        """For the next read."""
        self._idle.put(connection)

    def forget(self) -> None:
        """Close what nobody uses."""
        while (connection := self.idle()) is not None:
            connection.close()

    def end(self) -> None:
        """Wait for the reads under way, and close all connections."""
        self._pool.shutdown()
        self.forget()
