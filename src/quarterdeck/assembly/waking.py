"""Runs that have lost their jobs are woken, by a process that owns the deck for long.

Rules
- A run that has no job left and has not ended is woken: a job that ended with a bug of ours leaves such a one behind.
  So is one all of whose work is at the merge gate; that harms nothing.
- Each time without a job of its own in between it is woken ever more rarely, once an hour at least: nothing stands
  still for good because it did so before.
- One of whose jobs killed its process again and again is woken once, and not again.
- What goes wrong with one run keeps no other one from being looked at.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from quarterdeck.engine.port import Engine, poisoned
from quarterdeck.journal.views import Views
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events import RunStatus
from quarterdeck.kernel.failures import StoreUnavailable

_log = logging.getLogger(__name__)

PAUSES: Final = (60.0, 3600.0)
"""Shortest and longest pause before a run is woken once more, seconds; they double."""
AT_REST: Final = (RunStatus.PAUSED, RunStatus.WAITING)


@dataclass(frozen=True, slots=True)
class _Woken:
    due: float
    """When it may be woken again, by the monotonic clock."""
    pause: float


class Waking:
    """Of one process. revive: defers what a run has lost."""

    def __init__(self, views: Views, engine: Engine, revive: Callable[[str], Awaitable[None]], clock: Clock) -> None:
        self._views = views
        self._engine = engine
        self._revive = revive
        self._clock = clock
        self._woken: dict[str, _Woken] = {}

    async def look(self) -> None:
        """Wake whoever is due. Raises StoreUnavailable."""
        views = await self._views.going()
        going = [view.run for view in views if view.status not in AT_REST]
        self._woken = {run: woken for run, woken in self._woken.items() if run in going}
        for run in going:
            if await self._engine.unfinished(run):
                self._woken.pop(run, None)
            elif await self._due(run):
                await self._wake(run)

    async def _due(self, run: str) -> bool:
        woken = self._woken.get(run)
        if woken is None:
            return True
        if self._clock.monotonic() < woken.due:
            return False
        return not any(job.run == run and trace == poisoned() for job, trace in await self._engine.failed())

    async def _wake(self, run: str) -> None:
        before = self._woken.get(run)
        pause = PAUSES[0] if before is None else min(2 * before.pause, PAUSES[1])
        self._woken[run] = _Woken(self._clock.monotonic() + pause, pause)
        try:
            await self._revive(run)
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - recorded; the others have to be looked at all the same
            _log.exception("%s could not be woken", run)
