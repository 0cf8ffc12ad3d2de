"""What an agent changes beside others whose edits do not pass through our tools: seen in its workspace.

Rules
- A workspace is looked at every `EVERY` seconds while an outside agent works, at each call of its desk and after each
  permission request, but never sooner than `GAP` seconds after the last look: a look costs two processes in its
  sandbox. That of our loop is looked at `EVERY` seconds after the last look, where it has run commands.
- What it is warned of comes with the answer to a call; else with the next prompt, where there is one.
- A look that fails ends nothing: the agent works on, and is looked at again.
"""

import asyncio
import logging
from typing import Final, Literal, Protocol

from quarterdeck.agents.beside import Beside, changes_code
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.sweeping import Sweep
from quarterdeck.agents.touching import Trace
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.journal.touches import Touches
from quarterdeck.kernel import events as e
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import SandboxFailed, StaleClaim, StoreUnavailable

_log = logging.getLogger(__name__)

EVERY: Final = 15.0
GAP: Final = 2.0


class Traced(Protocol):
    """An attempt's stream with what it has changed."""

    @property
    def trace(self) -> Trace: ...

    async def append(self, *events: e.EventBase) -> None:
        """Record events and take them over. Raises StaleClaim, StoreUnavailable."""
        ...


class TraceLog:
    """The stream of an attempt of which nothing else is asked. Implements `Traced`."""

    def __init__(self, journal: Journal, claim: Claim) -> None:
        self._journal = journal
        self._claim = claim
        self.trace = Trace()

    async def append(self, *events: e.EventBase) -> None:
        await asyncio.shield(self._journal.append(self._claim, *events))
        for event in events:
            self.trace.apply(event)


class Surveyed:
    """One attempt's workspace, and who else changes what it changes."""

    def __init__(
        self, assignment: Assignment, touches: Touches | None, clock: Clock, log: Traced, rest: float | None = None
    ) -> None:
        """`touches`: None = nobody looks; `rest`: seconds before each look, None = `GAP` between two."""
        self._assignment = assignment
        self._clock = clock
        self._log = log
        wanted = touches is not None and changes_code(assignment)
        self._beside = Beside(assignment.attempt, assignment.base, touches if wanted else None, clock)
        self._sweep = Sweep(assignment.sandbox, assignment.base) if wanted else None
        self._one = asyncio.Lock()
        self._rest = GAP if rest is None else rest
        self._next = clock.monotonic() + rest if wanted and rest is not None else 0.0
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """Something has happened there: have it looked at soon."""
        self._stirred.set()

    async def keep(self) -> None:
        """Look again and again. Ends only where the attempt has another owner."""
        while self._sweep is not None:
            await asyncio.sleep(GAP)
            stirred = asyncio.ensure_future(self._stirred.wait())
            try:
                await asyncio.wait({stirred}, timeout=EVERY - GAP)
            finally:
                stirred.cancel()
            try:
                await self.look()
            except StaleClaim:
                return
            except StoreUnavailable as error:
                _log.info("what %s has changed is not recorded: %s", self._assignment.attempt, error)

    async def look(self) -> None:
        """Record what is new in the workspace. Raises StaleClaim, StoreUnavailable."""
        if self._sweep is None:
            return
        async with self._one:
            if self._clock.monotonic() < self._next:
                return
            self._stirred.clear()
            try:
                found = await self._sweep.look(self._log.trace)
            except SandboxFailed as error:
                _log.info("the workspace of %s cannot be looked at: %s", self._assignment.attempt, error)
                found = []
            self._next = self._clock.monotonic() + self._rest
            if found:
                await self._log.append(*found)

    async def warned(self, how: Literal["result", "prompt"]) -> tuple[e.AttemptWarned, ...]:
        """What to tell the agent now; not yet on record. Raises StaleClaim, StoreUnavailable."""
        if self._sweep is None:
            return ()
        await self.look()
        return await self._beside.look(self._log.trace, how)
