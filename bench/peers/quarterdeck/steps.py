"""Our own native loop: durable records in a journal that waits for the disk, each tool call in a sandbox.

Rules
- The parts are the deck's own, wired as `assembly` does: budget, policy, action gate, journal with full durability, one
  sandbox an agent. Sandboxes are started before and ended after what is measured.
- The workers inside the sandboxes are processes of their own; what they use is counted too, and told apart.
"""

import argparse
import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import measuring

from quarterdeck.agents.native import NativeHarness
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.ports import Ports
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import DayCaps, chain_of, run_purse
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.journal.log import Log
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, ModelSection, Price, RunConfig
from quarterdeck.kernel.entities import Agent, Task
from quarterdeck.kernel.events import Outcome
from quarterdeck.models.factory import make_factory
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.tools import files
from quarterdeck.tools.port import Surroundings, ToolResult
from quarterdeck.tools.toolbox import Toolbox
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Provider, Sandbox, Spec

MODEL = "chat:scripted"
DAYS = DayCaps(user=1e6, deck=1e6)
RUN = "r-bench"
AGENT = Agent(name="implementer", prompt=measuring.PROMPT, tools=("read",))
TASK = Task(id="read", title="Read", instructions=measuring.TASK, paths=("**",), verify=("true",))
CONFIG = RunConfig(
    deck=DeckConfig(
        tiers={"hands": (MODEL,)},
        prices={MODEL: Price(input=3.0, output=15.0)},
        models={MODEL: ModelSection(context=200_000)},
    )
)


class Read(files.Read):
    """Our own tool; that it was called is counted, as in every peer."""

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        measuring.count()
        return await super().call(arguments, where)


def descendants() -> dict[int, int]:
    """Nanoseconds on a CPU of every process below this one, by process id."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            parents[int(entry.name)] = int(fields[1])
    below, grown = {os.getpid()}, True
    while grown:
        more = {process for process, parent in parents.items() if parent in below} - below
        below |= more
        grown = bool(more)
    return {process: _on_cpu(process) for process in below - {os.getpid()}}


def _on_cpu(process: int) -> int:
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)
    except OSError:  # it ended meanwhile
        return 0


def proportional(processes: Iterable[int]) -> int:
    """Bytes of memory of processes; what they share counts once."""
    found = 0
    for process in processes:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                found += int(line.split()[1]) * 1024
    return found


async def sandboxes(provider: Provider, count: int, files: dict[str, bytes]) -> list[Sandbox]:
    """So many sandboxes, each with the files (name to content) in its workspace."""
    few = asyncio.Semaphore(8)

    async def one(number: int) -> Sandbox:
        async with few:
            sandbox = await provider.create(Spec(id=f"bench-{number}"))
            for file, content in files.items():
                await sandbox.write(file, content)
            return sandbox

    return await asyncio.gather(*(one(number) for number in range(count)))


async def measure(options: argparse.Namespace, ground: Ground, contents: dict[str, bytes]) -> None:
    store = await SqliteStore.open(options.place / "deck.db")
    journal, treasury, clock = Log(store, SystemClock()), Budgets(), SystemClock()
    await store.write(lambda tx: treasury.open(tx, run_purse(RUN), 10**15))
    models = make_factory(keys={}, base_urls={"chat": options.url}, models=CONFIG.deck.models)
    harness = NativeHarness(
        Ports(
            journal=journal,
            policy=DefaultPolicy(),
            treasury=treasury,
            models=models,
            toolbox=Toolbox((Read(),)),
            clock=clock,
        )
    )
    provider = Plain(ground) if options.variant == "none" else Bubblewrap(ground)
    before_sandboxes = measuring.resident()
    boxes = await sandboxes(provider, options.agents + 1, contents)
    sandbox_bytes = (measuring.resident() - before_sandboxes) / len(boxes)

    async def converse(number: int, task: str) -> None:
        attempt = ids.attempt_id(RUN, "read", number + 1)
        claim = await journal.claim(ids.attempt_stream(attempt))
        given = TASK.model_copy(update={"instructions": task})
        assignment = Assignment(
            run=RUN, attempt=attempt, number=number + 1, incarnation=1, agent=AGENT, config=CONFIG, goal="Read",
            task=given, claim=claim, sandbox=boxes[number],
            chain=chain_of(run=RUN, task="read", attempt=attempt, user="bench", days=DAYS, now=clock.wall()),
        )  # fmt: skip
        finished = await harness.work(assignment)
        assert finished.outcome is Outcome.OK, finished

    before = descendants()
    found = await measuring.spend(options, converse)
    after = descendants()
    inside = sum(after[process] - before.get(process, 0) for process in after)
    records = sum((await journal.lengths("attempt/")).values()) / (options.agents + 1)
    worker_bytes = proportional(after) / len(boxes) if options.hold else 0.0
    await asyncio.gather(*(box.close() for box in boxes))
    await models.close()
    await store.close()
    measuring.report(
        version=measuring.versions("quarterdeck"),
        inside_ms=inside / 1e6 / (found["calls"] + measuring.CALLS),
        records=records,
        sandbox_bytes=sandbox_bytes,
        worker_bytes=worker_bytes,
        **found,
    )


def main() -> None:
    options = measuring.arguments(__doc__)
    ground = Ground(options.place / "home").prepare()
    contents = {file.name: file.read_bytes() for file in (options.place / "files").iterdir()}
    try:
        asyncio.run(measure(options, ground, contents))
    finally:
        ground.destroy()


main()
