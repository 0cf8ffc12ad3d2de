"""Telling: follows the journal and hands on what it comes to, while this process works on the deck and it is its turn.

Rules
- Nothing is loaded and nothing runs unless the operator's `[telemetry]` says so.
- It reads behind the work and never in its way: what cannot be told is logged, counted and left. No failure of it
  fails or delays anything else; leaving takes a few seconds at most, whatever the collector does.
- Each record is told by one process, whose turn it is (`turn`); who takes over goes on where the last one was settled.
  What a process itself has to say stands in its own log lines, whosever turn it is.
- What was said is read from the blobs with `content` alone, bounded, and never with a key of this process in it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from quarterdeck import __version__
from quarterdeck.journal.port import Journal
from quarterdeck.journal.views import Views
from quarterdeck.kernel.config import TelemetrySection
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.settings import Settings
from quarterdeck.store.port import Row, Store
from quarterdeck.telemetry import loading
from quarterdeck.telemetry.bodies import Bodies
from quarterdeck.telemetry.earlier import catch_up, record_of
from quarterdeck.telemetry.instruments import DROPPED
from quarterdeck.telemetry.labels import Few
from quarterdeck.telemetry.lines import Lines
from quarterdeck.telemetry.mapping import Fold
from quarterdeck.telemetry.port import Instrument, Measure
from quarterdeck.telemetry.sender import Sender, Target
from quarterdeck.telemetry.turn import HomeTurn, SharedTurn, Turn

_log = logging.getLogger(__name__)

STANDARD: Final = "http://localhost:4318"
"""Where OpenTelemetry's standard has a collector that nobody named."""
_PAGE: Final = 200
_PAUSE: Final = 0.25
"""Seconds between two looks at a busy journal."""
_AGAIN: Final = 5.0
"""Seconds until a database that was unavailable is asked again."""
_QUIET: Final = 60.0
_LAST: Final = 2.0
"""Seconds that delivery gets when this process leaves."""
_DELIVERY: Final = 10.0

Measuring = Callable[[Instrument, float, Mapping[str, str]], None]
Text = Callable[[], tuple[bytes, str]]


class Exposing(Protocol):
    """Where measures are kept for whoever comes to read them."""

    def measure(self, instrument: Instrument, value: float, labels: Mapping[str, str]) -> None: ...

    def text(self) -> tuple[bytes, str]: ...


