"""DBOS: one step a record, of workflows that run at the same time, on SQLite.

As shipped, the database keeps a rollback journal; variant `wal` switches it to a write-ahead log, as ours has. Both
wait for the disk at each commit (SQLite's default, synchronous=FULL). Starting and ending a workflow does not count.
"""

import asyncio
import sqlite3

import measuring
from dbos import DBOS, DBOSConfig

OPTIONS = measuring.arguments(__doc__)
COUNTED = measuring.Counted(OPTIONS.agents)


@DBOS.step()
async def record(number: int) -> str:
    return measuring.RECORD


@DBOS.workflow()
async def agent(records: int) -> None:
    await COUNTED.begin()
    for number in range(records):
        await record(number)
    await COUNTED.end()


@DBOS.workflow()
async def warm_up() -> None:
    await record(0)


async def main() -> None:
    database = OPTIONS.place / "dbos.sqlite"
    config = DBOSConfig(name="bench", system_database_url=f"sqlite:///{database}", log_level="ERROR", enable_otlp=False)
    base = sqlite3.connect(database)
    if OPTIONS.variant == "wal":
        base.execute("PRAGMA journal_mode=WAL")  # stays with the file; nobody else may have it open
    base.close()
    DBOS(config=config)
    DBOS.launch()
    base = sqlite3.connect(database)
    (mode,) = base.execute("PRAGMA journal_mode").fetchone()
    base.close()
    await warm_up()
    started = [DBOS.start_workflow_async(agent, OPTIONS.records) for _ in range(OPTIONS.agents)]
    for handle in await asyncio.gather(*started):
        await handle.get_result()
    found = COUNTED.result(OPTIONS.agents * OPTIONS.records)
    measuring.report(version=f"{measuring.versions('dbos')}, journal {mode}", **found)
    DBOS.destroy()


asyncio.run(main())
