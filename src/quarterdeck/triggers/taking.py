"""Performs what was decided about a message: one message, one run, whenever this process is killed.

Rules
- The intent is `trigger.fired`, with the run's id and the whole order; the outcome is `trigger.ordered`. A message with
  an intent and no outcome is not decided about again: its run is stored under that id, unless it is there.
- One trigger decides about one message at a time.
- What cannot be ordered is refused with the reason. What cannot be reached is tried again for a day.
"""

import json
from dataclasses import dataclass
from typing import Final

from quarterdeck.delivery.order import Order
from quarterdeck.engine.port import Job, Later
from quarterdeck.govern.port import Start, Starts, Window
from quarterdeck.journal.firings import Firings, FiringView
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events import outside as e
from quarterdeck.kernel.failures import (
    BadInput,
    Conflicting,
    FailureClass,
    GitFailed,
    MissingPart,
    NotFound,
    OutsideFailed,
    QuarterdeckError,
    SandboxFailed,
    SandboxUnavailable,
)
from quarterdeck.kernel.triggers import TriggerSection
from quarterdeck.store.port import Tx
from quarterdeck.triggers import deciding
from quarterdeck.triggers.messages import Ignored, NotAllowed, Wanted
from quarterdeck.triggers.orders import order_of, read, subject_of
from quarterdeck.triggers.port import Configured, Orders, Received, Remotes

HOUR: Final = 3600.0
_AGAIN: Final = 60.0
"""Seconds after which something outside that could not be reached is tried again."""
_PATIENCE: Final = 24 * HOUR
_SOON: Final = 5.0
_GONE: Final = 600.0
"""Seconds after which a message's trigger is gone for good: until then the file may be being written, or another
machine has it."""

_REFUSALS: Final = (BadInput, NotFound, Conflicting, SandboxUnavailable, MissingPart)
"""Errors of an order that another try would meet again."""


@dataclass(frozen=True, slots=True)
class _Message:
    """A message on its way through a decision."""

    claim: Claim
    received: Received
    section: TriggerSection
    wanted: Wanted
    subject: str
    known: FiringView | None


