"""Sandboxes: start, file operation, command; bubblewrap beside no sandbox, and beside a bare subprocess, in one run.

usage: python bench/bench_sandbox.py [--rounds N]
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Provider, Spec


async def median(rounds: int, work: Callable[[int], Awaitable[object]]) -> float:
    """Median milliseconds of `work(round)`."""
    found = []
    for turn in range(rounds):
        began = time.perf_counter()
        await work(turn)
        found.append((time.perf_counter() - began) * 1000)
    return statistics.median(found)


async def subprocess_true(turn: int) -> None:
    process = await asyncio.create_subprocess_exec("true")
    await process.wait()


async def measure(provider: Provider, rounds: int) -> dict[str, float]:
    """Median milliseconds by operation."""
    opened = []

    async def start(turn: int) -> None:
        opened.append(await provider.create(Spec(id=f"bench-{provider.name}-{turn}")))

    figures = {"start": await median(max(3, rounds // 5), start)}
    sandbox = opened[0]
    figures["write 4 KB"] = await median(rounds, lambda turn: sandbox.write(f"f{turn}", b"x" * 4096))
    figures["read 4 KB"] = await median(rounds, lambda turn: sandbox.read(f"f{turn}"))
    figures["command"] = await median(rounds, lambda turn: sandbox.exec(("true",), timeout=10))
    for one in opened:
        await one.close()
        await provider.discard(one.id)
    return figures


async def run(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        ground = Ground(Path(home)).prepare()
        try:
            bare = await median(rounds, subprocess_true)
            plain = await measure(Plain(ground), rounds)
            fenced = await measure(Bubblewrap(ground), rounds)
        finally:
            ground.destroy()
    print(f"sandbox           bare subprocess `true` {bare:6.2f} ms")
    for name, value in fenced.items():
        print(
            f"sandbox           {name:11s} bubblewrap {value:6.2f} ms   none {plain[name]:6.2f} ms   "
            f"x{value / plain[name]:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    asyncio.run(run(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
