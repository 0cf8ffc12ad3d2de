"""How the writes of one process take turns, on one thread, what waits at that moment together; who waits for changes.

Rules
- A turn is handed over whole; what became of each write stands in it afterwards, and only then are its callers
  answered.
- Whoever waits for a change is woken when a turn was committed, and by whoever sees that another process did.
- While somebody waits, the thread may be asked to look for changes itself.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.store.port import Tx, Write

T = TypeVar("T")

_TURN: Final = 512
"""Most writes in one transaction."""


@dataclass(slots=True)
class Waiting:
    """One write that waits for its turn, and then for its answer."""

    work: Callable[[Tx], Any]
    future: "asyncio.Future[Any]"
    value: Any = None
    error: BaseException | None = None


class TurnTx(Tx, Protocol):
    """The transaction of one turn."""

    @property
    def broken(self) -> Exception | None:
        """What the database itself has failed with: nothing of this transaction can be kept."""
        ...


def perform(tx: TurnTx, asks: Sequence[Waiting]) -> bool:
    """Run the writes of one turn, each alone where they are several; what became of each stands in it. False where
    there was one and it failed: it had no savepoint, so the whole transaction has to be undone. Raises `tx.broken`."""
    for ask in asks:
        if ask.future.cancelled():
            continue
        try:
            ask.value = tx.alone(ask.work) if len(asks) > 1 else ask.work(tx)
        except BaseException as error:  # noqa: BLE001 - given to the caller, whatever it is
            ask.error = error
        if tx.broken is not None:
            raise tx.broken
    return len(asks) > 1 or asks[0].error is None


@dataclass(frozen=True, slots=True)
class Looking:
    """How the thread looks for other processes' changes while somebody waits for one."""

    look: Callable[[], None]
    seconds: float
    """Between two looks."""


class Turns:
    """The writers' queue and the marks of changes, for the event loop that it is made in.

    commit: one transaction for these writes; True where it was committed. Runs on the thread, as do the others.
    end: the last thing that the thread does. looking: None = others' changes are seen in another way.
    """

    def __init__(
        self, commit: Callable[[list[Waiting]], bool], end: Callable[[], None], looking: Looking | None = None
    ) -> None:
        self._commit = commit
        self._end = end
        self._looking = looking
        self._loop = asyncio.get_running_loop()
        self._asks: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._stopping = False
        self._mark = 1
        self._waiters: set[asyncio.Future[None]] = set()
        self.closed: asyncio.Future[None] | None = None
        """Set when closing begins, done when it has ended."""

    # --- the event loop's side ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to take turns."""
        self._thread.start()

    async def write(self, work: Write[T]) -> T:
        """`Store.write`."""
        self.must_be_open()
        ask = Waiting(work, self._loop.create_future())
        self._asks.put(ask)
        value: T = await ask.future
        return value

    async def changed(self, since: int, timeout: float) -> int:
        """`Store.changed`."""
        self.must_be_open()
        if since != self._mark:
            return self._mark
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.add(waiter)
        if len(self._waiters) == 1 and self._looking is not None:
            self._asks.put(None)  # the thread begins to look
        try:
            await asyncio.wait((waiter,), timeout=timeout)
        finally:
            self._waiters.discard(waiter)
            waiter.cancel()
        return self._mark

    def must_be_open(self) -> None:
        """Raises StoreUnavailable."""
        if self.closed is not None:
            raise StoreUnavailable("The database is closed")

    @property
    def awaited(self) -> bool:
        """Whether anybody waits for a change."""
        return bool(self._waiters)

    def bump(self) -> None:
        """Something was committed, or may have been."""
        self._mark += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def close(self, rest: Callable[[], None]) -> None:
        """Finish what waits, then do the `rest` in a thread. Idempotent."""
        if self.closed is None:
            self.closed = self._loop.create_future()
            self._stopping = True
            self._asks.put(None)
            await asyncio.to_thread(self._thread.join)
            await asyncio.to_thread(rest)
            self.bump()
            self.closed.set_result(None)
        await asyncio.shield(self.closed)

    def _answer(self, asks: list[Waiting], committed: bool) -> None:
        for ask in asks:
            if ask.future.done():
                continue
            if ask.error is not None:
                ask.future.set_exception(ask.error)
            else:
                ask.future.set_result(ask.value)
        if committed:
            self.bump()

    # --- the thread -----------------------------------------------------------------------------------------

    def tell(self, callback: Callable[..., None], *arguments: Any) -> None:
        """Call back on the event loop, from any thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _serve(self) -> None:
        while True:
            asks = self._take()
            if asks:
                committed = self._commit(asks)
                self.tell(self._answer, asks, committed)
            elif self._stopping:
                break
            if self._looking is not None and self._waiters:
                self._looking.look()
        self._end()

    def _take(self) -> list[Waiting]:
        """What waits now; waits itself while there is nothing, at most until the next look."""
        timeout = self._looking.seconds if self._looking is not None and self._waiters else None
        try:
            first = self._asks.get(block=not self._stopping, timeout=timeout)
        except queue.Empty:
            return []
        asks = [] if first is None else [first]
        while len(asks) < _TURN and not self._asks.empty():  # nobody else takes from it
            if (ask := self._asks.get_nowait()) is not None:
                asks.append(ask)
        return asks
