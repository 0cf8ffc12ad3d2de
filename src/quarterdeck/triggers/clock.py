"""Fires what is due by the clock, for as long as a server owns the deck.

Rules
- A moment has a name of its own (`clock/2026-10-25T01:30Z`), so it makes one run, however often it is looked at and
  whoever looks.
- What passed before a schedule was known was not missed. What passed while nothing served the deck is fired once or
  not at all, as the trigger says, and that it was skipped is on record.
- It is looked once in a minute at least: a machine that slept or a clock that was set is noticed then.
- Each process that serves the deck looks at the schedules in its own file, and at what is on record since it last
  looked: what another one has fired is neither fired again nor taken for missed.
- It puts a schedule on record when its own file gets one that this file was not the last to have there, or that nobody
  has had there. Where the files of two machines differ, each of both schedules is kept, also over a restart of either:
  what another machine has on record moves nothing here but the moments that both have. That they differ is said once.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from quarterdeck.engine.port import Engine, Job
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events.outside import TriggerFired, TriggerRefused, TriggerScheduled
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.kernel.triggers import TriggerSection
from quarterdeck.triggers import port, schedule
from quarterdeck.triggers.orders import CLOCK_DELIVERY
from quarterdeck.triggers.port import Configured, Received

_log = logging.getLogger(__name__)

LOOK: Final = 60.0
_FORM: Final = "%Y-%m-%dT%H:%MZ"


def delivery_of(moment: float) -> str:
    """The name of a moment."""
    return CLOCK_DELIVERY + datetime.fromtimestamp(moment, UTC).strftime(_FORM)


def moment_of(delivery: str) -> float | None:
    """The inverse; None for what is no moment."""
    if not delivery.startswith(CLOCK_DELIVERY):
        return None
    return datetime.strptime(delivery.removeprefix(CLOCK_DELIVERY), _FORM).replace(tzinfo=UTC).timestamp()


_At = tuple[str, str]
"""A schedule and its time zone."""


@dataclass(slots=True)
class _Known:
    """What this process knows of one schedule."""

    own: _At | None = None
    """What its own file said when it was looked at last; None = it was not yet."""
    upto: float = 0.0
    """Its moments up to here have been dealt with."""
    newest: _At | None = None
    """What was put on record last, by whichever process."""
    since: dict[_At, float] = field(default_factory=dict)
    """Since when each that is on record holds, in whichever file."""
    last: _At | None = None
    """What was put on record last of its own file."""
    held: float = 0.0
    """Since when that holds."""
    other: _At | None = None
    """What it was said of that another machine's file has it."""
    seq: int = 0
    """The last record of its stream that this was read from."""


async def outdated(job: Job) -> None:
    """Handler of `triggers.clock`: nothing follows."""


class Timekeeper:
    """Looks at the schedules of this process's file."""

    def __init__(
        self, journal: Journal, engine: Engine, configured: Configured, clock: Clock, source: str = ""
    ) -> None:
        """`source`: the name of the file, which no other one has and which stays; "" = there is one file alone."""
        self._source = source
        self._journal = journal
        self._engine = engine
        self._configured = configured
        self._clock = clock
        self._known: dict[str, _Known] = {}

    async def look(self) -> float:
        """Fire what is due; in how many seconds to look again. Raises StoreUnavailable."""
        wait, now = LOOK, self._clock.wall()
        for name, section in self._configured().triggers.items():
            if section.kind == "cron":
                wait = min(wait, await self._one(name, section, now))
        return max(wait, 0.05)

    async def _one(self, name: str, section: TriggerSection, now: float) -> float:
        """Fire what is due of one trigger; seconds until its next moment."""
        known, at = self._known.setdefault(name, _Known()), (section.schedule or "", section.timezone)
        moments = await self._read_on(name, known)
        try:
            coming = schedule.next_after(*at, now)  # one that cannot be read is refused before it is on record
            if known.own != at:
                await self._begin(name, known, at, now)
            _differs(name, known, at)
            known.upto = dealt_with(at, known.upto, moments)
            found = schedule.due(*at, known.upto, now, section.missed)
        except BadConfiguration as error:  # `doctor` and `triggers` say it too; the others go on
            _log.warning("trigger %s: %s", name, error)
            return LOOK
        await self._fire(name, found, section)
        known.upto = max(known.upto, found.upto)
        return LOOK if coming is None else coming - now

    async def _begin(self, name: str, known: _Known, at: _At, now: float) -> None:
        """Its file says this from now on. Where that is on record already, it holds since then."""
        since = known.held if known.last == at else known.since.get(at, now)
        if known.last not in (None, at) or at not in known.since:
            since = since if known.newest == at else now
            event = TriggerScheduled(trigger=name, schedule=at[0], timezone=at[1], since=since, source=self._source)
            job = port.record(event, " ".join((*at, self._source)).rstrip())
            await self._journal.commit(also=lambda tx: self._engine.defer(tx, job))
            known.newest, known.last, known.held = at, at, since
            known.since[at] = since
        known.own, known.upto = at, max(known.upto, since)

    async def _fire(self, name: str, found: schedule.Due, section: TriggerSection) -> None:
        if found.moment is not None:
            received = Received(trigger=name, delivery=delivery_of(found.moment), at=found.moment)
            blob = await self._journal.put(received.model_dump_json().encode())
            job = port.take(name, received.delivery, blob)
            await self._journal.commit(also=lambda tx: self._engine.defer(tx, job))
        elif found.missed:
            reason = f"{found.missed} moments passed while nothing served the deck; missed = {section.missed!r}"
            event = TriggerRefused(
                trigger=name, delivery=delivery_of(found.upto), code="missed", reason=reason, count=found.missed
            )
            missed = port.record(event, event.delivery)
            await self._journal.commit(also=lambda tx: self._engine.defer(tx, missed))

    async def _read_on(self, name: str, known: _Known) -> list[float]:
        """What other processes have put on record, before this one and beside it: the moments that were dealt with."""
        stream, found = ids.trigger_stream(name), list[float]()
        while page := await self._journal.read(stream, after=known.seq):
            known.seq = page[-1].seq
            for record in page:
                match record.event:
                    case TriggerScheduled(schedule=fields, timezone=timezone, since=since, source=source):
                        at = (fields, timezone)
                        if known.newest != at:
                            known.newest, known.since[at] = at, since
                        if source in ("", self._source):
                            known.last, known.held = at, since
                    case TriggerFired(delivery=delivery) | TriggerRefused(delivery=delivery):
                        found.append(moment_of(delivery) or 0.0)
        return found


def dealt_with(own: _At, upto: float, moments: Iterable[float]) -> float:
    """Up to where the own schedule's moments have been dealt with, where these have been, of whichever schedule. Pure.
    Raises BadConfiguration."""
    for moment in sorted(set(moments), reverse=True):
        if moment <= upto:
            break
        if schedule.has(*own, moment):
            return moment
    return upto


def _differs(name: str, known: _Known, own: _At) -> None:
    """Say once that another machine's file has another schedule."""
    if known.newest == own:
        known.other = None
    if known.newest in (own, known.other):
        return
    known.other = known.newest
    at, timezone = known.newest or ("", "")
    _log.warning(
        "trigger %s: the deck.toml of another machine says %s (%s), this one's %s (%s); both are kept until they say "
        "the same",
        *(name, at, timezone, *own),
    )
