"""How a call gets a place among those under way, its provider's leave, and its money: in this order.

Rules
- A call that waits for money gives its place back meanwhile: others, of other runs, go on. It keeps its provider's
  leave: however often it looks for its money, it takes one call out of what may leave.
- Where the money covers only a shorter answer than was asked for, the call leaves with that bound: purse by purse of
  its chain, down to the shortest answer that is worth asking for.
- A provider that wants to be left alone for too long is not asked.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from quarterdeck.gateway import estimates
from quarterdeck.gateway.answers import Tried
from quarterdeck.gateway.estimates import Worst
from quarterdeck.gateway.keys import Key
from quarterdeck.gateway.record import Book, Intent
from quarterdeck.gateway.settling import Settling
from quarterdeck.gateway.wires import Asked
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.failures import BudgetExhausted, FailureClass, ModelFailed
from quarterdeck.models.factory import Models
from quarterdeck.models.limiter import Leave, Limiter
from quarterdeck.models.retry import PATIENCE

if TYPE_CHECKING:  # it brings the HTTP client, which is loaded when the first model is made
    from quarterdeck.models.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Wanted:
    """One try of a call."""

    key: Key
    asked: Asked
    name: str
    """Of the model, `provider:model`."""
    step: int
    number: int
    bound: Worst
    price: Price


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may leave."""

    upstream: "Upstream"
    intent: Intent
    """On record, with its money set aside."""
    bound: Worst
    limit: int | None
    """Tokens that the answer has to be held to, where the money covers only a shorter one."""


class Admission:
    """Lets calls in; one for a deck."""

    def __init__(
        self,
        book: Book,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._book = book
        self._clock = clock
        self._sleep = sleep
        self._rng = rng or random.Random()

    async def admit(self, wanted: Wanted, ways: Models, place: AsyncExitStack) -> Admitted | Tried:
        """The call on record, its place in `place`; or why its provider is not asked. Raises BudgetExhausted,
        BadConfiguration, ModelFailed."""
        limiter, money = ways.limiter(wanted.name), Settling(self._clock, self._sleep, self._rng)
        leave = Leave()
        while True:
            entered = await enter(wanted.name, limiter, place, leave)
            if entered is not None:
                return Tried(entered)
            upstream = await ways.upstream(wanted.name)
            reserved = await self._reserved(wanted, patient=not money.over)
            if isinstance(reserved, tuple):
                return Admitted(upstream, *reserved)
            await place.aclose()
            await money.until(partial(self._book.look, wanted.key, wanted.step, wanted.number, reserved.nusd))

    async def _reserved(self, wanted: Wanted, *, patient: bool) -> tuple[Intent, Worst, int | None] | Worst:
        """The intent on record and the money set aside; or the bound that only calls under way leave no money for.

        Raises BudgetExhausted.
        """
        tried, asked, price = wanted.bound, wanted.asked, wanted.price
        while True:
            try:
                intent = await self._book.intend(
                    wanted.key, asked, wanted.name, wanted.step, wanted.number, tried.nusd, price
                )
                return intent, tried, None if tried is wanted.bound else tried.output
            except BudgetExhausted as error:
                refused = error
            if refused.passing and patient:
                return tried
            if (shorter := estimates.shorter(asked, tried, price, refused.free_nusd)) is None:
                raise refused
            tried = shorter


async def enter(name: str, limiter: Limiter, place: AsyncExitStack, leave: Leave | None = None) -> ModelFailed | None:
    """Take a place among the calls under way and wait for the provider's leave, where the call does not have it yet;
    why the model is not asked, where that takes too long."""
    taken = limiter.place(PATIENCE)
    if taken is not None and not await place.enter_async_context(taken):
        return _unwelcome(name, PATIENCE)
    if limiter.wait() <= PATIENCE:
        await limiter.enter(longest_hold=PATIENCE, leave=leave)
    held = limiter.wait()
    return _unwelcome(name, held) if held > PATIENCE else None


def _unwelcome(name: str, held: float) -> ModelFailed:
    why = f"its provider wants to be left alone for another {held:.0f} s"
    return ModelFailed(f"{name} was not asked", FailureClass.TRANSIENT, retry_after=held, why=why)
