"""The merge gate's lanes, groups and stages by example; their promises are in the random walk of `test_queue`."""

from itertools import pairwise

import pytest
from test_queue import Crash, World, world

from quarterdeck.delivery.gate import posting
from quarterdeck.delivery.gate.lanes import failure_rate, survey
from quarterdeck.delivery.gate.ledger import GateState
from quarterdeck.delivery.gate.queue import decide
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import Outcome

MANY = [f"c{number:02}" for number in range(24)]


def stacks(of: World) -> set[tuple[str, ...]]:
    """What is being checked."""
    return {started.stack for started in of.state.running.values()}


def every_check(of: World) -> None:
    """The checks that run end, and what follows is decided."""
    for check in sorted(of.jobs):
        of.finish(check)
    of.advance()


def checked(of: World) -> list[tuple[str, ...]]:
    """All checks that were ever started."""
    return [r.event.stack for r in of.records if isinstance(r.event, e.GateCheckStarted)]


def steps(of: World) -> list[tuple[str, ...]]:
    """What landed together."""
    return [r.event.stack for r in of.records if isinstance(r.event, e.LandingIntended)]


# --- lanes ------------------------------------------------------------------------------------------------


def test_many_changes_that_have_nothing_to_do_with_each_other_are_checked_side_by_side() -> None:
    many = world(*MANY, slots=24)
    many.advance()
    assert stacks(many) == {(name,) for name in MANY}


def test_a_change_is_checked_on_top_of_those_ahead_that_it_may_conflict_with_and_of_no_others() -> None:
    many = world(*MANY, slots=24, graph={frozenset(("c03", "c07")), frozenset(("c07", "c09"))})
    many.advance()
    lanes = {stack for stack in stacks(many) if len(stack) > 1}
    assert lanes == {("c03", "c07"), ("c03", "c07", "c09")}


def test_nobody_is_checked_on_top_of_a_long_lane_that_will_hardly_land() -> None:
    chain = {frozenset(pair) for pair in pairwise(MANY)}
    many = world(*MANY, slots=24, graph=chain)
    many.advance()
    assert 1 < max(map(len, stacks(many))) < 8
    many.settle()
    assert many.landed == MANY


def test_the_checks_behind_a_doubtful_change_are_dropped_and_begun_without_it() -> None:
    many = world(*MANY, slots=26, graph={frozenset(("c03", "c07"))}, bad={"c03"})
    many.advance()
    alone = next(check for check, started in many.state.running.items() if started.stack == ("c03",))
    many.finish(alone)
    many.advance()
    assert ("c03", "c07") not in stacks(many)
    assert {("c03",), ("c07",)} <= stacks(many)
    many.settle()
    assert set(many.returned) == {"c03"}


def test_a_change_that_breaks_with_one_ahead_is_blamed_once_that_has_landed() -> None:
    pair = frozenset(("c03", "c07"))
    many = world(*MANY, slots=24, graph={pair}, clashes={pair})
    many.settle()
    assert set(many.returned) == {"c07"}
    assert many.returned["c07"].outcome is Outcome.FAILED
    assert checked(many).count(("c03", "c07")) == 2
    assert ("c07",) not in checked(many), "it was judged in its lane"


# --- groups -----------------------------------------------------------------------------------------------


def test_with_few_slots_changes_are_checked_in_groups_that_probably_pass() -> None:
    many = world(*MANY, slots=4)
    many.advance()
    assert len(stacks(many)) == 4
    assert all(2 <= len(stack) <= 6 for stack in stacks(many))
    many.settle()
    assert sorted(many.landed) == MANY
    assert len(checked(many)) < len(MANY) / 2


def test_a_red_group_is_taken_apart_and_only_the_one_at_fault_goes_back() -> None:
    many = world(*MANY, slots=4, bad={"c02"})
    many.settle()
    assert set(many.returned) == {"c02"}
    assert sorted([*many.landed, "c02"]) == MANY


def test_the_failure_rate_is_learned() -> None:
    few = world("a", "b", bad={"b"})
    assert failure_rate(few.state) == pytest.approx(0.1)
    few.settle()
    assert failure_rate(few.state) == pytest.approx(2 / 12)
    good = world(*MANY, slots=24)
    good.settle()
    assert failure_rate(good.state) == pytest.approx(1 / 34)


# --- stages -----------------------------------------------------------------------------------------------


def test_what_passed_in_different_lanes_is_checked_together_once_and_lands_in_one_step() -> None:
    many = world(*MANY, slots=24)
    assert many.settle() == 2
    assert many.landed == MANY
    assert [len(step) for step in steps(many)] == [1, 23]
    assert len(checked(many)) == 25


