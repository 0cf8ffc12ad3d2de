"""Kills at random moments of whole runs, one after the other, until there were enough.

Rules
- Everything follows from the seed but the machine's own timing: whether the next kill comes at the n-th new record,
  after so many seconds of work, or while a process is still starting, and whether all processes below it die with it.
- A run that ends before its next kill is judged, and another one is begun in the same home.
- The last run is carried to its end without a kill.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from quarterdeck.testing.chaos.processes import Line, Seen, Worker
from quarterdeck.testing.chaos.scene import Scene
from quarterdeck.testing.chaos.verdict import Redone, Verdict, judge


@dataclass(slots=True)
class Tally:
    """What a campaign came to."""

    kills: int = 0
    runs: int = 0
    attempts: int = 0
    redone: list[Redone] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    model_calls: int = 0

    @property
    def repeated(self) -> int:
        return sum(redone.total for redone in self.redone)


@dataclass(frozen=True, slots=True)
class Strike:
    """When and how a process is killed."""

    records: int | None
    """After so many new records; None = after `seconds`."""
    seconds: float
    tree: bool

    def fall(self, worker: Worker) -> bool:
        """Wait for the moment and kill; False where the process ended before."""
        if self.records is not None:
            worker.until(self.records)
        else:
            worker.until(1 << 30, seconds=self.seconds)
        return worker.kill(tree=self.tree)


def draw(rng: random.Random, *, trees: bool) -> Strike:
    """The next strike."""
    records = rng.randint(1, 30) if rng.random() < 0.5 else None
    return Strike(records, rng.uniform(0.05, 3.0), trees and rng.random() < 0.3)


def campaign(
    scene: Scene,
    *,
    kills: int,
    seed: int,
    model_url: str = "",
    trees: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Kill `kills` times; every run is carried to its end and judged. `trees`: some kills take all below it along."""
    rng, tally, seen, began = random.Random(seed), Tally(), Seen(), time.monotonic()
    run = ""
    while tally.kills < kills or run:
        order = ("resume", run) if run else ("run", "--plan", str(scene.plan), "--repo", str(scene.repository))
        with Worker(scene, *order, seen=seen, model_url=model_url, cold=True) as worker:
            fresh = not run
            if fresh:
                worker.until(1)
                run = worker.run
                tally.runs += 1
            killed = tally.kills < kills and draw(rng, trees=trees).fall(worker)
            code = worker.finish()
        tally.kills += killed
        if not killed:
            verdict = _judged(scene, tally, run, worker.result, code, worker.errors)
            say(f"{run}: {tally.kills} kills so far, {len(verdict.violations)} violations")
            run = ""
    tally.violations += seen.rewritten
    tally.seconds = time.monotonic() - began
    return tally


def _judged(scene: Scene, tally: Tally, run: str, result: Line | None, code: int, errors: str) -> Verdict:
    verdict = judge(scene, run, result)
    tally.attempts += verdict.attempts
    tally.redone.append(verdict.redone)
    tally.model_calls += verdict.model_calls
    tally.violations += [f"{run}: {text}" for text in verdict.violations]
    if code != 0:
        tally.violations.append(f"{run}: exit code {code}: {errors}")
    return verdict
