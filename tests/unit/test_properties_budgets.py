"""Money by property: any interleaving over a real store against a model; prices that a reservation always covers."""

import asyncio
import copy
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store_kit import open_at

from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.port import Chain, Link
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import NUSD_PER_USD, Usage, to_nusd, to_usd
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.kernel.price_list import LIST
from quarterdeck.kernel.prices import cost, price_of, worst_case
from quarterdeck.store.port import Tx

pytestmark = pytest.mark.usefixtures("temporaries")

T = TypeVar("T")

RUNS = ("r-1", "r-10")
HOLDERS = ("r-1.t.1/1/1", "r-1.t.1/2/1", "r-10.t.1/1/1")
DAYS = ("deck/monday", "deck/tuesday")
AMOUNTS = st.integers(0, 60)
CAPS = st.integers(0, 150)


# --- the treasury -----------------------------------------------------------------------------------------


@dataclass
class Account:
    """What a purse should hold."""

    cap: int | None = None
    settled: int = 0
    held: dict[str, int] = field(default_factory=dict)

    @property
    def reserved(self) -> int:
        return sum(self.held.values())

    def would_hold(self, holder: str, amount: int) -> int:
        return self.settled + self.reserved - self.held.get(holder, 0) + amount


class Treasury(RuleBasedStateMachine):
    """Agents of two runs on two days that reserve, settle, fail and die in any order, each step a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="quarterdeck-budgets-"))
        self.store = self.loop.run_until_complete(open_at(self.folder / "deck.db"))
        self.budgets = Budgets()
        self.accounts: dict[str, Account] = {}
        self.opened: set[str] = set()

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def write(self, work: Callable[[Tx], T]) -> T:
        return self.loop.run_until_complete(self.store.write(work))

    def account(self, purse: str) -> Account:
        return self.accounts.setdefault(purse, Account())

    def refuses(self, chain: Chain, holder: str, amount: int) -> str | None:
        """The innermost purse that does not cover it."""
        for link in chain:
            account = self.account(link.purse)
            cap = account.cap if link.cap_nusd is None else link.cap_nusd
            if cap is not None and account.would_hold(holder, amount) > cap:
                return link.purse
        return None

    def hold(self, chain: Chain, holder: str, amount: int) -> None:
        for account in self.accounts.values():
            account.held.pop(holder, None)
        for link in chain:
            self.account(link.purse).held[holder] = amount

    @rule(run=st.sampled_from(RUNS), cap=CAPS)
    def open(self, run: str, cap: int) -> None:
        """Open, raise, or repeat a command that was lost: a cap never falls."""
        self.write(lambda tx: self.budgets.open(tx, f"run/{run}", cap))
        account = self.account(f"run/{run}")
        account.cap = max(account.cap or 0, cap)
        self.opened.add(run)

    @rule(
        holder=st.sampled_from(HOLDERS),
        amount=AMOUNTS,
        own=st.none() | CAPS,
        day=st.sampled_from(DAYS),
        day_cap=CAPS,
    )
    def reserve(self, holder: str, amount: int, own: int | None, day: str, day_cap: int) -> None:
        """With or without a cap of the attempt; a day's cap may be another one each time."""
        run = holder.partition(".")[0]
        chain = (
            Link(f"attempt/{holder.partition('/')[0]}", own),
            Link(f"run/{run}", None, opened=True),
            Link(day, day_cap),
        )
        if run not in self.opened:
            with pytest.raises(KeyError):
                self.write(lambda tx: self.budgets.reserve(tx, chain, holder, amount))
            return
        refuses = self.refuses(chain, holder, amount)
        if refuses is not None:
            with pytest.raises(BudgetExhausted) as refused:
                self.write(lambda tx: self.budgets.reserve(tx, chain, holder, amount))
            assert refused.value.purse == refuses
            assert refused.value.free_nusd < amount
            return
        self.write(lambda tx: self.budgets.reserve(tx, chain, holder, amount))
        self.hold(chain, holder, amount)
        for link in chain:
            account = self.account(link.purse)
            cap = account.cap if link.cap_nusd is None else link.cap_nusd
            assert cap is None or account.settled + account.reserved <= cap

    @precondition(lambda self: "r-1" in self.opened)
    @rule(amounts=st.lists(AMOUNTS, min_size=2, max_size=2))
    def reserve_together(self, amounts: list[int]) -> None:
        """Several in one transaction: all of them, or none."""
        chain = (Link("run/r-1", None, opened=True), Link(DAYS[0], 120))
        wanted = dict(zip(HOLDERS, amounts, strict=False))

        def together(tx: Tx) -> None:
            for holder, amount in wanted.items():
                self.budgets.reserve(tx, chain, holder, amount)

        before = copy.deepcopy(self.accounts)
        for holder, amount in wanted.items():
            if self.refuses(chain, holder, amount) is not None:
                self.accounts = before
                with pytest.raises(BudgetExhausted):
                    self.write(together)
                return
            self.hold(chain, holder, amount)
        self.write(together)

    @rule(holder=st.sampled_from(HOLDERS), spent=st.integers(0, 90))
    def settle(self, holder: str, spent: int) -> None:
        """Into exactly the purses that were reserved in, whatever was reserved elsewhere since."""
        mine = [account for account in self.accounts.values() if holder in account.held]
        if not mine:
            with pytest.raises(KeyError):
                self.write(lambda tx: self.budgets.settle(tx, holder, spent))
            return
        self.write(lambda tx: self.budgets.settle(tx, holder, spent))
        for account in mine:
            del account.held[holder]
            account.settled += spent

    @rule(prefix=st.sampled_from(("r-1.", "r-10.", "r-1.t.1/", "r-2.", "")))
    def everybody_is_gone(self, prefix: str) -> None:
        gone = {holder: amount for one in self.accounts.values() for holder, amount in one.held.items()}
        gone = {holder: amount for holder, amount in gone.items() if holder.startswith(prefix)}
        assert self.write(lambda tx: self.budgets.settle_all(tx, prefix)) == sum(gone.values())
        for account in self.accounts.values():
            for holder in gone:
                account.settled += account.held.pop(holder, 0)

    @precondition(lambda self: "r-1" in self.opened)
    @rule(amount=AMOUNTS)
    def a_transaction_is_lost(self, amount: int) -> None:
        """The process dies, or another part of the same commit fails: nothing of it is kept."""
        chain = (Link("run/r-1", 10**9), Link(DAYS[1], None))

        def dies(tx: Tx) -> None:
            self.budgets.reserve(tx, chain, HOLDERS[0], amount)
            self.budgets.settle(tx, HOLDERS[0], 10**6)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.write(dies)

    @invariant()
    def the_books_are_right(self) -> None:
        rows = self.loop.run_until_complete(self.store.read("view_purses", first="", last="\U0010ffff"))
        found = {row["purse"]: (row["cap"], row["settled"], row["reserved"]) for row in rows}
        for purse, account in self.accounts.items():
            expected = (account.cap, account.settled, account.reserved)
            assert found.pop(purse, (None, 0, 0)) == expected, purse
        assert not found


