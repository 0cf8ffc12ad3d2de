"""Money by property: any interleaving over a real store against a model; prices that a reservation always covers."""

import asyncio
import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quarterdeck.govern.budgets import Budgets
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import NUSD_PER_USD, Usage, to_nusd, to_usd
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.kernel.prices import LIST, cost, price_of, worst_case
from quarterdeck.store.port import Tx
from quarterdeck.store.sqlite import SqliteStore

T = TypeVar("T")

RUNS = ("r", "other")
HOLDERS = ("a/1", "a/2", "b/1")
AMOUNTS = st.integers(0, 60)


# --- the treasury -----------------------------------------------------------------------------------------


@dataclass
class Account:
    """What a run's money should be."""

    cap: int
    settled: int = 0
    held: dict[str, int] = field(default_factory=dict)

    @property
    def reserved(self) -> int:
        return sum(self.held.values())


class Treasury(RuleBasedStateMachine):
    """Agents of two runs that reserve, settle, fail and are killed in any order, each step a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="quarterdeck-budgets-"))
        self.store = self.loop.run_until_complete(SqliteStore.open(self.folder / "deck.db", durability="normal"))
        self.budgets = Budgets()
        self.accounts: dict[str, Account] = {}

    def teardown(self) -> None:
        self.loop.run_until_complete(self.store.close())
        self.loop.close()
        shutil.rmtree(self.folder)

    def write(self, work: Callable[[Tx], T]) -> T:
        return self.loop.run_until_complete(self.store.write(work))

    def purse(self, run: str, holder: str = "") -> dict[str, Any]:
        (row,) = self.loop.run_until_complete(self.store.read("budget_get", run=run, holder=holder))
        return {key: row[key] for key in ("cap", "settled", "reserved", "amount")}

    @rule(run=st.sampled_from(RUNS), cap=st.integers(0, 150))
    def open(self, run: str, cap: int) -> None:
        """Open, raise, or repeat a command that was lost: a cap never falls."""
        self.write(lambda tx: self.budgets.open(tx, run, cap))
        account = self.accounts.setdefault(run, Account(cap))
        account.cap = max(account.cap, cap)

    @rule(run=st.sampled_from(RUNS), holder=st.sampled_from(HOLDERS), amount=AMOUNTS)
    def reserve(self, run: str, holder: str, amount: int) -> None:
        account = self.accounts.get(run)
        if account is None:
            with pytest.raises(KeyError):
                self.write(lambda tx: self.budgets.reserve(tx, run, holder, amount))
            return
        would_be = account.settled + account.reserved - account.held.get(holder, 0) + amount
        if would_be > account.cap:
            with pytest.raises(BudgetExhausted):
                self.write(lambda tx: self.budgets.reserve(tx, run, holder, amount))
        else:
            self.write(lambda tx: self.budgets.reserve(tx, run, holder, amount))
            account.held[holder] = amount
            assert account.settled + account.reserved <= account.cap

    @precondition(lambda self: "r" in self.accounts)
    @rule(amounts=st.lists(AMOUNTS, min_size=2, max_size=3))
    def reserve_together(self, amounts: list[int]) -> None:
        """Several in one transaction: all of them, or none."""
        account = self.accounts["r"]
        wanted = dict(zip(HOLDERS, amounts, strict=False))

        def together(tx: Tx) -> None:
            for holder, amount in wanted.items():
                self.budgets.reserve(tx, "r", holder, amount)

        held = dict(account.held)
        fits = True
        for holder, amount in wanted.items():
            held[holder] = amount
            fits = fits and account.settled + sum(held.values()) <= account.cap
        if fits:
            self.write(together)
            account.held = held
        else:
            with pytest.raises(BudgetExhausted):
                self.write(together)

    @precondition(lambda self: self.accounts)
    @rule(holder=st.sampled_from(HOLDERS), spent=st.integers(0, 90), data=st.data())
    def settle(self, holder: str, spent: int, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.accounts)))
        account = self.accounts[run]
        if holder in account.held:
            self.write(lambda tx: self.budgets.settle(tx, run, holder, spent))
            del account.held[holder]
            account.settled += spent
        else:
            with pytest.raises(KeyError):
                self.write(lambda tx: self.budgets.settle(tx, run, holder, spent))

    @precondition(lambda self: self.accounts)
    @rule(data=st.data())
    def everybody_is_gone(self, data: st.DataObject) -> None:
        run = data.draw(st.sampled_from(sorted(self.accounts)))
        account = self.accounts[run]
        assert self.write(lambda tx: self.budgets.settle_all(tx, run)) == account.reserved
        account.settled += account.reserved
        account.held.clear()

    @precondition(lambda self: self.accounts)
    @rule(holder=st.sampled_from(HOLDERS), amount=AMOUNTS)
    def a_transaction_is_lost(self, holder: str, amount: int) -> None:
        """The process dies, or another part of the same commit fails: nothing of it is kept."""
        run = min(self.accounts)
        account = self.accounts[run]
        if account.settled + account.reserved - account.held.get(holder, 0) + amount > account.cap:
            return

        def dies(tx: Tx) -> None:
            self.budgets.reserve(tx, run, holder, amount)
            self.budgets.settle(tx, run, holder, 10**6)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            self.write(dies)

    @invariant()
    def the_books_are_right(self) -> None:
        for run, account in self.accounts.items():
            for holder in HOLDERS:
                assert self.purse(run, holder) == {
                    "cap": account.cap,
                    "settled": account.settled,
                    "reserved": account.reserved,
                    "amount": account.held.get(holder),
                }


TestTreasury = Treasury.TestCase
TestTreasury.settings = settings(max_examples=8, stateful_step_count=15, deadline=None)


# --- prices -----------------------------------------------------------------------------------------------

USD = st.floats(0, 500, allow_nan=False).map(lambda usd: round(usd, 4))
PRICES = st.builds(Price, input=USD, output=USD, cache_read=st.none() | USD, cache_write=st.none() | USD)
PRICES |= st.sampled_from(sorted(LIST)).map(lambda name: LIST[name])
TOKENS = st.integers(0, 2_000_000)
USAGES = st.builds(Usage, input=TOKENS, cache_read=TOKENS, cache_write=TOKENS, output=TOKENS)


@given(USAGES, PRICES, st.integers(0, 1000), st.integers(0, 1000))
def test_what_was_reserved_covers_whatever_the_call_costs(usage: Usage, price: Price, more: int, spare: int) -> None:
    assert cost(usage, price) <= worst_case(usage.prompt + more, usage.output + spare, price)


@given(USAGES, USAGES, PRICES)
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
