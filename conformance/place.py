"""A desk with nothing around it: what the MCP server is tested on.

Rules
- Everything is real but the work: a journal in a directory of its own, the desk, the action gate, the policy. No
  sandbox and no model, because a desk's own tools need neither.
- Tools that only a test needs are added by name, and go through the same gate.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from quarterdeck.agents.mail import Mail
from quarterdeck.agents.native import NativeHarness
from quarterdeck.agents.outside import OutsideDesk, OutsideDesks
from quarterdeck.agents.outside_task import Look
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.ports import Ports
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.policy import DefaultPolicy
from quarterdeck.journal.log import Log
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Agent, Task
from quarterdeck.kernel.events import EventBase
from quarterdeck.models.factory import make_factory
from quarterdeck.store.sqlite import SqliteStore
from quarterdeck.tools.port import Tool
from quarterdeck.tools.toolbox import Toolbox
from quarterdeck.workplace.port import Sandbox

RUN: Final = "r-mcp"
TASK: Final = Task(id="greet", title="Greet", instructions="Write hello.", paths=("hello.txt",))
AGENT: Final = Agent(name="implementer")


class _Extended(OutsideDesk):
    """A desk with tools that only a test needs."""

    more: Mapping[str, Tool] = {}

    def tools(self) -> dict[str, Tool]:
        return {**super().tools(), **self.more}


@dataclass(frozen=True)
class Place:
    """Desks over one journal."""

    journal: Log
    desks: OutsideDesks

    async def seat(self, key: str, number: int = 1, agent: Agent = AGENT, task: Task = TASK) -> OutsideDesk:
        """A desk of its own for that key."""
        attempt = ids.attempt_id(RUN, task.id, number)
        assignment = Assignment(
            run=RUN,
            attempt=attempt,
            number=number,
            incarnation=1,
            agent=agent,
            claim=await self.journal.claim(ids.attempt_stream(attempt)),
            sandbox=cast(Sandbox, None),  # no tool of the desk looks into it
            config=RunConfig(deck=DeckConfig()),
            goal="Greet the world",
            task=task,
        )
        return await self.desks.open(key, assignment)

    async def events(self, number: int = 1) -> list[EventBase]:
        """Everything on record of an attempt."""
        stream = ids.attempt_stream(ids.attempt_id(RUN, TASK.id, number))
        return [record.event for record in await self.journal.read(stream)]


@asynccontextmanager
async def place(directory: Path, more: Sequence[Tool] = ()) -> AsyncIterator[Place]:
    """Desks whose journal is in that directory; `more`: further tools of every desk."""
    store = await SqliteStore.open(directory / "deck.db", durability="normal")
    journal, clock, models = Log(store, SystemClock()), SystemClock(), make_factory(keys={})
    native = NativeHarness(
        Ports(
            journal=journal,
            policy=DefaultPolicy(),
            treasury=Budgets(),
            models=models,
            toolbox=Toolbox(),
            clock=clock,
        )
    )

    def made(assignment: Assignment, native: NativeHarness, look: Look) -> OutsideDesk:
        desk = _Extended(assignment, native, look)
        desk.more = {tool.spec.name: tool for tool in more}
        return desk

    desks = OutsideDesks(lambda config: native, Mail(), make=made)
    try:
        yield Place(journal, desks)
    finally:
        await desks.close_all()
        await models.close()
        await store.close()