TestTreasury = Treasury.TestCase
TestTreasury.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)


# --- prices -----------------------------------------------------------------------------------------------

USD = st.floats(0, 500, allow_nan=False).map(lambda usd: round(usd, 4))
PRICES = st.builds(Price, input=USD, output=USD, cache_read=st.none() | USD, cache_write=st.none() | USD)
PRICES |= st.sampled_from(sorted(LIST)).map(lambda name: LIST[name])
FLAT = PRICES.map(lambda price: price.model_copy(update={"long": None}))
TOKENS = st.integers(0, 2_000_000)
USAGES = st.builds(Usage, input=TOKENS, cache_read=TOKENS, cache_write=TOKENS, output=TOKENS)


@given(USAGES, PRICES, st.integers(0, 1000), st.integers(0, 1000))
def test_what_was_reserved_covers_whatever_the_call_costs(usage: Usage, price: Price, more: int, spare: int) -> None:
    assert cost(usage, price) <= worst_case(usage.prompt + more, usage.output + spare, price)


@given(USAGES, USAGES, FLAT)
def test_a_cost_grows_with_what_was_used_and_is_never_rounded_down(one: Usage, other: Usage, price: Price) -> None:
    parts = cost(one, price) + cost(other, price)
    assert cost(one, price) <= cost(one + other, price) + 1
    assert abs(parts - cost(one + other, price)) <= 2
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    exact = one.input * price.input + one.cache_read * read + one.cache_write * write + one.output * price.output
    assert cost(one, price) >= math.floor(exact * (NUSD_PER_USD // 1_000_000))


@given(st.integers(0, 10**15))
def test_money_survives_the_way_to_people_and_back(nusd: int) -> None:
    assert to_nusd(to_usd(nusd)) == nusd


@given(st.text(max_size=20), PRICES)
def test_an_unknown_price_is_never_guessed(model: str, price: Price) -> None:
    assert price_of(model, {}) is LIST.get(model)
    assert price_of(model, {model: price}) == price
