"""What a process does once it performs jobs, and before it stops: say so, tidy up, hear of mail, anchor the journal.

Rules
- What dead processes left behind on this machine is cleared away by the next one that works on runs here; workspaces
  of runs that have not ended stay. A server that performs nothing of them leaves to the workers what is theirs.
- What its machine's file says holds over the deck from then on, before the first job is performed.
- The journal is anchored by whoever owns an embedded deck before it stops; where there are many workers, by one of them
  each hour.
"""

import asyncio
import logging
import os
import socket
from typing import Final

from quarterdeck import __version__
from quarterdeck.assembly.parts import Parts
from quarterdeck.delivery.nodes.session import workspace_of
from quarterdeck.journal.anchors import due
from quarterdeck.journal.deck import note
from quarterdeck.kernel import events as e
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.workplace.ground import sweep

_log = logging.getLogger(__name__)

_KEPT_ENVIRONMENTS: Final = 20
_AGAIN_SECONDS: Final = 1.0
ANCHOR_SECONDS: Final = 3600.0


class Owning:
    """Of one process, once or several times one after the other."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rounds: asyncio.Task[None] | None = None
        self.begun = False
        """This process performs jobs."""

    async def begin(self, *, lasting: bool = False) -> None:
        """Once after becoming one that performs jobs: say so, and clear away what dead processes left behind.

        `lasting`: it is there for whatever comes, not for one run.
        """
        if self.begun:
            return
        self.begun = True
        parts = self._parts
        await parts.agreed.begin(lasting=lasting)
        if parts.settings.database_url is not None and parts.works:
            self._rounds = asyncio.create_task(self._hear())
        await parts.telemetry.begin()
        if not parts.works:
            return
        event = e.DeckOwned(owner=parts.owner, pid=os.getpid(), host=socket.gethostname()[:200], version=__version__)
        await note(parts.journal, lambda claim: parts.journal.append(claim, event))
        keep: set[str] = set()
        for run in await parts.views.going():
            for attempt in await parts.views.attempts(run.run):
                keep |= {workspace_of(attempt.attempt, number + 1) for number in range(attempt.incarnation)}
        for provider in parts.providers.values():
            await provider.reap(frozenset(keep))
        await asyncio.to_thread(sweep)
        await asyncio.to_thread(parts.environments.prune, _KEPT_ENVIRONMENTS)

    async def end(self) -> None:
        """Nothing is left to do: anchor the journal and let another process own the deck."""
        parts = self._parts
        if self._rounds is not None:
            self._rounds.cancel()
            await asyncio.gather(self._rounds, return_exceptions=True)
            self._rounds = None
        await self.anchor(0.0 if parts.settings.database_url is None else ANCHOR_SECONDS)
        await parts.telemetry.end()
        await parts.workshop.close()
        await parts.engine.close()
        self.begun = False

    async def anchor(self, lately: float = ANCHOR_SECONDS) -> None:
        """Write down where the chains of the journal stand, unless that was done in the last so many seconds."""
        parts = self._parts
        if await due(parts.store, parts.clock.wall(), lately):
            await note(parts.journal, parts.journal.anchor)

    async def _hear(self) -> None:
        """Among many workers: hear what the others put on record for the agents that work here."""
        while True:
            try:
                await self._parts.mail.rounds(self._parts.journal)
            except StoreUnavailable:  # said by the engine; the next round begins where this one ended
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception:  # noqa: BLE001 - a bug of ours is recorded, and must not make this process deaf for good
                _log.exception("the round for mail broke off; the next one begins anew")
                await asyncio.sleep(_AGAIN_SECONDS)
