"""What an outside agent reports, written into its attempt's stream.

Rules
- Facts are written in their order, in the background, and never more than a few transactions behind: whoever brings
  them waits then.
- Bodies are blobs; an event names them.
- Tool calls without an end are closed when the agent is gone, as calls whose outcome is unknown.
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterable
from typing import Final

from quarterdeck.agents.acp_updates import Began, Ended, Fact, Planned, Said
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import events as e

BEHIND: Final = 64
"""Appends that may be under way."""


class Recorder:
    """One attempt's record of what its agent said."""

    def __init__(self, journal: Journal, claim: Claim) -> None:
        self._journal = journal
        self._claim = claim
        self._under_way: deque[asyncio.Future[None]] = deque()

    async def keep(self, facts: Iterable[Fact]) -> None:
        """Record facts. Raises StaleClaim, StoreUnavailable."""
        for fact in facts:
            await self.append_soon(await self._event(fact))

    async def close_calls(self, unfinished: Iterable[Ended]) -> None:
        """Record that nobody knows how these calls ended. Raises StaleClaim, StoreUnavailable."""
        for call in unfinished:
            await self.append_soon(await self._acted(call, ("unknown-outcome",)))

    async def append_soon(self, *events: e.EventBase) -> None:
        """Record events with what comes next. Raises StaleClaim, StoreUnavailable, also for earlier ones."""
        while self._under_way and (self._under_way[0].done() or len(self._under_way) >= BEHIND):
            await asyncio.shield(self._under_way[0])
            self._under_way.popleft()
        self._under_way.append(self._journal.append_soon(self._claim, *events))

    async def append(self, *events: e.EventBase) -> None:
        """Record events, and wait for them and all before them. Raises StaleClaim, StoreUnavailable."""
        await asyncio.shield(self._journal.append(self._claim, *events))
        await self.recorded()

    async def recorded(self) -> None:
        """Wait until everything is on record. Raises like `append`."""
        while self._under_way:
            await asyncio.shield(self._under_way[0])
            self._under_way.popleft()

    async def used(self) -> set[str]:
        """Approvals that the agent was allowed something by: it has done what they were about, or may have."""
        found: set[str] = set()
        after = 0
        while records := await self._journal.read(self._claim.stream, after=after):
            events = [record.event for record in records]
            given = [each for each in events if isinstance(each, e.PermissionDecided) and each.decision == "allow"]
            found |= {each.approval for each in given if each.approval}
            after = records[-1].seq
        return found

    async def put(self, data: bytes) -> str:
        """Keep a body; its digest."""
        return await self._journal.put(data)

    async def blob(self, text: str) -> str | None:
        """Digest of a text; None for an empty one."""
        return await self._journal.put(text.encode("utf-8", "replace")) if text else None

    async def _event(self, fact: Fact) -> e.EventBase:
        match fact:
            case Said():
                return e.AgentSaid(text_blob=await self.blob(fact.text) or "", thought=fact.thought)
            case Began():
                return e.AgentActing(
                    call=fact.call, title=fact.title, tool_kind=fact.kind, input_blob=await self.blob(fact.input)
                )
            case Ended():
                return await self._acted(fact, ())
            case Planned():
                items = json.dumps([item.model_dump() for item in fact.items], ensure_ascii=False)
                return e.TodoChanged(items_blob=await self.blob(items) or "")

    async def _acted(self, call: Ended, flags: tuple[str, ...]) -> e.EventBase:
        return e.AgentActed(
            call=call.call,
            title=call.title,
            tool_kind=call.kind,
            ok=call.ok,
            input_blob=await self.blob(call.input),
            output_blob=await self.blob(call.output),
            flags=flags,
        )
