"""Durable records on PostgreSQL: CPU and rate of the journal beside LangGraph's PostgreSQL saver and DBOS.

usage: python -m bench.bench_postgres [--rounds N]

Rules
- As in `bench_records`: the same records, the same loads, and every record is durable before its agent goes on. All
  peers use one server, which waits for the disk at each commit; each measurement has a fresh database.
- CPU of the worker is the writing process's own; the server's is that of all its processes together, over the whole run
  of the peer's script: setting up counts there, for everybody.
- The server is PostgreSQL of the package that the tests use, as it is set up there, but durable.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

from bench import peers
from bench.figures import Figure, Target, show
from quarterdeck.testing.postgres_server import Server, start

LOADS = ((1, 100, True), (50, 8, True), (1000, 4, False))
"""(agents at the same time, records of each, whether it is measured more than once)."""
VARIANTS = (("quarterdeck", ""), ("dbos", ""), ("langgraph", ""), ("langgraph", "transcript"))
FORMS = {("langgraph", ""): "state of one record", ("langgraph", "transcript"): "state keeps all"}
SCHEMES = {"dbos": "postgresql+psycopg"}
TARGET = Target("ratio", 0.05)

_TICK = os.sysconf("SC_CLK_TCK")


def served(server: Server) -> float:
    """CPU seconds that the server has used so far: its first process, and all that have ended or are its children."""
    return sum(_used(pid) for pid in (server.pid, *_children(server.pid)))


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _used(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):  # it has ended: its parent has its time
        return 0.0
    return sum(int(field) for field in fields[11:15]) / _TICK  # its own and of its children that have ended


def measured(server: Server, agents: int, records: int, rounds: int) -> dict[str, tuple[float, float, float]]:
    """(CPU of the worker, CPU of the server: microseconds a record; records a second) by name, version and form."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for peer, variant in VARIANTS:
            name = server.create()
            url = server.url(name).replace("postgresql", SCHEMES.get(peer, "postgresql"), 1)
            before = served(server)
            options = ("--agents", str(agents), "--records", str(records), "--variant", variant, "--url", url)
            one = peers.run(peer, "records", *options)
            theirs = (served(server) - before) / (agents * records) * 1e6
            server.drop(name)
            form = FORMS.get((peer, variant))
            called = one["version"] + (f", {form}" if form else "")
            found.setdefault(called, []).append((one["cpu_us"], theirs, one["per_second"]))
    return {
        name: (
            statistics.median(one[0] for one in many),
            statistics.median(one[1] for one in many),
            statistics.median(one[2] for one in many),
        )
        for name, many in found.items()
    }


def figures(server: Server, agents: int, records: int, rounds: int) -> list[Figure]:
    by_name = measured(server, agents, records, rounds)
    ours = next(name for name in by_name if name.startswith(peers.OURS))
    others = {name: value for name, value in by_name.items() if name != ours}
    with_agents = f"{agents} agent{'s' if agents > 1 else ''}"
    notes = ("", "with setting up: tables, connections", "more is better; wall time, so it follows the machine's load")
    kinds = ("(p) CPU of the worker per durable record on PostgreSQL", "(p) CPU of the server per durable record",
             "(p) durable records per second on PostgreSQL")  # fmt: skip
    return [
        Figure(
            name=f"{kind}, {with_agents}",
            unit="records/s" if place == 2 else "us",
            ours=round(by_name[ours][place], 1),
            peers={name: round(value[place], 1) for name, value in others.items()},
            target=TARGET if place == 0 else None,
            note=notes[place],
        )
        for place, kind in enumerate(kinds)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--agents", type=int, default=0, help="only this load")
    options = parser.parse_args()
    server = start(durable=True)
    try:
        for agents, records, again in LOADS:
            if options.agents in (0, agents):
                show(figures(server, agents, records, options.rounds if again else 1))
    finally:
        server.stop()
    sys.stderr.flush()


if __name__ == "__main__":
    main()
