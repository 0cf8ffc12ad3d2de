"""Made-up changes for the simulation of the merge queue (`bench_queue`): what fails, what conflicts, what is known."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.delivery.gate.orders import Overlaps

FAILING: Final = 0.10
CONFLICTING: Final = 0.05
FALSE_EDGES: Final = 2
"""Pairs in the graph that do not conflict, for each that does."""
SIGMA: Final = 0.3


@dataclass(frozen=True, slots=True)
class Fleet:
    """Changes, in the order in which they arrive."""

    names: tuple[str, ...]
    bad: frozenset[str]
    conflicts: frozenset[frozenset[str]]
    graph: Overlaps
    arrivals: tuple[float, ...]
    seed: int

    def good(self, tree: frozenset[str]) -> bool:
        """Whether a tree passes."""
        return not (self.bad & tree) and not any(pair <= tree for pair in self.conflicts)


def fleet(number: int, seed: int, *, missing: float = 0.0, rate: float = 0.0) -> Fleet:
    """`missing`: share of the conflicts that the graph does not know. `rate`: arrivals a check; 0 = all at once."""
    dice = random.Random(f"fleet {number} {seed}")
    names = tuple(f"r.t{place}.1" for place in range(number))
    bad = frozenset(name for name in names if dice.random() < FAILING)
    conflicts = {
        frozenset((name, dice.choice(names[:place])))
        for place, name in enumerate(names)
        if place and dice.random() < CONFLICTING
    }
    edges = [tuple(sorted(pair)) for pair in sorted(conflicts, key=sorted) if dice.random() >= missing]
    edges += [tuple(dice.sample(names, 2)) for _ in range(FALSE_EDGES * len(conflicts))]
    graph: dict[str, dict[str, float]] = {}
    for one, other in edges:
        graph.setdefault(one, {})[other] = graph.setdefault(other, {})[one] = 1 / (1 + FALSE_EDGES)
    at, arrivals = 0.0, []
    for _ in names:
        at += dice.expovariate(rate) if rate else 0.0
        arrivals.append(at)
    return Fleet(names, bad, frozenset(conflicts), graph, tuple(arrivals), seed)


@dataclass(slots=True)
class Outcome:
    """How one algorithm did with one fleet. Times in mean checks."""

    makespan: float = 0.0
    cost: float = 0.0
    landed: dict[str, float] = field(default_factory=dict)
    evicted: dict[str, float] = field(default_factory=dict)
    checks: int = 0
    decisions: list[float] = field(default_factory=list)
    """CPU seconds of each decision, with at least nine tenths of the changes waiting."""

    def wronged(self, what: Fleet) -> list[str]:
        """Changes that were evicted although they pass on what landed."""
        ground = frozenset(self.landed)
        return [name for name in self.evicted if what.good(ground | {name})]


def clock(what: Fleet) -> Iterator[float]:
    """How long each check takes."""
    dice = random.Random(f"checks {what.seed}")
    while True:
        yield dice.lognormvariate(-SIGMA * SIGMA / 2, SIGMA)


def ideal(what: Fleet, slots: int) -> tuple[float, float]:
    """(makespan, cost) of one check for each change and nothing else."""
    times = clock(what)
    own = [next(times) for _ in what.names]
    return max(sum(own) / slots, max(own)), sum(own)
