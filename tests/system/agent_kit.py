"""What tests of agents share: a real journal, real budgets, a real workspace, and assignments made of plain values."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from store_kit import open_at

from quarterdeck.agents.native import NativeHarness
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.ports import Ports
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.chain import DayCaps, chain_of, run_purse
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.govern.port import Policy
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Claim
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, ModelSection, Price, RunConfig
from quarterdeck.kernel.entities import Agent, Task
from quarterdeck.kernel.events import EventBase
from quarterdeck.models.factory import Models, make_factory
from quarterdeck.models.limiter import Limiters, Shared
from quarterdeck.models.port import Deadlines
from quarterdeck.models.scripted.faults import Fault
from quarterdeck.models.scripted.scenario import Rule, Scenario, Turn
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.store.port import Store
from quarterdeck.tools.port import Tool
from quarterdeck.tools.toolbox import Toolbox
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Sandbox, Spec

RUN = "r-test"
TASK = Task(id="greet", title="Greet", instructions="Write hello.", paths=("hello.txt",), verify=("test -f hello.txt",))
MODELS = tuple(f"{provider}:{name}" for provider in ("anthropic", "openai", "chat") for name in ("scripted", "second"))
PRICE = Price(input=3.0, output=15.0, cache_read=0.3, cache_write=3.75)


def deck(**sections: Any) -> DeckConfig:
    """A deck whose tier `hands` is one scripted model with a price."""
    defaults: dict[str, Any] = {
        "tiers": {"hands": ("anthropic:scripted",)},
        "prices": dict.fromkeys(MODELS, PRICE),
    }
    return DeckConfig(**{**defaults, **sections})


def scenario(
    *turns: Turn, rules: tuple[Rule, ...] = (), faults: tuple[Fault, ...] = (), window: int = 1_000_000
) -> Scenario:
    """A scenario of one conversation, or of these rules."""
    rules = rules or (Rule(turns=turns),)
    return Scenario(rules=rules, faults=faults, window=window, prices={"scripted": PRICE, "second": PRICE})


class Moving(SystemClock):
    """A clock that moves on by `step` seconds whenever it is looked at, and that sleeps by moving on."""

    def __init__(self, step: float = 0.0) -> None:
        self._step = step
        self._gone = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        self._gone += self._step
        return super().monotonic() + self._gone

    def wall(self) -> float:
        return super().wall() + self._gone

    def looked(self) -> float:
        """The time, without moving on."""
        return super().monotonic() + self._gone

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._gone += seconds


class Still(Moving):
    """A clock that moves on when somebody sleeps, and not otherwise: how far apart things are is exact."""

    def monotonic(self) -> float:
        return self._gone

    def wall(self) -> float:
        return 1_700_000_000.0 + self._gone

    def looked(self) -> float:
        return self._gone


class Parked(Still):
    """A clock whose sleepers sleep until the test moves it on."""

    def __init__(self) -> None:
        super().__init__()
        self._sleepers: list[tuple[float, asyncio.Event]] = []
        self._moved = asyncio.Condition()
        self._free = False

    async def sleep(self, seconds: float) -> None:
        if self._free:
            self._gone += seconds
            return
        self.slept.append(seconds)
        wake = asyncio.Event()
        async with self._moved:
            self._sleepers.append((self._gone + seconds, wake))
            self._moved.notify_all()
        await wake.wait()

    async def parked(self, count: int) -> None:
        """Wait until so many sleep."""
        async with self._moved:
            await self._moved.wait_for(lambda: len(self._sleepers) >= count)

    def move(self, seconds: float) -> int:
        """Move on and wake whose time has come; how many still sleep."""
        self._gone += seconds
        for due, wake in self._sleepers:
            if due <= self._gone:
                wake.set()
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].is_set()]
        return len(self._sleepers)

    def release(self) -> None:
        """Wake everybody at their time, and let nobody wait from now on."""
        self._free = True
        self.move(max((due for due, _ in self._sleepers), default=self._gone) - self._gone)


@dataclass
class Wire:
    """A native harness on a scripted model."""

    kit: "Kit"
    server: ScriptedServer
    harness: NativeHarness
    models: Models
    slept: list[float]

    async def work(self, agent: Agent, number: int = 1, **fields: Any) -> Finished:
        """Work on a freshly claimed stream: doing so again is a restart."""
        return await self.harness.work(await self.kit.assignment(agent, number, **fields))


@dataclass
class Kit:
    """One deck's parts for a test."""

    store: Store
    journal: Log
    treasury: Budgets
    sandbox: Sandbox
    clock: SystemClock = field(default_factory=SystemClock)

    @asynccontextmanager
    async def native(
        self,
        script: Scenario,
        *,
        policy: Policy | None = None,
        seconds_each: float = 0.0,
        window: int = 200_000,
        clock: Moving | None = None,
        deadlines: Deadlines | None = None,
        reload_key: Callable[[str], str | None] = lambda source: None,
        tools: tuple[Tool, ...] = (),
        urls: Mapping[str, str] | None = None,
        sharing: Callable[[str, str], Shared] | None = None,
        **ports: Any,
    ) -> AsyncIterator[Wire]:
        """The native harness against a scripted model; waits between tries are recorded, not waited."""
        clock = clock or Moving(seconds_each)
        windows = dict.fromkeys(MODELS, ModelSection(context=window))
        everything = dict.fromkeys(("implementer", "scout", "reviewer", "planner"))
        async with ScriptedServer(script, now=clock.looked) as server:
            models = make_factory(
                keys={"anthropic": "key", "openai": "key", "chat": "key"},
                base_urls={
                    "anthropic": server.url,
                    "openai": f"{server.url}/v1",
                    "chat": f"{server.url}/v1",
                    **(urls or {}),
                },
                models=windows,
                deadlines=deadlines,
                reload_key=reload_key,
                limiters=Limiters(clock, clock.sleep, sharing),
            )
            try:
                harness = NativeHarness(
                    Ports(
                        journal=self.journal,
                        policy=policy or DefaultPolicy(everything),
                        treasury=self.treasury,
                        models=models,
                        toolbox=Toolbox(tools),
                        clock=clock,
                        sleep=clock.sleep,
                        **ports,
                    )
                )
                yield Wire(self, server, harness, models, clock.slept)
            finally:
                await models.close()

    async def assignment(self, agent: Agent, number: int = 1, **fields: Any) -> Assignment:
        """A work order with a freshly claimed stream: claiming again is what a restart does."""
        attempt = ids.attempt_id(RUN, TASK.id, number)
        values: dict[str, Any] = {"config": RunConfig(deck=deck()), "goal": "Greet the world", "task": TASK, **fields}
        paid = chain_of(
            run=RUN,
            task=TASK.id,
            attempt=attempt,
            user="ada",
            days=DayCaps(50.0, 200.0),
            now=self.clock.wall(),
            attempt_usd=agent.limits.usd,
            task_usd=values["task"].budget_usd if values["task"] is not None else None,
        )
        return Assignment(
            run=RUN,
            attempt=attempt,
            number=number,
            incarnation=1,
            agent=agent,
            claim=await self.claim(attempt),
            sandbox=self.sandbox,
            **{"chain": paid, **values},
        )

    async def again(self, assignment: Assignment) -> Assignment:
        """The same work order under a newer claim."""
        return replace(assignment, claim=await self.claim(assignment.attempt))

    async def claim(self, attempt: str) -> Claim:
        return await self.journal.claim(ids.attempt_stream(attempt))

    async def events(self, attempt: str = f"{RUN}.greet.1") -> list[EventBase]:
        """Everything on record of an attempt."""
        return [record.event for record in await self.journal.read(ids.attempt_stream(attempt))]

    async def money(self) -> tuple[int, int]:
        """(settled, reserved) of the run, nano-USD."""
        return await self.purse(run_purse(RUN))

    async def purse(self, name: str) -> tuple[int, int]:
        """(settled, reserved) of a purse, nano-USD."""
        rows = await self.store.read("purses_of", purses=json.dumps([name]), holder="")
        return int(rows[0]["settled"] or 0), int(rows[0]["reserved"] or 0)

    async def file(self, path: str) -> str:
        return (await self.sandbox.read(path)).decode()


@asynccontextmanager
async def kit(tmp_path: Path, *, budget_nusd: int = 5_000_000_000) -> AsyncIterator[Kit]:
    """A kit, cleaned up afterwards."""
    ground = Ground(tmp_path / "home")
    store = await open_at(tmp_path / "deck.db")
    sandbox = None
    try:
        treasury = Budgets()
        await store.write(lambda tx: treasury.open(tx, run_purse(RUN), budget_nusd))
        provider = Plain(ground)
        sandbox = await provider.create(Spec(id="work"))
        yield Kit(store, Log(store, SystemClock()), treasury, sandbox)
    finally:
        if sandbox is not None:
            await sandbox.close()
        await store.close()
        ground.destroy()
