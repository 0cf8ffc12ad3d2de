"""CPU of a native agent's step, with its durable records and its sandboxed tool call, beside loops that have neither.

usage: python -m bench.bench_steps [--rounds N]

Rules
- The same scripted model over loopback in a process of its own, no latency, eleven calls a conversation with ten tool
  calls; one conversation after the other, and 100 at once. The peers take turns, and medians are taken.
- Ours counts twice: the agent's process alone, and with the workers inside the sandboxes. The second is judged.
- The peers record nothing and isolate nothing; that is what their numbers are without.
"""

import argparse
import statistics

from bench import peers
from bench.figures import Figure, Target, show

LOADS = (("one after the other", 10, ()), ("100 at once", 100, ("--together",)))
SDK = ("sdk", "")
FRAMEWORKS = (("agent-framework", ""), ("langgraph", ""), ("openai-agents", ""), ("pydantic-ai", ""))
VARIANTS = (("quarterdeck", ""), SDK, ("sdk", "stream"), *FRAMEWORKS)


def measured(
    url: str, agents: int, more: tuple[str, ...], rounds: int
) -> dict[tuple[str, str], tuple[str, float, float]]:
    """(version, CPU ms a model call in the agent's process, the same in sandboxes) by peer and variant."""
    found: dict[tuple[str, str], list[tuple[str, float, float]]] = {}
    for _ in range(rounds):
        for key in VARIANTS:
            options = ("--url", url, "--agents", str(agents), "--variant", key[1], *more)
            one = peers.run(key[0], "steps", *options)
            found.setdefault(key, []).append((one["version"], one["cpu_ms"], one.get("inside_ms", 0.0)))
    return {
        key: (rows[0][0], statistics.median(row[1] for row in rows), statistics.median(row[2] for row in rows))
        for key, rows in found.items()
    }


def figures(url: str, load: str, agents: int, more: tuple[str, ...], rounds: int) -> list[Figure]:
    found = measured(url, agents, more, rounds)
    _, alone, inside = found["quarterdeck", ""]
    whole = round(alone + inside, 3)
    note = f"{alone:.2f} ms in the agent's process, {inside:.2f} ms in its sandbox's worker"
    loops = {
        f"{found[key][0]}, bare loop{', streamed' if key[1] else ''}": round(found[key][1], 3)
        for key in (SDK, ("sdk", "stream"))
    }
    frameworks = {found[key][0]: round(found[key][1], 3) for key in FRAMEWORKS}
    return [
        Figure(f"(b) CPU per step beside the bare loop, {load}", "ms", whole, loops, Target("ratio", 1.5), note),
        Figure(f"(b) CPU per step beside frameworks, {load}", "ms", whole, frameworks, Target("ratio", 1.0), note),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with peers.scripted() as url:
        for load, agents, more in LOADS:
            show(figures(url, load, agents, more, rounds))


if __name__ == "__main__":
    main()
