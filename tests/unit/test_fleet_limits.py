"""What many workers may do together: labels and queues, places, and the rate of calls to a provider."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from store_kit import open_at

from quarterdeck.assembly.agreed import Agreed
from quarterdeck.assembly.colleagues import lacking, remedy, working
from quarterdeck.assembly.doctor import readable
from quarterdeck.assembly.pacing import Hand, Pacing, SharedPace, grant
from quarterdeck.assembly.places import Places
from quarterdeck.assembly.timing import set_by
from quarterdeck.delivery import jobs
from quarterdeck.delivery.routing import checked_on, routed
from quarterdeck.engine.port import URGENT, Job, Untaken, Worker
from quarterdeck.engine.queues import (
    BACKGROUND,
    CONTROL,
    QUEUES,
    WORK,
    Waiting,
    needs_of,
    queue_of,
    served,
    untaken,
    urgent,
)
from quarterdeck.govern.agreeing import Kind
from quarterdeck.kernel.clock import CopiedClock, SystemClock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Plan, Task
from quarterdeck.kernel.events import Node
from quarterdeck.kernel.failures import BadInput, StoreUnavailable
from quarterdeck.kernel.labels import MOST, labels
from quarterdeck.kernel.states import RunState
from quarterdeck.models.limiter import Leave, Limiter
from quarterdeck.store.port import Store, Tx
from quarterdeck.testing.chaos.caps import most_within

JOB = Job("work", "k", "k", "r")
LABELS = st.lists(st.sampled_from(("gpu", "arch=arm64", "big", "eu", "fast", "ssd")), max_size=MOST)


# --- labels and queues ------------------------------------------------------------------------------------


@given(LABELS, LABELS)
def test_a_worker_takes_work_exactly_where_it_has_every_label(has: list[str], needs: list[str]) -> None:
    job = replace(JOB, runs_on=tuple(needs))
    assert (queue_of(job) in served((WORK,), has)) == (set(needs) <= set(has))
    assert set(filter(None, needs_of(job).split("+"))) == set(needs)
    pressing, aside = replace(job, priority=URGENT), replace(job, priority=-1)
    assert (queue_of(pressing) in urgent(QUEUES, has)) == (set(needs) <= set(has))
    assert (queue_of(aside) in served((BACKGROUND,), has)) == (set(needs) <= set(has))


def test_a_queue_has_a_name_that_the_server_can_tell_of() -> None:
    long = tuple(f"label{n}={'x' * 50}" for n in range(MOST))
    assert len({queue_of(replace(JOB, runs_on=long[:n])) for n in range(MOST + 1)}) == MOST + 1
    assert all(len(name) <= 40 for name in served(QUEUES, long))


def test_urgent_jobs_and_those_in_the_background_have_queues_of_their_own() -> None:
    assert queue_of(replace(JOB, priority=URGENT)) == CONTROL
    assert queue_of(replace(JOB, priority=-1)) == BACKGROUND
    assert served(QUEUES, ()) == (WORK, BACKGROUND)
    assert served((CONTROL,), ("gpu",)) == ()
    assert urgent((WORK,), ()) == ()
    with pytest.raises(BadInput):
        served(("wrok",), ())


@pytest.mark.parametrize("wrong", [["a b"], [""], ["=x"], ["a=b=c"], ["x" * 64], [f"l{n}" for n in range(MOST + 1)]])
def test_what_is_no_label_is_refused(wrong: list[str]) -> None:
    with pytest.raises(ValueError, match="label"):
        labels(wrong)


def test_what_nobody_takes_is_said_once_it_waits_too_long() -> None:
    waiting = [
        Waiting("work/gpu", "gpu", 3, 40.0),
        Waiting("work", "", 9, 90.0),
        Waiting("work/big", "big", 1, 5.0),
        Waiting("control", "", 1, 99.0),
    ]
    assert tuple(map(lacking, untaken(waiting, {"work"}, 30.0))) == (
        "3 jobs wait for a worker with gpu, and none is alive",
        "1 jobs wait for a worker that takes the queue control, and none is alive",
    )


def test_a_worker_is_told_of_with_the_labels_that_it_was_given() -> None:
    worker = Worker("big", 7, ("gpu", "host=big"), 3, 16, ends=True)
    assert working(worker) == "big 7 (gpu): 3 of 16, ends"


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


def test_a_check_is_run_where_its_repository_says_and_all_of_a_path_on_its_machine() -> None:
    task = Task(id="a", title="t", paths=("x",), runs_on=("gpu",))
    config = RunConfig(deck={"checks": {"runs_on": ["arch=arm64"]}}, runs_on=("host=here",))
    found = routed(
        (
            jobs.work("r", Node.IMPLEMENT, "r.a.1"),
            jobs.work("r", Node.CHECK, "r.a.1"),
            jobs.work("r", Node.REPORT, "r._end.1"),
            jobs.advance("r"),
        ),
        RunState(),
        Plan(goal="g", tasks=(task,)),
        config,
    )
    assert [job.runs_on for job in found] == [
        ("gpu", "host=here"),
        ("arch=arm64", "gpu", "host=here"),
        ("host=here",),
        (),
    ]
    assert checked_on(config, ()) == ("arch=arm64", "host=here")
    assert checked_on(config, [("gpu",), ("big",)]) == ("arch=arm64", "big", "gpu", "host=here")
    assert queue_of(jobs.gate_advance("t", runs_on=("host=here",))) == "control/host=here"


def test_what_has_no_sandbox_is_performed_where_a_machine_says_that_it_does() -> None:
    config = RunConfig(deck={"sandbox": {"backend": "none"}}, runs_on=("host=here",))
    work = (jobs.work("r", Node.IMPLEMENT, "r.a.1"), jobs.work("r", Node.REPORT, "r._end.1"), jobs.advance("r"))
    assert [job.runs_on for job in routed(work, RunState(), None, config)] == [
        ("host=here", "sandbox=none"),
        ("host=here",),
        (),
    ]
    assert checked_on(config, [("gpu",)]) == ("gpu", "host=here", "sandbox=none")
    assert "without_sandbox = true" in remedy(Untaken(1, "work", ("host=here", "sandbox=none")))
    assert "--labels" in remedy(Untaken(1, "work", ("gpu",)))


@pytest.mark.parametrize(("encrypted", "here", "ok"), [(True, False, True), (False, True, True), (False, False, False)])
def test_a_database_on_another_machine_is_reached_encrypted(encrypted: bool, here: bool, ok: bool) -> None:
    found = readable(encrypted, here)
    assert (found.ok, "sslmode=verify-full" in found.fix) == (ok, not ok)


# --- rates ------------------------------------------------------------------------------------------------


@dataclass
class _Fleet:
    """Processes that share a rate by a ledger, as `SharedPace` does it, and a clock."""

    hands: list[Hand]
    now: float = 1_000_000.5
    taken: dict[int, int] = field(default_factory=dict)
    left: list[float] = field(default_factory=list)
    """When calls left."""

    def asked(self, number: int, per_minute: int, latency: float) -> float:
        """One process wants a call to leave; the answer of the database takes `latency`, half of it each way. In how
        many seconds it may be asked again, 0 = the call left."""
        hand = self.hands[number].used(self.now)
        if hand is None:
            began, self.now = self.now, self.now + latency / 2
            granted = grant(self.now, per_minute, self.taken)
            self.taken[granted.number] = self.taken.get(granted.number, 0) + granted.calls
            self.now += latency / 2
            self.hands[number] = Hand.of(granted, began)
            if (hand := self.hands[number].used(self.now)) is None:
                return max(granted.rest - latency, 0.01)
        self.hands[number] = hand
        self.left.append(self.now)
        return 0.0

    @property
    def most(self) -> int:
        """Calls that left within any minute."""
        return most_within(self.left, 60.0)


_PAUSES = st.sampled_from((0.0, 0.01, 0.3, 3.9, 4.0, 11.0, 59.9))
_ASKS = st.lists(st.tuples(st.integers(0, 3), _PAUSES, st.sampled_from((0.0, 0.2, 5.0))), min_size=1, max_size=120)


@given(st.integers(1, 60), _ASKS)
@example(per_minute=16, asks=[(n % 4, 4.0 if n % 5 == 4 else 0.0, 0.0) for n in range(120)])
def test_no_minute_has_more_calls_than_the_rate_says(per_minute: int, asks: list[tuple[int, float, float]]) -> None:
    """Over all processes, whenever they ask, however long the answers take, and where part of it is left for later."""
    fleet = _Fleet([Hand()] * 4)
    for number, pause, latency in asks:
        fleet.now += pause
        for _ in range(3):
            fleet.asked(number, per_minute, latency)
    assert fleet.most <= per_minute


@pytest.mark.parametrize("per_minute", [1, 6, 17, 60, 480, 5000])
def test_who_always_has_calls_gets_nearly_the_whole_rate(per_minute: int) -> None:
    fleet, minutes = _Fleet([Hand()] * 3), 12
    end, turn = fleet.now + 60.0 * minutes, 0
    while fleet.now < end:
        waits = [fleet.asked(number, per_minute, 0.002) for number in range(3)]
        fleet.now += min(waits)
        turn += 1
        assert turn < 100_000
    assert fleet.most <= per_minute
    assert len(fleet.left) >= 15 / 16 * per_minute * (minutes - 1.1)


def test_what_a_clock_gave_out_that_was_ahead_holds_nobody() -> None:
    now = 4_000.0
    assert grant(now, 60, {2_000: 60, 1_999: 60}).calls == 1
    assert grant(now, 60, {1_000: 4}).rest == 4.0
    full = grant(now, 6, dict.fromkeys(range(990, 996), 1))
    assert (full.calls, full.rest) == (0, (990 + 16) * 4 - now)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_at(tmp_path / "deck.db")
    yield store
    await store.close()


class _Clock(SystemClock):
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_processes_share_a_rate_and_most_calls_cost_no_transaction(store: Store) -> None:
    rate = _says(store, "calls_per_minute", {"anthropic": 480})
    paces = [Pacing(store, SystemClock(), rate)("anthropic", "a key") for _ in range(4)]
    assert await rate("anthropic") == 480
    left, writes = 0, _writes(store)
    for _ in range(30):  # a slice has 30 calls, in parts of 7; the slice may change once meanwhile
        for pace in paces:
            left += await pace.leave() == 0.0
    assert 30 <= left <= 60
    assert len(writes) <= 2 * 5 + 2 * 4
    assert await Pacing(store, SystemClock(), rate)("openai", "a key").leave() == 0.0, "no rate was set"


def _says(store: Store, kind: Kind, most: dict[str, int]) -> Callable[[str], Awaitable[int | None]]:
    """What a machine's file says about providers, for the processes there."""
    return Agreed(store, lambda: "m", SystemClock(), lambda: {(kind, name): n for name, n in most.items()}).of(kind)


