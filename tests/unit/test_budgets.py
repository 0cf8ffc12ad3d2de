"""Money: the arithmetic, chains, and the treasury over a real store, with many callers and processes."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_kit import open_at

from quarterdeck.assembly.agreed import Agreed, Days, Words
from quarterdeck.assembly.reacting import OperatorsFile
from quarterdeck.govern.budgets import Budgets, Purse, refusing
from quarterdeck.govern.chain import (
    DayCaps,
    chain_of,
    dated,
    day_of,
    delegated,
    kind_of,
    name_of,
    refusal,
    remedy,
    run_of,
    run_purse,
)
from quarterdeck.govern.port import Chain, Link
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DayBudget, DeckConfig, RunConfig
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.port import Store, Tx
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.store.statements import migrations

NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
DAYS = DayCaps(user=50.0, deck=200.0)


# --- the arithmetic ---------------------------------------------------------------------------------------


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100))
def test_a_purse_refuses_exactly_what_would_break_its_cap(
    cap: int, settled: int, others: int, held: int, amount: int
) -> None:
    purse = Purse(cap, settled, others + held)
    after = purse.reserve(amount, held)
    assert (after is None) == (settled + others + amount > cap)
    if after is not None:
        assert after == Purse(cap, settled, others + amount)
        assert after.settled + after.reserved + after.free == cap
    assert Purse(None, settled, others + held).reserve(amount, held) is not None, "without a cap it bounds nothing"


_PURSES = st.lists(
    st.builds(Purse, st.none() | st.integers(0, 50), st.integers(0, 30), st.integers(10, 30)), min_size=1, max_size=5
)


@given(_PURSES, st.integers(0, 60), st.data())
def test_a_chain_is_refused_by_its_innermost_purse_that_cannot(
    purses: list[Purse], amount: int, data: st.DataObject
) -> None:
    held = [data.draw(st.integers(0, 10)) for _ in purses]
    place = refusing(purses, amount, held)
    for purse, back in zip(purses[:place], held[:place], strict=True):
        assert purse.reserve(amount, back) is not None
    if place is not None:
        assert purses[place].reserve(amount, held[place]) is None


def test_negative_amounts_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Purse(10).reserve(-1)


# --- chains -----------------------------------------------------------------------------------------------


def test_the_chain_of_an_attempt_goes_outwards() -> None:
    chain = chain_of(
        run="r-1", task="t", attempt="r-1.t.2", user="ada", days=DAYS, now=NOON, attempt_usd=0.5, task_usd=1.0
    )
    assert chain == (
        Link("attempt/r-1.t.2", 500_000_000),
        Link("task/r-1/t", 1_000_000_000),
        Link("run/r-1", None, opened=True),
        Link("user/ada/2026-11-21", 50_000_000_000),
        Link("deck/2026-11-21", 200_000_000_000),
    )
    assert [kind_of(link.purse) for link in chain] == ["attempt", "task", "run", "user", "deck"]
    assert run_of(chain) == "r-1"


def test_what_bounds_nothing_is_left_out_but_the_run_and_the_days_stand() -> None:
    chain = chain_of(run="r-1", task="t", attempt="r-1.t.1", user="ada", days=DAYS, now=NOON)
    assert [kind_of(link.purse) for link in chain] == ["run", "user", "deck"]


def test_a_sub_agent_spends_what_its_parent_may_spend() -> None:
    parent = chain_of(run="r-1", task="t", attempt="r-1.t.1", user="ada", days=DAYS, now=NOON, attempt_usd=0.5)
    child = delegated(parent, "r-1.t.1.sub1", 0.1)
    assert child == (Link("attempt/r-1.t.1.sub1", 100_000_000), *parent)
    assert delegated(child, "r-1.t.1.sub1.sub1", None) == child


@given(st.text(min_size=1, max_size=8), st.integers(0, 2 * 10**9), st.integers(0, 2 * 10**9))
def test_a_chain_is_paid_from_the_purses_of_the_day_of_the_call(user: str, then: int, now: int) -> None:
    old = chain_of(run="r", task="t", attempt="r.t.1", user=user, days=DAYS, now=then, attempt_usd=1, task_usd=1)
    new = chain_of(run="r", task="t", attempt="r.t.1", user=user, days=DAYS, now=now, attempt_usd=1, task_usd=1)
    assert dated(old, now) == new
    assert dated(new, now) == new


def test_days_are_those_of_utc() -> None:
    assert [day_of(NOON - 43_200), day_of(NOON + 43_199), day_of(NOON + 43_200)] == [
        "2026-11-21",
        "2026-11-21",
        "2026-11-22",
    ]


@pytest.mark.parametrize(
    ("purse", "name", "help"),
    [
        ("attempt/r-1.t.1", "the attempt r-1.t.1", "limits"),
        ("task/r-1/t", "the task t", "budget_usd"),
        ("run/r-1", "the run r-1", "quarterdeck resume r-1 --budget <more USD>"),
        (
            "user/a/b/2026-12-31",
            "a/b on 2026-12-31 (UTC)",
            "frees at 2027-01-01 00:00 UTC; then, or once [budget] user_day",
        ),
        ("deck/2026-11-21", "the whole deck on 2026-11-21 (UTC)", "frees at 2026-11-22 00:00 UTC"),
    ],
)
def test_a_refusal_says_whose_purse_it_was_and_what_helps(purse: str, name: str, help: str) -> None:
    assert name_of(purse) == name
    assert help in remedy(purse, "r-1")


# --- caps of days -----------------------------------------------------------------------------------------


def _config(**said: float) -> RunConfig:
    return RunConfig(deck=DeckConfig(), narrowed=DayBudget(**said))


async def _days(home: Path) -> Days:
    """Of a deck that lies in its home."""
    store, file = await open_at(home / "other.db"), OperatorsFile(home)
    await store.close()  # it is not asked: there is no other file
    return Days(Agreed(store, lambda: "m", SystemClock(), Words(file), alone=True), file)


async def test_the_operators_present_caps_hold_narrowed_by_the_repositorys(tmp_path: Path) -> None:
    days, file = await _days(tmp_path), tmp_path / "deck.toml"
    assert days(_config()) == DayCaps(50.0, 200.0), "on by default"
    file.write_text("[budget]\nuser_day = 7\n")
    assert days(_config()) == DayCaps(7.0, 200.0)
    assert days(_config(user_day=9.0, deck_day=8.0)) == DayCaps(7.0, 8.0)
    file.write_text("[budget]\nuser_day = 300\ndeck_day = 400\n")
    assert days(_config()) == DayCaps(300.0, 400.0)
    assert days(_config(user_day=9.0)) == DayCaps(9.0, 400.0)


async def test_a_file_that_is_being_edited_changes_no_cap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "deck.toml").write_text("[budget]\nuser_day = 7\n")
    days = await _days(tmp_path)
    (tmp_path / "deck.toml").write_text("[budget\n")
    assert days(_config()) == DayCaps(7.0, 200.0)
    assert "stay as they were" in caplog.text


# --- the treasury -----------------------------------------------------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_at(tmp_path / "deck.db")
    yield store
    await store.close()


def _chain(run: str = "r", day: int = 10**6, *more: Link) -> Chain:
    return (*more, Link(run_purse(run), None, opened=True), Link("deck/2026-11-21", day))


def _reserve(holder: str, amount: int, chain: Chain | None = None) -> Callable[[Tx], None]:
    return lambda tx: Budgets().reserve(tx, _chain() if chain is None else chain, holder, amount)


async def purse(store: Store, name: str) -> tuple[int | None, int, int]:
    """(cap, settled, reserved)"""
    (row,) = await store.read("purses_of", purses=json.dumps([name]), holder="")
    return row["cap"], row["settled"] or 0, row["reserved"] or 0


def test_a_cap_below_a_cent_is_not_said_to_be_nothing() -> None:
    assert "0.0010 of 0.0010 USD are left for the key k" in refusal("key/k", 1_000_000, 1_000_000, 12_900_000)
    assert "0.0010 of 0.50 USD are left for the key k" in refusal("key/k", 500_000_000, 1_000_000, 12_900_000)


async def test_the_treasury_keeps_its_promise_over_a_store(store: Store) -> None:
    budgets = Budgets()
    await store.write(lambda tx: budgets.open(tx, "run/r", 100))
    await store.write(lambda tx: budgets.open(tx, "run/other", 1))
    await store.write(_reserve("a/1", 60))
    with pytest.raises(BudgetExhausted) as refused:
        await store.write(_reserve("b/1", 41))
    assert (refused.value.purse, refused.value.cap_nusd, refused.value.free_nusd) == ("run/r", 100, 40)
    assert "are left for the run r" in str(refused.value)
    await store.write(_reserve("b/1", 40))
    await store.write(_reserve("a/1", 50))
    await store.write(lambda tx: budgets.settle(tx, "a/1", 70))
    with pytest.raises(BudgetExhausted):
        await store.write(_reserve("c/1", 1))
    with pytest.raises(KeyError):
        await store.write(lambda tx: budgets.settle(tx, "a/1", 1))
    await store.write(lambda tx: budgets.open(tx, "run/r", 200))
    await store.write(lambda tx: budgets.open(tx, "run/r", 100))
    await store.write(_reserve("c/1", 90))
    with pytest.raises(BudgetExhausted):
        await store.write(_reserve("d/1", 1))
    assert await purse(store, "deck/2026-11-21") == (None, 70, 130)


async def test_what_bounds_nothing_is_not_reserved_from(store: Store) -> None:
    with pytest.raises(KeyError, match="never opened"):
        await store.write(_reserve("a/1", 1))
    with pytest.raises(ValueError, match="from one at least"):
        await store.write(_reserve("a/1", 1, ()))
    with pytest.raises(ValueError, match="different purses"):
        await store.write(_reserve("a/1", 1, (Link("deck/x", 9), Link("deck/x", 9))))


async def test_no_purse_keeps_anything_where_one_of_the_chain_refuses(store: Store) -> None:
    budgets = Budgets()
    await store.write(lambda tx: budgets.open(tx, "run/r", 100))
    await store.write(_reserve("a/1", 30, _chain("r", 100, Link("attempt/a", 30))))
    for amount, inner, day, names in (
        (71, 200, 200, "run/r"),
        (1, 30, 200, "attempt/a"),
        (1, 40, 30, "deck/2026-11-21"),
    ):
        with pytest.raises(BudgetExhausted) as refused:
            await store.write(_reserve("a/2", amount, _chain("r", day, Link("attempt/a", inner))))
        assert refused.value.purse == names
    for name in ("attempt/a", "run/r", "deck/2026-11-21"):
        assert (await purse(store, name))[1:] == (0, 30)


async def test_a_reservation_that_is_replaced_leaves_the_purses_that_it_was_in(store: Store) -> None:
    await store.write(lambda tx: Budgets().open(tx, "run/r", 100))
    run = Link("run/r", None, opened=True)
    await store.write(_reserve("a/1", 60, (run, Link("deck/monday", 100))))
    with pytest.raises(BudgetExhausted):
        await store.write(_reserve("a/1", 50, (run, Link("deck/tuesday", 40))))
    assert (await purse(store, "deck/monday"))[2] == 60
    await store.write(_reserve("a/1", 90, (run, Link("deck/tuesday", 90))))
    found = [(await purse(store, name))[2] for name in ("run/r", "deck/monday", "deck/tuesday")]
    assert found == [90, 0, 90]


async def test_what_was_reserved_before_midnight_is_settled_into_that_day(store: Store) -> None:
    await store.write(lambda tx: Budgets().open(tx, "run/r", 100))
    run = Link("run/r", None, opened=True)
    await store.write(_reserve("a/1", 60, (run, Link("deck/monday", 60))))
    await store.write(_reserve("a/2", 10, (run, Link("deck/tuesday", 60))))
    await store.write(lambda tx: Budgets().settle(tx, "a/1", 70))
    assert [await purse(store, name) for name in ("run/r", "deck/monday", "deck/tuesday")] == [
        (100, 70, 10),
        (None, 70, 0),
        (None, 0, 10),
    ]


async def test_what_is_left_reserved_of_a_run_is_counted_as_spent(store: Store) -> None:
    budgets = Budgets()
    for run in ("r-1", "r-10"):
        await store.write(partial(budgets.open, purse=f"run/{run}", cap_nusd=100))
        await store.write(_reserve(f"{run}.a.1/1/1", 30, _chain(run)))
        await store.write(_reserve(f"{run}.b.1/1/1", 20, _chain(run)))
    await store.write(lambda tx: budgets.settle(tx, "r-1.a.1/1/1", 10))
    assert await store.write(lambda tx: budgets.settle_all(tx, "r-1.")) == 20
    assert await store.write(lambda tx: budgets.settle_all(tx, "r-1.")) == 0
    await store.write(lambda tx: budgets.settle_late(tx, "r-1.b.1/1/1", 20))
    assert await purse(store, "run/r-1") == (100, 30, 0)
    assert await purse(store, "run/r-10") == (100, 0, 50)
    assert await purse(store, "deck/2026-11-21") == (None, 30, 50)
    assert await store.write(lambda tx: budgets.settle_all(tx, "r-10.b.1/")) == 20
    assert await purse(store, "run/r-10") == (100, 20, 30)
    await store.write(_reserve("r-1.c.1/1/1", 70, _chain("r-1")))
    with pytest.raises(BudgetExhausted):
        await store.write(_reserve("r-1.d.1/1/1", 1, _chain("r-1")))


async def test_a_refused_reservation_keeps_nothing_of_its_transaction(store: Store) -> None:
    budgets = Budgets()
    await store.write(lambda tx: budgets.open(tx, "run/r", 10))

    def both(tx: Tx) -> None:
        budgets.reserve(tx, _chain(), "a", 10)
        budgets.reserve(tx, _chain(), "b", 1)

    with pytest.raises(BudgetExhausted):
        await store.write(both)
    await store.write(_reserve("b", 10))


async def test_a_hundred_callers_together_get_what_there_is(store: Store) -> None:
    await store.write(lambda tx: Budgets().open(tx, "run/r", 10**6))
    chain = _chain("r", 1_000)

    async def one(number: int) -> int:
        try:
            await store.write(_reserve(f"{number}/1", 33, chain))
        except BudgetExhausted:
            return 0
        await store.write(lambda tx: Budgets().settle(tx, f"{number}/1", 30))
        return 30

    spent = sum(await asyncio.gather(*(one(number) for number in range(100))))
    _, settled, reserved = await purse(store, "deck/2026-11-21")
    assert (settled, reserved) == (spent, 0)
    assert 900 <= spent <= 1_000, "30 at least fit together"


# --- the schema before it ---------------------------------------------------------------------------------

_BEFORE = """
INSERT INTO runs (run, status, goal, repository, target, branch, base, budget_nusd, user, sandbox, created_at,
    updated_at, cost_nusd) VALUES
    ('r-1', 'running', '', '', '', '', '', 100, 'ada', '', 1795262400.0, 0, 60),
    ('r-2', 'done', '', '', '', '', '', 100, 'ada', '', 1795262500.0, 0, 7),
    ('r-3', 'done', '', '', '', '', '', 100, 'bob', '', 1795176000.0, 0, 5);
