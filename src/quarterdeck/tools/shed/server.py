"""One tool server that is kept running while somebody needs it: started, listed, called, started again.

Rules
- It is started when it is first needed. One that ended is started again by the next call, after the pause that
  `backoff` decides; a short pause is waited for, a long one is answered with when to come back.
- A call that the server did not survive is never made again here: it may have taken effect.
- The list of tools follows the server's word that it changed. Whoever was given a tool keeps it; a call to one that is
  gone is answered. A server that says so whenever it is asked is asked ever less often.
- What it says of its tools holds none of the operator's secrets that it was given.
- Two calls in a row that came to no end mean that it hangs: it is ended, and started again like any other.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol

from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import QuarterdeckError, ToolServerFailed
from quarterdeck.tools.bounds import bounded, readable
from quarterdeck.tools.shed import backoff
from quarterdeck.tools.shed.answers import Answer, hidden
from quarterdeck.tools.shed.backoff import Health
from quarterdeck.tools.shed.catalogue import Listing, Offered, listing
from quarterdeck.tools.shed.port import Link, ServerGone

_log = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds of a pause that a call waits for."""
HANGS: Final = 2
"""Calls in a row without an end."""
LISTING: Final = 30.0
"""Seconds for listing the tools of a running server again."""
SETTLES: Final = (1.0, 60.0)
"""Seconds until they are listed once more at the earliest: after a change, and at most. Twice as many each time that
nothing had changed."""
_SAID: Final = 1_000
"""Bytes of what it said last that are repeated."""


class Running(Protocol):
    """A started server."""

    @property
    def link(self) -> Link: ...

    def said(self) -> str:
        """The end of what it wrote to its standard error."""
        ...

    async def close(self) -> None:
        """End it. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a server, for whoever looks."""

    server: str
    fingerprint: str
    state: Literal["running", "ended", "failed"]
    at: float
    """Unix time, seconds."""
    revision: str = ""
    tools: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    error: str = ""


Start = Callable[[], Awaitable[Running]]
Tell = Callable[[Known], None]