def _writes(store: Store) -> list[int]:
    """Counts the writes from now on."""
    found: list[int] = []
    write = store.write

    async def counted(work):  # type: ignore[no-untyped-def]  # as the store's own
        found.append(1)
        return await write(work)

    store.write = counted  # type: ignore[method-assign]  # only counted
    return found


async def test_what_one_process_was_told_holds_for_all(store: Store) -> None:
    clock = _Clock()
    told, other = (Limiter(clock, shared=SharedPace(store, "p", clock, _nothing)) for _ in range(2))
    assert await other.enter(0.0) == 0.0
    told.heard(100.0)
    async with asyncio.timeout(10):
        while not await store.read("rate_hold", name="p"):
            await store.changed(0, 1.0)
    clock.now = 6.0  # it looks every few seconds
    assert await other.enter(0.0) == 0.0
    assert 80.0 < other.wait() <= 100.0


async def test_what_was_heard_by_a_clock_that_was_ahead_holds_nobody(store: Store) -> None:
    """The machine of the database began with a clock years ahead, which was set right since."""
    year = 365 * 86_400.0

    def ahead(tx: Tx) -> None:
        now = float(tx.run("deck_now")[0]["now"])
        tx.run("rate_heard", name="p", until=now + year, latest=now + 2 * year)

    await store.write(ahead)
    clock = _Clock()
    told, other = (Limiter(clock, shared=SharedPace(store, "p", clock, _nothing)) for _ in range(2))
    assert await told.enter(0.0) == 0.0
    assert told.wait() == 0.0, "not for a year"
    told.heard(100.0)
    async with asyncio.timeout(10):
        while (await store.read("rate_hold", name="p"))[0]["seconds"] > 100.0:
            await store.changed(0, 1.0)
    assert await other.enter(0.0) == 0.0
    assert 80.0 < other.wait() <= 100.0, "what is said now is heard all the same"


