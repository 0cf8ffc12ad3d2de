"""Our journal: one record after the other, each as an attempt writes it.

The records are what an attempt writes: a model is asked, it answers, a tool is intended, it is done; each names a body
of 1.1 KB that was never stored before and shrinks as text does. The hash chain and the read tables are included; the
attempt and its run have their rows, so that tokens and money are summed up. Group commit, write-ahead log, waits for
the disk at each commit; Python's garbage collector is set as in every command of ours. As in the loop, an intent is
waited for before its effect may begin, and an outcome is written with the next intent; the last ones are waited for.
Budgets are no part of it. Claiming a stream, starting the run and its attempts do not count, nor does the first step of
all, which loads what is loaded late. `--url` is a PostgreSQL database; without one it is SQLite. Variant `sqlite` is
the least there could be: SQLite alone, one row and one commit a record of the same size.
"""

import asyncio
import random
import sqlite3
import sys
import time

import measuring

from quarterdeck.cli.call import collect_seldom
from quarterdeck.journal.log import Log
from quarterdeck.journal.port import Claim
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.entities import Harness, Usage
from quarterdeck.store.opening import open_url

OPTIONS = measuring.arguments(__doc__)
RUN, TASK, MODEL, TOOL = "r-bench", "write", "anthropic:claude", "read"
USAGE = Usage(input=120, cache_read=9_000, cache_write=400, output=350)


def bodies(agent: int) -> list[bytes]:
    """One for each record; made before anything is counted."""
    many = random.Random(agent)
    return [many.randbytes(len(measuring.RECORD) // 2).hex().encode() for _ in range(OPTIONS.records)]


def record(number: int, blob: str) -> e.EventBase:
    """The `number`-th record of an attempt, from 0; `blob` names its body."""
    step, part = number // 4 + 1, number % 4
    call = f"call-{step}"
    if part == 0:
        return e.ModelAsked(
            step=step, model=MODEL, messages=2 * step, request_hash=blob, prefix_blob=blob, reserved_nusd=90_000_000
        )
    if part == 1:
        return e.ModelAnswered(
            step=step, model=MODEL, message_blob=blob, stop="tools", usage=USAGE, cost_nusd=9_810_000, seconds=2.5
        )
    if part == 2:
        return e.ToolIntended(
            step=step, call=call, tool=TOOL, arguments_blob=blob, arguments_hash=blob, decision="allow", rules=("read",)
        )
    return e.ToolDone(step=step, call=call, tool=TOOL, ok=True, result_blob=blob, seconds=0.01)


async def run_begins(log: Log) -> None:
    """The run's row in the read tables."""
    blob = await log.put(b"{}")
    created = e.RunCreated(
        run=RUN, goal="Write", goal_blob=blob, repository="/repository", target="main", base="0" * 40, into="main",
        config_blob=blob, budget_nusd=10**12, max_parallel=OPTIONS.agents, user="bench", sandbox="none",
    )  # fmt: skip
    await log.append(await log.claim(ids.run_stream(RUN)), created)


async def journal() -> None:
    counted = measuring.Counted(OPTIONS.agents)
    store = await open_url(OPTIONS.url or str(OPTIONS.place / "journal.db"))
    log = Log(store, SystemClock())
    await run_begins(log)

    async def started(number: int) -> Claim:
        attempt = ids.attempt_id(RUN, TASK, number + 1)
        claim = await log.claim(ids.attempt_stream(attempt))
        event = e.AttemptStarted(
            run=RUN, task=TASK, number=number + 1, agent="implementer", harness=Harness.NATIVE, incarnation=1,
            base="0" * 40, workspace=attempt,
        )  # fmt: skip
        await log.append(claim, event)
        return claim

    async def writes(claim: Claim, mine: list[bytes]) -> None:
        soon: asyncio.Future[None] | None = None
        for turn, body in enumerate(mine):
            event = record(turn, await log.put(body))
            if turn % 2:
                soon = log.append_soon(claim, event)
            else:
                await log.append(claim, event)
                if soon is not None:
                    await soon  # it is on record: what went wrong with it is heard here
        if soon is not None:
            await soon

    async def agent(number: int) -> None:
        claim, mine = await started(number), bodies(number)
        await counted.begin()
        await writes(claim, mine)
        await counted.end()

    await writes(await started(OPTIONS.agents), bodies(OPTIONS.agents)[:4])
    await asyncio.gather(*(agent(number) for number in range(OPTIONS.agents)))
    assert not (await log.verify()).faults
    await store.close()
    measuring.report(version=measuring.versions("quarterdeck"), **counted.result(OPTIONS.agents * OPTIONS.records))


def alone() -> None:
    base = sqlite3.connect(OPTIONS.place / "bare.db", isolation_level=None)
    base.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE r (event BLOB, body BLOB)")
    rows = [(e.encode(record(turn, ids.digest(body))), body) for turn, body in enumerate(bodies(0))]
    wall, used = time.perf_counter(), time.process_time()
    for row in rows:
        base.execute("INSERT INTO r VALUES (?, ?)", row)
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
    collect_seldom()
    asyncio.run(journal())
