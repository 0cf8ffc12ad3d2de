"""The plan as a graph: what is ready, what waits for what, what is longest. Pure functions over ids.

Rules
- A graph is `needs`: task id to the ids it waits for, in the plan's order. All ids that are named exist as keys.
- Every answer is deterministic and keeps the plan's order where the graph leaves a choice.
- No recursion: a plan may be a chain of a thousand tasks.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from itertools import combinations, product
from typing import Final

from quarterdeck.delivery.plans.globs import is_literal, may_overlap
from quarterdeck.kernel.entities import Plan, Task

Needs = Mapping[str, Sequence[str]]

MAX_COMPARISONS: Final = 200_000
"""Pairs of patterns that `overlaps` looks at, at most: a plan of a thousand tasks has half a million pairs."""


def needs_of(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The graph of a plan."""
    return {task.id: task.needs for task in plan.tasks}


def dependents(needs: Needs) -> dict[str, tuple[str, ...]]:
    """Task id to the ids that wait for it directly."""
    waiting: dict[str, list[str]] = {task: [] for task in needs}
    for task, wanted in needs.items():
        for need in dict.fromkeys(wanted):
            waiting[need].append(task)
    return {task: tuple(ids) for task, ids in waiting.items()}


def topological(needs: Needs) -> tuple[str, ...]:
    """All ids, each after what it needs; otherwise in the plan's order. Raises ValueError where there is a cycle."""
    place = {task: number for number, task in enumerate(needs)}
    open_needs = {task: len(set(wanted)) for task, wanted in needs.items()}
    waiting = dependents(needs)
    free = [place[task] for task, count in open_needs.items() if count == 0]
    heapify(free)
    names = tuple(needs)
    order: list[str] = []
    while free:
        task = names[heappop(free)]
        order.append(task)
        for other in waiting[task]:
            open_needs[other] -= 1
            if open_needs[other] == 0:
                heappush(free, place[other])
    if len(order) != len(names):
        raise ValueError("the graph has a cycle")
    return tuple(order)


def find_cycle(needs: Needs) -> tuple[str, ...]:
    """One cycle, as the ids along it, each needing the next and the last needing the first; empty = there is none."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        on_path: set[str] = set()
        todo: list[tuple[str, bool]] = [(start, False)]
        while todo:
            task, leaving = todo.pop()
            if leaving:
                path.pop()
                on_path.discard(task)
                done.add(task)
            elif task in on_path:
                return tuple(path[path.index(task) :])
            elif task not in done:
                path.append(task)
                on_path.add(task)
                todo.append((task, True))
                todo.extend((need, False) for need in reversed(needs[task]))
    return ()


def ready(needs: Needs, merged: Collection[str], started: Collection[str]) -> tuple[str, ...]:
    """Ids whose needs are all merged and that were not started, in the plan's order."""
    return tuple(
        task
        for task, wanted in needs.items()
        if task not in started and task not in merged and all(need in merged for need in wanted)
    )


def descendants(needs: Needs, roots: Iterable[str]) -> tuple[str, ...]:
    """Everything that waits for one of `roots`, directly or not: what is blocked when they fail. Plan's order."""
    waiting = dependents(needs)
    found: set[str] = set()
    todo = list(roots)
    while todo:
        fresh = [task for task in waiting[todo.pop()] if task not in found]
        found.update(fresh)
        todo.extend(fresh)
    return tuple(task for task in needs if task in found)


def ordered_with(needs: Needs, task: str) -> frozenset[str]:
    """The task, everything that it waits for, and everything that waits for it."""
    found, todo = {task, *descendants(needs, (task,))}, [task]
    while todo:
        fresh = [need for need in needs[todo.pop()] if need not in found]
        found.update(fresh)
        todo.extend(fresh)
    return frozenset(found)


def ranks(needs: Needs, weight: Mapping[str, float] | None = None) -> dict[str, float]:
    """For each task the weight of the heaviest chain that starts with it: dispatch the highest first.

    `weight`: expected seconds (or any unit) by id; 1 where it is missing.
    """
    waiting = dependents(needs)
    found: dict[str, float] = {}
    for task in reversed(topological(needs)):
        own = 1.0 if weight is None else weight.get(task, 1.0)
        found[task] = own + max((found[other] for other in waiting[task]), default=0.0)
    return {task: found[task] for task in needs}


def critical_path(needs: Needs, weight: Mapping[str, float] | None = None) -> tuple[str, ...]:
    """The heaviest chain of tasks: with enough agents, the run cannot be shorter than this."""
    heaviest = ranks(needs, weight)
    waiting = dependents(needs)
    path: list[str] = []
    choice = [task for task, wanted in needs.items() if not wanted]
    while choice:
        path.append(max(choice, key=lambda task: heaviest[task]))
        choice = list(waiting[path[-1]])
    return tuple(path)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two tasks that may change the same file although neither waits for the other."""

    one: str
    other: str
    paths: tuple[str, str]
    """The first pair of patterns that meets."""


def overlaps(plan: Plan, limit: int = 50) -> tuple[Overlap, ...]:
    """Pairs of tasks that are not ordered and whose paths may meet, at most `limit`. The plan must be acyclic.

    Equal names are always found; patterns are compared up to `MAX_COMPARISONS`.
    """
    ordered = _ordered(needs_of(plan))
    found: dict[tuple[str, str], Overlap] = {}
    for one, other, paths in _meetings(plan.tasks):
        low, high = sorted((one, other))
        if (low, high) not in found and high not in ordered[low] and low not in ordered[high]:
            found[low, high] = Overlap(one, other, paths)
            if len(found) >= limit:
                break
    return tuple(found.values())


def _ordered(needs: Needs) -> dict[str, frozenset[str]]:
    """Task id to everything that it waits for, directly or not."""
    before: dict[str, frozenset[str]] = {}
    for task in topological(needs):
        before[task] = frozenset(needs[task]).union(*(before[need] for need in needs[task]))
    return before


def _meetings(tasks: Sequence[Task]) -> Iterable[tuple[str, str, tuple[str, str]]]:
    named: dict[str, list[str]] = {}
    for task in tasks:
        for path in task.paths:
            for earlier in named.get(path, ()):
                if earlier != task.id:
                    yield earlier, task.id, (path, path)
            named.setdefault(path, []).append(task.id)
    compared = 0
    for one, other in combinations(tasks, 2):
        for left, right in product(one.paths, other.paths):
            if left == right or (_is_file(left) and _is_file(right)):
                continue
            compared += 1
            if compared > MAX_COMPARISONS:
                return
            if may_overlap(left, right):
                yield one.id, other.id, (left, right)


def shared(one: Task, other: Task) -> tuple[str, ...]:
    """The paths of `other` that meet one of `one`."""
    return tuple(path for path in other.paths if any(_meets(path, own) for own in one.paths))


def _meets(left: str, right: str) -> bool:
    return left == right or (not (_is_file(left) and _is_file(right)) and may_overlap(left, right))


def _is_file(pattern: str) -> bool:
    """Looks like one file (an ending, no wildcard): two of these meet only where they are equal."""
    return is_literal(pattern) and "." in pattern.rsplit("/", 1)[-1]
