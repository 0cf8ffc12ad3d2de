"""The search for the commit that made a target red, and what is known of changes that do not go together."""

from hypothesis import given
from hypothesis import strategies as st
from test_queue import World, world

from quarterdeck.delivery.gate.culprits import ENOUGH, Search, Verdict, next_probe
from quarterdeck.delivery.gate.lanes import CERTAIN, survey
from quarterdeck.delivery.gate.ledger import FLAKED, MOVED
from quarterdeck.delivery.gate.mending import PATIENCE, unsettled
from quarterdeck.delivery.gate.posting import fold
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Outcome


def search(length: int) -> Search:
    """Among that many commits on what they stand on, c0."""
    suspects = tuple(e.Suspect(commit=f"c{n}", tree=f"t{n}", attempt=f"r.x.{n}") for n in range(length + 1))
    red = e.TipFoundRed(tip=f"c{length}", tree=f"t{length}", checks="k", config_blob="c", suspects=suspects)
    return Search(red, 0.0)


@given(st.integers(1, 60), st.data())
def test_the_first_red_commit_is_found_in_few_probes(length: int, data: st.DataObject) -> None:
    """From a green start the trees are red from one commit on, whichever it is."""
    first = data.draw(st.integers(0, length))
    looked, probes = search(length), 0
    while not isinstance(probe := next_probe(looked), Verdict):
        assert probe.tree != looked.red.tree, "the tip is known to be red"
        number = int(probe.commit[1:])
        for _ in range(ENOUGH):
            looked = looked.told(probe.tree, passed=number < first)
        probes += 1
    assert probes <= 2 * (length + 1).bit_length()
    assert (probe.culprit.commit if probe.culprit is not None else None) == (f"c{first}" if first else None)


@given(st.integers(1, 12), st.lists(st.booleans(), min_size=60, max_size=60))
def test_any_verdicts_lead_to_an_end_and_accuse_only_what_is_red_on_what_is_cleared(
    length: int, verdicts: list[bool]
) -> None:
    looked, said = search(length), iter(verdicts)
    while not isinstance(probe := next_probe(looked), Verdict):
        looked = looked.told(probe.tree, passed=next(said))
    if probe.culprit is not None:
        number = int(probe.culprit.commit[1:])
        assert looked.guilt(f"t{number - 1}") == "cleared"
        assert looked.guilt(f"t{number}") == "red"
    else:
        assert looked.guilt("t0") == "red"


def test_the_newest_commit_is_suspected_first_and_one_verdict_is_not_enough() -> None:
    looked = search(5)
    for passed, then in ((True, "c4"), (False, "c4"), (True, None)):
        looked = looked.told("t4", passed=passed)
        probe = next_probe(looked)
        assert (probe.commit if isinstance(probe, e.Suspect) else None) == then
    assert next_probe(looked) == Verdict(looked.red.suspects[5])


def test_commits_with_the_same_tree_are_judged_once() -> None:
    looked = search(3)
    suspects = (*looked.red.suspects[:3], looked.red.suspects[3].model_copy(update={"tree": "t1"}))
    red = looked.red.model_copy(update={"tree": "t1", "suspects": suspects})
    looked = Search(red, 0.0).told("t2", passed=True).told("t2", passed=True)
    assert next_probe(looked) == Verdict(suspects[3]), "what was taken back came back"


# --- in the gate ------------------------------------------------------------------------------------------


def spoiled(*names: str, by: str) -> World:
    """A world in which `names` have landed, and the target is red since because of one of them."""
    made = world(*names, innocent=False)
    made.settle()
    assert made.landed == [*names]
    made.bad.add(by)
    return made


def kinds(made: World, kind: type[e.EventBase]) -> list[e.EventBase]:
    return [record.event for record in made.records if isinstance(record.event, kind)]


def test_what_landed_by_luck_is_found_by_the_next_change_and_taken_back() -> None:
    for by in "abc":
        four = spoiled("a", "b", "c", by=by)
        four.submit("d")
        four.settle()
        assert not four.returned, "a good change was evicted"
        assert four.good(four.commits[four.tip or ""][1])
        (reverted,) = kinds(four, e.ChangeReverted)
        assert isinstance(reverted, e.ChangeReverted)
        assert reverted.attempt == by
        assert four.landed[-1] == "d"


def test_a_foreign_commit_is_never_taken_back_and_the_next_change_is_held_with_its_name() -> None:
    two = world("a")
    two.settle()
    two.bad.add("z")
    two.foreign("z")
    two.submit("b")
    two.settle()
    assert two.returned["b"].outcome is Outcome.HELD
    assert not kinds(two, e.ChangeReverted)
    (told,) = kinds(two, e.CulpritFound)
    assert isinstance(told, e.CulpritFound)
    assert (told.action, told.commit, told.attempt) == ("tell", two.tip, "")


