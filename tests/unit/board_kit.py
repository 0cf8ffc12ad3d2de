"""A deck whose journal is written by hand, for tests of what is shown of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from store_kit import open_at

from quarterdeck.board.approvals import Approvals
from quarterdeck.board.board import Around
from quarterdeck.board.live import Live
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Claim
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Change, Harness, Plan, Task, Usage
from quarterdeck.store.port import Store
from quarterdeck.testing import stories

START = 1_795_262_400.0
MODEL = "anthropic:claude-test"
TASKS = ("one", "two", "three")


class Clock:
    """Time that passes when it is told to."""

    now = START

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class BoardDeck:
    """A deck whose journal is written to by hand."""

    store: Store
    clock: Clock
    log: Log
    around: Around = field(default_factory=lambda: Around(version="1", started_at=START, working=True))
    claims: dict[str, Claim] = field(default_factory=dict)

    async def say(self, stream: str, *events: e.EventBase) -> None:
        if stream not in self.claims:
            self.claims[stream] = await self.log.claim(stream)
        await self.log.append(self.claims[stream], *events)

    async def attempt(self, attempt: str, *events: e.EventBase) -> None:
        await self.say(ids.attempt_stream(attempt), *events)

    async def run(self, run: str, *events: e.EventBase) -> None:
        await self.say(ids.run_stream(run), *events)

    async def order(self, run: str) -> None:
        plan = Plan(
            goal="g",
            tasks=tuple(
                Task(id=name, title=f"Do {name}", paths=("*",), needs=TASKS[:at]) for at, name in enumerate(TASKS)
            ),
        )
        plan_blob = await self.log.put(plan.model_dump_json().encode())
        config = await self.log.put(RunConfig(deck=DeckConfig()).model_dump_json().encode())
        created = stories.created(
            run,
            goal_blob=plan_blob,
            plan_blob=plan_blob,
            target="main",
            into="main",
            config_blob=config,
            budget_nusd=10**9,
        )
        await self.run(run, created, e.RunPlanned(plan_blob=plan_blob, tasks=len(TASKS)))

    async def start(self, run: str, task: str, number: int = 1) -> str:
        attempt = ids.attempt_id(run, task, number)
        await self.run(run, e.TaskDispatched(task=task, attempt=attempt, number=number, agent="implementer"))
        await self.attempt(attempt, started(attempt))
        return attempt

    async def live(self) -> Live:
        async def look() -> Around:
            return self.around

        live = Live(self.store, self.log, self.clock, look, Approvals(self.store, self.log).open)
        await live.start()
        return live


@asynccontextmanager
async def a_deck(path: Path) -> AsyncIterator[BoardDeck]:
    store = await open_at(path / "deck.db")
    clock = Clock()
    try:
        yield BoardDeck(store, clock, Log(store, clock))
    finally:
        await store.close()


def started(attempt: str, incarnation: int = 1, agent: str = "implementer") -> e.AttemptStarted:
    run, task, number = ids.split_attempt(attempt)
    return e.AttemptStarted(
        run=run, task=task, number=number, agent=agent, harness=Harness.NATIVE, incarnation=incarnation,
        base="base", workspace="w",
    )  # fmt: skip


def asked(step: int) -> e.ModelAsked:
    return e.ModelAsked(step=step, model=MODEL, messages=2, request_hash="0" * 64, prefix_blob="0" * 64)


def answered(step: int, cost: int = 1_000_000) -> e.ModelAnswered:
    usage = Usage(input=100, cache_read=1000, output=20)
    return e.ModelAnswered(step=step, model=MODEL, message_blob="0" * 64, stop="end", usage=usage, cost_nusd=cost)


def intended(step: int, tool: str = "read_file", decision: Any = "allow") -> e.ToolIntended:
    return e.ToolIntended(
        step=step, call=f"c{step}", tool=tool, arguments_blob="0" * 64, arguments_hash="0" * 64, decision=decision
    )


def done(step: int, tool: str = "read_file", flags: tuple[str, ...] = ()) -> e.ToolDone:
    return e.ToolDone(step=step, call=f"c{step}", tool=tool, ok=not flags, result_blob="0" * 64, flags=flags)


def change(attempt: str) -> Change:
    run, task, _ = ids.split_attempt(attempt)
    return Change(run=run, task=task, attempt=attempt, base="base", commit=f"c-{attempt}", tree=f"t-{attempt}")


def queued(attempt: str) -> e.ChangeQueued:
    return e.ChangeQueued(change=change(attempt), title=f"Change {attempt}", config_blob="0" * 64, agent="implementer")


def checking(attempt: str, *below: str) -> e.GateCheckStarted:
    stack = (*below, attempt)
    return e.GateCheckStarted(
        check=f"k-{attempt}", tip="base", stack=stack, commits=stack, tree=f"t-{attempt}", config_blob="0" * 64
    )
