"""A process for tests that takes as much as it is given: money, starts, places, and calls to a provider.

URL TRIES NUMBER
"""

import asyncio
import json
import os
import sys
import time

from quarterdeck.assembly.pacing import Pacing
from quarterdeck.assembly.places import Places
from quarterdeck.delivery.dispatch import Decision
from quarterdeck.delivery.starting import crowded
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.port import Link, Start, Window
from quarterdeck.govern.starts import Windows
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Entry
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import DeckConfig, LimitsSection, RunConfig
from quarterdeck.kernel.entities import Plan, Task
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.kernel.folding import apply
from quarterdeck.kernel.states import RunState
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Tx

URL, TRIES, NUMBER = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
PURSES = (Link("run/r", 1_000), Link("day", 10_000))
NOW = 1_000_000.0
AT_ONCE = RunConfig(deck=DeckConfig(limits=LimitsSection(agents_at_once=5, repository_at_once=4)))
RUN = ids.new_run_id(NOW)


class Full(Exception):
    """No place is free."""


async def planned(journal: Log) -> RunState:
    """A run of this process with many tasks, all ready."""
    plan = Plan(goal="g", tasks=tuple(Task(id=f"t{n}", title="t", paths=(f"p{n}",)) for n in range(TRIES)))
    blob, state = await journal.put(plan.model_dump_json().encode()), RunState()
    created = e.RunCreated(
        run=RUN, goal="g", goal_blob=blob, plan_blob=blob, repository=f"/r{NUMBER % 2}", target="t", base="b",
        into="i", config_blob=blob, budget_nusd=1, max_parallel=4, user="ada", sandbox="none",
    )  # fmt: skip
    events = (created, e.RunPlanned(plan_blob=blob, tasks=TRIES))
    for event in events:
        apply(state, event)
    await journal.append(await journal.claim(ids.run_stream(RUN)), *events)
    return state


async def main() -> None:
    store = await open_url(URL)
    pace = Pacing(store, SystemClock(), lambda: {"p": 240})("p", "key")
    places = Places(store, ids.new_owner_id(), SystemClock(), lambda: {"p": 3})
    journal = Log(store, SystemClock())
    state = await planned(journal)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)

    async def pay(number: int) -> bool:
        def work(tx: Tx) -> None:
            Budgets().reserve(tx, PURSES, f"{os.getpid()}/{number}", 10)

        try:
            await store.write(work)
        except BudgetExhausted:
            return False
        if number % 2:
            await store.write(lambda tx: Budgets().settle(tx, f"{os.getpid()}/{number}", 10))
        return True

    async def start(number: int) -> bool:
        begin = Start("agent", f"{os.getpid()}.{number}", "r")
        return await store.write(lambda tx: Windows().take(tx, begin, Window(30, 60.0), NOW)) <= NOW

    async def call(number: int) -> bool:
        return await pace.leave() == 0.0

    async def dispatch(number: int) -> bool:
        claim = await journal.claim(ids.run_stream(RUN))
        event = e.TaskDispatched(task=f"t{number}", attempt=f"{RUN}.t{number}.1", number=1, agent="x")

        def still_free(tx: Tx) -> None:
            if crowded(tx, Windows(), state, Decision((event,)), AT_ONCE):
                raise Full

        try:
            await journal.commit(Entry(claim, (event,)), also=still_free)
        except Full:
            return False
        return True

    async def under_way(number: int) -> tuple[float, float]:
        async with places.place("p") as there:
            assert there
            began = time.monotonic()
            await store.read("deck_now")
            return began, time.monotonic()

    took = {what.__name__: sum(await asyncio.gather(*map(what, range(TRIES)))) for what in (pay, start, call)}
    took["dispatch"] = sum([await dispatch(number) for number in range(TRIES)])
    spans = await asyncio.gather(*map(under_way, range(TRIES // 4)))
    await places.close()
    await store.close()
    print(json.dumps({"took": took, "spans": spans}), flush=True)


asyncio.run(main())
