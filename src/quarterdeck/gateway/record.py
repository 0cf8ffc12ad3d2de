"""A call on record: the intent with its reservation, the outcome with its settlement.

Rules
- Money is set aside in the transaction that records the intent, and settled in the one that records the outcome.
- A call that was cut off by the end of a process may have been billed: its whole reservation counts as spent.
- What is being written is written to its end, whoever leaves meanwhile: no reservation stays behind.
- What a client was sent is not held back until it is on record; the next call of the attempt is recorded after it.
- An answer's outcome waits a moment for whatever is recorded next, so that both cost one commit, the outcome first. A
  process that dies in that moment leaves the whole reservation spent, as it does while the answer is on its way.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from quarterdeck.gateway.keys import Key
from quarterdeck.gateway.meter import Metered
from quarterdeck.gateway.routes import undated
from quarterdeck.gateway.settling import covered
from quarterdeck.gateway.wires import Asked
from quarterdeck.govern.chain import dated
from quarterdeck.govern.port import Treasury
from quarterdeck.journal.port import Also, Claim, Journal, Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.kernel.prices import cost, price_of
from quarterdeck.models.port import StopReason

_log = logging.getLogger(__name__)

CUT_OFF: Final = "the process ended while the call was under way; its reservation counts as spent"
_PAGE: Final = 5_000


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that is on record and not over."""

    event: e.ModelAsked
    holder: str
    price: Price


def holder(attempt: str, step: int, number: int) -> str:
    """Names the reservation of one call."""
    return f"{attempt}/{step}/{number}"


