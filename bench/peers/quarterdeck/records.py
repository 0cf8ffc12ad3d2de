"""Our journal: one record of 1.1 KB after the other, each waited for.

Group commit, write-ahead log, waits for the disk at each commit; hash chain and read tables included. Variant `sqlite`
is the least there could be: SQLite alone, one row and one commit a record.
"""

import asyncio
import sqlite3
import sys
import time

import measuring

from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.store.sqlite import SqliteStore

OPTIONS = measuring.arguments(__doc__)


def record(number: int) -> e.EventBase:
    return e.HarnessStarted(incarnation=number + 1, detail=measuring.RECORD)


async def journal() -> None:
    counted = measuring.Counted(OPTIONS.agents)
    store = await SqliteStore.open(OPTIONS.place / "journal.db")
    log = Log(store, SystemClock())

    async def agent(number: int) -> None:
        claim = await log.claim(f"attempt/bench.{number}")
        await log.append(claim, record(-1))
        await counted.begin()
        for turn in range(OPTIONS.records):
            await log.append(claim, record(turn))
        await counted.end()

    await asyncio.gather(*(agent(number) for number in range(OPTIONS.agents)))
    assert not (await log.verify()).faults
    await store.close()
    measuring.report(version=measuring.versions("quarterdeck"), **counted.result(OPTIONS.agents * OPTIONS.records))


def alone() -> None:
    base = sqlite3.connect(OPTIONS.place / "bare.db", isolation_level=None)
    base.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE r (body BLOB)")
    wall, used = time.perf_counter(), time.process_time()
    for turn in range(OPTIONS.records):
        base.execute("INSERT INTO r VALUES (?)", (e.encode(record(turn)),))
    spent, seconds = time.process_time() - used, time.perf_counter() - wall
    base.close()
    measuring.report(
        version=f"sqlite {sqlite3.sqlite_version}, python {sys.version.split()[0]}",
        cpu_us=spent / OPTIONS.records * 1e6,
        per_second=OPTIONS.records / seconds,
        records=OPTIONS.records,
    )


if OPTIONS.variant == "sqlite":
    alone()
else:
    asyncio.run(journal())
