"""Looking beside an attempt: what others change of what it has changed itself.

Rules
- One look is one statement over a read table, however many agents are at work. It is taken when the attempt itself has
  changed something new, and otherwise every `PAUSE` seconds, for what others have changed since; an attempt that has
  changed nothing does not look.
- What it is about is read only where there is something to warn of.
- An attempt that brings forth no change (a review, a plan) neither looks nor is looked at.
"""

from typing import Final, Literal

from quarterdeck.agents import warning
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.touching import Trace
from quarterdeck.journal.touches import Touches
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock

PAUSE: Final = 5.0
"""Seconds between two looks for what others have changed."""


def changes_code(assignment: Assignment) -> bool:
    """Whether what the attempt changes is meant to become a change."""
    return assignment.task is not None and (assignment.agent.expects == "submission" or assignment.depth > 0)


def root_of(attempt: str) -> str:
    """The attempt that a sub-agent's is part of; itself where it is none."""
    return ids.attempt_id(*ids.split_attempt(attempt))


class Beside:
    """What one attempt is warned of."""

    def __init__(self, attempt: str, base: str, touches: Touches | None, clock: Clock) -> None:
        """`base`: the commit that the attempt began with; `touches`: None = it does not look."""
        self._attempt = attempt
        self._base = base
        self._touches = touches
        self._clock = clock
        self._since: float | None = None
        self._seen = 0
        """Events of the attempt's own changes at the last look."""
        self._looked = 0.0

    def due(self, trace: Trace) -> bool:
        """Whether it is time to look."""
        if self._touches is None or not trace.touched or len(trace.told) >= warning.MOST:
            return False
        return trace.events != self._seen or self._clock.monotonic() - self._looked >= PAUSE

    async def look(
        self, trace: Trace, how: Literal["reminder", "result", "prompt", "feedback"]
    ) -> tuple[e.AttemptWarned, ...]:
        """What to warn of now. All that `trace` holds has to be on record. Raises StoreUnavailable."""
        if self._touches is None or not self.due(trace):
            return ()
        self._seen, self._looked = trace.events, self._clock.monotonic()
        if self._since is None:
            self._since = await self._touches.since(root_of(self._attempt), self._base)
        names = {spot.name for spots in trace.touched.values() for spot in spots}
        others = await self._touches.beside(self._attempt, self._since, names)
        found = warning.warnings(trace.touched, others, trace.told)
        if len(found) == warning.AT_ONCE:
            self._seen = -1  # there may be more: look again with the next step
        events = []
        for warn in found:
            meant = warning.intent(*await self._touches.meant(warn.other.run, warn.other.task))
            events.append(warning.event_of(warn, meant, how))
        return tuple(events)
