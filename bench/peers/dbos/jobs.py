"""DBOS: workflows of a queue that do nothing, put in and performed by one executor, on PostgreSQL.

Variant `hold`: begins one that never ends, and says so; `again`: an executor of the same id, which takes up what
it finds; without the control plane that DBOS sells (Conductor) nothing else does.
"""

import asyncio
import gc
import sys
import time

import measuring
from dbos import DBOS, DBOSConfig

OPTIONS = measuring.arguments(__doc__)


@DBOS.workflow()
async def work(number: int) -> int:
    if OPTIONS.variant:
        sys.stdout.write(f"begun k{number}\n")
        sys.stdout.flush()
    if OPTIONS.variant == "hold":
        await asyncio.Event().wait()
    return number


async def main() -> None:
    config = DBOSConfig(
        name="bench",
        system_database_url=OPTIONS.url,
        application_version="1",
        executor_id="one",
        log_level="ERROR",
        enable_otlp=False,
    )
    DBOS(config=config)
    DBOS.launch()
    if OPTIONS.variant:
        if OPTIONS.variant == "hold":
            await DBOS.start_workflow_async(work, 0)
        await asyncio.Event().wait()
    queue = await DBOS.register_queue_async("bench", worker_concurrency=OPTIONS.agents, polling_interval_sec=0.1)
    await (await queue.enqueue_async(work, -1)).get_result()
    gc.collect()
    wall, used = time.perf_counter(), time.process_time()
    handles = [await queue.enqueue_async(work, number) for number in range(OPTIONS.records)]
    for handle in handles:
        await handle.get_result()
    wall, used = time.perf_counter() - wall, time.process_time() - used
    measuring.report(
        version=measuring.versions("dbos"),
        cpu_us=used / OPTIONS.records * 1e6,
        per_second=OPTIONS.records / wall,
        jobs=OPTIONS.records,
    )
    DBOS.destroy()


asyncio.run(main())
