"""Who counts as dead among workers, whatever the database's clock does, and what a worker makes of its own signs of
life."""

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.engine.seats import A_CORE, Pace, fair
from quarterdeck.engine.silence import (
    Heard,
    Listened,
    Verdict,
    answered,
    forgiven,
    listened,
    silent,
    too_late,
    unanswered,
)

PACES = st.floats(3.0, 600.0).map(Pace)
AGES = st.floats(-7200.0, 7200.0)
"""What the database's clock says of a sign of life: it may have been set by hours."""


def dead_after(mine: Pace, theirs: Pace, beats: list[int], ages: list[float]) -> int | None:
    """The look, from 0, at which the listener finds the other one dead; None = it does not."""
    marks: Listened = {}
    for look, (beat, age) in enumerate(zip(beats, ages, strict=True)):
        now = look * mine.heartbeat
        heard = [Heard(7, beat, age, theirs)]
        marks = listened(marks, heard, now)
        if silent(marks, heard, now):
            return look
    return None


@given(PACES, st.lists(AGES, min_size=1, max_size=40))
def test_nobody_who_gives_signs_of_life_is_struck_off(pace: Pace, ages: list[float]) -> None:
    assert dead_after(pace, pace, list(range(len(ages))), ages) is None
    twice = [look // 2 for look in range(len(ages))]
    assert dead_after(pace, pace, twice, ages) is None, "one of its signs of life came a heartbeat late"


@given(PACES, st.lists(AGES, min_size=8, max_size=8))
def test_the_dead_are_found_within_the_takeover(pace: Pace, ages: list[float]) -> None:
    found = dead_after(pace, pace, [1] * 8, ages)
    assert found is not None
    assert found * pace.heartbeat <= pace.takeover


def test_who_has_just_come_waits_two_heartbeats_for_one_that_died_long_ago() -> None:
    assert dead_after(Pace(30.0), Pace(30.0), [1] * 8, [3600.0] * 8) == 2
    assert dead_after(Pace(30.0), Pace(30.0), [1] * 8, [0.0] * 8) == 4


def test_a_listener_that_was_silent_holds_that_against_nobody_and_forgets_nothing() -> None:
    heard = [Heard(7, 1, 0.0, Pace(30.0))]
    marks = listened({}, heard, 0.0)
    marks = forgiven(listened(marks, heard, 10.0), 100.0)
    assert silent(marks, heard, 115.0) == (), "it was listened to for fifteen seconds"
    assert silent(marks, heard, 120.0) == tuple(heard)


def test_each_is_judged_by_its_own_pace() -> None:
    slow = [look // 20 for look in range(60)]  # every ten seconds, for one that listens every half second
    assert dead_after(Pace(3.0), Pace(60.0), slow, [5.0] * 60) is None


@given(PACES, st.floats(0.0, 100.0))
def test_what_a_worker_makes_of_its_own_signs_of_life(pace: Pace, silent_for: float) -> None:
    assert answered(pace, silent_for, on_record=False) is Verdict.FENCED
    judges = answered(pace, silent_for, on_record=True) is Verdict.LISTENS
    assert judges == (silent_for < 2 * pace.heartbeat)
    cut_off = unanswered(pace, silent_for) is Verdict.CUT_OFF
    assert cut_off == (silent_for >= pace.silence)
    assert cut_off or not too_late(pace, silent_for)


def test_a_worker_takes_what_its_machine_is_good_for() -> None:
    assert fair(4, 64 << 30) == 4 * A_CORE
    assert fair(64, 1 << 30) == 16, "so much memory is for so many"
    assert fair(0, 0) == 1