class Taking:
    """Handlers of `trigger.take` and `trigger.record`."""

    def __init__(
        self,
        journal: Journal,
        firings: Firings,
        starts: Starts,
        orders: Orders,
        remotes: Remotes,
        configured: Configured,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._firings = firings
        self._starts = starts
        self._orders = orders
        self._remotes = remotes
        self._configured = configured
        self._clock = clock

    async def record(self, job: Job) -> None:
        """Handler of `trigger.record`."""
        kind = e.TriggerScheduled if job.payload["kind"] == "trigger.scheduled" else e.TriggerRefused
        event = kind.model_validate_json(str(job.payload["event"]))
        await self._journal.append(await self._journal.claim(ids.trigger_stream(event.trigger)), event)

    async def take(self, job: Job) -> None:
        """Handler of `trigger.take`."""
        name, delivery = str(job.payload["trigger"]), str(job.payload["delivery"])
        known = await self._firings.firing(name, delivery)
        if known is not None and known.status in ("ordered", "refused"):
            return
        probes.hit("trigger.received")
        claim = await self._journal.claim(ids.trigger_stream(name))
        if known is not None and known.status == "fired":
            await self._store(claim, delivery, known.run, known.subject, known.order_blob, known.at)
            return
        received = Received.model_validate_json(await self._journal.get(str(job.payload["received_blob"])))
        section = self._configured().triggers.get(name)
        if section is None and self._clock.wall() - received.at < _GONE:
            raise Later(_SOON, f"no trigger {name} stands in this machine's deck.toml now")
        wanted = read(section, received) if section is not None else NotAllowed("gone", f"there is no trigger {name}")
        match wanted:
            case NotAllowed():
                await self._refuse(claim, received, wanted.subject, wanted.code, wanted.reason)
            case Ignored():
                await self._refuse(claim, received, "", "payload", wanted.reason)
            case Wanted() if section is not None:
                subject = subject_of(name, wanted)
                await self._decide(_Message(claim, received, section, wanted, subject, known))

    async def _decide(self, at: _Message) -> None:
        name, delivery, now = at.received.trigger, at.received.delivery, self._clock.wall()
        standing = deciding.Standing(
            repeats=await self._firings.same(name, delivery, at.received.fingerprint),
            live=await self._firings.live(at.subject, name, delivery),
            unfinished=await self._firings.unfinished(name),
            waiting=await self._firings.waiting(name, delivery),
            held=at.known is not None,
        )
        verdict = deciding.before_turn(at.section, standing, now)
        if isinstance(verdict, deciding.Fire):
            turn = await self._turn(at, now)
            verdict = deciding.after_turn(at.section, standing, now, turn)
        match verdict:
            case deciding.Refuse():
                await self._refuse(at.claim, at.received, at.subject, verdict.code, verdict.reason)
            case deciding.Hold():
                await self._hold(at, verdict.until, verdict.reason)
            case deciding.Fire():
                await self._fire(at)

    async def _turn(self, at: _Message, now: float) -> float:
        """Its moment among the starts of an hour: kept for it, also while it waits for something else."""
        name = at.received.trigger
        start = Start("trigger", f"{name}/{at.received.delivery}", "", name)
        window, kept = Window(at.section.per_hour, HOUR), [0.0]

        def also(tx: Tx) -> None:
            kept[0] = self._starts.take(tx, start, window, now)

        await self._journal.commit(also=also)
        return kept[0]

    async def _fire(self, at: _Message) -> None:
        """Everything that the order needs first, then the intent, then the run."""
        try:
            remote = at.section.remote
            clone = await self._remotes.fresh(remote, at.section.base) if remote is not None else None
        except (GitFailed, OutsideFailed) as error:
            lasting = isinstance(error, OutsideFailed) and error.kind is not FailureClass.TRANSIENT
            if lasting or self._clock.wall() - at.received.at > _PATIENCE:
                return await self._refuse(at.claim, at.received, at.subject, "order", str(error))
            return await self._hold(at, self._clock.wall() + _AGAIN, str(error))
        except BadInput as error:
            return await self._refuse(at.claim, at.received, at.subject, "order", str(error))
        order = order_of(at.received.trigger, at.section, at.received, at.wanted, clone)
        blob = await self._journal.put(order.model_dump_json().encode())
        run = ids.new_run_id(self._clock.wall())
        event = e.TriggerFired(
            trigger=at.received.trigger,
            delivery=at.received.delivery,
            fingerprint=at.received.fingerprint,
            subject=at.subject,
            run=run,
            by=at.wanted.by,
            why=at.wanted.why[:1000],
            order_blob=blob,
        )
        await self._journal.append(at.claim, event)
        probes.hit("trigger.fired")
        return await self._store(at.claim, at.received.delivery, run, at.subject, blob, self._clock.wall())

    async def _store(self, claim: Claim, delivery: str, run: str, subject: str, order_blob: str, since: float) -> None:
        """Store the run that is intended, unless it is there. `since`: when it was intended."""
        name = claim.stream.removeprefix("trigger/")
        order = Order.model_validate(json.loads(await self._journal.get(order_blob)))
        try:
            await self._orders.create(order, run)
        except (*_REFUSALS, GitFailed, SandboxFailed) as error:
            passing = isinstance(error, GitFailed | SandboxFailed)
            if passing and self._clock.wall() - since <= _PATIENCE:
                raise Later(_AGAIN, str(error)) from error
            event = e.TriggerRefused(
                trigger=name, delivery=delivery, subject=subject, code="order", reason=_words(error)
            )
            await self._journal.append(claim, event)
            return
        probes.hit("trigger.stored")
        await self._journal.append(claim, e.TriggerOrdered(trigger=name, delivery=delivery, run=run))

    async def _hold(self, at: _Message, until: float, reason: str) -> None:
        """It waits; that is on record once for each reason. Raises Later."""
        if at.known is None or at.known.reason != reason[:2000]:
            event = e.TriggerHeld(
                trigger=at.received.trigger,
                delivery=at.received.delivery,
                fingerprint=at.received.fingerprint,
                subject=at.subject,
                reason=reason[:2000],
                until=until,
            )
            await self._journal.append(at.claim, event)
        raise Later(max(until - self._clock.wall(), 1.0), reason)

    async def _refuse(self, claim: Claim, received: Received, subject: str, code: e.RefusalCode, reason: str) -> None:
        event = e.TriggerRefused(
            trigger=received.trigger,
            delivery=received.delivery,
            fingerprint=received.fingerprint,
            subject=subject,
            code=code,
            reason=reason[:2000],
        )
        await self._journal.append(claim, event)


def _words(error: QuarterdeckError) -> str:
    return f"{error}{f' ({error.fix})' if error.fix else ''}"[:2000]
