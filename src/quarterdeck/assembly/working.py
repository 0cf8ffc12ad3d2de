"""How a process works on runs: it owns the engine, or follows the one that does.

Rules
- One process owns the embedded engine at a time. A process that cannot own it
  follows, and takes over when the owner dies.
- The owner serves until no job is left, also those of other runs; it anchors the journal before it leaves.
- A run that is asked for is woken first, so that nothing depends on how the last process ended.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from quarterdeck.assembly import steering
from quarterdeck.assembly.owning import Owning
from quarterdeck.assembly.parts import Parts
from quarterdeck.assembly.tidying import tidy
from quarterdeck.assembly.triggering import Outside
from quarterdeck.assembly.waking import AT_REST, Waking
from quarterdeck.delivery import jobs
from quarterdeck.kernel.failures import QuarterdeckError, StoreUnavailable

_log = logging.getLogger(__name__)

FOLLOW_SECONDS: Final = 1.0
"""After how long a process that follows looks again by itself."""
_LOOK_SECONDS: Final = 60.0


class Working:
    """The work of one process on the runs of its deck."""

    def __init__(self, parts: Parts, outside: Outside) -> None:
        self._parts = parts
        self._outside = outside
        self._handlers = outside.handlers
        self._owning = Owning(parts)

    async def work(self, run: str) -> None:
        """Own the engine if possible and serve, else follow; returns when the run is finished, waiting or paused."""
        parts, mark, woken = self._parts, 0, 0
        await self._wake(run)
        while not await self._at_rest(run):
            if await self._may_own():
                await self._owning.begin()
                await parts.engine.serve(self._handlers, until_idle=True)
                await self._owning.end()
                if not await self._at_rest(run):
                    woken += 1
                    if woken > 1:
                        raise await self._stuck(run)
                    await parts.conductor.revive(run)
            else:
                mark = await parts.store.changed(mark, FOLLOW_SECONDS)

    async def _may_own(self) -> bool:
        """Whether this process performs jobs from now on: it does already, or nobody does."""
        engine = self._parts.engine
        return (self._owning.begun or not await engine.attended()) and await engine.try_own()

    async def moved(self, run: str) -> None:
        """Until a run that waits, or is paused, has something to do, or has ended: somebody decided, or the time is
        over. What other runs have to do meanwhile is done here where nobody else does it."""
        parts, mark = self._parts, 0
        while await self._at_rest(run) and not (await self._parts.views.run(run)).status.finished:
            if await steering.overdue(parts, run):
                await self._wake(run)
            elif await self._may_own():
                await self._owning.begin()
                if await parts.engine.unfinished():
                    await parts.engine.serve(self._handlers, until_idle=True)
            mark = await parts.store.changed(mark, FOLLOW_SECONDS)

    async def serve(self, drain: float = 0.0) -> None:
        """Own the engine whenever that is possible and perform whatever comes, until cancelled; what has begun by then
        gets `drain` seconds. Raises StoreUnavailable where the database stays away, Fenced."""
        parts, mark = self._parts, 0
        while True:
            if not await parts.engine.try_own():
                mark = await parts.store.changed(mark, FOLLOW_SECONDS)
                continue
            await self._owning.begin(lasting=True)
            watching = [asyncio.create_task(one) for one in (self._keep_going(), self._outside.stand())]
            try:
                await self._perform(drain)
            finally:
                for one in watching:
                    one.cancel()
                await asyncio.gather(*watching, return_exceptions=True)
                await self._owning.end()

    async def _perform(self, drain: float) -> None:
        engine = self._parts.engine
        if not drain:
            await engine.serve(self._handlers, until_idle=False)
            return
        serving = asyncio.create_task(engine.serve(self._handlers, until_idle=False))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            engine.drain(drain)
            await serving
            raise

    async def _keep_going(self) -> None:
        """While this process owns the deck for long: wake runs that have no job left and have not ended, and those with
        an approval that nobody gave in time; have the journal anchored every hour."""
        parts = self._parts
        waking = Waking(parts.views, parts.engine, parts.conductor.revive, parts.clock)
        while True:
            for look in (waking.look, self._wake_overdue, partial(tidy, parts), self._owning.anchor):
                await _looked(look)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _wake_overdue(self) -> None:
        for run in await steering.overdue(self._parts):
            await self._wake(run)

    async def _wake(self, run: str) -> None:
        """Have somebody look at the run."""
        engine = self._parts.engine
        await self._parts.journal.commit(also=lambda tx: engine.defer(tx, jobs.advance(run)))

    async def _at_rest(self, run: str) -> bool:
        status = (await self._parts.views.run(run)).status
        return (status.finished or status in AT_REST) and not await self._parts.engine.unfinished(run)

    async def _stuck(self, run: str) -> QuarterdeckError:
        """Nothing is left to do and the run has not ended: a bug of ours, said with what is known of it."""
        traces = [trace for job, trace in await self._parts.engine.failed() if job.run in (run, "")]
        why = traces[0].strip().splitlines()[-1] if traces else "no job is left, and nothing waits for a human"
        return QuarterdeckError(
            f"{run} cannot go on", why=why, fix=f"quarterdeck resume {run}; please report the trace"
        )


async def _looked(look: Callable[[], Awaitable[None]]) -> None:
    """Look; what goes wrong with it is recorded and keeps nothing else from being looked at."""
    try:
        await look()
    except StoreUnavailable:  # the engine says so; the next look does what this one did not
        pass
    except QuarterdeckError as error:
        _log.warning("not everything could be kept going: %s", error)
    except Exception:  # noqa: BLE001 - a bug of ours is recorded, and must not end it for good
        _log.exception("a look at what has to be kept going broke off; the next one is in a minute")