async def _nothing() -> int | None:
    return None


async def _sixty() -> int | None:
    return 60


async def test_a_rate_holds_back_while_the_database_is_away(store: Store) -> None:
    pace = SharedPace(store, "p", SystemClock(), _sixty)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.read("deck_now")
    assert await pace.wait() == 0.0
    assert await pace.leave() > 0.0


# --- places -----------------------------------------------------------------------------------------------


async def test_no_more_calls_are_under_way_than_there_are_places(store: Store) -> None:
    most = _says(store, "calls_at_once", {"anthropic": 3})
    homes = [Places(store, f"o-{n}", SystemClock(), most) for n in range(2)]
    inside, highest, done, together = 0, 0, 0, asyncio.Barrier(3)

    async def call(places: Places) -> None:
        nonlocal inside, highest, done
        async with places.place("anthropic") as there:
            assert there
            inside += 1
            highest = max(highest, inside)
            await together.wait()
            inside -= 1
            done += 1

    async with asyncio.timeout(60):
        await asyncio.gather(*(call(homes[n % 2]) for n in range(12)))
    assert (highest, done) == (3, 12)
    async with homes[0].place("openai", 0.0) as there:
        assert there, "nothing is said about it"
    for places in homes:
        await places.close()
    assert (await store.read("places_taken", name="anthropic", now=0.0))[0]["n"] == 0


