"""Real features of one code base, two at a time: how many pairs the gate integrates without asking a model.

usage: BENCH_DATA=DIR python -m bench.bench_cooperbench [--tasks NAME ...] [--every] [--parallel N] [--list FILE]

Rules
- The data: `$BENCH_DATA/cooperbench` (a checkout of the public repository) and clones in `$BENCH_DATA/repos` or beside.
- The reference patches are the agents' work. A pair counts when each of its patches passes its own tests alone here.
- A pair is integrated when some way's tree passes the tests of both features; ways are tried in the gate's order.
  No model is called. Trees to which `objections` has something to say do not count.
- Beside it: the share that git's merge alone integrates, git's then union, and git's then entity.
- Two tasks were looked at while the merge was made, with all their pairs; of the others the pairs are those of the
  data's own subset `lite` (`--every`: all of them), and the row over them alone is the figure to be trusted.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final

from bench.figures import Figure, Target, show
from bench.paired_features import DEVELOPED_ON, PLACES, Pair, Scratch, Task
from bench.paired_judging import Judge
from quarterdeck.merge.values import ORDER, Way

TARGET: Final = Target("ours", 28.0)
KEPT: Final = Path(__file__).parent.parent / "build" / "cooperbench"
FEWEST: Final = 60
"""Pairs that a figure needs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One pair that counts."""

    task: str
    pair: tuple[int, int]
    passed: tuple[Way, ...]
    """The ways whose trees pass both features' tests, as far as they were tried."""
    lost: dict[str, str]

    @property
    def won(self) -> Way | None:
        return next((way for way in ORDER if way in self.passed), None)


def lite(data: Path) -> dict[str, list[tuple[int, int]]]:
    """The pairs of the data's own small subset, by task."""
    subset = json.loads((data / "cooperbench" / "dataset" / "subsets" / "lite.json").read_text())
    return {
        f"{task['repo']}/task{task['task_id']}": [(pair[0], pair[1]) for pair in task["pairs"]]
        for task in subset["tasks"]
    }


def measure(
    name: str, data: Path, parallel: int, wanted: Sequence[tuple[int, int]] | None = None, kept: Path = KEPT
) -> tuple[list[Outcome], int]:
    """The pairs of one task that count, and how many were looked at.

    `wanted`: None = every pair. `kept`: where environments and verdicts stay.
    """
    place = PLACES[name]
    clone = next(path for path in (data / "repos" / place.repository, data / place.repository) if path.is_dir())
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="quarterdeck-pairs-") as folder:
        task = Task(name, data / "cooperbench" / "dataset" / name, Scratch(clone, Path(folder) / "git"))
        judge = Judge(task, kept)
        judge.prepare()
        with closing(judge), ThreadPoolExecutor(parallel) as pool:
            chosen = list(combinations(task.features, 2)) if wanted is None else list(wanted)
            features = sorted({feature for pair in chosen for feature in pair})
            commits = pool.map(lambda feature: _alone(task, judge, feature), features)
            sides = {feature: side for feature, side in zip(features, commits, strict=True) if side}
            pairs = [pair for pair in chosen if set(pair) <= sides.keys()]
            outcomes = list(pool.map(lambda pair: _pair(task, judge, sides, pair), pairs))
    return outcomes, len(chosen)


def _alone(task: Task, judge: Judge, feature: int) -> str:
    """The commit of a feature that passes its own tests; empty = it does not."""
    try:
        commit = task.side(feature)
    except RuntimeError as error:
        sys.stderr.write(f"  {task.name} {feature}: {error}\n")
        return ""
    return commit if judge.passes(commit, feature) else ""


def _pair(task: Task, judge: Judge, sides: dict[int, str], pair: tuple[int, int]) -> Outcome:
    passed: list[Way] = []
    lost: dict[str, str] = {}
    seen: dict[str, bool] = {}
    merge = Pair(task.scratch, task.base, sides[pair[0]], sides[pair[1]])
    for way in ORDER:
        if passed and (passed[0] is Way.GIT or way is not Way.UNION):
            continue  # the gate would not ask; union after a conflict is judged for the comparison
        found = merge.candidate(way)
        if found.tree is None:
            lost[way] = found.lost
            continue
        if found.tree not in seen:
            seen[found.tree] = all(judge.passes(found.tree, feature) for feature in pair)
        if seen[found.tree]:
            passed.append(way)
        else:
            lost[way] = "a test fails"
    return Outcome(task.name, pair, tuple(passed), lost)


def figures(title: str, outcomes: Sequence[Outcome], every: int, target: Target | None) -> list[Figure]:
    """Shares of the pairs that count, in percent."""
    count = len(outcomes)
    if not count:
        return [Figure(title, "% of pairs", None, target=target, note="no pair counts")]

    def left(*ways: Way) -> float:
        return round(100 * sum(not set(ways) & set(outcome.passed) for outcome in outcomes) / count, 1)

    peers = {
        "git's merge": left(Way.GIT),
        "git's merge, then union": left(Way.GIT, Way.UNION),
        "git's merge, then entity": left(Way.GIT, Way.ENTITY),
    }
    won = {way.value: sum(outcome.won is way for outcome in outcomes) for way in ORDER}
    note = f"{count} of {every} pairs count; integrated {100 - left(*ORDER):.1f}%; won by " + ", ".join(
        f"{way} {number}" for way, number in won.items() if number
    )
    if count < FEWEST:
        target, note = None, f"{note}; fewer than {FEWEST} pairs"
    return [Figure(title, "% of pairs left over", left(*ORDER), peers, target, note)]


def listed(outcomes: Sequence[Outcome]) -> str:
    """The pairs that count, with what came of them, as lines of JSON."""
    return "".join(
        json.dumps(
            {
                "task": outcome.task,
                "pair": list(outcome.pair),
                "won": outcome.won,
                "passed": list(outcome.passed),
            }
        )
        + "\n"
        for outcome in outcomes
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--tasks", nargs="+", default=list(PLACES), choices=list(PLACES), metavar="NAME")
    parser.add_argument("--every", action="store_true", help="every pair, also of the tasks not developed on")
    parser.add_argument("--parallel", type=int, default=2, help="tests at the same time")
    parser.add_argument("--list", type=Path, help="where the pairs are written")
    parser.add_argument("--why", action="store_true", help="say why each way of a pair that is left over was lost")
    chosen = parser.parse_args()
    data = Path(os.environ["BENCH_DATA"]) if os.environ.get("BENCH_DATA") else None
    title = "(i) pairs of real features not integrated without a model"
    if data is None or not (data / "cooperbench" / "dataset").is_dir():
        show([Figure(title, "% of pairs left over", None, target=TARGET, note="no `cooperbench` below BENCH_DATA")])
        return
    subset = {} if chosen.every else {name: found for name, found in lite(data).items() if name not in DEVELOPED_ON}
    outcomes: list[Outcome] = []
    unseen: list[Outcome] = []
    every = fresh = 0
    for name in chosen.tasks:
        found, pairs = measure(name, data, chosen.parallel, subset.get(name))
        show(figures(f"(i) {name}", found, pairs, None))
        outcomes += found
        every += pairs
        if name not in DEVELOPED_ON:
            unseen += found
            fresh += pairs
        for outcome in found if chosen.why else ():
            if outcome.won is None:
                sys.stderr.write(f"  {outcome.pair}: {outcome.lost}\n")
    show(figures(title, outcomes, every, TARGET))
    if unseen:
        show(figures(f"{title}, tasks not developed on", unseen, fresh, TARGET))
    if chosen.list:
        chosen.list.write_text(listed(outcomes))


if __name__ == "__main__":
    main()
