"""An attempt's stream together with its fold.

Rules
- Intents are appended and waited for; outcomes are appended soon: taken over at once and written with the next intent.
  So an outcome is on record before the next effect begins, and both cost one transaction.
- An append goes on when its caller is cancelled meanwhile, and the fold knows what is on record.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from quarterdeck.agents.touching import Trace
from quarterdeck.agents.transcript import Transcript, apply, bodies_of, encode, said
from quarterdeck.journal.port import Also, Claim, Journal
from quarterdeck.kernel import events as e

_log = logging.getLogger(__name__)

PAGE: Final = 2_000

CLOSING: Final = 2.5
"""Seconds that a cancellation waits for one thing to be recorded."""


class Standing(Protocol):
    """What the desk and the action gate have to know of where an attempt stands."""

    @property
    def step(self) -> int: ...

    @property
    def cost_nusd(self) -> int: ...

    @property
    def delegated(self) -> Mapping[str, e.Delegated]:
        """By call."""
        ...

    @property
    def trace(self) -> Trace:
        """What it has changed."""
        ...


class Recording(Protocol):
    """What they write to."""

    @property
    def state(self) -> Standing: ...

    async def put(self, data: bytes) -> str:
        """Keep a body that the next events will name; returns its digest."""
        ...

    async def append(self, *events: e.EventBase) -> None:
        """Record events, then take them over. Raises StaleClaim, StoreUnavailable."""
        ...

    def append_soon(self, *events: e.EventBase) -> None:
        """Take events over that will be on record before anything else is."""
        ...


class AttemptLog:
    """An attempt's stream, with its fold kept up to date."""

    def __init__(self, journal: Journal, claim: Claim) -> None:
        self._journal = journal
        self._claim = claim
        self._bodies: dict[str, bytes] = {}
        self._unwaited: list[asyncio.Future[None]] = []
        self.state = Transcript()

    @property
    def trace(self) -> Trace:
        """What the attempt has changed, as far as it was taken over."""
        return self.state.trace

    async def open(self) -> None:
        """Read what is on record."""
        after = 0
        while records := await self._journal.read(self._claim.stream, after, PAGE):
            for record in records:
                for digest in bodies_of(record.event):
                    self._bodies[digest] = await self._journal.get(digest)
                self._apply((record.event,))
            after = records[-1].seq

    async def put(self, data: bytes) -> str:
        """Keep a body that the next events will name; returns its digest."""
        digest = await self._journal.put(data)
        self._bodies[digest] = data
        return digest

    async def append(self, *events: e.EventBase, also: Also | None = None) -> None:
        """Record events, then take them over. Raises StaleClaim, StoreUnavailable, and what `also` raises.

        Nothing is recorded any more where what came before could not be.
        """
        for earlier in self._unwaited:
            if earlier.done():
                earlier.result()
        recording = self._journal.append(self._claim, *events, also=also)
        try:
            await asyncio.shield(recording)
        except asyncio.CancelledError:
            await asyncio.wait((recording,), timeout=CLOSING)
            if recording.done() and recording.exception() is None:
                self._apply(events)
            else:
                _log.warning("not recorded while being cancelled: %s", recording)
            raise
        self._apply(events)
        await self.recorded()

    def append_soon(self, *events: e.EventBase, also: Also | None = None) -> None:
        """Take events over; they are recorded with the next `append`, which waits for both."""
        self._unwaited.append(self._journal.append_soon(self._claim, *events, also=also))
        self._apply(events)

    async def recorded(self) -> None:
        """Wait until everything is on record. Raises like `append`."""
        while self._unwaited:
            await asyncio.shield(self._unwaited[0])
            del self._unwaited[0]

    async def say(self, text: str, why: str) -> None:
        """Record a message that no model wrote."""
        blob = await self.put(encode(said(text)))
        await self.append(e.TranscriptExtended(step=self.state.step, message_blob=blob, why=why))

    def _apply(self, events: Iterable[e.EventBase]) -> None:
        for event in events:
            apply(self.state, event, self._bodies)
        self._bodies.clear()
