"""A worker process for tests: performs jobs, says what it does, and writes it into a diary that outlives it.

URL DIARY HOLDS TAKEOVER: it performs the jobs HOLDS (by commas) for ever, and others at once.
"""

import asyncio
import os
import signal
import sys

from quarterdeck.engine.port import Job
from quarterdeck.engine.procrastinate import ProcrastinateEngine
from quarterdeck.engine.seats import Pace, Seat
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.failures import Fenced
from quarterdeck.store.opening import open_url

URL, DIARY, HOLDS, TAKEOVER = sys.argv[1:5]


def say(*words: str) -> None:
    print(*words, flush=True)


async def main() -> int:
    diary = os.open(DIARY, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def perform(job: Job) -> None:
        os.write(diary, f"in {job.key} {os.getpid()}\n".encode())
        say("started", job.key)
        if job.key in HOLDS.split(","):
            try:
                await asyncio.Event().wait()
            finally:
                say("stopped", job.key)
        os.write(diary, f"out {job.key} {os.getpid()}\n".encode())
        say("ended", job.key)

    store = await open_url(URL)
    seat = Seat(ids.new_owner_id(), "here", os.getpid(), "0")
    engine = ProcrastinateEngine(store, URL, seat, SystemClock(), Pace(float(TAKEOVER)))
    await engine.try_own()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, engine.drain, 0.2)
    say("working")
    try:
        await engine.serve({"work": perform}, until_idle=False)
    except Fenced as error:
        say("fenced")
        return error.exit_code
    finally:
        await engine.close()
        await store.close()
    return 0


sys.exit(asyncio.run(main()))
