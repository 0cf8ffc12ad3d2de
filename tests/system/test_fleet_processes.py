"""What several processes on one PostgreSQL may do together: no limit is broken, and none is left unused."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from pathlib import Path

from quarterdeck.store.opening import open_url

pytest_plugins = ("postgres_kit",)

WORKER = Path(__file__).with_name("limits_worker.py")
PROCESSES = 4
TRIES = 60
STRICT = """
[budget]
deck_day = 0.000001
[limits]
agents_at_once = 5
spawn_per_minute = 30
[workers.calls_per_minute]
p = 240
"""
LAX = """
[budget]
deck_day = 0.000005
[limits]
agents_at_once = 50
repository_at_once = 4
[workers.calls_at_once]
p = 3
"""


async def test_four_processes_break_no_limit(postgres_url: str, tmp_path: Path) -> None:
    """Nor do those on a machine whose own file says more, or nothing: two of each."""
    homes = []
    for name, file in (("strict", STRICT), ("lax", LAX)):
        homes.append(tmp_path / name)
        homes[-1].mkdir()
        (homes[-1] / "deck.toml").write_text(file)
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, WORKER, postgres_url, str(TRIES), str(number), homes[number % 2], stdin=PIPE, stdout=PIPE
        )
        for number in range(PROCESSES)
    ]
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(120):
        for child in children:
            assert child.stdout is not None
            assert await child.stdout.readline() == b"ready\n"
        ended = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
    took, spans = Counter[str](), list[tuple[float, float]]()
    for out, _ in ended:
        told = json.loads(out)
        took.update(told["took"])
        spans += told["spans"]
    assert took["pay"] == 100, "1,000 in the run's purse, 10 each"
    assert took["spend"] == 100, "1,000 in the deck's day by the one file, 5,000 by the other"
    assert took["start"] == 30
    assert took["dispatch"] == 5, "places of the deck; four in each of the repositories"
    assert len(spans) == PROCESSES * (TRIES // 4)
    assert max(sum(began <= at <= ended for began, ended in spans) for at, _ in spans) <= 3
    slices = (asyncio.get_running_loop().time() - began) // 4 + 2
    assert 15 <= took["call"] <= min(240, 15 * slices), "15 calls in a slice of four seconds"
    store = await open_url(postgres_url)
    purses = {
        row["purse"]: row["settled"] + row["reserved"] for row in await store.read("view_purses", first="", last="z")
    }
    await store.close()
    assert purses == {"run/r": 1_000, "day": 1_000, "deck/1970-01-12": 1_000}
