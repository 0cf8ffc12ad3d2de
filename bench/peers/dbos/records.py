"""DBOS: one step a record, of workflows that run at the same time, on SQLite, or on the PostgreSQL at `--url`.

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


def embedded() -> str:
    """The address of a file, in the journal mode of the variant."""
    database = OPTIONS.place / "dbos.sqlite"
    base = sqlite3.connect(database)
    if OPTIONS.variant == "wal":
        base.execute("PRAGMA journal_mode=WAL")  # stays with the file; nobody else may have it open
    base.close()
    return f"sqlite:///{database}"


def mode() -> str:
    """The journal mode as it is."""
    base = sqlite3.connect(OPTIONS.place / "dbos.sqlite")
    (mode,) = base.execute("PRAGMA journal_mode").fetchone()
    base.close()
    return f"journal {mode}"


async def main() -> None:
    url = OPTIONS.url or embedded()
    DBOS(config=DBOSConfig(name="bench", system_database_url=url, log_level="ERROR", enable_otlp=False))
    DBOS.launch()
    kept = "PostgreSQL" if OPTIONS.url else mode()
    await warm_up()
    started = [DBOS.start_workflow_async(agent, OPTIONS.records) for _ in range(OPTIONS.agents)]
    for handle in await asyncio.gather(*started):
        await handle.get_result()
    found = COUNTED.result(OPTIONS.agents * OPTIONS.records)
    measuring.report(version=f"{measuring.versions('dbos')}, {kept}", **found)
    DBOS.destroy()


asyncio.run(main())