class Telemetry:
    """What this process tells. `section`: the operator's."""

    def __init__(
        self, section: TelemetrySection, settings: Settings, store: Store, journal: Journal, views: Views, instance: str
    ) -> None:
        self._section = section
        self._settings = settings
        self._store = store
        self._views = views
        self._instance = instance
        self._shared = settings.database_url is not None
        self._turn: Turn = SharedTurn(store, instance) if self._shared else HomeTurn(settings.home, store)
        self._telling = False
        """It is this process's turn."""
        self._fold = Fold()
        self._few = Few()
        self._after = 0
        self._sender: Sender | None = None
        self._lines: Lines | None = None
        self._exposition: Exposing | None = None
        self._bodies = Bodies(journal, section.content, (*settings.keys.values(), *settings.tool_environment.values()))
        self._measured: list[Measuring] = []
        self._following: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._over = asyncio.Event()
        """It is another one's turn, or is to be."""

    @property
    def exposed(self) -> Text | None:
        """What `/metrics` answers with: the text and its content type; None = it is switched off."""
        return self._expose().text if self._section.prometheus else None

    def _expose(self) -> Exposing:
        if self._exposition is None:
            found: Exposing = loading.exposition().Exposition()
            self._exposition = found
        return self._exposition

    async def mark(self) -> None:
        """Where nothing was told yet, tell what happens from here on, whoever will do it."""
        if self._section.on:
            await self._turn.mark()

    async def begin(self) -> None:
        """Tell what happens, and what an earlier process did not get to, whenever it is this one's turn. Does nothing
        where it is off."""
        if not self._section.on or self._following is not None:
            return
        self._leaving.clear()
        self._following = asyncio.create_task(self._work())

    async def end(self) -> None:
        """Tell what is left, and stop. Idempotent."""
        following, self._following = self._following, None
        if following is None:
            return
        self._leaving.set()
        if not (await asyncio.wait((following,), timeout=_LAST))[0]:
            following.cancel()  # what is not told yet is told by whoever works next
            await asyncio.gather(following, return_exceptions=True)
        if self._lines is not None:
            lines, self._lines = self._lines, None
            await asyncio.to_thread(lines.end, _LAST)
        await self._stop()

    async def _stop(self) -> None:
        """Deliver what is left for a moment, and let another one have the turn."""
        if self._sender is not None:
            sender, self._sender = self._sender, None
            if not await asyncio.to_thread(sender.stop, _LAST):
                _log.warning("the collector did not take everything; the rest is sent when work goes on")
            self._after = sender.settled
        if self._telling:
            self._telling = False
            with suppress(StoreUnavailable):  # it is lost when the lease is over
                await self._turn.give(self._after)
        for level in self._fold.levels():
            self._measure(replace(level, value=-level.value))
        self._fold, self._measured = Fold(), []

    # --- turns ----------------------------------------------------------------------------------------------

    @property
    def _worth(self) -> bool:
        """Whether anybody hears what this process would tell: figures alone are told by who has a port for them."""
        section = self._section
        return not self._shared or bool(section.otlp) or section.logs != "off" or self._exposition is not None

    async def _work(self) -> None:
        try:
            self._open_lines()
            while await self._turn_comes():
                try:
                    await self._have_turn()
                except StoreUnavailable:
                    await self._rest(_AGAIN)
                if self._leaving.is_set():
                    return
                await self._stop()
        except Exception:  # noqa: BLE001 - told, and nothing else may suffer from it
            _log.exception("telemetry stopped; the work goes on without it")

    async def _turn_comes(self) -> bool:
        """Wait for the turn; False = this process leaves before."""
        while True:
            try:
                begins = await self._turn.take(shows=self._exposition is not None) if self._worth else None
            except StoreUnavailable:
                begins = None
            if begins is not None:
                self._after, self._telling = begins, True
                return True
            if self._leaving.is_set():
                return False
            await self._rest(min(self._turn.every, _AGAIN))

    async def _have_turn(self) -> None:
        """Tell as long as it is this process's turn. Raises StoreUnavailable."""
        self._over.clear()
        keeping, mark = asyncio.create_task(self._keep()), 0
        try:
            await self._prepare()
            while True:
                left = self._leaving.is_set()
                try:
                    await self._tell()
                    if left or self._over.is_set():
                        return
                    mark = await self._wait(mark)
                except StoreUnavailable:
                    if left or self._over.is_set():
                        return
                    await self._rest(_AGAIN)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)

    async def _keep(self) -> None:
        while not self._over.is_set():
            await asyncio.sleep(self._turn.every)
            with suppress(StoreUnavailable):  # it is asked for before anything more is told
                if not await self._turn.keep(self._settled):
                    self._over.set()

    # --- following ------------------------------------------------------------------------------------------

    async def _wait(self, mark: int) -> int:
        """Until something was committed, this process leaves or its turn is over; a moment longer, so that a busy
        journal is read in pages."""
        changed = asyncio.ensure_future(self._store.changed(mark, _QUIET))
        ends = [asyncio.ensure_future(event.wait()) for event in (self._leaving, self._over)]
        try:
            await asyncio.wait((changed, *ends), return_when=asyncio.FIRST_COMPLETED)
            if changed.done():
                mark = changed.result()
        finally:
            for one in (changed, *ends):
                one.cancel()
            await asyncio.gather(changed, *ends, return_exceptions=True)
        await self._rest(_PAUSE)
        return mark

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        except TimeoutError:
            return

    async def _tell(self) -> None:
        while rows := await self._store.read("events_all", prefix="", after=self._after, limit=_PAGE):
            if self._over.is_set() or not await self._turn.sure(self._settled):
                self._over.set()
                return
            for row in rows:
                await self._one(row)
            self._after = rows[-1]["id"]
            if self._sender is not None:
                self._sender.reached(self._after)
                if dropped := self._sender.take_dropped():
                    self._measure(Measure(DROPPED, dropped))
        await self._turn.told(self._settled)

    async def _one(self, row: Row) -> None:
        record = record_of(row)
        if record is None:
            return
        told = self._fold.take(record.stream, record.seq, record.at, record.event)
        for measure in told.measures:
            self._measure(measure)
        if self._lines is not None:
            self._lines.record(record)
        if self._sender is not None:
            for span in told.spans:
                self._sender.put(await self._bodies.put_in(span), row["id"])

    def _measure(self, measure: Measure) -> None:
        labels = self._few.labels(measure)
        for take in self._measured:
            take(measure.instrument, measure.value, labels)

    @property
    def _settled(self) -> int:
        return self._sender.settled if self._sender is not None else self._after

    # --- beginning ------------------------------------------------------------------------------------------

    def _open_lines(self) -> None:
        section = self._section
        if section.logs == "json" and self._lines is None:
            file = self._settings.home / section.log_file if section.log_file else None
            self._lines = Lines(file, section.content, self._bodies.hide)
            self._lines.open()

    async def _prepare(self) -> None:
        await catch_up(self._fold, self._store, self._views, self._after)
        section = self._section
        if section.prometheus and not self._shared:
            self._expose()  # there is nobody else whose turn it could be while somebody reads
        if self._exposition is not None:
            self._measured.append(self._exposition.measure)
        if section.otlp:
            collector = await asyncio.to_thread(self._connect)
            self._sender = Sender(collector, section.interval, self._after)
            self._measured.append(collector.measure)
        await self._turn.told(self._settled)
        for level in self._fold.levels():
            self._measure(level)

    def _connect(self) -> Target:
        told = self._section.otlp
        address = told if isinstance(told, str) else self._settings.collector or STANDARD
        known = loading.collector()
        headers = known.headers_of(self._settings.collector_headers)
        connected: Target = known.connect(address, headers, _DELIVERY, version=__version__, instance=self._instance)
        return connected
