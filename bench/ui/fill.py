"""Writes the history of the benchmark through the real journal: runs that ended, and one of 30,000 spans.

usage: python -m bench.ui.fill HOME

Rules
- Every record is made, chained, stored and projected by the product's own code; only the clock is turned back, so that
  history lies in the past.
- It is written once and kept; `FILLED` in the home names what it holds. Agents at work are added to a copy of it.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Claim
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Harness, Plan, Task, Usage
from quarterdeck.models.port import Message, Text, ToolCall
from quarterdeck.store.sqlite import SqliteStore

FILLED: Final = "bench-ui.json"
AGENTS: Final = 1_000
LIVE_RUNS: Final = 25
RECORDS: Final = 1_000_000
SPANS: Final = 30_000
_TASKS: Final = 20
"""Tasks of a run that ended."""
_STEPS: Final = 60
"""Steps of each of them."""
_LANES: Final = 40
_LIVE_STEPS: Final = 12
_TOOLS: Final = ("read", "edit", "run", "search", "write")
_USAGE: Final = Usage(input=400, cache_read=9_000, cache_write=600, output=350)


class Turned(SystemClock):
    """A clock that is somewhere else."""

    def __init__(self) -> None:
        self.now: float | None = None

    def wall(self) -> float:
        return super().wall() if self.now is None else self.now


@dataclass
class Fill:
    """What writes, and what it has claimed."""

    journal: Log
    clock: Turned
    blobs: dict[str, str] = field(default_factory=dict)
    waiting: list["asyncio.Future[None]"] = field(default_factory=list)
    records: int = 0

    async def add(self, claim: Claim, *events: e.EventBase) -> None:
        """Queue these records; wait where many wait."""
        self.waiting.append(self.journal.append(claim, *events))
        self.records += len(events)
        if len(self.waiting) >= 1_500:
            await self.settle()

    async def settle(self) -> None:
        """Everything queued is on disk."""
        waiting, self.waiting = self.waiting, []
        await asyncio.gather(*waiting)

    async def claim(self, stream: str) -> Claim:
        return await self.journal.claim(stream)

    def step(self, number: int) -> tuple[e.ModelAsked, e.ModelAnswered, e.ToolIntended, e.ToolDone]:
        """One turn of an agent."""
        tool, call, model = _TOOLS[number % len(_TOOLS)], f"{number}.0", "anthropic:claude-sonnet-5"
        return (
            e.ModelAsked(
                step=number,
                model=model,
                messages=2 * number,
                request_hash=self.blobs["prefix"],
                prefix_blob=self.blobs["prefix"],
                reserved_nusd=90_000_000,
            ),
            e.ModelAnswered(
                step=number,
                model=model,
                message_blob=self.blobs["message"],
                stop="tools",
                usage=_USAGE,
                cost_nusd=9_150_000,
                seconds=4.0,
            ),
            e.ToolIntended(
                step=number,
                call=call,
                tool=tool,
                arguments_blob=self.blobs["arguments"],
                arguments_hash=self.blobs["arguments"],
                decision="allow",
            ),
            e.ToolDone(step=number, call=call, tool=tool, ok=True, result_blob=self.blobs["result"], seconds=0.4),
        )

    async def order(self, run: str, tasks: int, title: str) -> Claim:
        """A run with its plan."""
        plan = Plan(
            goal=title, tasks=tuple(Task(id=f"t{n}", title=f"{title} {n}", paths=(f"{n}/**",)) for n in range(tasks))
        )
        blob = await self.journal.put(plan.model_dump_json().encode())
        claim = await self.claim(ids.run_stream(run))
        await self.add(
            claim,
            e.RunCreated(
                run=run,
                goal=title,
                goal_blob=self.blobs["message"],
                plan_blob=blob,
                repository="repository",
                target=ids.target_id("repository", "main"),
                base="0" * 40,
                into="main",
                config_blob=self.blobs["config"],
                budget_nusd=500_000_000_000,
                max_parallel=100,
                user=f"user{int(run[-2:], 36) % 7}",
                sandbox="bubblewrap",
            ),
            e.RunPlanned(plan_blob=blob, tasks=tasks),
        )
        return claim

    async def attempt(self, run: str, run_claim: Claim, number: int, agent: str) -> tuple[str, Claim]:
        """An agent begins with task `number`."""
        attempt = ids.attempt_id(run, f"t{number}", 1)
        await self.add(run_claim, e.TaskDispatched(task=f"t{number}", attempt=attempt, number=1, agent=agent))
        claim = await self.claim(ids.attempt_stream(attempt))
        await self.add(
            claim,
            e.AttemptStarted(
                run=run,
                task=f"t{number}",
                number=1,
                agent=agent,
                harness=Harness.NATIVE,
                incarnation=1,
                base="0" * 40,
                workspace=attempt,
            ),
        )
        return attempt, claim

    async def ended(self, run: str, tasks: int, steps: int, title: str, began: float) -> None:
        """A run that is over, an hour long."""
        self.clock.now = began
        claim = await self.order(run, tasks, title)
        agents = [await self.attempt(run, claim, number, f"agent{number % 9}") for number in range(tasks)]
        for step in range(1, steps + 1):
            for place, (_, stream) in enumerate(agents):
                at = began + 3_600 * step / (steps + 1) + place
                asked, answered, intended, done = self.step(step)
                for offset, event in ((0.0, asked), (4.0, answered), (4.1, intended), (4.5, done)):
                    self.clock.now = at + offset
                    await self.add(stream, event)
        self.clock.now = began + 3_600
        for number, (attempt, _) in enumerate(agents):
            task = f"t{number}"
            finished = e.NodeFinished(node=e.Node.IMPLEMENT, outcome=e.Outcome.OK, task=task, attempt=attempt)
            await self.add(claim, finished, e.TaskMerged(task=task, attempt=attempt, commit="1" * 40))
        await self.add(claim, e.RunFinished(status=e.RunStatus.DONE, exit_code=0, sha="1" * 40))
        await self.settle()

    async def working(self, run: str, tasks: int, title: str, now: float) -> list[str]:
        """A run whose agents are all at work; their attempts."""
        self.clock.now = now - 600
        claim = await self.order(run, tasks, title)
        found = []
        for number in range(tasks):
            self.clock.now = now - 540
            attempt, stream = await self.attempt(run, claim, number, f"agent{number % 9}")
            for step in range(1, _LIVE_STEPS + 1):
                self.clock.now = now - 500 + step * 40
                await self.add(stream, *self.step(step))
            found.append(attempt)
        await self.settle()
        return found


@asynccontextmanager
async def filling(home: Path) -> AsyncIterator[Fill]:
    """A writer to the home's database."""
    store = await SqliteStore.open(home / "deck.db")
    clock = Turned()
    fill = Fill(Log(store, clock), clock)
    message = Message(
        role="assistant",
        blocks=(Text(text="I look at it. " * 12), ToolCall(id="c", name="read", arguments={"path": "src/a.py"})),
    )
    bodies = {
        "prefix": json.dumps({"system": "You implement." * 20, "tools": []}),
        "message": message.model_dump_json(),
        "arguments": json.dumps({"path": "src/a.py"}),
        "result": "line\n" * 60,
        "config": RunConfig(deck=DeckConfig()).model_dump_json(),
    }
    fill.blobs = {name: await fill.journal.put(text.encode()) for name, text in bodies.items()}
    try:
        yield fill
    finally:
        await store.close()


async def history(home: Path, records: int, spans: int) -> dict[str, object]:
    """Write everything that is over; what there is."""
    now = time.time()
    async with filling(home) as fill:
        big = "r-0000big0000"
        await fill.ended(big, _LANES, spans // (2 * _LANES), "Thirty thousand spans", now - 90_000)
        number = 0
        while fill.records < records:
            number += 1
            run = f"r-{number:07d}hist"
            await fill.ended(run, _TASKS, _STEPS, f"History {number}", now - 86_400 * 20 + number * 5_000)
        return {"records": fill.records, "big": big, "spans": spans}


async def fleet(fill: Fill, agents: int) -> list[str]:
    """Agents at work, as of now; their attempts."""
    now, found = time.time(), []
    for number in range(LIVE_RUNS):
        found += await fill.working(f"r-{number:07d}live", agents // LIVE_RUNS, f"Under way {number}", now)
    fill.clock.now = None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--spans", type=int, default=SPANS)
    told = parser.parse_args()
    told.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = asyncio.run(history(told.home, told.records, told.spans))
    (told.home / FILLED).write_text(json.dumps(made))


if __name__ == "__main__":
    main()
