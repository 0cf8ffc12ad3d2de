"""The plan as a graph."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.plans import graph
from quarterdeck.kernel.entities import Plan, Task

DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    names = [f"t{number}" for number in range(draw(st.integers(1, 12)))]
    order = draw(st.permutations(names))
    needs: dict[str, tuple[str, ...]] = {order[0]: ()}
    for at, name in enumerate(order[1:], start=1):
        needs[name] = tuple(draw(st.lists(st.sampled_from(order[:at]), max_size=3)))
    return {name: needs[name] for name in names}


@given(acyclic())
def test_topological_puts_needs_first_and_loses_nobody(needs: dict[str, tuple[str, ...]]) -> None:
    order = graph.topological(needs)
    assert sorted(order) == sorted(needs)
    place = {task: at for at, task in enumerate(order)}
    assert all(place[need] < place[task] for task, wanted in needs.items() for need in wanted)
    assert graph.find_cycle(needs) == ()


@given(acyclic(), st.data())
def test_a_cycle_is_found_and_is_one(needs: dict[str, tuple[str, ...]], data: st.DataObject) -> None:
    start = data.draw(st.sampled_from(sorted(needs)))
    end = data.draw(st.sampled_from([start, *graph.descendants(needs, [start])]))
    cyclic = {**needs, start: (*needs[start], end)}
    cycle = graph.find_cycle(cyclic)
    assert cycle
    for task, need in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
        assert need in cyclic[task]
    with pytest.raises(ValueError, match="cycle"):
        graph.topological(cyclic)


@given(acyclic())
def test_merging_whatever_is_ready_merges_everything(needs: dict[str, tuple[str, ...]]) -> None:
    merged: list[str] = []
    while fresh := graph.ready(needs, merged, ()):
        assert not set(fresh) & set(merged)
        merged.extend(fresh)
    assert sorted(merged) == sorted(needs)


def test_ready_leaves_out_what_was_started() -> None:
    assert graph.ready(DIAMOND, {"a"}, {"b"}) == ("c",)
    assert graph.ready(DIAMOND, {"a", "b"}, {"c"}) == ()


def test_dependents_and_descendants() -> None:
    assert graph.dependents(DIAMOND) == {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": ()}
    assert graph.descendants(DIAMOND, ["b"]) == ("d",)
    assert graph.descendants(DIAMOND, ["a"]) == ("b", "c", "d")


def test_critical_path_follows_the_weight() -> None:
    assert graph.critical_path(DIAMOND) == ("a", "b", "d")
    assert graph.critical_path(DIAMOND, {"c": 5.0}) == ("a", "c", "d")
    assert graph.ranks(DIAMOND, {"c": 5.0}) == {"a": 7.0, "b": 2.0, "c": 6.0, "d": 1.0}


@given(acyclic())
def test_the_critical_path_is_as_long_as_the_highest_rank(needs: dict[str, tuple[str, ...]]) -> None:
    path = graph.critical_path(needs)
    assert len(path) == max(graph.ranks(needs).values())
    assert all(before in needs[after] for before, after in pairwise(path))


def test_a_chain_of_a_thousand_needs_no_recursion() -> None:
    chain = {f"t{number}": (f"t{number - 1}",) if number else () for number in range(1000)}
    assert len(graph.critical_path(chain)) == 1000
    assert graph.find_cycle({**chain, "t0": ("t999",)})
    assert graph.descendants(chain, ["t0"]) == tuple(chain)[1:]


def _plan(*tasks: tuple[str, list[str], list[str]]) -> Plan:
    return Plan(
        goal="g", tasks=tuple(Task(id=name, title=name, paths=tuple(paths), needs=tuple(n)) for name, paths, n in tasks)
    )


def test_overlaps_name_unordered_tasks_that_may_meet() -> None:
    plan = _plan(
        ("a", ["src/x.py"], []),
        ("b", ["src/x.py", "y.md"], []),
        ("c", ["src/*.py"], ["b"]),
        ("d", ["src/x.py"], ["c"]),
        ("e", ["other/"], []),
    )
    found = {(overlap.one, overlap.other): overlap.paths for overlap in graph.overlaps(plan)}
    assert found == {
        ("a", "b"): ("src/x.py", "src/x.py"),
        ("a", "d"): ("src/x.py", "src/x.py"),
        ("a", "c"): ("src/x.py", "src/*.py"),
    }


def test_overlaps_of_a_thousand_tasks_are_bounded() -> None:
    plan = _plan(*((f"t{number}", [f"src/**/{number}/*", "docs/"], []) for number in range(1000)))
    assert len(graph.overlaps(plan)) == 50
    apart = _plan(*((f"t{number}", [f"{number}/**"], []) for number in range(1000)))
    assert graph.overlaps(apart) == ()
