"""A real history replayed by a fleet with fixed work times: its makespan beside the shortest that its graph allows.

usage: BENCH_DATA=DIR python -m bench.bench_replay [--repositories NAME ...] [--work SECONDS] [--gate SECONDS]

Rules
- The last 30 consecutive commits of `$BENCH_DATA/NAME` are one task each; a task needs the earlier ones whose lines it
  touches (`history_plan`). Its agent takes a fixed time, then applies the commit; the gate's check takes a fixed time.
- Set otherwise than shipped: as many trees are checked at the same time as there are agents (`checks.parallel` is 2), a
  task's own check is `true`, and what validation says of these commits is a warning.
- The shortest makespan is a lower bound: the longest chain of work and check, or all work shared evenly by the agents
  and one check, whichever is longer. Nothing that a machine needs for itself is in it.
- The makespan is the whole command's, from its start to its end. A history that does not merge whole is no figure:
  its row says why, the others are still run, and the exit status is 1.
- The clone is copied; it is never changed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.figures import Figure, Target, show
from bench.history_plan import Repository, depth, make_plan, needs, reduced, write_home
from bench.real_history import Ran, run, times, unmerged
from quarterdeck.workplace.ground import Ground

AGENTS: Final = 8
COMMITS: Final = 30
WORK: Final = 5.0
GATE: Final = 2.0
TARGET: Final = Target("ratio", 1.3)
SETTINGS: Final = f"checks.parallel {AGENTS}, verify `true`, validation warns"
REPOSITORIES: Final = ("boltons", "attrs", "dirty-equals", "click")
SQUASHED: Final = frozenset({"click"})
"""Repositories whose own history is of merges: each merge counts as one commit."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds."""

    work: float
    gate: float


def shortest(graph: Sequence[frozenset[int]], agents: int, pace: Pace) -> float:
    """A lower bound of the makespan in seconds. `graph`: for each task the earlier ones that it needs."""
    chain = depth(graph) * (pace.work + pace.gate)
    shared = len(graph) * pace.work / agents + pace.gate
    return max(chain, shared) if graph else 0.0


def serial(graph: Sequence[frozenset[int]], pace: Pace) -> float:
    """Seconds of one task after the other."""
    return len(graph) * (pace.work + pace.gate)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One history."""

    graph: tuple[frozenset[int], ...]
    ran: Ran
    home: Path


def replay(source: Path, out: Path, pace: Pace) -> Replayed:
    """Plan and run it. Exits where it does not merge whole."""
    clone, home, plan = out / "repository", out / "home", out / "plan.json"
    subprocess.run(["git", "clone", "-q", "--no-local", str(source), str(clone)], check=True)
    repository = Repository(clone)
    merges = "squash" if source.name in SQUASHED else "avoid"
    steps = [repository.step(*pair) for pair in repository.window("HEAD", COMMITS, merges)]
    steps = [step for step in steps if step.files]
    graph = reduced(needs(steps))
    write_home(home, [f"sleep {pace.gate}"], [""], AGENTS, work=pace.work, checks=AGENTS)
    made = make_plan(repository, steps, graph, ["true"])
    plan.write_text(made.model_dump_json(exclude_none=True), encoding="utf-8")
    ran = run(["--plan", str(plan), "--repo", str(clone), "--base", steps[0].parent], home, [])
    if left := unmerged(ran.result):
        raise SystemExit(f"{source.name} does not merge whole: {'; '.join(left)}")
    return Replayed(graph, ran, home)


def figure(name: str, source: Path | None, pace: Pace) -> tuple[Figure, bool]:
    """The makespan of one repository's history, and whether it failed; one that is not there did not."""
    title = (
        f"(f) replay: {COMMITS} commits of {name}, {AGENTS} agents, {pace.work:g} s of work, {pace.gate:g} s of checks"
    )
    if source is None or not source.is_dir():
        return Figure(title, "s", None, target=TARGET, note="no clone below BENCH_DATA"), False
    try:
        return _figure(title, source, pace), False
    except (Exception, SystemExit) as error:  # noqa: BLE001 - its row says it, and the other histories are still run
        why = " ".join(str(error).split())[:500]
        return Figure(title, "s", None, target=TARGET, note=f"failed: {why or type(error).__name__}"), True


def _figure(title: str, source: Path, pace: Pace) -> Figure:
    with tempfile.TemporaryDirectory(prefix="quarterdeck-replay-") as folder:
        try:
            done = replay(source, Path(folder), pace)
            took = times(done.ran.events, done.home)
        finally:
            Ground(Path(folder) / "home").destroy()
    tries = sum(task["attempts"] for task in done.ran.result["tasks"])
    bound = shortest(done.graph, AGENTS, pace)
    note = (
        f"chain of {depth(done.graph)}; {tries} attempts of {len(done.graph)} tasks, {took.gate_checks} checks;"
        f" {serial(done.graph, pace):.0f} s one after the other; {SETTINGS}; load {os.getloadavg()[0]:.1f}"
    )
    return Figure(title, "s", round(done.ran.wall, 2), {"shortest makespan of the graph": bound}, TARGET, note)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--repositories", nargs="+", default=list(REPOSITORIES), metavar="NAME")
    parser.add_argument("--work", type=float, default=WORK, help="seconds of an agent's work")
    parser.add_argument("--gate", type=float, default=GATE, help="seconds of a check")
    chosen = parser.parse_args()
    data = os.environ.get("BENCH_DATA")
    broken = False
    for name in chosen.repositories:
        found, failed = figure(name, Path(data) / name if data else None, Pace(chosen.work, chosen.gate))
        show([found])
        broken |= failed
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
