"""Approvals: a person's word, given once, for exactly one thing, in time.

Rules
- A decision is bound to the hash of what was asked; one for another hash is refused, and so is a second one, and one
  that comes too late.
- Whoever decides claims the approval's stream first and looks at it then: of two who decide at once, one is refused.
- That nobody decided in time is a decision too, and on record.
- Whoever waits sees what another process decided.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from quarterdeck.journal.port import Also, Journal
from quarterdeck.journal.views import ApprovalView, Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import Conflicting, NotFound, StaleClaim

NOBODY: Final = "quarterdeck"
"""Who decides that the time is over."""

_LOOK: Final = 5.0
_PAUSE: Final = 0.1
"""Between two looks, seconds: a busy deck commits all the time."""

Verdict = Literal["approve", "deny"]


def due(asked: e.ApprovalAsked, now: float) -> bool:
    """Whether it is too late to decide. Pure."""
    return asked.expires_at is not None and now >= asked.expires_at


def refusal(view: ApprovalView, action_hash: str, now: float) -> Conflicting | None:
    """Why a decision about that hash cannot be taken; None = it can, unless somebody has decided. Pure."""
    fix = f"quarterdeck show {view.run}"
    if view.status != "open":
        by = f" by {view.by}" if view.by else ""
        return Conflicting(f"{view.approval} is {view.status} already{by}", why=view.reason, fix=fix)
    if action_hash != view.action_hash:
        return Conflicting(
            f"{view.approval} was not decided: what is asked has changed",
            why=f"you decided about {action_hash[:12]}, it asks for {view.action_hash[:12]}",
            fix="quarterdeck inbox   (and look at it again)",
        )
    if view.expires_at is not None and now >= view.expires_at:
        return Conflicting(f"{view.approval} has expired", why="it was not decided in time", fix=fix)
    return None


class Approvals:
    """The decisions about approvals of one deck."""

    def __init__(
        self, journal: Journal, views: Views, clock: Clock, changed: Callable[[int, float], Awaitable[int]]
    ) -> None:
        """`changed`: the store's, which says that somebody has committed something."""
        self._journal = journal
        self._views = views
        self._clock = clock
        self._changed = changed

    async def find(self, approval: str) -> ApprovalView | None:
        """What was asked under that id; None = nothing."""
        try:
            return await self._views.approval(approval)
        except NotFound:
            return None

    async def decided(self, run: str, approval: str) -> e.ApprovalDecided | None:
        """What was decided; None = nothing yet."""
        last = await self._journal.last(ids.approval_stream(run, approval))
        return last.event if last is not None and isinstance(last.event, e.ApprovalDecided) else None

    async def decide(
        self, approval: str, verdict: Verdict, *, action_hash: str, reason: str, by: str, also: Also | None = None
    ) -> e.ApprovalDecided:
        """Record a person's word, with `also` in the same transaction. Raises NotFound, Conflicting."""
        view = await self._views.approval(approval)
        if (no := refusal(view, action_hash, self._clock.wall())) is not None:
            if view.status == "open" and view.action_hash == action_hash:
                await self._expire(view.run, view.approval, view.action_hash)
            raise no
        event = e.ApprovalDecided(
            approval=approval, verdict=verdict, by=by, reason=reason[:4000], action_hash=action_hash
        )
        earlier = await self._record(view.run, event, also)
        if earlier is not None:
            raise Conflicting(
                f"somebody else decided about {approval} at the same moment",
                why=f"{earlier.verdict} by {earlier.by}" if earlier.by else "",
                fix=f"quarterdeck show {view.run}",
            )
        return event

    async def settled(self, asked: e.ApprovalAsked) -> e.ApprovalDecided | None:
        """What was decided, also that it is too late by now; None = it is open."""
        found = await self.decided(asked.run, asked.approval)
        if found is None and due(asked, self._clock.wall()):
            return await self._expire(asked.run, asked.approval, asked.action_hash)
        return found

    async def withdraw(self, asked: e.ApprovalAsked, reason: str) -> e.ApprovalDecided:
        """Nobody needs an answer any more; what was decided, if somebody has."""
        event = e.ApprovalDecided(
            approval=asked.approval, verdict="expired", by=NOBODY, reason=reason, action_hash=asked.action_hash
        )
        return await self._record(asked.run, event) or event

    async def wait(self, asked: e.ApprovalAsked) -> e.ApprovalDecided:
        """Until it is decided, by whomever, or too late."""
        mark = 0
        while (found := await self.settled(asked)) is None:
            left = _LOOK if asked.expires_at is None else max(0.0, asked.expires_at - self._clock.wall())
            mark = await self._changed(mark, min(_LOOK, left))
            await asyncio.sleep(_PAUSE)
        return found

    async def _expire(self, run: str, approval: str, action_hash: str) -> e.ApprovalDecided:
        reason = "nobody decided in time"
        event = e.ApprovalDecided(
            approval=approval, verdict="expired", by=NOBODY, reason=reason, action_hash=action_hash
        )
        return await self._record(run, event) or event

    async def _record(self, run: str, event: e.ApprovalDecided, also: Also | None = None) -> e.ApprovalDecided | None:
        """Record it; what was decided before, where something was. Raises Conflicting where somebody is just at it."""
        claim = await self._journal.claim(ids.approval_stream(run, event.approval))
        earlier = await self.decided(run, event.approval)
        if earlier is not None:
            return earlier
        try:
            await self._journal.append(claim, event, also=also)
        except StaleClaim as error:
            found = await self.decided(run, event.approval)
            if found is None:
                raise Conflicting(
                    f"somebody else decides about {event.approval} now", fix="quarterdeck inbox"
                ) from error
            return found
        return None