class Server:
    """One declared server. `secrets`: the operator's variables that it was given; `deadline`: seconds for listing its
    tools once it has started, which has a deadline of its own."""

    def __init__(
        self,
        name: str,
        fingerprint: str,
        start: Start,
        *,
        deadline: float,
        secrets: Mapping[str, str],
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        tell: Tell,
    ) -> None:
        self.name = name
        self.secrets = secrets
        self.listing = Listing()
        self._fingerprint = fingerprint
        self._start = start
        self._deadline = deadline
        self._clock = clock
        self._sleep = sleep
        self._tell = tell
        self._running: Running | None = None
        self._since = 0.0
        self._health = Health()
        self._hung = 0
        self._error = ""
        self._closed = False
        self._starting = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None

    def asked(self) -> None:
        """Somebody needs it anew."""
        self._health = backoff.asked(self._health)

    async def ready(self, patience: float = PATIENCE) -> Listing:
        """Its tools; it is started where it does not run. Raises ToolServerFailed."""
        await self._linked(patience)
        return self.listing

    async def call(self, tool: str, arguments: Mapping[str, Any], timeout: float) -> Answer:
        """Call a tool, within `timeout` seconds. Raises ToolServerFailed where it was not called, ServerGone where it
        ended meanwhile, TimeoutError."""
        link = await self._linked(min(PATIENCE, timeout))
        if all(entry.tool != tool for entry in self.listing.entries):
            return Answer.refusal(f"The server `{self.name}` no longer has a tool `{tool}`.")
        try:
            answer = await link.call(tool, arguments, timeout)
        except TimeoutError:
            await self._hangs(link)
            raise
        except ServerGone as gone:
            said = await self._lost(link, gone.why)
            raise ServerGone(
                f"the server `{self.name}` ended during the call, which may have taken effect or not", why=said
            ) from gone
        self._hung, self._health = 0, Health()
        return answer

    async def close(self) -> None:
        """End it, and do not start it again. Idempotent."""
        self._closed = True
        async with self._starting:
            if self._running is not None:
                await self._end()
                self._error = ""
                self._told("ended")

    # --- running --------------------------------------------------------------------------------------------

    async def _linked(self, patience: float) -> Link:
        async with self._starting:
            if self._closed:
                raise ToolServerFailed(f"the server `{self.name}` was closed")
            if self._running is not None and not self._running.link.ended.is_set():
                return self._running.link
            if self._running is not None:
                await self._ended(self._running, "")
            await self._pause(patience)
            return (await self._started()).link

    async def _pause(self, patience: float) -> None:
        wait = self._health.wait(self._clock.monotonic())
        if wait is None:
            raise ToolServerFailed(
                f"the server `{self.name}` was given up after {self._health.failures} failures", why=self._error
            )
        if wait > patience:
            raise ToolServerFailed(
                f"the server `{self.name}` is not there; it is started again in {wait:.0f} s", why=self._error
            )
        if wait > 0:
            await self._sleep(wait)

    async def _started(self) -> Running:
        try:
            running = await self._start()
        except (QuarterdeckError, OSError, ValueError, TimeoutError) as error:
            raise self._not_started(error) from error
        try:
            async with asyncio.timeout(self._deadline):
                offered = self._listing(await running.link.tools())
        except TimeoutError as error:
            await running.close()
            raise self._not_started(ToolServerFailed("it has not listed its tools in time")) from error
        except QuarterdeckError as error:
            await running.close()
            raise self._not_started(error) from error
        except BaseException:
            await running.close()
            raise
        self.listing, self._running, self._since, self._hung = offered, running, self._clock.monotonic(), 0
        self._watching = asyncio.create_task(self._watch(running))
        self._told("running", revision=running.link.revision)
        return running

    def _not_started(self, error: Exception) -> ToolServerFailed:
        self._health = backoff.failed(self._health, self._clock.monotonic())
        self._error = self._plain(str(error))
        self._told("failed")
        return ToolServerFailed(f"the server `{self.name}` cannot be started", why=self._error)

    async def _watch(self, running: Running) -> None:
        """Follow its word that its tools changed, until it ends."""
        link, pause = running.link, 0.0
        while not link.ended.is_set():
            waits = [asyncio.create_task(event.wait()) for event in (link.changed, link.ended)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if link.changed.is_set() and not link.ended.is_set():
                link.changed.clear()
                others = False
                with contextlib.suppress(ToolServerFailed, TimeoutError):  # the next change, or its end, will tell
                    async with asyncio.timeout(LISTING):
                        others = self._relisted(self._listing(await link.tools()), link.revision)
                pause = SETTLES[0] if others else min(SETTLES[1], max(SETTLES[0], 2 * pause))
                await self._sleep(pause)

    def _relisted(self, found: Listing, revision: str) -> bool:
        """Take over what it offers now; whether that is something else."""
        if found == self.listing:
            return False
        self.listing = found
        self._told("running", revision=revision)
        return True

    async def _hangs(self, link: Link) -> None:
        self._hung += 1
        if self._hung >= HANGS:
            await self._lost(link, f"{self._hung} calls in a row came to no end")

    async def _lost(self, link: Link, why: str) -> str:
        """Clear away what is left of it; what is known of why."""
        async with self._starting:
            if self._running is not None and self._running.link is link:
                await self._ended(self._running, why)
        return self._error

    async def _ended(self, running: Running, why: str) -> None:
        now = self._clock.monotonic()
        self._health = backoff.failed(self._health, now, now - self._since)
        await self._end()
        self._error = self._plain("; ".join(part for part in (why, running.said()) if part))
        self._told("ended")

    async def _end(self) -> None:
        running, self._running = self._running, None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
            self._watching = None
        if running is not None:
            await running.close()

    def _listing(self, offered: Iterable[Offered]) -> Listing:
        """What it offers, without the operator's secrets: that goes to the record, and to models."""
        found = listing(self.name, offered)
        if not self.secrets:
            return found
        written = {name: _spelled(value) for name, value in self.secrets.items()}
        entries = (
            replace(
                entry,
                description=hidden(entry.description, self.secrets),
                parameters=json.loads(hidden(json.dumps(dict(entry.parameters), ensure_ascii=False), written)),
            )
            for entry in found.entries
        )
        return Listing(tuple(entries), tuple(hidden(text, self.secrets) for text in found.left_out))

    def _plain(self, text: str) -> str:
        """What it said last, without the operator's secrets."""
        return bounded(hidden(readable(text).strip(), self.secrets), _SAID)[0]

    def _told(self, state: Literal["running", "ended", "failed"], revision: str = "") -> None:
        known = Known(
            server=self.name,
            fingerprint=self._fingerprint,
            state=state,
            at=time.time(),
            revision=revision,
            tools=tuple(entry.tool for entry in self.listing.entries),
            left_out=tuple(self.listing.left_out[:20]),
            error="" if state == "running" else self._error,
        )
        try:
            self._tell(known)
        except OSError as error:  # nobody can look it up then; the server works all the same
            _log.warning("the state of the tool server %s cannot be written down: %s", self.name, error)


def _spelled(text: str) -> str:
    """The text as JSON has it between its marks."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