async def test_who_finds_no_place_in_time_is_told_and_one_that_is_cancelled_keeps_none(store: Store) -> None:
    places = Places(store, "o", SystemClock(), _says(store, "calls_at_once", {"p": 1}))
    async with places.place("p"), places.place("p", 0.0) as second:
        assert not second
        waiting = asyncio.create_task(_enter(places))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await places.close()
    async with places.place("p", 0.0) as again:
        assert again
    await places.close()


async def _enter(places: Places) -> None:
    async with places.place("p"):
        await asyncio.Event().wait()


async def test_the_places_of_a_process_that_died_are_free_once_their_time_is_over(store: Store) -> None:
    now = (await store.read("deck_now"))[0]["now"]

    def taken(tx: Tx) -> None:
        for until in (now - 1.0, now + 1000.0):
            tx.run("place_take", place=str(until), name="p", holder="d", until=until)

    await store.write(taken)
    places = Places(store, "o", SystemClock(), _says(store, "calls_at_once", {"p": 2}))
    async with places.place("p", 0.0) as mine, places.place("p", 0.0) as too_many:
        assert (mine, too_many) == (True, False)
    await places.close()


class _Counting:
    """What a provider's processes agree on, with calls to give for ever."""

    def __init__(self) -> None:
        self.taken = 0

    async def wait(self) -> float:
        return 0.0

    async def leave(self) -> float:
        self.taken += 1
        return 0.0

    def heard(self, seconds: float) -> None: ...

    @asynccontextmanager
    async def place(self, at_most: float = 0.0) -> AsyncIterator[bool]:
        yield True


class _Going(SystemClock):
    """Time goes on whenever somebody looks at it, as it does on a busy machine."""

    def __init__(self) -> None:
        self._now = 0.0

    def monotonic(self) -> float:
        self._now += 0.01
        return self._now


async def test_each_call_takes_one_call_of_what_may_leave() -> None:
    counting = _Counting()
    limiter = Limiter(_Going(), shared=counting)
    for number in range(1, 6):
        await limiter.enter()
        assert counting.taken == number
    await asyncio.gather(*(limiter.enter() for _ in range(5)))
    assert counting.taken == 10


async def test_a_call_that_comes_back_for_its_money_takes_one_call_of_what_may_leave() -> None:
    """It counts once however often it comes, stands in no line again, and still heeds what the provider asks."""
    counting, clock = _Counting(), _Sleeping()
    limiter = Limiter(clock, clock.sleep, counting)
    limiter.too_fast()
    calls = [Leave() for _ in range(10)]
    for call in calls:
        await limiter.enter(leave=call)
    assert (counting.taken, round(clock.now)) == (10, 9), "a second apart"
    for call in calls * 5:
        assert await limiter.enter(leave=call) == 0.0
    assert (counting.taken, round(clock.now)) == (10, 9)
    limiter.heard(20.0)
    assert await limiter.enter(leave=calls[0]) == pytest.approx(20.0)
    assert await limiter.enter(leave=calls[0]) == 0.0
    assert counting.taken == 10
    assert await limiter.enter() == pytest.approx(1.0), "who comes for the first time stands in line"


async def test_a_clock_that_is_copied_goes_on_by_itself_and_steps_with_nobody(store: Store) -> None:
    machine = _Stepping()
    copied = CopiedClock(machine)
    assert abs(copied.ahead) < 60.0
    await set_by(store, copied)
    right = copied.wall()
    machine.step = 3600.0
    assert 3500.0 < copied.ahead < 3700.0
    assert right <= copied.wall() < right + 60.0


async def test_a_slow_answer_does_not_make_a_copied_clock_worse(store: Store) -> None:
    """An answer that took six seconds tells the time of any moment in them, so a start could come before its turn."""
    copied = CopiedClock(SystemClock())
    at = copied.monotonic()
    copied.set(1000.0 + at, at, 0.01)
    copied.set(1002.5 + at, at, 3.0)
    assert copied.wall() - copied.monotonic() == pytest.approx(1000.0)
    copied.set(2000.0 + at, at, 3.0)  # somebody set the server's clock
    assert copied.wall() - copied.monotonic() == pytest.approx(2000.0)
    copied.set(2000.5 + at, at, 0.01)
    assert copied.wall() - copied.monotonic() == pytest.approx(2000.5)

    slow = _Slow()
    patient = CopiedClock(slow)
    await set_by(store, patient)
    assert abs(patient.wall() - SystemClock().wall()) < 1.0


class _Slow(SystemClock):
    """The first question that is asked by it seems to take a minute."""

    def __init__(self) -> None:
        self._asked = 0

    def monotonic(self) -> float:
        self._asked += 1
        return super().monotonic() + (0.0 if self._asked == 1 else 60.0)


class _Sleeping(SystemClock):
    """Time goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class _Stepping(SystemClock):
    step = 0.0

    def wall(self) -> float:
        return super().wall() + self.step
