"""Hearing of other processes' commits: one connection that listens while a store is in use.

Rules
- It begins when somebody first waits for a change, and what was committed before it began counts as a change.
- Where it is interrupted, everybody who waits is woken, and it begins anew for whoever waits then, after a pause that
  grows.
- What this process has committed itself is no news.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import psycopg

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.store.session import Address, Session, connect
from quarterdeck.store.turns import Turns

_PAUSES: Final = (0.1, 5.0)
"""First and longest pause between two tries, seconds."""


class Listening:
    """The listening of one store. `mine`: whether that process of the server serves this store's writer."""

    def __init__(self, at: Address, turns: Turns, mine: Callable[[int], bool]) -> None:
        self._at = at
        self._turns = turns
        self._mine = mine
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._socket = -1
        self._starting: asyncio.Task[None] | None = None
        self._pause = 0.0
        self._ending = asyncio.Event()

    def begin(self) -> None:
        """Listen, if that is not done yet."""
        if self._session is None and self._starting is None and self._turns.closed is None:
            self._starting = self._loop.create_task(self._start())

    async def end(self) -> None:
        """Idempotent."""
        self._ending.set()
        if self._starting is not None:
            await asyncio.shield(self._starting)  # a connection that is being made has to be closed
        self._stop()

    async def _start(self) -> None:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._ending.wait()
            session = await asyncio.to_thread(connect, self._at, "listener")
        except (psycopg.Error, BadConfiguration):  # whoever reads or writes is told what is wrong
            self._pause = min(max(self._pause * 2, _PAUSES[0]), _PAUSES[1])
        else:
            self._pause = 0.0
            self._session, self._socket = session, session.pg.socket
            self._loop.add_reader(self._socket, self._heard)
        finally:
            self._starting = None
        if self._ending.is_set():
            self._stop()
        self._turns.bump()

    def _heard(self) -> None:
        session = self._session
        if session is None:
            return
        news = False
        try:
            session.pg.consume_input()
            while (notice := session.pg.notifies()) is not None:
                news = news or not self._mine(notice.be_pid)
        except psycopg.Error:
            self._stop()
            news = True
        if not session.alive:
            self._stop()
            news = True
        if news:
            self._turns.bump()

    def _stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._loop.remove_reader(self._socket)  # a lost connection no longer knows its own
            session.close()
