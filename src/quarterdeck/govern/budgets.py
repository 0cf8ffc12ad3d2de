"""Money: reserve before a call, settle with the real cost after it.

Rules
- At every reservation, settled + reserved <= cap in every purse of the chain. A reservation that would break this in
  one of them is refused and changes nothing in any.
- Settling replaces the reservation by the cost, whatever it was: what was spent is spent. Where it cost more than was
  reserved, the next reservation feels it.
- A day's cap is the least of what the chain says and of what holds over the deck at that moment: a cap that was lowered
  holds for whatever is at work, and on every machine.
- A reservation remembers its purses and is settled into these: a day that ended meanwhile gets what was begun in it.
- Integers of nano-USD only, so that sums are exact. The arithmetic is `Purse` and `refusing`, pure; `Budgets` reads and
  writes it, with one read for a whole chain.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from quarterdeck.govern.chain import DAYS, refusal, remedy, run_of
from quarterdeck.govern.port import Chain, Link
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.port import Row, Tx

_LAST = "\U0010ffff"
"""Sorts after every other character: where names with one beginning end."""


@dataclass(frozen=True, slots=True)
class Purse:
    """Money for one thing, in nano-USD."""

    cap: int | None
    """None = it bounds nothing; it is counted all the same."""
    settled: int = 0
    reserved: int = 0

    @property
    def free(self) -> int:
        """What can still be reserved, where there is a cap."""
        return max((self.cap or 0) - self.settled - self.reserved, 0)

    def reserve(self, amount: int, held: int = 0) -> "Purse | None":
        """The purse after replacing a reservation of `held` by one of `amount`; None = not covered.

        Raises ValueError for a negative amount.
        """
        if amount < 0:
            raise ValueError("a reservation cannot be negative")
        reserved = self.reserved - held + amount
        if self.cap is not None and self.settled + reserved > self.cap:
            return None
        return replace(self, reserved=reserved)


def refusing(purses: Sequence[Purse], amount: int, held: Sequence[int]) -> int | None:
    """Which purse of a chain does not cover `amount` where `held` of each is given back first; the innermost one.

    Raises ValueError for a negative amount.
    """
    for place, (purse, back) in enumerate(zip(purses, held, strict=True)):
        if purse.reserve(amount, back) is None:
            return place
    return None


def _nothing_said(who: str) -> int | None:
    return None


class Budgets:
    """The `Treasury` in the tables `purses` and `held`. days: the cap of days now of `user` or `deck`, nano-USD; None =
    what the chain says."""

    def __init__(self, days: Callable[[str], int | None] = _nothing_said) -> None:
        self._days = days

    def open(self, tx: Tx, purse: str, cap_nusd: int) -> None:
        tx.run("purse_open", purse=purse, cap=cap_nusd)

    def reserve(self, tx: Tx, chain: Chain, holder: str, amount_nusd: int) -> None:
        if not chain or len({link.purse for link in chain}) < len(chain):
            raise ValueError(f"{holder} has to be paid from different purses, and from one at least: {chain}")
        names = json.dumps([link.purse for link in chain])
        chain = tuple(map(self._as_now, chain))
        rows = tx.run("purses_of", purses=names, holder=holder)
        before, purses = rows[0]["amount"], [_purse(link, row) for link, row in zip(chain, rows, strict=True)]
        given_back = [0] * len(chain)
        if before is not None:
            old = json.loads(rows[0]["purses"])
            given_back = [before if link.purse in old else 0 for link in chain]
        place = refusing(purses, amount_nusd, given_back)
        if place is not None:
            left = replace(purses[place], reserved=purses[place].reserved - given_back[place])
            raise _exhausted(chain, chain[place], left, amount_nusd)
        if before is not None:
            tx.run("purses_settle", purses=rows[0]["purses"], cost=0, amount=before)
        tx.run("purses_reserve", purses=names, amount=amount_nusd)
        tx.run("held_set", holder=holder, amount=amount_nusd, purses=names)

    def settle(self, tx: Tx, holder: str, cost_nusd: int) -> None:
        if not self._settled(tx, holder, cost_nusd):
            raise KeyError(f"{holder} has no reservation")

    def settle_late(self, tx: Tx, holder: str, cost_nusd: int) -> None:
        self._settled(tx, holder, cost_nusd)

    def settle_all(self, tx: Tx, prefix: str) -> int:
        rows = tx.run("held_take_all", first=prefix, last=prefix + _LAST)
        tx.run_many("purses_settle", [{**row, "cost": row["amount"]} for row in rows])
        return sum(row["amount"] for row in rows)

    def _as_now(self, link: Link) -> Link:
        kind, _, _ = link.purse.partition("/")
        most = self._days(kind) if kind in DAYS else None
        enough = most is None or (link.cap_nusd is not None and link.cap_nusd <= most)
        return link if enough else replace(link, cap_nusd=most)

    def _settled(self, tx: Tx, holder: str, cost_nusd: int) -> bool:
        """Whether there was a reservation."""
        if cost_nusd < 0:
            raise ValueError("a cost cannot be negative")
        rows = tx.run("held_take", holder=holder)
        for row in rows:
            tx.run("purses_settle", purses=row["purses"], cost=cost_nusd, amount=row["amount"])
        return bool(rows)


def _purse(link: Link, row: Row) -> Purse:
    """The purse as it is, with the cap that holds for this link. Raises KeyError where it must have been opened."""
    if link.opened and row["cap"] is None:
        raise KeyError(f"{link.purse} was never opened")
    cap = row["cap"] if link.cap_nusd is None else link.cap_nusd
    return Purse(cap, row["settled"] or 0, row["reserved"] or 0)


def _exhausted(chain: Chain, link: Link, purse: Purse, amount: int) -> BudgetExhausted:
    cap = purse.cap or 0
    return BudgetExhausted(
        purse=link.purse,
        cap_nusd=cap,
        free_nusd=purse.free,
        passing=purse.settled + amount <= cap,
        why=refusal(link.purse, cap, purse.free, amount, purse.reserved),
        fix=remedy(link.purse, run_of(chain)),
    )
