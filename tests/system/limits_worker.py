"""A process for tests that takes as much as it is given: money, starts, and calls to a provider. URL TRIES"""

import asyncio
import json
import os
import sys

from quarterdeck.assembly.pacing import Pacing
from quarterdeck.govern.budgets import Budgets
from quarterdeck.govern.port import Link, Start, Window
from quarterdeck.govern.starts import Windows
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import BudgetExhausted
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Tx

URL, TRIES = sys.argv[1], int(sys.argv[2])
PURSES = (Link("run/r", 1_000), Link("day", 10_000))
NOW = 1_000_000.0


async def main() -> None:
    store = await open_url(URL)
    pace = Pacing(store, SystemClock(), lambda: {"p": 240})("p", "key")
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

    took = {what.__name__: sum(await asyncio.gather(*map(what, range(TRIES)))) for what in (pay, start, call)}
    await store.close()
    print(json.dumps(took), flush=True)


asyncio.run(main())
