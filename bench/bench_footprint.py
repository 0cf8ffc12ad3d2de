"""Memory of an agent that waits for its model, time to import the package, time until `quarterdeck --help` has spoken.

usage: python -m bench.bench_footprint [--rounds N]

Rules
- Memory: 200 agents in one process, each five tool calls into its work, wait for a model that does not answer; what the
  process grew by since the first conversation ended, divided by 200. Our own counts the host's side of its sandbox too;
  the worker inside the sandbox is a process of its own and is named apart (what processes share counts once).
- Times are CPU seconds of a fresh process, less those of an empty one where a module is imported; medians. Bytecode is
  there, as after the first start.
"""

import argparse
import resource
import statistics
import subprocess
import sys
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


def seconds(command: list[str]) -> float:
    """CPU seconds of a command and what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def times(rounds: int) -> list[Figure]:
    """Milliseconds to import, and until help has spoken."""
    found: dict[str, list[float]] = {name: [] for name in ("", *MODULES, "--help")}
    command = str(Path(sys.executable).parent / "quarterdeck")
    for _ in range(rounds):
        found[""].append(seconds([sys.executable, "-c", "pass"]))
        for module in MODULES:
            found[module].append(seconds([sys.executable, "-c", f"import {module}"]))
        found["--help"].append(seconds([command, "--help"]))
    middle = {name: statistics.median(values) * 1000 for name, values in found.items()}
    imports = [
        Figure(
            f"(c) import {name}", "ms", round(middle[name] - middle[""], 1), target=Target("ours", 150.0), note="CPU"
        )
        for name in MODULES
    ]
    note = f"CPU, the interpreter's own start ({middle['']:.0f} ms) included"
    helped = Figure("(c) quarterdeck --help", "ms", round(middle["--help"], 1), target=Target("ours", 500.0), note=note)
    return [*imports, helped]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    show(times(rounds))
    show(memory())


if __name__ == "__main__":
    main()
