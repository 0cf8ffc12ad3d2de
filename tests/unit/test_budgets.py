"""Money: the arithmetic, and the treasury over a real store."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.govern.budgets import Budgets, Purse
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.port import Tx
from quarterdeck.store.sqlite import SqliteStore

_steps = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle", "raise"]), st.integers(0, 5), st.integers(0, 60)), max_size=40
)


@given(st.integers(0, 100), _steps)
def test_reservations_never_exceed_the_cap(cap: int, steps: list[tuple[str, int, int]]) -> None:
    purse, held, spent = Purse(cap), dict[int, int](), 0
    for step, holder, amount in steps:
        if step == "raise":
            purse = Purse(max(purse.cap, amount), purse.settled, purse.reserved)
        elif step == "reserve":
            after = purse.reserve(amount, held.get(holder, 0))
            would_be = purse.settled + sum(held.values()) - held.get(holder, 0) + amount
            assert (after is None) == (would_be > purse.cap)
            if after is not None:
                purse, held[holder] = after, amount
                assert purse.settled + purse.reserved <= purse.cap
        elif holder in held:
            purse = purse.settle(amount, held.pop(holder))
            spent += amount
        assert (purse.settled, purse.reserved) == (spent, sum(held.values()))


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Purse(10).reserve(-1)
    with pytest.raises(ValueError, match="negative"):
        Purse(10).settle(-1, 0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "deck.db", durability="normal")
    yield store
    await store.close()


def _reserve(holder: str, amount: int, run: str = "r") -> Callable[[Tx], None]:
    return lambda tx: Budgets().reserve(tx, run, holder, amount)


async def test_the_treasury_keeps_its_promise_over_a_store(store: SqliteStore) -> None:
    budgets = Budgets()
    await store.write(lambda tx: budgets.open(tx, "r", 100))
    await store.write(lambda tx: budgets.open(tx, "other", 1))
    await store.write(_reserve("a/1", 60))
    with pytest.raises(BudgetExhausted):
        await store.write(_reserve("b/1", 41))
    await store.write(_reserve("b/1", 40))
    await store.write(_reserve("a/1", 50))
    await store.write(lambda tx: budgets.settle(tx, "r", "a/1", 70))
    with pytest.raises(BudgetExhausted):
        await store.write(_reserve("c/1", 1))
    with pytest.raises(KeyError):
        await store.write(lambda tx: budgets.settle(tx, "r", "a/1", 1))
    await store.write(lambda tx: budgets.open(tx, "r", 200))
    await store.write(lambda tx: budgets.open(tx, "r", 100))
    await store.write(_reserve("c/1", 90))
    with pytest.raises(BudgetExhausted):
        await store.write(_reserve("d/1", 1))
    with pytest.raises(KeyError):
        await store.write(_reserve("a/1", 1, run="unknown"))


async def test_what_is_left_reserved_of_a_run_is_counted_as_spent(store: SqliteStore) -> None:
    budgets = Budgets()
    for run in ("r", "other"):
        await store.write(lambda tx, run=run: budgets.open(tx, run, 100))  # type: ignore[misc]  # a bound default
        await store.write(_reserve("a/1", 30, run))
        await store.write(_reserve("b/1", 20, run))
    await store.write(lambda tx: budgets.settle(tx, "r", "a/1", 10))
    assert await store.write(lambda tx: budgets.settle_all(tx, "r")) == 20
    assert await store.write(lambda tx: budgets.settle_all(tx, "r")) == 0
    (purse,) = await store.read("budget_get", run="r", holder="b/1")
    assert (purse["settled"], purse["reserved"], purse["amount"]) == (30, 0, None)
    (purse,) = await store.read("budget_get", run="other", holder="b/1")
    assert (purse["settled"], purse["reserved"], purse["amount"]) == (0, 50, 20)
    await store.write(_reserve("c/1", 70))
    with pytest.raises(BudgetExhausted):
        await store.write(_reserve("d/1", 1))


async def test_a_refused_reservation_keeps_nothing_of_its_transaction(store: SqliteStore) -> None:
    budgets = Budgets()
    await store.write(lambda tx: budgets.open(tx, "r", 10))

    def both(tx: Tx) -> None:
        budgets.reserve(tx, "r", "a", 10)
        budgets.reserve(tx, "r", "b", 1)

    with pytest.raises(BudgetExhausted):
        await store.write(both)
    await store.write(_reserve("b", 10))
