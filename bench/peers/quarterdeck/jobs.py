"""The engine for many workers, on PostgreSQL: jobs that do nothing, put in and performed by one worker.

Variants that perform jobs until they are ended, and say when they begin one: `hold` puts one in and holds it for ever;
`heir` holds for ever what it finds.
"""

import asyncio
import gc
import os
import sys
import time

import measuring

from quarterdeck.engine.port import Job
from quarterdeck.engine.procrastinate import ProcrastinateEngine, prepare
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.store.opening import open_url
from quarterdeck.store.port import Tx

OPTIONS = measuring.arguments(__doc__)
TAKEOVER = 3.0
TOGETHER = 50
"""Jobs that are put in by one transaction."""


async def main() -> None:
    store = await open_url(OPTIONS.url)
    await prepare(store)
    seat = Seat(ids.new_owner_id(), "bench", os.getpid(), "0", capacity=OPTIONS.agents)
    engine = ProcrastinateEngine(store, OPTIONS.url, seat, SystemClock(), Pace(TAKEOVER))
    performed = 0

    async def perform(job: Job) -> None:
        nonlocal performed
        performed += 1
        if OPTIONS.variant:
            sys.stdout.write(f"begun {job.key}\n")
            sys.stdout.flush()
        if OPTIONS.variant:
            await asyncio.Event().wait()

    async def put(numbers: range) -> None:
        def work(tx: Tx) -> None:
            for number in numbers:
                engine.defer(tx, Job("work", f"k{number}", f"l{number}", "r"))

        await store.write(work)

    await engine.try_own()
    if OPTIONS.variant:
        if OPTIONS.variant == "hold":
            await put(range(1))
        await engine.serve({"work": perform}, until_idle=False)
        return
    gc.collect()
    wall, used = time.perf_counter(), time.process_time()
    for first in range(0, OPTIONS.records, TOGETHER):
        await put(range(first, min(first + TOGETHER, OPTIONS.records)))
    await engine.serve({"work": perform}, until_idle=True)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    await engine.close()
    await store.close()
    assert performed == OPTIONS.records
    measuring.report(
        version=measuring.versions("procrastinate"),
        cpu_us=used / OPTIONS.records * 1e6,
        per_second=OPTIONS.records / wall,
        jobs=OPTIONS.records,
    )


asyncio.run(main())
