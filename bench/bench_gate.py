"""Thirty real commits through the merge gate with the repository's own tests as checks: wall time beside serial.

usage: BENCH_DATA=DIR python -m bench.bench_gate [--repositories NAME ...] [--commits N] [--parallel N]

Rules
- The last 30 consecutive commits of `$BENCH_DATA/NAME` are one task each, which needs the earlier ones whose lines it
  touches (`history_plan`). Its agent only applies the commit; what takes time is the gate.
- The checks are real: the repository's own tests, in a sandbox, in an environment that is built once and not counted.
- Serial is one check for each commit, one after the other; a check's time is measured afterwards on the result, with
  nothing beside it (the median of three). The critical path is the longest chain of commits that need each other, each
  with one check; where the checks alone keep the processors busy for longer, it is that time.
- Every landed tree is held against the journal, and the result against the history's own tree: what is wrong is a row
  that failed, with the reason, and the exit status is 1.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.figures import Figure, show
from bench.history_plan import Repository, depth, make_plan, needs, reduced, write_home
from bench.real_history import Ran, commits, gate_again, quarterdeck, run, times, unmerged, untested
from quarterdeck.workplace.ground import Ground

COMMITS: Final = 30
PARALLEL: Final = 4
AGENTS: Final = 8
ALONE: Final = 3
"""Checks of the result, one after the other: how long one takes when nothing else runs."""

CHECKS: Final = {
    "boltons": "python -m pytest -q -x -p no:cacheprovider tests",
    "click": "PYTHONPATH=src python -m pytest -q -x -p no:cacheprovider tests",
}
SETUP: Final = 'python3 -m venv "$QUARTERDECK_ENV" && "$QUARTERDECK_ENV/bin/python" -m pip install -q pytest'
SQUASHED: Final = frozenset({"click"})
"""Repositories whose own history is of merges: each merge counts as one commit."""


@dataclass(frozen=True, slots=True)
class Passed:
    """One history that went through the gate. Seconds."""

    ran: Ran
    graph: tuple[frozenset[int], ...]
    gate: float
    """From the first check's beginning to the last landing."""
    check: float
    """One check with nothing beside it."""
    started: int
    dropped: int
    steps: int
    wrong: tuple[str, ...]


def pass_through(source: Path, out: Path, check: str, number: int, parallel: int) -> Passed:
    """Plan and run it. Exits where it does not merge whole."""
    clone, home, plan = out / "repository", out / "home", out / "plan.json"
    subprocess.run(["git", "clone", "-q", "--no-local", str(source), str(clone)], check=True)
    repository = Repository(clone)
    pairs = repository.window("HEAD", number, "squash" if source.name in SQUASHED else "avoid")
    steps = [step for step in (repository.step(*pair) for pair in pairs) if step.files]
    graph = reduced(needs(steps))
    write_home(home, [check], [SETUP], AGENTS, checks=parallel)
    made = make_plan(repository, steps, graph, ["true"])
    plan.write_text(made.model_dump_json(exclude_none=True), encoding="utf-8")
    base = steps[0].parent
    ran = run(["--plan", str(plan), "--repo", str(clone), "--base", base], home, [])
    if left := unmerged(ran.result):
        raise SystemExit(f"{source.name} does not merge whole: {'; '.join(left)}")
    sha, export = ran.result["target"]["sha"], out / "export"
    quarterdeck(home, "export", ran.result["run"], "--to", str(export))
    wrong = [*commits(repository, base, ran.result), *untested(repository, export, base, sha)]
    if repository.tree(sha) != repository.tree(steps[-1].commit):
        wrong.append("the tree is not the history's")
    alone = _alone(home, clone, ran.result["run"], sha)
    took = times(ran.events, home)
    begun, ended, landed = _span(ran)
    return Passed(ran, graph, ended - begun, alone, took.gate_checks, took.dropped, landed, tuple(wrong))


def _alone(home: Path, clone: Path, run_id: str, sha: str) -> float:
    """Seconds of one check with nothing beside it."""
    took = []
    for _ in range(ALONE):
        began = time.monotonic()
        green, words = asyncio.run(gate_again(home, clone, run_id, sha))
        took.append(time.monotonic() - began)
        if not green:
            raise SystemExit(f"the result fails its own checks: {words}")
    return statistics.median(took)


def _span(ran: Ran) -> tuple[float, float, int]:
    """When the first check began and the last change landed, seconds since the epoch; how many steps there were."""
    begun, ended, steps = [], [], set()
    for record in ran.events:
        match record["event"]["kind"]:
            case "gate.check.started":
                begun.append(float(record["at"]))
            case "change.landed":
                ended.append(float(record["at"]))
            case "landing.intended":
                steps.add(record["event"]["new"])
    return min(begun), max(ended), len(steps)


def critical(graph: Sequence[frozenset[int]], check: float, parallel: int) -> float:
    """The shortest that the gate could take: the longest chain, or all checks shared by what can run at once."""
    return max(depth(graph) * check, len(graph) * check / min(parallel, os.cpu_count() or 1))


def figures(name: str, source: Path | None, number: int, parallel: int) -> tuple[list[Figure], bool]:
    """The rows of one repository, and whether it failed; one that is not there did not."""
    title = f"gate: {number} commits of {name} with its own tests, {parallel} checks at once"
    if source is None or not source.is_dir():
        return [Figure(title, "s", None, note="no clone below BENCH_DATA")], False
    with tempfile.TemporaryDirectory(prefix="quarterdeck-gate-") as folder:
        try:
            done = pass_through(source, Path(folder), CHECKS[name], number, parallel)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - its row says it, and the others are still run
            why = " ".join(str(error).split())[:500]
            return [Figure(title, "s", None, note=f"failed: {why or type(error).__name__}")], True
        finally:
            Ground(Path(folder) / "home").destroy()
    peers = {
        "one check for each, one after the other": round(len(done.graph) * done.check, 2),
        "critical path": round(critical(done.graph, done.check, parallel), 2),
    }
    note = (
        f"chain of {depth(done.graph)}; {done.started} checks ({done.dropped} dropped) of {done.check:.2f} s alone;"
        f" {done.steps} landings; whole run {done.ran.wall:.0f} s;"
        f" {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    )
    rows = [Figure(f"{title}: first check to last landing", "s", round(done.gate, 2), peers, note=note)]
    wrong = "; ".join(done.wrong)
    rows.append(Figure(f"{title}: what is wrong", "", float(len(done.wrong)), note=wrong[:500] or "nothing"))
    return rows, bool(wrong)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--repositories", nargs="+", default=["boltons"], choices=sorted(CHECKS), metavar="NAME")
    parser.add_argument("--commits", type=int, default=COMMITS)
    parser.add_argument("--parallel", type=int, default=PARALLEL, help="checks at the same time")
    chosen = parser.parse_args()
    data = os.environ.get("BENCH_DATA")
    failed = False
    for name in chosen.repositories:
        rows, wrong = figures(name, Path(data) / name if data else None, chosen.commits, chosen.parallel)
        show(rows)
        failed = failed or wrong
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
