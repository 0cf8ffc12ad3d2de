"""The plan that is made from a history: which commits need which."""

import difflib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.delivery.plans.globs import allowed, glob_problem


def _load() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "history_plan.py"
    spec = importlib.util.spec_from_file_location("history_plan", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["history_plan"] = module
    spec.loader.exec_module(module)
    return module


plan = _load()
LINES = st.lists(st.sampled_from("abcd"), max_size=12)


def hunks(old: list[str], new: list[str]) -> tuple[object, ...]:
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    return tuple(plan.Hunk(i, j, k, m) for tag, i, j, k, m in matcher.get_opcodes() if tag != "equal")


def step(*files: object) -> object:
    return plan.Step("c", "p", "s", files)


def edit(old: int, count: int, new_count: int | None = None, path: str = "f") -> object:
    size = count if new_count is None else new_count
    return plan.FileDiff(path, path, (plan.Hunk(old, old + count, old, old + size),))


def test_hunks_are_read_from_a_diff() -> None:
    text = "--- a\n+++ b\n@@ -3 +3,2 @@ def f\n@@ -10,2 +11,0 @@\n@@ -20,0 +20,3 @@\n"
    assert plan.parse_hunks(text) == (plan.Hunk(2, 3, 2, 4), plan.Hunk(9, 11, 11, 11), plan.Hunk(20, 20, 19, 22))


@given(LINES, LINES, st.data())
def test_untouched_lines_are_followed_to_where_they_are(old: list[str], new: list[str], data: st.DataObject) -> None:
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    equal = [block for block in matcher.get_matching_blocks() if block.size]
    for block in equal:
        first = data.draw(st.integers(0, block.size - 1))
        last = data.draw(st.integers(first, block.size - 1))
        found = plan.follow(block.a + first, block.a + last + 1, hunks(old, new))
        assert found == (block.b + first, block.b + last + 1)


@given(LINES, LINES, st.integers(0, 12), st.integers(0, 12))
def test_a_followed_range_stays_inside_the_file(old: list[str], new: list[str], a: int, b: int) -> None:
    start, end = sorted((min(a, len(old)), min(b, len(old))))
    low, high = plan.follow(start, end, hunks(old, new))
    assert 0 <= low <= high <= len(new)


def test_the_same_lines_and_neighbours_are_needed_and_distant_ones_are_not() -> None:
    found = plan.needs([step(edit(10, 2)), step(edit(50, 2)), step(edit(11, 1)), step(edit(12, 1)), step(edit(14, 1))])
    assert found == (frozenset(), frozenset(), frozenset({0}), frozenset({0, 2}), frozenset())


def test_lines_are_found_again_after_others_moved_them() -> None:
    moved = plan.FileDiff("f", "f", (plan.Hunk(0, 0, 0, 100),))
    assert plan.needs([step(edit(10, 2)), step(moved), step(edit(110, 1))])[2] == frozenset({0})


def test_removed_lines_are_needed_where_they_were() -> None:
    assert plan.needs([step(edit(10, 3, 0)), step(edit(10, 0, 2))])[1] == frozenset({0})


def test_creation_removal_and_renaming_are_needed() -> None:
    whole = (plan.Hunk(0, 1 << 40, 0, 1 << 40),)
    steps = [
        step(plan.FileDiff("", "new", whole)),
        step(edit(3, 1, path="new")),
        step(plan.FileDiff("new", "moved", ())),
        step(edit(40, 1, path="moved")),
        step(plan.FileDiff("moved", "", whole)),
        step(plan.FileDiff("", "moved", whole)),
    ]
    found = plan.needs(steps)
    assert [sorted(wanted) for wanted in found] == [[], [0], [0, 1], [0, 2], [0, 1, 2, 3], [4]]
    assert [sorted(wanted) for wanted in plan.reduced(found)] == [[], [0], [1], [2], [3], [4]]
    assert plan.depth(found) == 6


@given(st.lists(st.sets(st.integers(0, 11)), max_size=12))
def test_orders_keep_the_needs_and_reduction_keeps_the_order(raw: list[set[int]]) -> None:
    graph = [frozenset(n for n in wanted if n < i) for i, wanted in enumerate(raw)]
    order = plan.latest_first(graph)
    assert sorted(order) == list(range(len(graph)))
    assert all(order.index(n) < order.index(i) for i, wanted in enumerate(graph) for n in wanted)
    small = plan.reduced(graph)
    assert closure(small) == closure(graph)
    assert plan.depth(small) == plan.depth(graph)


def closure(graph: list[frozenset[int]] | tuple[frozenset[int], ...]) -> list[set[int]]:
    above: list[set[int]] = []
    for wanted in graph:
        above.append(set(wanted).union(*(above[n] for n in wanted)))
    return above


@pytest.mark.parametrize(
    ("path", "glob"), [("a/b.py", "a/b.py"), ("a[1]*.py", "a[1]*.py"), ("!x", "?x"), ("a\\b\n", "a?b?")]
)
def test_a_plan_may_name_every_path(path: str, glob: str) -> None:
    assert plan.glob_of(path) == glob
    assert glob_problem(glob) == ""
    assert allowed([glob], path, ())


@pytest.mark.parametrize("subject", ["Fix: the *thing* (#12)", "ünï", "", "x" * 200])
def test_task_ids_are_legal(subject: str) -> None:
    plan.Task(id=plan.task_id(3, subject), title="t", paths=("a",))