INSERT INTO budgets (run, cap, settled, reserved) VALUES ('r-1', 100, 60, 30), ('r-2', 100, 7, 0), ('r-3', 100, 5, 0);
INSERT INTO reservations (run, holder, amount) VALUES ('r-1', 'r-1.t.1/3/1', 30);
INSERT INTO attempts (attempt, run, task, number, agent, harness, status, incarnation, started_at) VALUES
    ('r-1.t.1', 'r-1', 't', 1, 'a', 'native', '', 1, 0), ('r-1.t.1.sub1', 'r-1', 't', 1, 'a', 'native', '', 1, 0),
    ('r-1.t.1.review1', 'r-1', 't', 1, 'a', 'native', '', 1, 0), ('r-1.t.10', 'r-1', 't', 10, 'a', 'native', '', 1, 0);
INSERT INTO costs (run, task, attempt, model, calls, input, cache_read, cache_write, output, cost_nusd, estimated_calls)
    VALUES ('r-1', 't', 'r-1.t.1', 'm', 1, 0, 0, 0, 0, 20, 0), ('r-1', 't', 'r-1.t.1', 'n', 1, 0, 0, 0, 0, 5, 0),
    ('r-1', 't', 'r-1.t.1.sub1', 'm', 1, 0, 0, 0, 0, 15, 0), ('r-1', 't', 'r-1.t.1.review1', 'm', 1, 0, 0, 0, 0, 12, 0),
    ('r-1', 't', 'r-1.t.10', 'm', 1, 0, 0, 0, 0, 8, 0);
