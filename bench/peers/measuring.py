"""What every peer's script shares: the scripted work, and how CPU and memory are counted. Standard library only.

Rules
- Each peer does the same work: `agents` conversations of ten tool calls and a last answer, one after the other or all
  at once, over the same wire, with a tool that reads a file of 1.1 KB.
- CPU is what the process used, all threads, between the end of a first conversation (which loads whatever is loaded
  late) and the end of the last one; import and set-up do not count. Garbage of before is collected first.
- What is found goes to standard output as one JSON object.
"""

import argparse
import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable
from importlib import metadata
from pathlib import Path

TOOL_STEPS = 10
CALLS = TOOL_STEPS + 1
"""Model calls of one conversation."""
PROMPT = "You are careful. Read the files you are asked for, one after the other, then say that you are done."
TASK = "Read file0.txt to file9.txt."
SLOW = " Slowly."
"""Said behind the task: the model answers five times, then no more."""
ANSWERED = 5


def arguments(doc: str | None) -> argparse.Namespace:
    """What the benchmark asks of a peer's script."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--url", default="", help="the scripted server's Chat Completions address")
    parser.add_argument("--place", type=Path, required=True, help="a directory of its own, with files/file0.txt ...")
    parser.add_argument("--agents", type=int, default=1)
    parser.add_argument("--together", action="store_true", help="all at once instead of one after the other")
    parser.add_argument("--records", type=int, default=0, help="records of each agent")
    parser.add_argument("--variant", default="")
    parser.add_argument(
        "--hold", action="store_true", help="let the agents wait for a slow model; measure their memory"
    )
    return parser.parse_args()


def versions(*packages: str) -> str:
    """`name version` of the named packages."""
    return ", ".join(f"{package} {metadata.version(package)}" for package in packages)


def report(**found: object) -> None:
    """Hand the result to the benchmark."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def resident() -> int:
    """Bytes of memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmRSS")


async def spend(options: argparse.Namespace, converse: Callable[[int, str], Awaitable[object]]) -> dict[str, float]:
    """CPU and wall seconds of a model call in `options.agents` conversations, or the memory of as many that wait.

    `converse(number, task)` carries one conversation to its end; number 0 warms up.
    """
    await converse(0, TASK)
    gc.collect()
    if options.hold:
        return await held(options.agents, [converse(number, TASK + SLOW) for number in range(1, options.agents + 1)])
    wall, used = time.perf_counter(), time.process_time()
    if options.together:
        await asyncio.gather(*(converse(number, TASK) for number in range(1, options.agents + 1)))
    else:
        for number in range(1, options.agents + 1):
            await converse(number, TASK)
    calls = options.agents * CALLS
    return {
        "cpu_ms": (time.process_time() - used) / calls * 1000,
        "wall_ms": (time.perf_counter() - wall) / calls * 1000,
        "calls": calls,
    }


async def held(agents: int, conversations: list[Awaitable[object]]) -> dict[str, float]:
    """Bytes of memory that each conversation adds while all of them wait for the model's sixth answer."""
    before = resident()
    tasks = [asyncio.ensure_future(conversation) for conversation in conversations]
    while _reads["so far"] < CALLS - 1 + agents * ANSWERED:
        await asyncio.wait(tasks, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
        if ended := [task for task in tasks if task.done()]:
            raise ValueError(f"a conversation ended early: {ended[0]}")
    await asyncio.sleep(1.0)  # the sixth question leaves
    gc.collect()
    found = {"bytes": (resident() - before) / agents, "calls": agents * ANSWERED}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return found


_reads = {"so far": 0}


def count() -> None:
    """A tool was called."""
    _reads["so far"] += 1


def check(answer: str) -> None:
    """Raises ValueError where a conversation did not end as the script does."""
    if "Done" not in answer:
        raise ValueError(f"the conversation ended with {answer!r}")


def read(place: Path, path: str) -> str:
    """The tool of every peer: the text of a file."""
    count()
    return (place / "files" / Path(path).name).read_text()


RECORD = "x" * 1060
"""The body of one durable record; with its name and numbers about 1.1 KB."""


class Counted:
    """CPU, wall time and records between the moment when all agents have begun and the one when all have recorded."""

    def __init__(self, agents: int) -> None:
        self._agents = agents
        self._begun = self._done = 0
        self._all_begun, self._all_done = asyncio.Event(), asyncio.Event()
        self._wall = self._cpu = self.wall = self.cpu = 0.0

    async def begin(self) -> None:
        """Wait until all have begun."""
        self._begun += 1
        if self._begun == self._agents:
            gc.collect()
            self._wall, self._cpu = time.perf_counter(), time.process_time()
            self._all_begun.set()
        await self._all_begun.wait()

    async def end(self) -> None:
        """Wait until all have recorded."""
        self._done += 1
        if self._done == self._agents:
            self.wall, self.cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
            self._all_done.set()
        await self._all_done.wait()

    def result(self, records: int) -> dict[str, float]:
        """CPU microseconds a record, and records a second."""
        return {"cpu_us": self.cpu / records * 1e6, "per_second": records / self.wall, "records": records}
