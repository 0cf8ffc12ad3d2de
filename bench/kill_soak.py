"""Kills a deck at random moments of runs with many attempts, for as long as one likes, and judges every run.

Rules
- Real processes, real sandboxes, a scripted model over loopback. Every attempt of a command agent takes a second.
- It ends with 1 if anything was lost, repeated, merged twice, left behind or changed in the journal.

Usage: python -m bench.kill_soak [--kills 500] [--seed 1] [--tasks 20] [--natives 4] [--parallel 8] [--trees]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from quarterdeck.testing.chaos.campaign import campaign
from quarterdeck.testing.chaos.processes import model_server
from quarterdeck.testing.chaos.scene import Size, make_scene


def main(argv: list[str] | None = None) -> int:
    """Run the soak; 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="kill_soak", description="Kill a deck again and again.")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tasks", type=int, default=20, help="tasks of command agents in a run")
    parser.add_argument("--natives", type=int, default=4, help="tasks of native agents in a run")
    parser.add_argument("--parallel", type=int, default=8, help="attempts at the same time")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a command agent works")
    parser.add_argument(
        "--trees",
        action="store_true",
        help="some kills take every process below along, as the loss of the machine does",
    )
    parser.add_argument("--keep", type=Path, help="work here and leave everything, to look at it")
    options = parser.parse_args(argv)
    chained = options.tasks // 3
    size = Size(
        commands=options.tasks - chained,
        chained=chained,
        natives=options.natives,
        seconds=options.seconds,
        parallel=options.parallel,
    )
    with tempfile.TemporaryDirectory(prefix="kill-soak-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scene = make_scene(folder, size)
        try:
            with model_server(scene) as model:
                tally = campaign(
                    scene, kills=options.kills, seed=options.seed, model_url=model.url, trees=options.trees, say=_say
                )
        finally:
            if options.keep is None:
                scene.ground.destroy()
    for violation in tally.violations:
        _say(f"VIOLATION {violation}")
    agents, calls, tools = (sum(getattr(each, name) for each in tally.redone) for name in ("agents", "calls", "tools"))
    print(
        f"{tally.kills} kills over {tally.runs} runs with {tally.attempts} attempts in {tally.seconds:.0f} s; "
        f"cut off and done again: {agents} command agents, {calls} model calls, {tools} tool calls; "
        f"{model.requests} model requests for {tally.model_calls} answers; {len(tally.violations)} violations"
    )
    return 1 if tally.violations else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
