"""Durable records: CPU and rate of the journal at 1, 50 and 1,000 agents beside LangGraph's SQLite saver and DBOS.

usage: python -m bench.bench_records [--rounds N]

Rules
- A record has a body of 1.1 KB and is on disk before its agent goes on, in every peer (synchronous=FULL).
- What begins and ends an agent's work (a graph, a workflow, a stream) does not count in any peer, nor do the first
  records of a first agent before all others, which load what is loaded late.
- Ours are the four records of an agent's step, in turn, with all that the journal does for each.
- CPU is the writing process's own, all threads, user and system; the peers take turns, and medians are taken. With
  1,000 agents there is one round, of 4,000 records a peer.
- Each peer has its cheapest form, and the form it ships or is used in: DBOS with a write-ahead log and as shipped (a
  rollback journal), LangGraph with a state of one record and with a state that keeps all records.
- SQLite alone, with one row and one commit a record, shows what waiting for the disk costs: nobody can be below it who
  commits each record of one agent by itself.
"""

import argparse
import statistics

from bench import peers
from bench.figures import Figure, Target, show

LOADS = ((1, 100, True), (50, 8, True), (1000, 4, False))
"""(agents at the same time, records of each: whole steps of ours, whether it is measured more than once)."""

VARIANTS = (
    ("quarterdeck", ""),
    ("dbos", ""),
    ("dbos", "wal"),
    ("langgraph", ""),
    ("langgraph", "transcript"),
)
FORMS = {("langgraph", ""): "state of one record", ("langgraph", "transcript"): "state keeps all"}
TARGET = Target("ratio", 0.02)


def measured(agents: int, records: int, rounds: int) -> dict[str, tuple[float, float]]:
    """(CPU microseconds a record, records a second) by name, version and form."""
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for peer, variant in VARIANTS:
            options = ("--agents", str(agents), "--records", str(records), "--variant", variant)
            one = peers.run(peer, "records", *options)
            form = FORMS.get((peer, variant))
            name = one["version"] + (f", {form}" if form else "")
            found.setdefault(name, []).append((one["cpu_us"], one["per_second"]))
    return {
        name: (statistics.median(cpu for cpu, _ in pairs), statistics.median(rate for _, rate in pairs))
        for name, pairs in found.items()
    }


def figures(agents: int, records: int, rounds: int) -> list[Figure]:
    by_name = measured(agents, records, rounds)
    ours = next(name for name in by_name if name.startswith(peers.OURS))
    others = {name: value for name, value in by_name.items() if name != ours}
    with_agents = f"{agents} agent{'s' if agents > 1 else ''}"
    cpu = Figure(
        name=f"(a) CPU per durable record, {with_agents}",
        unit="us",
        ours=round(by_name[ours][0], 1),
        peers={name: round(value[0], 1) for name, value in others.items()},
        target=TARGET,
    )
    rate = Figure(
        name=f"(a) durable records per second, {with_agents}",
        unit="records/s",
        ours=round(by_name[ours][1], 1),
        peers={name: round(value[1], 1) for name, value in others.items()},
        note="more is better; wall time, so it follows the load of the machine",
    )
    return [cpu, rate]


def floor(rounds: int) -> Figure:
    """One agent beside SQLite alone."""
    alone: list[float] = []
    ours: list[float] = []
    version = ""
    for _ in range(rounds):
        one = peers.run(peers.OURS, "records", "--records", "400", "--variant", "sqlite")
        version = one["version"]
        alone.append(one["cpu_us"])
        ours.append(peers.run(peers.OURS, "records", "--agents", "1", "--records", "400")["cpu_us"])
    return Figure(
        name="(a) CPU per durable record, 1 agent, beside SQLite alone",
        unit="us",
        ours=round(statistics.median(ours), 1),
        peers={f"{version}, one commit a record": round(statistics.median(alone), 1)},
        note="what a commit that waits for the disk costs without anything around it",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for agents, records, again in LOADS:
        show(figures(agents, records, rounds if again else 1))
    show([floor(rounds)])


if __name__ == "__main__":
    main()
