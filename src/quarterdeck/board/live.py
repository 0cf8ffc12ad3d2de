"""The board kept up to date: one reader for a whole server, however many watch.

Rules
- Four times a second at most, what was recorded meanwhile is taken over and one frame is made of it; where nothing was
  recorded, it is looked once a second whether somebody has fallen silent.
- When the database cannot be read, the board says so and goes on alone when it can be read again. A bug of ours is
  written down with its trace, and the board begins anew: it must not stand still while it looks alive.
- Who watches waits for frames and never holds up the reader.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Final

from quarterdeck.board.board import Around, Board
from quarterdeck.board.frames import Frame, History, delta
from quarterdeck.board.loading import Loader
from quarterdeck.board.port import ApprovalRow, Delta, Snapshot, Topic
from quarterdeck.board.snapshots import snapshot
from quarterdeck.board.tail import PAGE, Tail
from quarterdeck.journal.port import Journal
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import NotFound, StoreUnavailable
from quarterdeck.store.port import Store

_log = logging.getLogger(__name__)

TICK: Final = 0.25
"""Seconds between two frames, at least."""
IDLE: Final = 1.0
"""Seconds after which the board is looked at although nothing was recorded."""
AROUND: Final = 1.0
"""Seconds for which what was seen around the deck holds."""
INBOX: Final = 30.0
"""Seconds after which the inbox is read again although nothing concerns it: what ended lately grows old."""
RETRY: Final = 2.0

Look = Callable[[], Awaitable[Around]]
Approvals = Callable[[], Awaitable[tuple[ApprovalRow, ...]]]
"""The approvals that are open, the oldest first."""


class Live:
    """The board of one deck. `run` keeps it up to date; whoever shows it asks here.

    look: how this machine and this server are. approvals: what is asked of a person.
    """

    def __init__(self, store: Store, journal: Journal, clock: Clock, look: Look, approvals: Approvals) -> None:
        self._clock = clock
        self._look = look
        self._approvals = approvals
        self._load = Loader(store, journal)
        self._tail = Tail(store, 0)
        self._store = store
        # Later than every number that an earlier server can have given: it counts four a second at most.
        self._board = Board(int(clock.wall() * 8))
        self._history = History()
        self._ready = asyncio.Event()
        self._news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._around_at = self._inbox_at = float("-inf")
        self._busy = asyncio.Lock()

    # --- keeping up -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the board up to date. Never ends by itself."""
        begun = self._ready.is_set()
        while True:
            try:
                if not begun:
                    await self.start()
                    begun = True
                await self._tail.wait(IDLE)
                began = self._clock.monotonic()
                await self.step()
                await asyncio.sleep(max(0.0, TICK - (self._clock.monotonic() - began)))
            except StoreUnavailable as error:
                self._trouble(str(error))
                await asyncio.sleep(RETRY)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded and shown
                _log.exception("a bug in the board; it begins anew")
                self._trouble(f"The board stumbled over a bug of ours: {type(error).__name__}")
                begun = False
                await asyncio.sleep(RETRY)

    async def start(self) -> None:
        """Read what there is: afterwards there is a board to show. Raises StoreUnavailable."""
        async with self._busy:
            board = self._board.anew()
            self._tail = Tail(self._store, await self._load.mark())
            names = [*await self._load.shown(), *board.pinned]
            for cell, at_work in await self._load.runs(names, (), {}, board.pinned):
                board.put_run(cell, at_work)
            for target in await self._load.targets():
                board.put_gate(await self._load.gate(target))
            self._board, self._around_at = board, float("-inf")
            await self._read_again()
            self._publish()
        self._ready.set()

    async def step(self) -> None:
        """Take over what was recorded since, and tell those who watch. Raises StoreUnavailable."""
        async with self._busy:
            while records := await self._tail.read():
                self._board.take(records)
                if len(records) < PAGE:
                    break
            await self._read_again()
            self._publish()

    async def _read_again(self) -> None:
        """Everything that is stale."""
        board, load, now = self._board, self._load, self._clock.wall()
        stale = board.stale
        if stale.runs:
            names = frozenset(stale.runs)
            facts = {run: cell.facts for run, cell in board.runs.items()}
            for cell, at_work in await load.runs(names, board.agents.keys(), facts, board.pinned):
                board.put_run(cell, at_work)
            board.drop_runs(frozenset(await load.shown()))
            stale.runs -= names
            if any(cell.finished for run, cell in board.runs.items() if run in names):
                board.drop_gates(frozenset(await load.targets()))
        for target in frozenset(stale.gates):
            board.put_gate(await load.gate(target))
            stale.gates.discard(target)
        for target in frozenset(stale.reviewed & board.gates.keys()):
            board.put_reviewed(target, await load.reviewed(board.gates[target]))
        stale.reviewed.clear()
        if stale.landings:
            board.unreviewed, stale.landings = await load.landings(), False
        if stale.approvals:
            board.approvals, stale.approvals = await self._approvals(), False
        passed = self._clock.monotonic()
        if stale.inbox or passed - self._inbox_at > INBOX:
            board.inbox, stale.inbox, self._inbox_at = await load.inbox(now), False, passed
        if passed - self._around_at > AROUND:
            day = time.strftime("%Y-%m-%d", time.gmtime(now))
            board.burn, today = await load.spending(now, day)
            board.around = replace(await self._look(), today_nusd=today)
            self._around_at = passed

    def _trouble(self, why: str) -> None:
        self._board.around = replace(self._board.around, trouble=why)
        self._around_at = float("-inf")
        _log.warning("the board cannot be brought up to date: %s", why)
        self._publish()

    def _publish(self) -> None:
        frame = self._board.frame(self._clock.wall())
        if frame is None:
            return
        self._history.add(frame)
        news, self._news = self._news, asyncio.get_running_loop().create_future()
        if not news.done():
            news.set_result(None)

    # --- showing --------------------------------------------------------------------------------------------

    @property
    def seq(self) -> int:
        """Number of the newest frame."""
        return self._board.seq

    async def ready(self) -> None:
        """Wait until there is a board to show."""
        await self._ready.wait()

    async def follow(self, run: str) -> None:
        """Show the tasks of a run from now on, until `leave`. Raises NotFound."""
        await self.ready()
        self._board.pin(run)
        try:
            if run in self._board.stale.runs or run not in self._board.tasks:
                await self.step()
            if run not in self._board.runs:
                raise NotFound(f"There is no run {run}", fix="quarterdeck ps")
        except BaseException:
            self._board.unpin(run)
            raise

    def leave(self, run: str) -> None:
        """One of those who `follow` has left."""
        self._board.unpin(run)

    def snapshot(self, topics: Collection[Topic] = tuple(Topic), run: str | None = None) -> Snapshot:
        """Everything of these topics now; with the tasks of `run`, which has to be followed."""
        return snapshot(self._board, self._clock.wall(), topics, run)

    def since(self, seq: int) -> list[Frame] | None:
        """The frames after `seq`; None where only a snapshot can help."""
        return self._history.since(seq, self._board.seq)

    def delta(self, seq: int, topics: Collection[Topic], run: str | None) -> Delta | None:
        """What changed after `seq`; None = nothing. `since` has to know the frames."""
        return delta(self.since(seq) or (), topics, run)

    async def changed(self, seq: int, timeout: float) -> bool:
        """Wait until there is a frame after `seq`; False after `timeout` seconds without one."""
        if self._board.seq == seq:
            await asyncio.wait((self._news,), timeout=timeout)
        return self._board.seq != seq
