"""A call on record: the intent with its reservation, the outcome with its settlement.

Rules
- Money is set aside in the transaction that records the intent, and settled in the one that records the outcome.
- A call that was cut off by the end of a process may have been billed: its whole reservation counts as spent.
- What is being written is written to its end, whoever leaves meanwhile: no reservation stays behind.
- What a client was sent is not held back until it is on record; the next call of the attempt is recorded after it.
"""

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from quarterdeck.gateway.keys import Key
from quarterdeck.gateway.meter import Metered
from quarterdeck.gateway.wires import Asked
from quarterdeck.govern.chain import dated
from quarterdeck.govern.port import Treasury
from quarterdeck.journal.port import Claim, Journal, Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.kernel.prices import cost
from quarterdeck.models.port import StopReason

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
        writing = asyncio.ensure_future(self._intend(key, asked, name, step, number, nusd, price))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await done(self._take_back(key, writing))
            raise

    async def _take_back(self, key: Key, writing: asyncio.Future[Intent]) -> None:
        await asyncio.wait([writing])
        if writing.cancelled() or writing.exception() is not None:
            return
        intent = writing.result()
        why = "nobody waited any more before it was asked"
        await self.erred(
            key, intent, ModelFailed(f"{intent.event.model} was left", FailureClass.INFRASTRUCTURE, why=why)
        )

    async def _intend(
        self, key: Key, asked: Asked, name: str, step: int, number: int, nusd: int, price: Price
    ) -> Intent:
        grant = key.grant
        event = e.ModelAsked(
            step=step,
            number=number,
            model=name,
            messages=asked.messages,
            request_hash=ids.digest(asked.raw),
            prefix_blob=await self._journal.put(asked.prefix),
            reserved_nusd=nusd,
        )
        name_of_it, treasury = holder(grant.attempt, step, number), self._treasury
        chain = dated(grant.chain, self._clock.wall())
        await self._journal.append(grant.claim, event, also=lambda tx: treasury.reserve(tx, chain, name_of_it, nusd))
        return Intent(event, name_of_it, price)

    async def answered(self, key: Key, intent: Intent, metered: Metered, seconds: float) -> None:
        """The answer went through."""
        spent = spent_on(metered, intent.event.reserved_nusd, intent.price)
        body = metered.message.model_dump_json(ensure_ascii=True).encode()
        event = e.ModelAnswered(
            step=intent.event.step,
            model=intent.event.model,
            message_blob=await self._journal.put(body),
            stop=metered.stop or StopReason.END,
            usage=metered.usage,
            cost_nusd=spent,
            estimated=metered.estimated,
            seconds=max(0.0, seconds),
        )
        await self._settle(key, intent, event)

    async def erred(self, key: Key, intent: Intent, failed: ModelFailed, metered: Metered | None = None) -> None:
        """The call failed. What it cost is what the wire said, else what was set aside for what it did not say."""
        usage, spent, estimated = charged(intent.event.reserved_nusd, intent.price, failed, metered)
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
        await self._settle(key, intent, event)

    async def _settle(self, key: Key, intent: Intent, event: e.ModelAnswered | e.ModelErred) -> None:
        key.spend(event.usage, event.cost_nusd)
        treasury, spent = self._treasury, event.cost_nusd
        await self._journal.append(key.grant.claim, event, also=lambda tx: treasury.settle(tx, intent.holder, spent))

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


def charged(reserved: int, price: Price, failed: ModelFailed, metered: Metered | None) -> tuple[Usage, int, bool]:
    """(usage, nano-USD, whether that is an estimate) of a call that failed. Pure."""
    if metered is not None and metered.begun:
        return metered.usage, spent_on(metered, reserved, price), metered.estimated
    if failed.billed:
        return Usage(), reserved, reserved > 0
    return Usage(), 0, False


def spent_on(metered: Metered, reserved: int, price: Price) -> int:
    """Nano-USD of an answer. Where even its prompt was not counted, all that was set aside: the dearest rates. Pure."""
    if not metered.prompt_counted:
        return reserved
    spent = cost(metered.usage, price)
    return min(spent, reserved) if metered.estimated else spent