"""


@pytest.mark.embedded("upgrades a file of an older version; PostgreSQL's upgrades are tested with its store")
async def test_money_of_the_first_schema_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "deck.db"
    old = sqlite3.connect(path)
    for statement in migrations()[0].statements:
        old.execute(statement)
    old.executescript(_BEFORE)
    old.execute("PRAGMA user_version = 1")
    old.commit()
    old.close()
    store = await SqliteStore.open(path, durability="normal")
    try:
        found = {
            row["purse"]: (row["cap"], row["settled"], row["reserved"])
            for row in await store.read("view_purses", first="", last="\U0010ffff")
        }
        assert found == {
            "run/r-1": (100, 60, 30),
            "run/r-2": (100, 7, 0),
            "run/r-3": (100, 5, 0),
            "user/ada/2026-11-21": (None, 67, 0),
            "user/bob/2026-11-20": (None, 5, 0),
            "deck/2026-11-21": (None, 67, 0),
            "deck/2026-11-20": (None, 5, 0),
            "attempt/r-1.t.1": (None, 40, 0),
            "attempt/r-1.t.1.sub1": (None, 15, 0),
            "attempt/r-1.t.1.review1": (None, 12, 0),
            "attempt/r-1.t.10": (None, 8, 0),
            "task/r-1/t": (None, 60, 0),
        }
        await store.write(lambda tx: Budgets().settle(tx, "r-1.t.1/3/1", 25))
        assert await purse(store, "run/r-1") == (100, 85, 0)
    finally:
        await store.close()
