"""`python -m fuzz`: the targets; `python -m fuzz TARGET`: search for bugs in one of them.

Rules
- Without a target the names are listed, one a line, for a loop of the shell.
- The corpus is kept below `build/fuzz`, so that the next search goes on where this one ended.
- A bug ends the search with an exit code that is not 0.
- `--each FILE` searches in many targets: FILE is JSON, how many inputs each gets. A line for each: its name, its exit
  code.
"""

import argparse
import json
import sys
from pathlib import Path

from fuzz import engine


def main() -> int:
    """The command line; returns the exit code where no search takes the process over."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Coverage-guided fuzzing of our parsers.")
    parser.add_argument("target", nargs="?", choices=engine.TARGETS)
    parser.add_argument("inputs", nargs="*", type=Path, help="feed these files only, without any search")
    parser.add_argument("--seconds", type=int, default=60, help="how long to search")
    parser.add_argument("--runs", type=int, help="search for so many inputs instead")
    parser.add_argument("--seed", type=int, default=0, help="0 = another search every time")
    parser.add_argument("--folder", type=Path, default=Path("build/fuzz"), help="where corpus and findings are kept")
    parser.add_argument("--each", type=Path, help="search in the targets that this file names")
    asked = parser.parse_args()
    if asked.each is not None:
        runs = json.loads(asked.each.read_text(encoding="utf-8"))
        for name, code in engine.search_each(runs, asked.folder, (f"-seed={asked.seed}",)):
            print(name, code, flush=True)
        return 0
    if asked.target is None:
        print(*engine.TARGETS, sep="\n")
        return 0
    if asked.inputs:
        engine.replay(asked.target, asked.inputs)
        return 0
    reason = engine.missing()
    if reason is not None:
        print(f"Nothing is fuzzed: {reason}.", file=sys.stderr)
        return 2
    limit = f"-max_total_time={asked.seconds}" if asked.runs is None else f"-runs={asked.runs}"
    engine.search(asked.target, asked.folder / asked.target, (limit, f"-seed={asked.seed}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
