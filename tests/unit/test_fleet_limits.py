"""What many workers may do together: labels and queues, places, and the rate of calls to a provider."""

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.assembly.pacing import Pacing, SharedPace, grant
from quarterdeck.delivery import jobs
from quarterdeck.delivery.routing import routed
from quarterdeck.engine.port import URGENT, Job
from quarterdeck.engine.queues import BACKGROUND, CONTROL, QUEUES, WORK, Waiting, labels_of, queue_of, served, untaken
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Plan, Task
from quarterdeck.kernel.events import Node
from quarterdeck.kernel.failures import BadInput, StoreUnavailable
from quarterdeck.kernel.labels import MOST, labels
from quarterdeck.kernel.states import RunState
from quarterdeck.models.limiter import Limiter
from quarterdeck.store.sqlite import SqliteStore

JOB = Job("work", "k", "k", "r")
LABELS = st.lists(st.sampled_from(("gpu", "arch=arm64", "big", "eu", "fast", "ssd")), max_size=MOST)


# --- labels and queues ------------------------------------------------------------------------------------


@given(LABELS, LABELS)
def test_a_worker_takes_work_exactly_where_it_has_every_label(has: list[str], needs: list[str]) -> None:
    job = replace(JOB, runs_on=tuple(needs))
    assert (queue_of(job) in served((WORK,), has)) == (set(needs) <= set(has))
    assert set(labels_of(queue_of(job))) == set(needs)


def test_urgent_jobs_and_those_in_the_background_have_queues_of_their_own() -> None:
    assert queue_of(replace(JOB, priority=URGENT, runs_on=("gpu",))) == CONTROL
    assert queue_of(replace(JOB, priority=-1)) == BACKGROUND
    assert served(QUEUES, ()) == (WORK, BACKGROUND)
    assert served((CONTROL,), ("gpu",)) == ()
    with pytest.raises(BadInput):
        served(("wrok",), ())


@pytest.mark.parametrize("wrong", [["a b"], [""], ["=x"], ["a=b=c"], ["x" * 64], [f"l{n}" for n in range(MOST + 1)]])
def test_what_is_no_label_is_refused(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match="label"):
        labels(wrong)


def test_what_nobody_takes_is_said_once_it_waits_too_long() -> None:
    waiting = [
        Waiting("work/gpu", 3, 40.0),
        Waiting("work", 9, 90.0),
        Waiting("work/big", 1, 5.0),
        Waiting("control", 1, 99.0),
    ]
    assert untaken(waiting, {"work"}, 30.0) == (
        "3 jobs wait for a worker with gpu, and none is alive",
        "1 jobs wait for a worker that takes the queue control, and none is alive",
    )


def test_an_attempt_is_performed_where_its_task_and_its_agent_can_be() -> None:
    task = Task(id="a", title="t", paths=("x",), runs_on=("gpu",))
    plain = Task(id="b", title="t", paths=("y",))
    config = RunConfig(deck={}, agents={"arm": Agent(name="arm", runs_on=("arch=arm64",))})
    found = routed(
        (
            jobs.work("r", Node.IMPLEMENT, "r.a.1", agent="arm"),
            jobs.work("r", Node.CHECK, "r.b.1"),
            jobs.work("r", Node.REPORT, "r._end.1"),
            jobs.advance("r"),
        ),
        RunState(),
        Plan(goal="g", tasks=(task, plain)),
        config,
    )
    assert [job.runs_on for job in found] == [("arch=arm64", "gpu"), (), (), ()]


# --- rates ------------------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.lists(st.floats(0.0, 30.0), min_size=1, max_size=80))
def test_no_slice_gives_more_than_its_rate(per_minute: int, steps: list[float]) -> None:
    now, number, used = 1_000_000.0, 0, 0
    given: dict[int, int] = {}
    for step in steps:
        now += step
        granted = grant(now, per_minute, number, used)
        number, used = granted.number, granted.used
        given[number] = given.get(number, 0) + granted.calls
        assert 0 < granted.rest <= 60.0
    length = 10.0 if per_minute >= 6 else 60.0
    assert max(given.values()) <= max(1, math.floor(per_minute * length / 60.0))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "deck.db", durability="normal")
    yield store
    await store.close()


class _Clock(SystemClock):
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_processes_share_a_rate_and_most_calls_cost_no_transaction(store: SqliteStore) -> None:
    rates = {"anthropic": 480}
    paces = [Pacing(store, SystemClock(), lambda: rates)("anthropic", "a key") for _ in range(4)]
    left, writes = 0, _writes(store)
    for _ in range(80):  # a slice has 80 calls; the slice may change once meanwhile
        for pace in paces:
            left += await pace.leave() == 0.0
    assert 80 <= left <= 160
    assert len(writes) <= 2 * 8 + 2 * 4
    assert await Pacing(store, SystemClock(), lambda: rates)("openai", "a key").leave() == 0.0, "no rate was set"


def _writes(store: SqliteStore) -> list[int]:
    """Counts the writes from now on."""
    found: list[int] = []
    write = store.write

    async def counted(work):  # type: ignore[no-untyped-def]  # as the store's own
        found.append(1)
        return await write(work)

    store.write = counted  # type: ignore[method-assign]  # only counted
    return found


async def test_what_one_process_was_told_holds_for_all(store: SqliteStore) -> None:
    clock = _Clock()
    told, other = (Limiter(clock, shared=SharedPace(store, "p", clock, lambda: None)) for _ in range(2))
    assert await other.enter(0.0) == 0.0
    told.heard(100.0)
    async with asyncio.timeout(10):
        while not await store.read("rate_hold", name="p"):
            await store.changed(0, 1.0)
    clock.now = 6.0  # it looks every few seconds
    assert await other.enter(0.0) == 0.0
    assert 80.0 < other.wait() <= 100.0


async def test_a_rate_holds_back_while_the_database_is_away(store: SqliteStore) -> None:
    pace = SharedPace(store, "p", SystemClock(), lambda: 60)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.read("deck_now")
    assert await pace.wait() == 0.0
    assert await pace.leave() > 0.0
