"""Many agents at once on PostgreSQL: what they get done beside what their model's latency allows, what one costs, how
soon a dead worker's agents go on, and what more workers bring.

usage: python -m bench.bench_fleet [--only crowds takeover scaling] [--agents N ...] [--scale X]

Rules
- The ideal is agents / latency: as if nothing but the model took time. Everything else (the journal, purses, policy,
  tools in a sandbox, PostgreSQL, and the model's own process) happens on the same cores.
- The latency of a crowd is what these cores can answer: 1,000 agents whose steps take 10 s are 100 steps a second, and
  10,000 whose steps take 80 s are 125. Agents are let in over one latency; the next ones are measured.
- Crowds and scaling: `fleet_worker`. Takeover: `fleet_takeover`, with the shipped command, sandboxes and a remote.
- `--scale` makes everything smaller by that factor, to try whether it works.
"""

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.figures import Figure, Target, show
from bench.fleet_load import Crowd, Span, crowd
from bench.fleet_takeover import Taken, takeover
from quarterdeck.assembly.descriptors import as_many_as_allowed
from quarterdeck.testing.postgres_server import Server, start

PARTS: Final = ("crowds", "takeover", "scaling")
SETTINGS: Final = {"shared_buffers": "128MB"}
"""PostgreSQL's own default."""


@dataclass(frozen=True, slots=True)
class Load:
    """One crowd. Times in seconds."""

    agents: int
    latency: float
    rounds: int
    """Answers of each agent that are measured."""
    workers: int = 2
    most: float | None = None
    """What may be lost of the ideal, percent."""

    @property
    def ideal(self) -> float:
        """Steps a second."""
        return self.agents / self.latency


LOADS: Final = (Load(1_000, 10.0, 4, most=10.0), Load(10_000, 80.0, 1))
_SCALING: Final = (1, 2, 4)
_CAPACITY, _LATENCY, _ROUNDS = 100, 5.0, 2
"""Of a worker in the scaling; an answer's time; answers of each agent that are measured."""
_TAKEOVER: Final = 3.0
_AGENTS: Final = 16
_KILLS: Final = 3
"""A kill may come right after a heartbeat, or right before the next one."""


