"""A process for tests that takes as much as it is given: money, starts, places, and calls to a provider. Its machine's
file is the `deck.toml` in HOME.

URL TRIES NUMBER HOME
"""

import asyncio
import json
import os
import sys
import time
from functools import partial
from pathlib import Path

from quarterdeck.assembly.agreed import Agreed, Days, Words, machine_of
from quarterdeck.assembly.pacing import Pacing
from quarterdeck.assembly.places import Places
from quarterdeck.assembly.reacting import OperatorsFile
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
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.kernel.entities import Plan, Task, to_nusd
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.kernel.folding import apply
from quarterdeck.kernel.states import RunState
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Tx

URL, TRIES, NUMBER, HOME = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
DAY = "deck/1970-01-12"
PURSES = (Link("run/r", 1_000), Link("day", 10_000))
NOW = 1_000_000.0
OWN = RunConfig(deck=DeckConfig())
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
    clock, file = SystemClock(), OperatorsFile(HOME)
    agreed = Agreed(store, partial(machine_of, HOME), clock, Words(file))
    days, treasury, windows = Days(agreed, file), Budgets(partial(agreed.now, "days")), Windows(agreed.limits)
    pace = Pacing(store, clock, agreed.of("calls_per_minute"))("p", "key")
    places = Places(store, ids.new_owner_id(), clock, agreed.of("calls_at_once"))
    journal = Log(store, clock)
    state = await planned(journal)
    await agreed.begin(lasting=True)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await agreed.look()

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

    async def spend(number: int) -> bool:
        """Of the deck's day, which this machine's file alone would allow more of."""
        today = (Link(DAY, to_nusd(days.now().deck)),)
        try:
            await store.write(lambda tx: treasury.reserve(tx, today, f"{os.getpid()}/day/{number}", 10))
        except BudgetExhausted:
            return False
        return True

    async def start(number: int) -> bool:
        begin = Start("agent", f"{os.getpid()}.{number}", "r")

        def work(tx: Tx) -> float:
            most = windows.limits(tx, OWN.deck.limits, NOW).spawn_per_minute
            return windows.take(tx, begin, Window(most, 60.0), NOW)

        return await store.write(work) <= NOW

    async def call(number: int) -> bool:
        return await pace.leave() == 0.0

    async def dispatch(number: int) -> bool:
        claim = await journal.claim(ids.run_stream(RUN))
        event = e.TaskDispatched(task=f"t{number}", attempt=f"{RUN}.t{number}.1", number=1, agent="x")

        def still_free(tx: Tx) -> None:
            if crowded(tx, windows, state, Decision((event,)), OWN, NOW):
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

    took = {what.__name__: sum(await asyncio.gather(*map(what, range(TRIES)))) for what in (pay, spend, start, call)}
    took["dispatch"] = sum([await dispatch(number) for number in range(TRIES)])
    spans = await asyncio.gather(*map(under_way, range(TRIES // 4)))
    await places.close()
    await agreed.end()
    await store.close()
    print(json.dumps({"took": took, "spans": spans}), flush=True)


asyncio.run(main())
