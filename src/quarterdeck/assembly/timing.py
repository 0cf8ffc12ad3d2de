"""The wall clock of a deck that several machines work on: the database server's, of which each process keeps a copy.

Rules
- Deadlines, days, windows and schedules are compared by that clock everywhere: no machine's own one matters, nor that
  it steps.
- The copy is set when a process opens the deck, and again every half minute while it works or serves: machines that
  slept, and a server whose clock was set, are followed.
- An answer tells the time of some moment since it was asked for: the quickest of a few counts.
- A file in a home is one machine's: its clock is the machine's.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from quarterdeck.kernel.clock import Clock, CopiedClock
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.store.port import Store

_log = logging.getLogger(__name__)

_AGAIN: Final = 30.0
"""Seconds between two settings."""
_QUICK: Final = 0.02
"""Seconds; an answer that came as quickly says well enough what time it is."""
_TRIES: Final = 5
WRONG: Final = 5.0
"""Seconds by which a machine's own clock may differ before that is said."""


async def clock_of(store: Store, clock: Clock) -> Clock:
    """The clock of the deck in that store; `clock`: this machine's. Raises StoreUnavailable."""
    if store.dialect == "sqlite":
        return clock
    copied = CopiedClock(clock)
    await set_by(store, copied)
    if abs(copied.ahead) > WRONG:
        _log.warning("this machine's clock is %+.0f s off the database's, which counts", copied.ahead)
    return copied


async def set_by(store: Store, clock: CopiedClock) -> None:
    """Set the copy once. Raises StoreUnavailable."""
    slowest = math.inf
    for _ in range(_TRIES):
        before = clock.monotonic()
        rows = await store.read("deck_now")
        after = clock.monotonic()
        if after - before < slowest:
            slowest, shared, at = after - before, float(rows[0]["now"]), (before + after) / 2
        if slowest <= _QUICK:
            break
    clock.set(shared, at, slowest / 2)


@asynccontextmanager
async def followed(store: Store, clock: Clock) -> AsyncIterator[None]:
    """Keep the copy right."""
    if not isinstance(clock, CopiedClock):
        yield
        return
    following = asyncio.create_task(_follow(store, clock))
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def _follow(store: Store, clock: CopiedClock) -> None:
    while True:
        await asyncio.sleep(_AGAIN)
        try:
            await set_by(store, clock)
        except StoreUnavailable:  # said by whoever needs it; the copy goes on by itself
            continue
