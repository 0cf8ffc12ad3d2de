"""No window ever holds more starts than it may, whoever asks and whenever; what was decided waits whole."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_kit import open_at

from quarterdeck.delivery import jobs
from quarterdeck.delivery.blueprint import DEFAULT, REVERT
from quarterdeck.delivery.dispatch import Decision
from quarterdeck.delivery.starting import HOUR, MINUTE, Permitted, news_of, permit, starts_of, without
from quarterdeck.govern.port import Start, Window
from quarterdeck.govern.starts import Windows, slot
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import DeckConfig, LimitsSection, RunConfig
from quarterdeck.kernel.events import Node
from quarterdeck.kernel.folding import apply
from quarterdeck.kernel.states import RunState
from quarterdeck.store.port import Store
from quarterdeck.testing import stories

CREATED = stories.created("r", repository="/r", budget_nusd=1)


def limits(**values: int) -> RunConfig:
    return RunConfig(deck=DeckConfig(limits=LimitsSection(**values)))


def state(*events: e.EventBase) -> RunState:
    found = RunState()
    for event in (CREATED, *events):
        apply(found, event)
    return found


def dispatch(*names: str) -> Decision:
    """Tasks to begin, with their jobs."""
    events = tuple(e.TaskDispatched(task=name, attempt=f"r.{name}.1", number=1, agent="x") for name in names)
    return Decision(events, tuple(jobs.work("r", Node.IMPLEMENT, f"r.{name}.1") for name in names))


# --- windows ----------------------------------------------------------------------------------------------

ASKS = st.lists(st.floats(0, 40, allow_nan=False), max_size=60)


@given(ASKS, st.integers(1, 7), st.sampled_from((1.0, 10.0, 60.0)))
def test_no_window_holds_more_than_its_limit(steps: list[float], limit: int, period: float) -> None:
    now, taken = 1_000.0, list[float]()
    for step in steps:
        now += step
        at = slot(taken, now, Window(limit, period))
        assert at >= now
        taken.append(at)
    for end in taken:
        assert sum(end - period + 1e-6 < at <= end for at in taken) <= limit


@given(ASKS, st.integers(1, 7))
def test_nobody_waits_while_there_is_room(steps: list[float], limit: int) -> None:
    now, taken = 1_000.0, list[float]()
    for step in steps:
        now += step
        at = slot(taken, now, Window(limit, 60.0))
        if sum(each > now - 60.0 for each in taken) < limit:
            assert at == now
        else:
            assert at <= max(taken) + 60.0
        taken.append(at)


def test_moments_of_another_clock_hold_nobody() -> None:
    assert slot([1e9, 1e9 + 1], 1_000.0, Window(2, 60.0)) == 1_000.0
    assert slot([1_000.0, 1_000.0], 1_000.0, Window(2, 60.0)) == 1_060.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_at(tmp_path / "deck.db")
    yield store
    await store.close()


async def test_moments_outlive_the_process_and_keep_their_order(store: Store, tmp_path: Path) -> None:
    window = Window(2, 60.0)

    async def take(store: Store, name: str, now: float) -> float:
        return await store.write(lambda tx: Windows().take(tx, Start("agent", name, f"run-{name}"), window, now))

    first = [await take(store, name, 100.0) for name in "abcde"]
    assert first == [100.0, 100.0, 160.0, 160.0, 220.0]
    await store.close()
    again = await open_at(tmp_path / "deck.db")
    assert [await take(again, name, 130.0) for name in "fc"] == [220.0, 160.0]
    await again.write(lambda tx: Windows().drop(tx, "run-e", 130.0))
    assert [await take(again, name, 130.0) for name in "gf"] == [220.0, 220.0]
    await again.close()


async def test_a_turn_that_came_is_not_lost_by_waiting_for_something_else(store: Store) -> None:
    window = Window(1, 3600.0)

    async def take(name: str, now: float) -> float:
        return await store.write(lambda tx: Windows().take(tx, Start("run", name, name, "ada"), window, now))

    assert [await take(name, 0.0) for name in "abc"] == [0.0, 3600.0, 7200.0]
    assert await take("c", 10_000.0) == 7200.0
    assert await take("d", 80_000.0) == 80_000.0
    assert await take("b", 80_000.0) == 3600.0


# --- what is held -----------------------------------------------------------------------------------------


async def test_the_first_start_waits_for_its_turn_among_the_persons_runs(store: Store) -> None:
    async def asked(run: str, user: str, now: float) -> Permitted:
        found = RunState()
        apply(found, CREATED.model_copy(update={"run": run, "user": user}))
        decision = Decision((e.NodeStarted(node=Node.PLAN, attempt=f"{run}._plan.1"),))
        return await store.write(lambda tx: permit(tx, Windows(), found, decision, limits(runs_per_hour=2), now))

    assert [(await asked(f"r{n}", "ada", 0.0)).held is None for n in range(3)] == [True, True, False]
    assert (await asked("other", "eve", 0.0)).held is None
    held = (await asked("r3", "ada", 0.0)).held
    assert held is not None
    assert held.limit == "runs_per_hour"
    assert held.until == HOUR
    assert "2 runs of ada in an hour" in held.reason
    assert (await asked("r2", "ada", HOUR)).held is None


async def test_what_exceeds_the_pace_waits_and_the_rest_goes(store: Store) -> None:
    async def asked(decision: Decision, now: float, found: RunState, **values: int) -> Permitted:
        return await store.write(lambda tx: permit(tx, Windows(), found, decision, limits(**values), now))

    merged = e.TaskMerged(task="z", attempt="r.z.1", commit="c")
    decision = dispatch("a", "b", "c")
    decision = Decision((merged, *decision.events), decision.jobs)
    found = await asked(decision, 0.0, state(), spawn_per_minute=2)
    assert starts_of(found.decision, DEFAULT) == ("r.a.1", "r.b.1")
    assert merged in found.decision.events
    assert [job.payload["attempt"] for job in found.decision.jobs] == ["r.a.1", "r.b.1"]
    assert found.held is not None
    assert (found.held.limit, found.held.until, found.held.starts) == ("spawn_per_minute", MINUTE, ("r.c.1",))
    again = await asked(dispatch("c"), MINUTE, state(), spawn_per_minute=2)
    assert again.held is None
    assert starts_of(again.decision, DEFAULT) == ("r.c.1",)


async def test_a_place_is_needed_to_begin_and_not_to_go_on(store: Store) -> None:
    found = state(
        e.RunPlanned(plan_blob="p", tasks=2),
        e.TaskDispatched(task="a", attempt="r.a.1", number=1, agent="x"),
        e.NodeFinished(node=Node.IMPLEMENT, outcome=e.Outcome.FAILED, task="a", attempt="r.a.1"),
    )

    class Full(Windows):
        def at_work(self, tx: object, *, agent: str = "", repository: str = "") -> int:
            return 1

    again = Decision((e.TaskDispatched(task="a", attempt="r.a.2", number=2, agent="x"), *dispatch("b").events))
    permitted = await store.write(lambda tx: permit(tx, Full(), found, again, limits(agents_at_once=1), 0.0))
    assert starts_of(permitted.decision, DEFAULT) == ("r.a.2",)
    assert permitted.held is not None
    assert (permitted.held.limit, permitted.held.starts) == ("agents_at_once", ("r.b.1",))


@pytest.mark.parametrize("limit", ["one_agent_at_once", "repository_at_once"])
async def test_places_are_counted_for_each_agent_and_repository(store: Store, limit: str) -> None:
    class Busy(Windows):
        def at_work(self, tx: object, *, agent: str = "", repository: str = "") -> int:
            return 1 if agent == "x" or repository == "/r" else 0

    async def asked(most: int) -> Permitted:
        config = limits(**{limit: most})
        return await store.write(lambda tx: permit(tx, Busy(), state(), dispatch("a", "b", "c"), config, 0.0))

    found = await asked(3)
    assert starts_of(found.decision, DEFAULT) == ("r.a.1", "r.b.1")
    assert found.held is not None
    assert (found.held.limit, found.held.starts) == (limit, ("r.c.1",))
    assert (await asked(4)).held is None


def test_a_held_review_takes_its_job_along_and_a_revert_starts_no_agent() -> None:
    review = Decision(
        (e.NodeStarted(node=Node.REVIEW, task="a", attempt="r.a.1"),), (jobs.work("r", Node.REVIEW, "r.a.1"),)
    )
    assert starts_of(review, DEFAULT) == ("r.a.1.review",)
    assert without(review, frozenset({"r.a.1.review"}), DEFAULT) == Decision()
    assert without(review, frozenset({"r.a.1"}), DEFAULT) == review
    assert starts_of(dispatch("a"), REVERT) == ()


def test_being_held_is_recorded_once() -> None:
    held = e.WorkHeld(limit="spawn_per_minute", reason="x", until=1.0)
    later = held.model_copy(update={"until": 2.0})
    other = held.model_copy(update={"limit": "agents_at_once"})
    assert news_of(None, held) == (held,)
    assert news_of(held, later) == ()
    assert news_of(held, other) == (other,)
    assert news_of(held, None) == (e.WorkReleased(),)
    assert news_of(None, None) == ()
