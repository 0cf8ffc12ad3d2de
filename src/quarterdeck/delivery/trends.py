"""Notices about spending that leaves its baseline: what has just ended, and its run and day with it, are held against
what was before.

Rules
- Looked at when a node of an agent has ended: what it spent is on record then. What costs less than the floor of a
  notice (`govern.trend`) is not looked up.
- Once for each crossing: a run and its agents once in that run, a day once in the whole deck.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Final, Literal

from quarterdeck.govern.chain import day_of
from quarterdeck.govern.trend import FLOOR_NUSD, KEPT, departs
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events import Node
from quarterdeck.kernel.states import RunState

_SPENDING: Final = frozenset((Node.PLAN, Node.IMPLEMENT, Node.REVIEW))

About = Literal["run", "agent", "day"]


class Trends:
    """Looks up what was spent, and what is usual."""

    def __init__(self, views: Views, clock: Clock) -> None:
        self._views = views
        self._clock = clock

    async def notices(self, state: RunState, ended: Iterable[e.EventBase]) -> list[e.SpendNoticed]:
        """What is to be recorded in the run's stream together with these ends of nodes."""
        attempts = [
            event.attempt
            for event in ended
            if isinstance(event, e.NodeFinished) and event.attempt is not None and event.node in _SPENDING
        ]
        found: dict[tuple[str, str], e.SpendNoticed] = {}
        if state.created is not None and attempts:
            async for notice in self._departures(state.created, attempts):
                if (notice.about, notice.name) not in state.noticed:
                    found.setdefault((notice.about, notice.name), notice)
        return list(found.values())

    async def _departures(self, run: e.RunCreated, attempts: Iterable[str]) -> AsyncIterator[e.SpendNoticed]:
        day = day_of(self._clock.wall())
        if not await self._views.noticed("day", day):
            spent, earlier = await self._views.days(day, KEPT)
            if (notice := _notice("day", day, spent, earlier)) is not None:
                yield notice
        spent = (await self._views.run(run.run)).cost_nusd
        if spent <= FLOOR_NUSD:
            return  # nor can any part of it be worth a notice
        earlier = await self._views.earlier_runs(run.run, run.repository, KEPT)
        if (notice := _notice("run", run.run, spent, earlier)) is not None:
            yield notice
        for attempt in attempts:
            for agent, cost in await self._views.spent_by(run.run, attempt):
                if cost > FLOOR_NUSD:
                    earlier = await self._views.earlier_attempts(run.run, agent, KEPT)
                    if (notice := _notice("agent", agent, cost, earlier)) is not None:
                        yield notice


def _notice(about: About, name: str, spent: int, earlier: list[int]) -> e.SpendNoticed | None:
    left = departs(spent, earlier)
    if left is None:
        return None
    return e.SpendNoticed(
        about=about, name=name, spent_nusd=spent, usual_nusd=left.usual, bound_nusd=left.bound, samples=left.samples
    )