async def done(work: Coroutine[None, None, None]) -> None:
    """Do `work` to its end, also when cancelled meanwhile; the cancellation goes on after it."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    task.result()
    if cancelled is not None:
        raise cancelled


def left_open(records: Iterable[Record]) -> list[e.ModelAsked]:
    """The calls of an attempt that have no outcome. Pure."""
    asked: dict[int, e.ModelAsked] = {}
    for record in records:
        match record.event:
            case e.ModelAsked():
                asked[record.event.step] = record.event
            case e.ModelAnswered() | e.ModelErred():
                asked.pop(record.event.step, None)
            case _:
                pass
    return list(asked.values())


class Book:
    """Writes calls into the journal and the purses."""

    def __init__(self, journal: Journal, treasury: Treasury, clock: Clock) -> None:
        self._journal = journal
        self._treasury = treasury
        self._clock = clock

    async def intend(
        self, key: Key, asked: Asked, name: str, step: int, number: int, nusd: int, price: Price
    ) -> Intent:
        """Set `nusd` aside and record that the call leaves. Raises BudgetExhausted, StaleClaim, StoreUnavailable.

        A cancellation meanwhile closes what was recorded, at no cost, before it goes on: the call did not leave.
        """
        grant, treasury = key.grant, self._treasury
        event = e.ModelAsked(
            step=step,
            number=number,
            model=name,
            messages=asked.messages,
            request_hash=ids.digest(asked.raw),
            prefix_blob=await self._journal.put(asked.prefix),
            reserved_nusd=nusd,
        )
        intent = Intent(event, holder(grant.attempt, step, number), price)
        chain = dated(grant.chain, self._clock.wall())
        writing = self._journal.append(
            grant.claim, event, also=lambda tx: treasury.reserve(tx, chain, intent.holder, nusd), kept=True
        )
        try:
            await writing
        except asyncio.CancelledError:
            if not writing.cancelled() and writing.exception() is None:
                await done(self._take_back(key, intent))
            raise
        return intent

    async def look(self, key: Key, step: int, number: int, nusd: int) -> None:
        """Whether the purses cover `nusd` for that call now; nothing is set aside. Raises BudgetExhausted."""
        grant = key.grant
        chain = dated(grant.chain, self._clock.wall())
        name = holder(grant.attempt, step, number)
        await self._journal.commit(also=partial(covered, self._treasury, chain, name, nusd))

    async def _take_back(self, key: Key, intent: Intent) -> None:
        why = "nobody waited any more before it was asked"
        await self.erred(
            key, intent, ModelFailed(f"{intent.event.model} was left", FailureClass.INFRASTRUCTURE, why=why)
        )

    def close(self, key: Key, intent: Intent, metered: Metered, seconds: float) -> None:
        """The answer went through: that is put on record beside whatever its client does next."""
        spent = spent_on(metered, intent.event.reserved_nusd, self._price(key, intent, metered))
        key.spend(metered.usage, spent)
        closing = asyncio.get_running_loop().create_task(self._answered(key, intent, metered, spent, seconds))
        key.closing.add(closing)
        closing.add_done_callback(partial(_closed, key))

    async def _answered(self, key: Key, intent: Intent, metered: Metered, spent: int, seconds: float) -> None:
        body = metered.message.model_dump_json(ensure_ascii=True).encode()
        event = e.ModelAnswered(
            step=intent.event.step,
            model=intent.event.model,
            message_blob=await self._journal.put(body, patiently=True),
            stop=metered.stop or StopReason.END,
            usage=metered.usage,
            cost_nusd=spent,
            estimated=metered.estimated,
            seconds=max(0.0, seconds),
        )
        settle = self._settle(event, intent.holder)
        writing = self._journal.append_patiently(key.grant.claim, event, also=settle)
        if key.why_dead() is not None:
            self.hurry()  # it has no next call, and somebody waits for its end
        await writing

    async def erred(self, key: Key, intent: Intent, failed: ModelFailed, metered: Metered | None = None) -> None:
        """The call failed. What it cost is what the wire said, else what was set aside for what it did not say."""
        usage, spent, estimated = charged(
            intent.event.reserved_nusd, self._price(key, intent, metered), failed, metered
        )
        event = e.ModelErred(
            step=intent.event.step,
            model=intent.event.model,
            failure=failed.kind,
            reason=str(failed)[:2000],
            retry_after=failed.retry_after,
            usage=usage,
            cost_nusd=spent,
            estimated=estimated,
        )
        key.spend(usage, spent)
        await self._journal.append(key.grant.claim, event, also=self._settle(event, intent.holder))

    @staticmethod
    def _price(key: Key, intent: Intent, metered: Metered | None) -> Price:
        if metered is None or not metered.model:
            return intent.price
        return served(intent, metered, key.grant.config.deck.prices)

    def hurry(self) -> None:
        """The outcomes of answers wait no longer."""
        self._journal.hurry()

    def _settle(self, event: e.ModelAnswered | e.ModelErred, holder: str) -> Also:
        return partial(self._treasury.settle, holder=holder, cost_nusd=event.cost_nusd)

    async def heal(self, claim: Claim, attempt: str) -> int:
        """Close what an earlier process left open of the attempt; its last step on record."""
        records: list[Record] = []
        while page := await self._journal.read(claim.stream, records[-1].seq if records else 0, _PAGE):
            records += page
        treasury = self._treasury
        for asked in left_open(records):
            event = e.ModelErred(
                step=asked.step,
                model=asked.model,
                failure=FailureClass.INFRASTRUCTURE,
                reason=CUT_OFF,
                cost_nusd=asked.reserved_nusd,
                estimated=asked.reserved_nusd > 0,
            )
            name = holder(attempt, asked.step, asked.number)
            settle = partial(treasury.settle_late, holder=name, cost_nusd=asked.reserved_nusd)
            await self._journal.append(claim, event, also=settle)
        return max((record.event.step for record in records if isinstance(record.event, e.ModelAsked)), default=0)


def _closed(key: Key, closing: asyncio.Task[None]) -> None:
    """A call is on record, or cannot be: then its reservation stays, which counts as spent when its attempt goes on."""
    key.closing.discard(closing)
    if not closing.cancelled() and (error := closing.exception()) is not None:
        _log.warning("an answer of %s is not on record: %s", key.grant.attempt, error)


def charged(reserved: int, price: Price, failed: ModelFailed, metered: Metered | None) -> tuple[Usage, int, bool]:
    """(usage, nano-USD, whether that is an estimate) of a call that failed. Pure."""
    if metered is not None and metered.begun:
        return metered.usage, spent_on(metered, reserved, price), metered.estimated
    if failed.billed:
        return Usage(), reserved, reserved > 0
    return Usage(), 0, False


def served(intent: Intent, metered: Metered, prices: Mapping[str, Price]) -> Price:
    """What the tokens of an answer cost each. Where whoever stands behind us had another model answer, and that one is
    dearer, its price holds. Pure."""
    provider = intent.event.model.partition(":")[0]
    other = price_of(f"{provider}:{undated(metered.model)}", prices)
    return other if other and cost(metered.usage, other) > cost(metered.usage, intent.price) else intent.price


def spent_on(metered: Metered, reserved: int, price: Price) -> int:
    """Nano-USD of an answer. Where even its prompt was not counted, all that was set aside: the dearest rates. Pure."""
    if not metered.prompt_counted:
        return reserved
    spent = cost(metered.usage, price)
    return min(spent, reserved) if metered.estimated else spent
