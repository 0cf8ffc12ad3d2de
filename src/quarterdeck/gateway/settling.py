"""How long a call waits for money that is set aside for calls under way.

Rules
- Worst cases are much larger than what calls cost: where it is only calls under way that hold the money, the next one
  waits for them. Nobody is told that a budget is exhausted which is not.
- It looks ever more rarely, apart from others who wait, and for `SETTLING` seconds at most, or until its own time ends.
- A look costs nothing and keeps nothing: the money is set aside when the call has its place, not before.
"""

import math
import random
from collections.abc import Awaitable, Callable
from typing import Final

from quarterdeck.govern.port import Chain, Treasury
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.port import Tx

SETTLING: Final = 300.0
"""Seconds: longer than most calls, and half of what the agents that people use wait for an answer."""

_FIRST: Final = 0.1
_LONGEST: Final = 5.0


def _for_ever() -> float:
    return math.inf


class Settling:
    """The patience of one call."""

    def __init__(
        self,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        rng: random.Random,
        left: Callable[[], float] = _for_ever,
    ) -> None:
        """`left`: seconds of its own that whoever calls has left."""
        self._clock = clock
        self._sleep = sleep
        self._rng = rng
        self._left = left
        self._waited = 0.0
        self._wait = _FIRST

    @property
    def over(self) -> bool:
        """It is not waited for any more."""
        return self._waited >= SETTLING or self._left() <= 0

    async def until(self, look: Callable[[], Awaitable[None]]) -> None:
        """Wait until `look` finds the money, or finds that waiting does not help. `look` raises BudgetExhausted where
        the money is not there."""
        before, began = self._waited, self._clock.monotonic()
        while not self.over:
            # Apart from each other, or those who wait together would ask together.
            await self._sleep(self._wait * (0.5 + self._rng.random()))
            self._wait = min(self._wait * 2, _LONGEST)
            self._waited = before + self._clock.monotonic() - began
            try:
                await look()
            except BudgetExhausted as error:
                if error.passing:
                    continue
            return


def covered(treasury: Treasury, chain: Chain, holder: str, nusd: int, tx: Tx) -> None:
    """Whether all purses of the chain cover `nusd` now; nothing is kept. Raises BudgetExhausted."""
    treasury.reserve(tx, chain, holder, nusd)
    treasury.settle(tx, holder, 0)
