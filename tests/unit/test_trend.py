"""Spending that leaves its baseline: the arithmetic, and what is looked up for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_kit import open_at

from quarterdeck.delivery.trends import Trends
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.port import Link
from quarterdeck.govern.trend import FLOOR_NUSD, LEAST, Baseline, baseline, departs
from quarterdeck.journal.log import Log
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.entities import Harness, Usage
from quarterdeck.kernel.events import Node, Outcome, RunStatus
from quarterdeck.kernel.folding import apply
from quarterdeck.kernel.states import RunState
from quarterdeck.store.port import Store, Tx
from quarterdeck.testing import stories

USD = 10**9
NOON = 1_795_262_400.0  # 2026-11-21 12:00 UTC
COSTS = st.integers(0, 100 * USD)
SAMPLES = st.lists(COSTS, min_size=LEAST, max_size=30)


# --- the arithmetic ---------------------------------------------------------------------------------------


@given(st.lists(COSTS, max_size=LEAST - 1), COSTS)
def test_too_few_samples_say_nothing(samples: list[int], spent: int) -> None:
    assert departs(spent, samples) is None


@given(SAMPLES, COSTS, st.randoms(use_true_random=False))
def test_the_order_of_samples_does_not_matter(samples: list[int], spent: int, rnd: object) -> None:
    assert departs(spent, samples) == departs(spent, sorted(samples)) == departs(spent, samples[::-1])


@given(SAMPLES, COSTS, st.integers(0, USD))
def test_more_spending_never_takes_a_notice_away(samples: list[int], spent: int, more: int) -> None:
    if departs(spent, samples) is not None:
        assert departs(spent + more, samples) is not None


@given(SAMPLES, COSTS)
def test_a_notice_is_about_more_than_twice_what_is_usual_and_not_about_cents(samples: list[int], spent: int) -> None:
    left = departs(spent, samples)
    if left is not None:
        assert spent > 2 * left.usual
        assert spent > left.usual + FLOOR_NUSD
        assert spent > sorted(samples)[(len(samples) - 1) // 2]


@given(SAMPLES)
def test_half_of_the_samples_are_never_worth_a_notice(samples: list[int]) -> None:
    unusual = sum(departs(sample, samples) is not None for sample in samples)
    assert unusual <= len(samples) // 2


@given(COSTS, st.integers(LEAST, 20), COSTS)
def test_one_wild_sample_does_not_move_the_baseline(usual: int, count: int, wild: int) -> None:
    quiet = baseline([usual] * (count + 1))
    assert quiet is not None
    assert baseline([*[usual] * count, wild]) == quiet


def test_a_departure_is_told_with_what_it_is_held_against() -> None:
    samples = [1 * USD, 2 * USD, 2 * USD, 2 * USD, 3 * USD, 3 * USD]
    assert departs(4 * USD + 1, samples) == Baseline(usual=2 * USD, bound=4 * USD, samples=6), "twice the median"
    assert departs(4 * USD, samples) is None
    wide = [1 * USD, 2 * USD, 3 * USD, 4 * USD, 5 * USD]
    found = baseline(wide)
    assert found is not None
    assert found.bound == 3 * USD + 6 * 1_482_600_000, "six deviations"


# --- what is looked up ------------------------------------------------------------------------------------


class At(SystemClock):
    def wall(self) -> float:
        return NOON


class World:
    """A deck's history, made of events."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.journal = Log(store, At())
        self.views = Views(store)
        self.states: dict[str, RunState] = {}

    async def run(self, run: str, cost: int, *, agent: str = "bee", repository: str = "one", done: bool = True) -> None:
        created = stories.created(run, repository=repository)
        attempt = ids.attempt_id(run, "t", 1)
        started = e.AttemptStarted(
            run=run, task="t", number=1, agent=agent, harness=Harness.NATIVE, incarnation=1, base="b", workspace="w"
        )
        answered = e.ModelAnswered(
            step=1, model="m:m", message_blob="", stop="end", usage=Usage(), cost_nusd=cost, estimated=False
        )
        await self.add(ids.run_stream(run), created)
        await self.add(ids.attempt_stream(attempt), started, answered)
        if done:
            await self.add(ids.attempt_stream(attempt), e.HarnessFinished(incarnation=1, ok=True))
            await self.add(ids.run_stream(run), e.RunFinished(status=RunStatus.DONE, exit_code=0, sha="s"))

    async def add(self, stream: str, *events: e.EventBase) -> None:
        await self.journal.append(await self.journal.claim(stream), *events)
        if stream.startswith("run/"):
            state = self.states.setdefault(stream.partition("/")[2], RunState())
            for event in events:
                apply(state, event)

    async def day(self, day: str, cost: int) -> None:
        def spend(tx: Tx) -> None:
            Budgets().reserve(tx, (Link(f"deck/{day}", None),), "x", cost)
            Budgets().settle(tx, "x", cost)

        await self.store.write(spend)

    async def notices(self, run: str) -> list[tuple[str, str, int]]:
        """What is noticed as an attempt of the run ends; it is put on record."""
        ended = e.NodeFinished(node=Node.IMPLEMENT, outcome=Outcome.OK, task="t", attempt=ids.attempt_id(run, "t", 1))
        found = await Trends(self.views, At()).notices(self.states[run], [ended])
        await self.add(ids.run_stream(run), *found)
        return [(notice.about, notice.name, notice.samples) for notice in found]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await open_at(tmp_path / "deck.db")
    yield World(store)
    await store.close()


async def test_a_run_an_agent_and_a_day_are_held_against_their_own_past_once(world: World) -> None:
    for number in range(6):
        await world.run(f"r-{number}", USD)
        await world.day(f"2026-11-1{number}", USD)
    await world.run("r-new", 5 * USD, done=False)
    await world.day("2026-11-21", 5 * USD)
    expected = [("day", "2026-11-21", 6), ("run", "r-new", 6), ("agent", "bee", 6)]
    assert await world.notices("r-new") == expected
    assert await world.notices("r-new") == [], "once for each crossing"
    await world.run("r-next", 5 * USD, done=False)
    assert await world.notices("r-next") == [("run", "r-next", 6), ("agent", "bee", 6)], "the day is known"
    shown = await world.views.notices()
    assert {(notice.run, notice.about, notice.spent_nusd, notice.usual_nusd) for notice in shown} == {
        ("r-new", "day", 5 * USD, USD),
        *((run, about, 5 * USD, USD) for run in ("r-new", "r-next") for about in ("run", "agent")),
    }


async def test_others_say_nothing_about_it(world: World) -> None:
    """Runs elsewhere, other agents, and days that are still to come."""
    for number in range(6):
        await world.run(f"r-{number}", USD, agent="wasp", repository="other")
        await world.day(f"2026-12-1{number}", USD)
    await world.run("r-new", 5 * USD, done=False)
    await world.day("2026-11-21", 5 * USD)
    assert await world.notices("r-new") == []


async def test_cheap_runs_can_still_make_a_dear_day(world: World) -> None:
    for number in range(6):
        await world.day(f"2026-11-1{number}", USD)
    await world.run("r-new", 1, done=False)
    await world.day("2026-11-21", 5 * USD)
    assert await world.notices("r-new") == [("day", "2026-11-21", 6)]
