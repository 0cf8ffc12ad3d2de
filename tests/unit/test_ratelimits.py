"""What rate limit headers say, and how the limiter takes it: holds, outages, and who shares one."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.config import ModelSection
from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models.factory import make_factory
from quarterdeck.models.limiter import FIRST_GAP, LONGEST_PROBE, OUTAGE, Flow, Limiters
from quarterdeck.models.ratelimits import hold, span, until

NOW = 1_000_000_000.0
"""2001-09-09T01:46:40Z"""


def anthropic(kind: str, remaining: str, reset: str) -> dict[str, str]:
    return {f"anthropic-ratelimit-{kind}-remaining": remaining, f"anthropic-ratelimit-{kind}-reset": reset}


def openai(kind: str, remaining: str, reset: str) -> dict[str, str]:
    return {f"x-ratelimit-remaining-{kind}": remaining, f"x-ratelimit-reset-{kind}": reset}


SOON = "2001-09-09T01:47:00Z"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (anthropic("requests", "0", SOON), 20.0),
        (anthropic("input-tokens", "0", "2001-09-09T03:47:00+02:00"), 20.0),
        (anthropic("requests", "1", SOON), 0.0),
        (anthropic("requests", "0", "2001-09-09T01:46:00Z"), 0.0),
        (anthropic("requests", "0", "soon"), 0.0),
        (anthropic("requests", "0", SOON) | anthropic("tokens", "0", "2001-09-09T01:47:40Z"), 60.0),
        (anthropic("requests", "0", SOON) | {"date": "Sun, 09 Sep 2001 01:46:55 GMT"}, 5.0),
        (anthropic("requests", "0", SOON) | {"date": "now"}, 20.0),
        (anthropic("requests", "0", SOON) | {"retry-after": "3"}, 0.0),
        ({"anthropic-ratelimit-requests-remaining": "0"}, 0.0),
        (openai("requests", "0", "12ms"), 0.012),
        (openai("tokens", "0", "6m0s"), 360.0),
        (openai("tokens", "0", "1h2m3.5s"), 3723.5),
        (openai("tokens", "-3", "30"), 30.0),
        (openai("tokens", "100", "6m0s"), 0.0),
        (openai("tokens", "0", ""), 0.0),
        ({}, 0.0),
    ],
)
def test_a_limit_of_which_nothing_is_left_is_waited_for(headers: dict[str, str], seconds: float) -> None:
    assert hold(headers, NOW) == pytest.approx(seconds)


SPANS = st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))


@given(SPANS)
def test_a_duration_is_the_sum_of_its_parts(parts: tuple[int, int, int]) -> None:
    hours, minutes, seconds = parts
    assert span(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds
    assert span(f"{minutes}m{seconds}s") == minutes * 60 + seconds


@given(st.integers(-(10**8), 10**9), st.integers(-14 * 60, 14 * 60))
def test_a_moment_is_as_far_away_as_it_is(distance: int, minutes: int) -> None:
    moment = datetime.fromtimestamp(NOW + distance, timezone(timedelta(minutes=minutes)))
    assert until(moment.isoformat(), NOW) == max(0, distance)


TEXT = st.text(alphabet="0123456789.hmsdnuµTZ:-+ ٣", max_size=30) | st.text(max_size=30)


@given(st.dictionaries(st.sampled_from([*anthropic("tokens", "", ""), *openai("tokens", "", ""), "date"]), TEXT))
def test_whatever_a_header_says_it_is_a_time_or_nothing(headers: dict[str, str]) -> None:
    assert 0.0 <= hold(headers, NOW) < float("inf")


# --- outages ------------------------------------------------------------------------------------------------


def test_an_outage_is_several_failures_in_a_row_and_ends_with_an_answer() -> None:
    flow = Flow()
    for number in range(1, OUTAGE):
        flow = flow.broke(0.0)
        assert (flow.gap, flow.out) == (0.0, False), number
    assert flow.answered() == Flow(), "one answer, and none of it counts"
    flow = flow.broke(0.0)
    assert (flow.gap, flow.out) == (FIRST_GAP, True)
    assert flow.broke(FIRST_GAP / 2) == flow, "those that left together are one failure"
    later = flow.broke(FIRST_GAP)
    assert later.gap == 2 * FIRST_GAP
    back = later.answered()
    assert (back.gap, back.out) == (FIRST_GAP, False)


@given(st.lists(st.tuples(st.sampled_from(["answer", "failure", "complaint"]), st.floats(0, 10)), max_size=80))
def test_the_gap_is_bounded_and_answers_close_it(heard: list[tuple[str, float]]) -> None:
    flow, now = Flow(), 0.0
    for what, seconds in heard:
        now += seconds
        before = flow
        flow = flow.answered() if what == "answer" else flow.broke(now) if what == "failure" else flow.complained()
        if what == "answer":
            assert flow.gap <= max(before.gap, FIRST_GAP)
        else:
            assert flow.gap >= before.gap
        assert flow.gap <= max(LONGEST_PROBE, 30.0)
    for _ in range(30):
        flow = flow.answered()
    assert flow == Flow()


class Frozen:
    def wall(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0


async def test_only_failures_without_a_reason_of_their_own_are_an_outage() -> None:
    limiter = Limiters(Frozen()).of("anthropic:a")
    for kind in (FailureClass.AUTH, FailureClass.CONTEXT, FailureClass.REFUSED, FailureClass.INFRASTRUCTURE):
        for _ in range(OUTAGE):
            limiter.failed(ModelFailed("m", kind))
    assert limiter.flow == Flow()
    for _ in range(OUTAGE):
        limiter.failed(ModelFailed("m", FailureClass.TRANSIENT))
    assert limiter.flow.out
    limiter.failed(ModelFailed("m", FailureClass.TRANSIENT, retry_after=9.0))
    assert limiter.wait() == 9.0


# --- who shares one -----------------------------------------------------------------------------------------


def test_a_limiter_is_shared_by_who_shares_a_server_and_a_key() -> None:
    shared = Limiters(Frozen())
    sections = {
        "openai:elsewhere": ModelSection(base_url="http://127.0.0.1:1/v1"),
        "openai:own": ModelSection(api_key_env="OWN"),
    }
    first, second = (
        make_factory(keys={"openai": "k", "anthropic": "k", "OWN": "o"}, models=models, limiters=shared)
        for models in ({}, sections)
    )
    assert first.limiter("openai:a") is first.limiter("openai:b") is second.limiter("openai:a")
    others = [first.limiter("openai:a"), second.limiter("openai:elsewhere"), second.limiter("openai:own")]
    assert len({id(limiter) for limiter in [*others, first.limiter("anthropic:a")]}) == 4
