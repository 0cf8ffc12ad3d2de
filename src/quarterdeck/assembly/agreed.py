"""What may be asked of each provider over the whole deck, where every machine has a file of its own.

Rules
- The least that the file of any machine at work says holds on all of them, also on those whose files say nothing.
- Each process writes down what its file says, again every minute as long as it asks, and reads what the others say
  every few seconds. What a process said that is gone counts for five more minutes.
- While the database is away, what was known last holds, and what the own file says.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.store.port import Store, Tx

_log = logging.getLogger(__name__)

_SAY: Final = 60.0
_LOOK: Final = 5.0
_COUNTS: Final = 300.0
"""Seconds."""

Most = dict[str, int]
"""Provider to how much is allowed."""


def least(own: Most, others: Most) -> Most:
    """What holds. Pure."""
    return {name: min(own.get(name, most), others.get(name, most)) for name, most in (own | others).items()}


class Agreed:
    """Limits of one kind. holder: this process's incarnation. own: what its machine's file says now."""

    def __init__(self, store: Store, holder: str, clock: Clock, kind: str, own: Callable[[], Most]) -> None:
        self._store = store
        self._holder = holder
        self._clock = clock
        self._kind = kind
        self._own = own
        self._others: Most = {}
        self._said: Most = {}
        self._said_at = self._looked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def most(self, provider: str) -> int | None:
        """How much of that provider; None = nobody says anything about it."""
        own = self._own()
        async with self._asking:
            try:
                await self._say(own)
                await self._look()
            except StoreUnavailable as error:  # said by whoever cannot do without it
                _log.info("what may be asked of providers could not be agreed on: %s", error)
        return least(own, self._others).get(provider)

    async def _say(self, own: Most) -> None:
        now = self._clock.monotonic()
        if own == self._said and (not own or now - self._said_at < _SAY):
            return

        def work(tx: Tx) -> None:
            shared = float(tx.run("deck_now")[0]["now"])
            tx.run("told_unsay", kind=self._kind, holder=self._holder, now=shared)
            for provider, most in sorted(own.items()):
                until = shared + _COUNTS
                tx.run("told_say", kind=self._kind, provider=provider, holder=self._holder, most=most, until=until)

        await self._store.write(work)
        self._said, self._said_at, self._looked_at = dict(own), now, float("-inf")

    async def _look(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at < _LOOK:
            return
        shared = float((await self._store.read("deck_now"))[0]["now"])
        rows = await self._store.read("told_least", kind=self._kind, now=shared)
        self._others, self._looked_at = {row["provider"]: int(row["most"]) for row in rows}, now