def test_every_change_of_a_step_is_a_commit_of_its_own_and_on_record() -> None:
    many = world(*MANY, slots=24)
    many.settle()
    landed = [r.event for r in many.records if isinstance(r.event, e.ChangeLanded)]
    assert [event.attempt for event in landed] == MANY
    assert [event.old for event in landed[1:]] == [event.new for event in landed[:-1]]
    assert landed[-1].new == many.tip


@pytest.mark.parametrize("left", [1, 5, 20])
def test_a_crash_while_a_step_is_written_down_is_settled_by_looking_at_the_branch(left: int) -> None:
    many = world(*MANY, slots=24)
    many.advance()
    every_check(many)
    moved = [left]

    def dies(where: str) -> bool:
        moved[0] -= where == "moved"
        return moved[0] == 0

    for check in sorted(many.jobs):
        many.finish(check)
    with pytest.raises(Crash):
        many.advance(dies)
    assert many.state.tip != many.tip
    many.merges.clear()
    many.settle()
    assert many.landed == MANY
    assert list(many.state.landed) == MANY


def test_a_red_stage_blames_nobody_by_itself_and_the_one_at_fault_is_found() -> None:
    many = world(*MANY, slots=24, clashes={frozenset(("c05", "c17"))})
    many.settle()
    assert set(many.returned) == {"c17"}
    assert len(checked(many)) < 24 + 14


def test_a_stage_that_was_a_flake_lands_after_its_second_try() -> None:
    many = world(*MANY, slots=24)
    many.advance()
    every_check(many)
    ((whole,),) = [[check for check, started in many.state.running.items() if len(started.stack) == 23]]
    many.finish(whole, flake=True)
    many.advance()
    assert whole not in many.state.running
    many.settle()
    assert many.landed == MANY
    assert not many.returned


def test_a_queue_of_one_lands_at_once() -> None:
    one = world("a", slots=8)
    assert one.settle() == 1
    assert checked(one) == [("a",)]


def test_the_next_stage_is_checked_on_top_of_the_one_that_is_being_checked() -> None:
    many = world(*MANY, slots=24)
    many.advance()
    first = sorted(many.jobs, key=lambda check: many.state.running[check].stack)
    for check in first[:3]:
        many.finish(check)
    many.advance()
    assert ("c01", "c02") in stacks(many)
    for check in first[3:]:
        many.finish(check)
    many.advance()
    assert stacks(many) == {("c01", "c02"), tuple(MANY[1:])}
    whole = next(check for check, started in many.state.running.items() if len(started.stack) > 2)
    many.finish(whole)
    many.advance()
    assert many.landed == MANY
    assert not many.state.running


# --- a tip that is doubted --------------------------------------------------------------------------------


def test_when_what_has_landed_is_red_all_of_a_sudden_nobody_else_is_blamed() -> None:
    many = world(*MANY[:4], slots=1)
    many.settle()
    assert many.landed == MANY[:4]
    many.bad = {"c00"}  # the environment has changed: what landed is red now
    many.innocent = False
    for name in MANY[4:16]:
        many.submit(name)
    many.settle()
    assert not many.returned
    assert many.state.reverted.keys() == {"c00"}
    assert sorted(name for name in many.landed if name in MANY) == MANY[:16]


def test_a_tip_that_passes_again_lets_the_next_be_blamed() -> None:
    many = world(*MANY, slots=4, bad={*MANY[:8]})
    many.settle()
    assert set(many.returned) == {*MANY[:8]}
    assert {back.outcome for back in many.returned.values()} == {Outcome.FAILED}
    assert sorted(many.landed) == MANY[8:]


# --- what may not be slow ---------------------------------------------------------------------------------


def test_a_long_queue_with_a_few_slots_asks_for_few_merges_at_a_time() -> None:
    many = World(slots=2)
    for number in range(200):
        many.submit(f"c{number:03}")
    many.advance()
    assert len(many.merges) < 200 + 40
    assert len(decide(many.state, many.view())) == 0
    assert len(survey(many.state, many.view()).queued) == 200


def test_what_landed_long_ago_is_counted_but_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "REMEMBERED", 3)
    landings = [e.ChangeLanded(attempt=f"r.t{number}.1", old="o", new=f"c{number}") for number in range(30)]
    state = posting.fold(Record("gate/t", seq, 0.0, 1, event, "") for seq, event in enumerate(landings, 1))
    assert dict(state.landed) == {f"r.t{number}.1": f"c{number}" for number in (27, 28, 29)}
    assert state.landings == 30
    assert failure_rate(state) == failure_rate(GateState(landings=30)) < failure_rate(GateState(landings=3))
