"""Memory of an agent that waits for its model, time to import the package, time until `quarterdeck --help` has spoken.

usage: python -m bench.bench_footprint [--rounds N]

Rules
- Memory: 200 agents in one process, each five tool calls into its work, wait for a model that does not answer; what the
  process grew by since the first conversation ended, divided by 200. Our own counts the host's side of its sandbox too;
  the worker inside the sandbox is a process of its own and is named apart (what processes share counts once).
- Times are what a person waits for a fresh process, less an empty one's where a module is imported; medians, since the
  rest of the machine is in them. The best and the CPU are named beside. Bytecode is there, as after the first start.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.figures import Figure, Target, show

AGENTS = 200
PEERS = ("sdk", "agent-framework", "langgraph", "openai-agents", "pydantic-ai")
MODULES = ("quarterdeck", "quarterdeck.cli.main")


def memory() -> list[Figure]:
    """Kilobytes of an agent, and of its sandbox's worker."""
    others: dict[str, float] = {}
    with peers.scripted() as url:
        options = ("--url", url, "--agents", str(AGENTS), "--hold")
        ours = peers.run(peers.OURS, "steps", *options)
        for peer in PEERS:
            one = peers.run(peer, "steps", *options)
            others[one["version"]] = round(one["bytes"] / 1000, 1)
    agent = (ours["bytes"] + ours["sandbox_bytes"]) / 1000
    note = (
        f"{ours['bytes'] / 1000:.0f} KB the agent, {ours['sandbox_bytes'] / 1000:.0f} KB the host's side of its sandbox"
    )
    return [
        Figure("(c) memory per concurrent agent", "KB", round(agent, 1), others, Target("ours", 250.0), note),
        Figure(
            "(c) memory per sandbox, its processes",
            "KB",
            round(ours["worker_bytes"] / 1000, 1),
            note="the worker, an interpreter of its own, and bubblewrap; shared pages count once",
        ),
    ]


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds of one command."""

    wall: float
    cpu: float
    """With what it started."""


NOTHING = Took(0.0, 0.0)


def took(command: Sequence[str]) -> Took:
    """What a command took until it had ended."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(wall * 1000, cpu * 1000)


def waited(name: str, many: Sequence[Took], most: float, empty: Sequence[Took] = (NOTHING,), more: str = "") -> Figure:
    """The median time that a person waits, less `empty`'s. `most`: its target, milliseconds."""
    start = statistics.median(one.wall for one in empty)
    wall, best = statistics.median(one.wall for one in many) - start, min(one.wall for one in many) - start
    cpu = statistics.median(one.cpu for one in many) - statistics.median(one.cpu for one in empty)
    note = f"wall, median of {len(many)}; best {max(0.0, best):.0f}; CPU {cpu:.0f}{more}; load {os.getloadavg()[0]:.1f}"
    return Figure(name, "ms", round(max(0.0, wall), 1), target=Target("ours", most), note=note)


def times(rounds: int) -> list[Figure]:
    """Milliseconds to import, and until help has spoken."""
    found: dict[str, list[Took]] = {name: [] for name in ("", *MODULES, "--help")}
    command = str(Path(sys.executable).parent / "quarterdeck")
    for _ in range(rounds):
        found[""].append(took([sys.executable, "-c", "pass"]))
        for module in MODULES:
            found[module].append(took([sys.executable, "-c", f"import {module}"]))
        found["--help"].append(took([command, "--help"]))
    empty = found[""]
    imports = [waited(f"(c) import {name}", found[name], 150.0, empty) for name in MODULES]
    more = f"; the interpreter's own start ({statistics.median(one.wall for one in empty):.0f}) included"
    return [*imports, waited("(c) quarterdeck --help", found["--help"], 500.0, more=more)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    show(times(rounds))
    show(memory())


if __name__ == "__main__":
    main()
