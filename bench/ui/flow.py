"""The fleet at work: records of all agents at a steady rate, through the real journal, until standard input ends.

usage: python -m bench.ui.flow HOME --agents N --rate N

Rules
- This process owns the deck as the one does that works on runs; the server that is measured shows what it records.
- The agents take turns; each brings the next record of its step. What is late is caught up with: the rate holds.
- At its end it prints how many it wrote and at which rate, as JSON.
"""

import argparse
import asyncio
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Final

from bench.ui.fill import AGENTS, filling, fleet
from quarterdeck.kernel import ids
from quarterdeck.workplace.lock import held

_TICK: Final = 0.05
_FIRST: Final = 100
"""Number of the first step that is new."""


async def flow(home: Path, agents: int, rate: int) -> dict[str, float]:
    """Write until the end of standard input."""
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with filling(home) as fill, held(home / "owner.lock", timeout=0):
        attempts = await fleet(fill, agents)
        claims = [await fill.claim(ids.attempt_stream(attempt)) for attempt in attempts]
        print(json.dumps({"ready": True}), flush=True)
        step = fill.step(_FIRST)
        began, written = time.monotonic(), 0
        turns = itertools.count()
        while not ended.done():
            due = int((time.monotonic() - began) * rate) - written
            for _ in range(max(0, min(due, rate))):
                turn = next(turns)
                round_, place = divmod(turn, len(claims))
                if place == 0:
                    step = fill.step(_FIRST + round_ // 4)
                await fill.add(claims[place], step[round_ % 4])
                written += 1
            await fill.settle()
            await asyncio.sleep(_TICK)
        seconds = time.monotonic() - began
    return {"records": written, "rate": round(written / seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home", type=Path)
    parser.add_argument("--agents", type=int, default=AGENTS)
    parser.add_argument("--rate", type=int, default=1_000)
    told = parser.parse_args()
    print(json.dumps(asyncio.run(flow(told.home, told.agents, told.rate))), flush=True)


if __name__ == "__main__":
    main()