async def measured(server: Server, load: Load) -> Span:
    """Let the crowd in, and watch it."""
    async with crowd(server, load.latency) as made:
        await made.order(load.agents)
        await made.hire(load.workers, -(-load.agents // load.workers))
        await made.let_in(load.latency)
        await made.all_at_work(load.agents)
        return await made.watch(load.latency * load.rounds, load.agents)


def crowd_figures(load: Load, span: Span) -> list[Figure]:
    """Its rows."""
    who = f"(q) {load.agents:,} agents at once"
    lost = (1 - span.steps_a_second / load.ideal) * 100
    cores = ", ".join(
        f"{name} {seconds / span.seconds:.2f}"
        for name, seconds in (("workers", span.workers_cpu), ("PostgreSQL", span.server_cpu), ("model", span.model_cpu))
    )
    pace = (
        f"{span.steps_a_second:.1f} of {load.ideal:g} steps/s over {span.seconds:.0f} s, {load.latency:g} s an answer"
    )
    workers = f"{load.workers} worker processes"
    return [
        Figure(
            f"{who}: lost of the ideal",
            "%",
            round(lost, 2),
            target=None if load.most is None else Target("ours", load.most),
            note=f"{pace}; cores in use: {cores}",
        ),
        Figure(f"{who}: memory per agent", "KB", round(span.memory / 1000, 1), note=f"what {workers} grew by"),
        Figure(f"{who}: connections to PostgreSQL", "connections", span.connections, note=workers),
        Figure(f"{who}: connections to the model", "connections", span.to_model),
        Figure(
            f"{who}: durable records",
            "records/s",
            round(span.records / span.seconds, 1),
            note=f"{span.records / max(1, span.steps):.1f} a step",
        ),
        Figure(
            f"{who}: CPU of the workers per step",
            "ms",
            round(span.cpu_ms(span.workers_cpu), 2),
            note=f"with the sandbox; of PostgreSQL {span.cpu_ms(span.server_cpu):.2f}, "
            f"of the model's server {span.cpu_ms(span.model_cpu):.2f}",
        ),
    ]


async def scaled(server: Server, capacity: int) -> list[Span]:
    """What 1, 2 and 4 workers with so many places each get done, one after the other on the same deck."""
    async with crowd(server, _LATENCY) as made:
        await made.order(capacity * _SCALING[-1])
        await made.hire(1, capacity)
        await made.let_in(0.0)
        return [await _with(made, count, capacity) for count in _SCALING]


async def _with(made: Crowd, count: int, capacity: int) -> Span:
    await made.hire(count - len(made.workers), capacity)
    await made.all_at_work(count * capacity)
    await asyncio.sleep(_LATENCY)
    return await made.watch(_LATENCY * _ROUNDS, count * capacity)


def scaling_figures(spans: Sequence[Span], capacity: int) -> list[Figure]:
    """The rows of the scaling."""
    one = spans[0].steps_a_second
    rows = []
    for count, span in zip(_SCALING, spans, strict=True):
        cores = (span.workers_cpu + span.server_cpu + span.model_cpu) / span.seconds
        note = f"{span.steps_a_second / one:.2f} x one worker; ideal {capacity * count / _LATENCY:g}; {cores:.2f} cores"
        name = f"(q) {count} worker{'s' if count > 1 else ''} of {capacity} places"
        rows.append(Figure(name, "steps/s", round(span.steps_a_second, 1), note=f"{note}, all processes"))
    return rows


def takeover_figures(kills: Sequence[Taken]) -> list[Figure]:
    """The rows of the takeover: what is promised, of the slowest kill; the rest, of the middle one."""
    who = f"(q) takeover after SIGKILL, set to {_TAKEOVER:g} s"
    attempts = sum(len(taken.recorded) for taken in kills)
    about = f"{attempts} attempts in {len(kills)} kills of one of two `quarterdeck worker`, with sandboxes"

    def row(what: str, times: Sequence[float], most: float | None = None) -> Figure:
        target = None if most is None else Target("ours", most)
        note = f"{about}; from {min(times):.2f} to {max(times):.2f}"
        return Figure(f"{who}: {what}", "s", round(statistics.median(times), 2), target=target, note=note)

    held = max(taken.last_held for taken in kills)
    return [
        Figure(f"{who}: in the other one's hands, last attempt of all", "s", round(held, 2), target=Target("ours", 3)),
        row("first new record, median attempt", [taken.median for taken in kills]),
        row("first new record, last attempt", [taken.last for taken in kills], 3.5),
        row("next step begun, last attempt", [taken.last_step for taken in kills]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--agents", nargs="+", type=int, default=[], help="only these crowds")
    parser.add_argument("--scale", type=float, default=1.0)
    chosen = parser.parse_args()
    as_many_as_allowed()
    server = start(durable=True, settings=SETTINGS)
    try:
        if "crowds" in chosen.only:
            for load in LOADS:
                if not chosen.agents or load.agents in chosen.agents:
                    smaller = Load(max(2, round(load.agents * chosen.scale)), load.latency, load.rounds, most=load.most)
                    show(crowd_figures(smaller, asyncio.run(measured(server, smaller))))
        if "scaling" in chosen.only:
            capacity = max(1, round(_CAPACITY * chosen.scale))
            show(scaling_figures(asyncio.run(scaled(server, capacity)), capacity))
        if "takeover" in chosen.only:
            agents = max(4, round(_AGENTS * chosen.scale))
            show(takeover_figures([takeover(server, agents, _TAKEOVER) for _ in range(_KILLS)]))
    finally:
        server.stop()
    sys.stderr.flush()


if __name__ == "__main__":
    main()
