"""Durable records: CPU and rate of the journal at 1, 50 and 1,000 writers, beside bare SQLite in the same run.

usage: python bench/bench_journal.py [--records N]
The peer writes the same bytes with the standard library alone: one INSERT and one commit a record, WAL, full sync.
"""

import argparse
import asyncio
import os
import sqlite3
import tempfile
import time
from pathlib import Path

from quarterdeck.journal.log import Log
from quarterdeck.kernel import events as e
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.store.sqlite import SqliteStore

WRITERS = (1, 50, 1000)


def record(number: int) -> e.EventBase:
    """One record of about 1.1 KB, as a model call leaves it."""
    return e.HarnessStarted(incarnation=number + 1, detail="x" * 1000)


def cpu() -> float:
    """CPU seconds of this process so far, all threads."""
    times = os.times()
    return times.user + times.system


async def journal(path: Path, writers: int, records: int) -> tuple[float, float]:
    """(records/s, CPU microseconds a record) of the journal."""
    store = await SqliteStore.open(path / f"journal-{writers}.db")
    log = Log(store, SystemClock())
    claims = [await log.claim(f"attempt/bench.{number}") for number in range(writers)]
    each = max(1, records // writers)
    began, used = time.perf_counter(), cpu()

    async def write(number: int) -> None:
        for turn in range(each):
            await log.append(claims[number], record(turn))

    await asyncio.gather(*(write(number) for number in range(writers)))
    seconds, spent = time.perf_counter() - began, cpu() - used
    await store.close()
    done = each * writers
    return done / seconds, spent / done * 1e6


def bare(path: Path, records: int) -> tuple[float, float]:
    """(records/s, CPU microseconds a record) of bare SQLite."""
    base = sqlite3.connect(path / "bare.db", isolation_level=None)
    base.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE r (body BLOB)")
    began, used = time.perf_counter(), cpu()
    for turn in range(records):
        base.execute("INSERT INTO r VALUES (?)", (e.encode(record(turn)),))
    seconds, spent = time.perf_counter() - began, cpu() - used
    base.close()
    return records / seconds, spent / records * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=4000)
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as place:
        rate, peer = bare(Path(place), records)
        print(f"durable records   bare SQLite, 1 writer {rate:8.0f}/s {peer:7.1f} us CPU")
        for writers in WRITERS:
            rate, used = asyncio.run(journal(Path(place), writers, records))
            print(
                f"durable records   journal, {writers:5d} writers {rate:8.0f}/s {used:7.1f} us CPU   x{used / peer:.2f}"
            )


if __name__ == "__main__":
    main()