def test_a_target_that_is_red_without_what_landed_accuses_nobody() -> None:
    two = world("a", innocent=False)
    two.settle()
    two.base_red = True
    two.submit("b")
    two.settle()
    (told,) = kinds(two, e.CulpritFound)
    assert isinstance(told, e.CulpritFound)
    assert (told.action, told.commit) == ("tell", "")
    assert two.returned["b"].outcome is Outcome.HELD
    assert not kinds(two, e.ChangeReverted)


def test_a_target_that_was_green_by_a_flake_is_checked_again_when_the_gate_rests() -> None:
    one = world("a", innocent=False)
    one.advance()
    one.finish("x.1", flake=True)
    one.append(e.FlakeSeen(tree="a", check="x.2"))
    one.advance()
    for check in sorted(one.jobs):
        one.finish(check)
    one.advance()
    assert one.landed == ["a"]
    assert one.state.doubt == FLAKED
    (going,) = one.state.running.values()
    assert (going.stack, going.tip, going.why) == ((), one.tip, FLAKED)
    assert unsettled(one.state, ["a"], one.now) is not None
    assert unsettled(one.state, ["other"], one.now) is None
    assert unsettled(one.state, ["a"], one.now + PATIENCE) is None
    one.settle()
    assert one.state.doubt == ""
    assert unsettled(one.state, ["a"], one.now) is None


def test_a_landing_is_not_checked_again_where_nothing_is_doubtful() -> None:
    three = world("a", "b", "c")
    three.settle()
    started = kinds(three, e.GateCheckStarted)
    assert all(isinstance(check, e.GateCheckStarted) and check.stack for check in started)


def test_a_tip_that_somebody_else_moved_is_in_doubt_until_something_passes_on_it() -> None:
    two = world("a")
    two.settle()
    two.foreign("z")
    two.submit("b")
    two.advance()
    assert two.state.doubt == MOVED
    assert all(check.stack for check in two.state.running.values()), "what is checked on it tells enough"
    two.settle()
    assert two.state.doubt == ""
    assert two.landed == ["a", "z", "b"]


def test_somebody_elses_move_ends_the_search() -> None:
    two = spoiled("a", by="a")
    two.submit("b")
    two.advance()
    for _ in range(3):
        for check in sorted(two.jobs):
            two.finish(check)
        two.advance()
    assert two.state.search is not None
    two.bad.clear()
    two.foreign("z")
    two.settle()
    assert not kinds(two, e.ChangeReverted)
    assert two.landed[:1] == ["a"]
    assert two.landed[-1] == "b"


# --- pairs ------------------------------------------------------------------------------------------------


def pair(one: str, other: str) -> frozenset[tuple[str, str]]:
    return frozenset({("r", one), ("r", other)})


def test_two_changes_that_fail_together_are_remembered_as_a_pair_and_not_put_together_again() -> None:
    two = world("a", "b", clashes={frozenset("ab")}, slots=1)
    two.graph.clear()
    two.slots = 3
    two.settle()
    assert two.landed == ["a"]
    state = fold(two.records)
    assert state == two.state, "it survives a restart"


@given(st.lists(st.sampled_from(["a", "b", "ab", "ba"]), max_size=8), st.data())
def test_a_pair_is_two_that_are_red_together_and_green_apart_in_whatever_order_that_is_seen(
    shuffled: list[str], data: st.DataObject
) -> None:
    made = World(clashes={frozenset("ab")})
    made.submit("a")
    made.submit("b")
    apart, together = set[str](), 0
    for number, stack in enumerate(shuffled):
        names = tuple(stack)
        started = e.GateCheckStarted(
            check=f"y.{number}", tip="base", stack=names, commits=tuple(f"{n}{number}" for n in names),
            tree="+".join(sorted(names)), config_blob="c", checks="k", under="-",
        )  # fmt: skip
        passed = len(names) == 1
        done = e.GateCheckFinished(check=started.check, tree=started.tree, passed=passed, reason="red")
        made.append(started, done)
        apart |= {stack} if passed else set()
        together += not passed
    known = apart == {"a", "b"} and together >= 2
    assert (pair("a", "b") in made.state.pairs) == known
    view = made.view()
    odds = survey(made.state, view).overlaps.get("a", {}).get("b", 0.0)
    assert odds == (CERTAIN if known else 0.0)
    at = data.draw(st.integers(0, len(made.records)))
    assert fold(made.records[at:], fold(made.records[:at])) == made.state


def test_a_pair_is_forgotten_when_both_pass_together() -> None:
    made = World()
    made.submit("a")
    made.submit("b")
    made.append(e.ChangeClashed(attempt="b", against=("a",)))
    assert pair("a", "b") in made.state.pairs
    started = e.GateCheckStarted(
        check="y.1", tip="base", stack=("a", "b"), commits=("x", "y"), tree="a+b", config_blob="c", checks="k"
    )
    made.append(started, e.GateCheckFinished(check="y.1", tree="a+b", passed=True))
    assert not made.state.pairs


def test_what_takes_a_change_back_is_known_by_its_name() -> None:
    name = ids.revert_attempt("r-1.backoff.2")
    assert ids.is_revert(name)
    assert not ids.is_revert("r-1.backoff.2")
    assert ids.reverted_attempt(name) == "r-1.backoff.2"
