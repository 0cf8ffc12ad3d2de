"""The merge gate's queue in a simulation by discrete events that drives the real decision function; peers beside it.

usage: python -m bench.bench_queue [--seeds N]

Rules
- `quarterdeck.delivery.gate.queue.decide` decides, over the fold of the events that its commands lead to. The world is
  made up: a tree is the set of changes in it; it is red when it holds a change that fails, or two that conflict.
- A share of the changes fails by itself (10%), a share conflicts with one earlier change (5%): both merge, and the tree
  with both is red. The graph names these pairs, and twice as many that do not conflict, all with the same likelihood.
- A check takes a time of its own, log-normal with mean 1 and sigma .3. No decision knows how long.
- The ideal makespan is that of one check for each change and nothing else: all their time shared by the slots, or the
  longest of them, whichever is longer. The ideal cost is their time. Retries, checks of the tip and of what is put
  together, and the time of checks that are dropped count as cost.
- Peers get the same changes: serial; a batch of what waits, halved while it is red; a window of stacked checks that
  begins anew behind a change that fails. Each runs a failed check of one change once more, as the gate does.
- Nothing is left out: each world is run to its end, and what lands is held against what the changes are.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.figures import Figure, Target, show
from bench.queue_gate import lanes
from bench.queue_peers import BATCH, batch, serial, window
from bench.queue_world import Fleet, Outcome, fleet, ideal

SEEDS: Final = 10

Algorithm = Callable[[Fleet, int], Outcome]
PEERS: Final[Mapping[str, Algorithm]] = {"serial": serial, f"batch of {BATCH} + bisect": batch, "window": window}


@dataclass(frozen=True, slots=True)
class Average:
    """Means over the seeds; times beside the ideal ones."""

    makespan: float
    cost: float
    wait: float
    """From a change's arrival to its end."""
    wronged: int
    good: int
    landed: int
    checks: float


def average(algorithm: Algorithm, fleets: Sequence[Fleet], slots: int) -> tuple[Average, list[float]]:
    """(how the algorithm did, seconds of its decisions with nearly all waiting)"""
    spans, costs, waits, checks, decisions = [], [], [], [], list[float]()
    wronged = good = landed = 0
    for what in fleets:
        out = algorithm(what, slots)
        assert len(out.landed) + len(out.evicted) == len(what.names), "a change was lost"
        assert what.good(frozenset(out.landed)), "the target is red"
        best, least = ideal(what, slots)
        spans.append(out.makespan / best)
        costs.append(out.cost / least)
        ends = {**out.landed, **out.evicted}
        waits.append(statistics.mean(ends[name] - at for name, at in zip(what.names, what.arrivals, strict=True)))
        checks.append(out.checks / len(what.names))
        wronged += len(out.wronged(what))
        good += len(out.landed) + len(out.wronged(what))
        landed += len(out.landed)
        decisions += out.decisions
    mean = statistics.mean
    return Average(mean(spans), mean(costs), mean(waits), wronged, good, landed, mean(checks)), decisions


def at_once(number: int, slots: int, span: float, cost: float, seeds: int) -> list[Figure]:
    """All changes arrive together."""
    fleets = [fleet(number, seed) for seed in range(seeds)]
    ours, decisions = average(lanes, fleets, slots)
    peers = {name: average(peer, fleets, slots)[0] for name, peer in PEERS.items()}
    head = f"queue: {number} changes, {slots} slots"
    note = f"mean of {seeds} worlds; {ours.checks:.2f} checks a change; {ours.wronged} good changes evicted"
    rows = [
        Figure(
            f"{head}: makespan / ideal",
            "x",
            round(ours.makespan, 3),
            {name: round(peer.makespan, 3) for name, peer in peers.items()},
            Target("ours", span),
            note,
        ),
        Figure(
            f"{head}: CI cost / ideal",
            "x",
            round(ours.cost, 3),
            {name: round(peer.cost, 3) for name, peer in peers.items()},
            Target("ours", cost),
            note,
        ),
    ]
    if number > 100:
        slow = sorted(decisions)
        rows.append(
            Figure(
                f"{head}: one decision, CPU",
                "ms",
                round(1000 * statistics.mean(slow), 3),
                target=Target("ours", 5.0),
                note=f"{len(slow)} decisions with at least nine tenths waiting; slowest {1000 * slow[-1]:.1f} ms",
            )
        )
    return rows


def missing_edges(number: int, slots: int, seeds: int) -> list[Figure]:
    """30% of the conflicts are not in the graph."""
    fleets = [fleet(number, seed, missing=0.3) for seed in range(seeds)]
    ours, _ = average(lanes, fleets, slots)
    head = f"queue: {number} changes, {slots} slots, 30% of conflicts not in the graph"
    note = f"{ours.landed} of {ours.good} good changes landed in {seeds} worlds"
    return [
        Figure(f"{head}: good changes evicted", "", float(ours.wronged), target=Target("ours", 0.0), note=note),
        Figure(f"{head}: makespan / ideal", "x", round(ours.makespan, 3), note=f"CI cost {ours.cost:.3f} x"),
    ]


def streaming(number: int, slots: int, load: float, seeds: int) -> list[Figure]:
    """Changes arrive at random; `load`: their own checks' time as a share of what the slots can do."""
    fleets = [fleet(number, seed, rate=load * slots) for seed in range(seeds)]
    ours, _ = average(lanes, fleets, slots)
    others = {
        "window": average(window, fleets, slots)[0],
        f"batch of {BATCH} + bisect": average(batch, fleets, slots)[0],
    }
    head = f"queue: {number} changes arriving at random, {slots} slots, {load:.0%} load"
    note = f"CI cost {ours.cost:.3f} x; " + ", ".join(f"{name} {peer.cost:.3f} x" for name, peer in others.items())
    peers = {name: round(peer.wait, 3) for name, peer in others.items()}
    return [Figure(f"{head}: from queue to verdict", "checks", round(ours.wait, 3), peers, note=note)]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="worlds for each figure")
    seeds: int = parser.parse_args().seeds
    show(at_once(267, 32, 2.0, 1.45, seeds))
    show(at_once(267, 8, 1.15, 1.15, seeds))
    show(at_once(35, 32, 2.0, 1.45, 3 * seeds))
    show(at_once(35, 8, 1.15, 1.15, 3 * seeds))
    show(missing_edges(267, 32, seeds))
    show(missing_edges(267, 8, seeds))
    show(streaming(200, 8, 0.6, seeds))
    show(streaming(200, 4, 0.3, seeds))


if __name__ == "__main__":
    main()
