"""What an attempt's model calls do to its purses.

Rules
- An intent and its reservation are one transaction, an outcome and its settlement another one.
- Worst cases are much larger than what calls cost. Where it is only calls under way that hold the money, the next one
  waits for them, as long as its attempt has time and at most `SETTLING`: nobody is told that a budget is exhausted
  which is not.
"""

import functools
from collections.abc import Callable
from typing import Final

from quarterdeck.agents import limits
from quarterdeck.agents.attempt_log import AttemptLog
from quarterdeck.agents.limits import Reached
from quarterdeck.agents.ports import Ports
from quarterdeck.govern.chain import dated
from quarterdeck.govern.port import Chain, Treasury
from quarterdeck.journal.port import Also
from quarterdeck.kernel import events as e
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.port import Tx

SETTLING: Final = 300.0
"""Seconds that a call waits for money which is set aside for others."""

_FIRST: Final = 0.1
_LONGEST: Final = 5.0


class Spending:
    """The reservations of one attempt."""

    def __init__(self, chain: Chain, ports: Ports, log: AttemptLog) -> None:
        self._chain = chain
        self._ports = ports
        self._log = log

    async def reserve(self, asked: e.ModelAsked, holder: str, amount: int, left: Callable[[], float]) -> Reached | None:
        """Record the intent with `amount` (nano-USD) set aside; the bound where a purse does not cover it.

        `left`: seconds of wall time that the attempt has left.
        """
        clock, wait = self._ports.clock, _FIRST
        began = clock.monotonic()
        while True:
            chain = dated(self._chain, clock.wall())
            also = functools.partial(_reserve, self._ports.treasury, chain, holder, amount)
            try:
                await self._log.append(asked, also=also)
                return None
            except BudgetExhausted as error:
                if not error.passing or clock.monotonic() - began >= SETTLING or left() <= 0:
                    return limits.refused(error)
            # Apart from each other, or those who wait together would ask together.
            await self._ports.sleep(wait * (0.5 + self._ports.rng.random()))
            wait = min(wait * 2, _LONGEST)

    def settlement(self, holder: str, spent: int) -> Also:
        """What settles the reservation, in the transaction of the outcome."""
        treasury = self._ports.treasury
        return lambda tx: treasury.settle(tx, holder, spent)

    def late_settlement(self, holder: str, spent: int) -> Also:
        """As `settlement`, for a call that was cut off: its run may have ended meanwhile."""
        treasury = self._ports.treasury
        return lambda tx: treasury.settle_late(tx, holder, spent)


def _reserve(treasury: Treasury, chain: Chain, holder: str, amount: int, tx: Tx) -> None:
    treasury.reserve(tx, chain, holder, amount)
