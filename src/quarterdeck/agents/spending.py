"""What an attempt's model calls do to its purses.

Rules
- An intent and its reservation are one transaction, an outcome and its settlement another one.
- Where it is only calls under way that hold the money, the next one waits for them (gateway/settling.py), and keeps no
  place among the calls under way meanwhile.
"""

import functools
from collections.abc import Callable

from quarterdeck.agents import limits
from quarterdeck.agents.attempt_log import AttemptLog
from quarterdeck.agents.limits import Reached
from quarterdeck.agents.ports import Ports
from quarterdeck.gateway.settling import Settling, covered
from quarterdeck.govern.chain import dated
from quarterdeck.govern.port import Chain, Treasury
from quarterdeck.journal.port import Also
from quarterdeck.kernel import events as e
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.port import Tx


class Held(Exception):
    """Steers the loop: only calls under way hold the money of the next call."""

    def __init__(self, holder: str, amount: int) -> None:
        super().__init__(holder)
        self.holder = holder
        self.amount = amount


class Spending:
    """The reservations of one attempt."""

    def __init__(self, chain: Chain, ports: Ports, log: AttemptLog) -> None:
        self._chain = chain
        self._ports = ports
        self._log = log

    def patience(self, left: Callable[[], float]) -> Settling:
        """That of one call. `left`: seconds of wall time that the attempt has left."""
        return Settling(self._ports.clock, self._ports.sleep, self._ports.rng, left)

    async def reserve(self, asked: e.ModelAsked, holder: str, amount: int, money: Settling) -> Reached | None:
        """Record the intent with `amount` (nano-USD) set aside; the bound where a purse does not cover it.

        Raises Held where that is worth waiting for.
        """
        also = functools.partial(_reserve, self._ports.treasury, self._today, holder, amount)
        try:
            await self._log.append(asked, also=also)
        except BudgetExhausted as error:
            if error.passing and not money.over:
                raise Held(holder, amount) from error
            return limits.refused(error)
        return None

    async def wait(self, held: Held, money: Settling) -> None:
        """Until the money may be there."""
        await money.until(functools.partial(self._look, held))

    async def _look(self, held: Held) -> None:
        also = functools.partial(covered, self._ports.treasury, self._today, held.holder, held.amount)
        await self._ports.journal.commit(also=also)

    @property
    def _today(self) -> Chain:
        return dated(self._chain, self._ports.clock.wall())

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
