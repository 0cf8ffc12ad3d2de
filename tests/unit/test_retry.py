"""When a call is made again, and how a provider's wish holds the whole fleet."""

import asyncio
import itertools
from contextlib import AbstractAsyncContextManager, nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.failures import RECOVERY, FailureClass
from quarterdeck.models.limiter import LARGEST_GAP, LONGEST_HOLD, SPACING, Limiter, Limiters, closer, spread, wider
from quarterdeck.models.retry import LONGEST, PATIENCE, next_try

CLASSES = st.sampled_from(list(FailureClass))
JITTER = st.floats(0, 1, exclude_max=True)


@given(CLASSES, st.integers(1, 50), st.none() | st.floats(0, 2000), JITTER)
def test_tries_are_bounded_and_wishes_are_honoured(
    failure: FailureClass, tried: int, wish: float | None, jitter: float
) -> None:
    wait = next_try(failure, tried, wish, jitter)
    if tried > RECOVERY[failure].retries or (wish is not None and wish > PATIENCE):
        assert wait is None
    else:
        assert wait is not None
        assert wait >= (wish or 0.0)
        assert wait <= (wish or 0.0) + LONGEST


@given(JITTER)
def test_the_wait_grows_and_is_never_nothing(jitter: float) -> None:
    waits = [next_try(FailureClass.TRANSIENT, tried, None, jitter) or 0.0 for tried in range(1, 5)]
    assert waits == sorted(waits)
    assert waits[0] >= 0.5


@pytest.mark.parametrize(
    "failure", [FailureClass.QUOTA, FailureClass.CONFIGURATION, FailureClass.REFUSED, FailureClass.BUDGET]
)
def test_what_does_not_help_is_not_tried(failure: FailureClass) -> None:
    assert next_try(failure, 1, None, 0.5) is None


class FakeTime:
    """A clock whose sleepers wake in the order of their times."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sleepers: list[tuple[float, int, asyncio.Event]] = []

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        event = asyncio.Event()
        self.sleepers.append((self.now + seconds, len(self.sleepers), event))
        await event.wait()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def run(self) -> None:
        await self.settle()
        while self.sleepers:
            self.sleepers.sort(key=lambda sleeper: sleeper[:2])
            self.now, _, event = self.sleepers.pop(0)
            event.set()
            await self.settle()


@given(st.lists(st.sampled_from(["too fast", "answered"]), max_size=40))
def test_calls_are_kept_apart_within_bounds_and_come_together_again(heard: list[str]) -> None:
    gap = 0.0
    for what in heard:
        before, gap = gap, wider(gap) if what == "too fast" else closer(gap)
        assert gap > before or gap in (before, LARGEST_GAP) if what == "too fast" else gap <= before
        assert 0 <= gap <= LARGEST_GAP
    for _ in range(30):
        gap = closer(gap)
    assert gap == 0.0


async def test_a_fleet_that_grew_too_fast_starts_slowly() -> None:
    time = FakeTime()
    limiter = Limiters(time, time.sleep).of("anthropic:a")
    limiter.too_fast()
    left: list[float] = []

    async def agent() -> None:
        await limiter.enter()
        left.append(time.now)
        if len(left) > 2:
            limiter.answered()

    agents = [asyncio.create_task(agent()) for _ in range(5)]
    await time.run()
    await asyncio.gather(*agents)
    gaps = [after - before for before, after in itertools.pairwise(left)]
    assert gaps == pytest.approx([1.0, 1.0, 0.75, 0.75**2]), "those that wait already leave sooner after an answer"


async def test_a_fleet_that_was_held_comes_through_ever_faster_and_is_slowed_down_no_longer() -> None:
    time = FakeTime()
    limiter = Limiters(time, time.sleep).of("anthropic:a")
    limiter.heard(30.0)
    left: list[float] = []

    async def agent() -> None:
        await limiter.enter()
        left.append(time.now)

    agents = [asyncio.create_task(agent()) for _ in range(1000)]
    await time.run()
    await asyncio.gather(*agents)
    assert len({at for at in left if at < 31.0}) == len([at for at in left if at < 31.0]) <= 32, "no burst"
    assert max(left) < 37.0
    time.now = 60.0
    assert [await limiter.enter() for _ in range(100)] == [0.0] * 100, "the hold is forgotten"


class Ticking:
    """A clock that goes on whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        self.now += 0.001
        return self.now


class NobodyHolds:
    """What processes share where nobody was told anything."""

    async def wait(self) -> float:
        await asyncio.sleep(0)
        return 0.0

    async def leave(self) -> float:
        return 0.0

    def place(self, at_most: float) -> AbstractAsyncContextManager[bool]:
        return nullcontext(True)

    def heard(self, seconds: float) -> None:
        raise AssertionError


async def test_who_is_not_held_does_not_wait_however_long_it_takes_to_ask_what_others_heard() -> None:
    async def never(seconds: float) -> None:
        raise AssertionError(f"slept for {seconds} s")

    limiter = Limiter(Ticking(), never, NobodyHolds())
    await asyncio.gather(*(limiter.enter() for _ in range(50)))


@given(st.floats(-10, 100), st.floats(0, 10))
def test_calls_come_ever_closer_after_a_hold(since: float, more: float) -> None:
    assert 0.0 <= spread(since + more) <= spread(since) <= SPACING
    assert spread(8.0) == 0.0


async def test_nobody_is_held_for_more_than_an_hour_or_than_he_can_wait() -> None:
    time = FakeTime()
    limiter = Limiters(time, time.sleep).of("anthropic:a")
    limiter.heard(float("inf"))
    assert limiter.wait() == LONGEST_HOLD
    entering = asyncio.create_task(limiter.enter(at_most=10.0))
    await time.run()
    assert await entering == 10.0
    assert time.now == 10.0


async def test_who_waits_leaves_when_his_time_is_over_or_the_hold_becomes_too_long() -> None:
    time = FakeTime()
    limiter = Limiters(time, time.sleep).of("anthropic:a")
    limiter.heard(20.0)
    first = asyncio.create_task(limiter.enter(longest_hold=600.0))
    second = asyncio.create_task(limiter.enter(longest_hold=600.0))
    await asyncio.sleep(0)
    assert await limiter.enter(at_most=0.0) == 0.0, "those before him take longer than he has"
    limiter.heard(3000.0)
    await time.run()
    assert (await first, await second) == (20.0, 20.0)
    assert limiter.wait() == 2980.0


async def test_a_wish_heard_by_one_agent_holds_all_of_that_provider() -> None:
    time = FakeTime()
    limiters = Limiters(time, time.sleep)
    limiters.of("anthropic:a").heard(30)
    limiters.of("anthropic:b").heard(10)
    left: list[float] = []

    async def agent() -> None:
        await limiters.of("anthropic:b").enter()
        left.append(time.now)

    agents = [asyncio.create_task(agent()) for _ in range(5)]
    assert await limiters.of("openai:c").enter() == 0.0
    await time.run()
    await asyncio.gather(*agents)
    assert len(left) == 5
    assert min(left) == 30
    assert len(set(left)) == 5, "they do not all leave in the same instant"
    assert max(left) < 31
    assert await limiters.of("anthropic:a").enter() == 0.0
