"""Money: reserve before a call, settle with the real cost after it.

Rules
- At every reservation, settled + reserved <= cap. A reservation that would break this is refused and changes nothing.
- Settling replaces the reservation by the cost, whatever it was: what was spent is spent. Where it cost more than was
  reserved, the next reservation feels it.
- Integers of nano-USD only, so that sums are exact. The arithmetic is `Purse`, pure; `Budgets` reads and writes it.
"""

from dataclasses import dataclass, replace

from quarterdeck.kernel.entities import to_usd
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.port import Tx


@dataclass(frozen=True, slots=True)
class Purse:
    """One run's money, in nano-USD."""

    cap: int
    settled: int = 0
    reserved: int = 0

    @property
    def free(self) -> int:
        """What can still be reserved."""
        return max(self.cap - self.settled - self.reserved, 0)

    def reserve(self, amount: int, held: int = 0) -> "Purse | None":
        """The purse after replacing a reservation of `held` by one of `amount`; None = not covered.

        Raises ValueError for a negative amount.
        """
        if amount < 0:
            raise ValueError("a reservation cannot be negative")
        reserved = self.reserved - held + amount
        if self.settled + reserved > self.cap:
            return None
        return replace(self, reserved=reserved)

    def settle(self, cost: int, held: int) -> "Purse":
        """The purse after a reservation of `held` turned out to cost `cost`. Raises ValueError for a negative cost."""
        if cost < 0:
            raise ValueError("a cost cannot be negative")
        return replace(self, settled=self.settled + cost, reserved=self.reserved - held)


class Budgets:
    """The `Treasury` in the tables `budgets` and `reservations`."""

    def open(self, tx: Tx, run: str, cap_nusd: int) -> None:
        tx.run("budget_open", run=run, cap=cap_nusd)

    def reserve(self, tx: Tx, run: str, holder: str, amount_nusd: int) -> None:
        purse, held = self._purse(tx, run, holder)
        after = purse.reserve(amount_nusd, held or 0)
        if after is None:
            raise BudgetExhausted(
                why=f"{to_usd(amount_nusd):.6f} USD may be needed, {to_usd(purse.free + (held or 0)):.6f} USD of "
                f"{to_usd(purse.cap):.2f} USD are left",
                fix=f"quarterdeck resume {run} --budget <more USD>",
            )
        self._keep(tx, run, after)
        tx.run("reservation_set", run=run, holder=holder, amount=amount_nusd)

    def settle(self, tx: Tx, run: str, holder: str, cost_nusd: int) -> None:
        purse, held = self._purse(tx, run, holder)
        if held is None:
            raise KeyError(f"{holder} has no reservation in {run}")
        self._keep(tx, run, purse.settle(cost_nusd, held))
        tx.run("reservation_drop", run=run, holder=holder)

    def settle_all(self, tx: Tx, run: str) -> int:
        purse, _ = self._purse(tx, run, holder="")
        self._keep(tx, run, purse.settle(purse.reserved, purse.reserved))
        tx.run("reservations_drop", run=run)
        return purse.reserved

    def _purse(self, tx: Tx, run: str, holder: str) -> tuple[Purse, int | None]:
        rows = tx.run("budget_get", run=run, holder=holder)
        if not rows:
            raise KeyError(f"the run {run} has no budget")
        row = rows[0]
        return Purse(row["cap"], row["settled"], row["reserved"]), row["amount"]

    def _keep(self, tx: Tx, run: str, purse: Purse) -> None:
        tx.run("budget_set", run=run, settled=purse.settled, reserved=purse.reserved)
