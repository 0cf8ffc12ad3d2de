"""The gateway is killed while a hundred callers use it: by what was billed, the day's cap holds over all of it, and
`cost` says which key spent it."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import store_kit
from deck_kit import place_at

from quarterdeck.kernel.config import Price
from quarterdeck.models.scripted.faults import Fault, Kind
from quarterdeck.models.scripted.scenario import Latency, Match, Rule, Scenario, Turn
from quarterdeck.models.scripted.server import ScriptedServer
from quarterdeck.testing.forked import FORKS, QUARTERDECK, Process

CAP = 1.0
DECK = f"""\
[tiers]
hands = ["anthropic:scripted"]
[prices]
"anthropic:scripted" = {{ input = 0.3, output = 15 }}
[budget]
user_day = {CAP}
"""
TALK = Turn(text="A line that is said, and paid for. " * 8)
KILLS = 3


def script() -> Scenario:
    cut = Rule(match=Match(prompt="7"), turns=(TALK,), faults=(Fault(kind=Kind.CUT, after=6),), repeat=True)
    price = Price(input=0.3, output=15.0)
    rules = (cut, Rule(turns=(TALK,), repeat=True))
    return Scenario(rules=rules, prices={"scripted": price}, latency=Latency(per_token=0.0002))


@contextmanager
def gateway(home: Path, url: str) -> Iterator[tuple[Process, dict[str, Any]]]:
    """`quarterdeck gateway` as a process, and what it says of itself."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "QUARTERDECK_HOME": str(home),
        **store_kit.told(home / "deck.db"),
        "ANTHROPIC_API_KEY": "k",
        "ANTHROPIC_BASE_URL": url,
    }
    process = FORKS.start(QUARTERDECK, ("gateway", "--port", "0", "--budget", "100", "--json"), env=environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


async def callers(told: dict[str, Any], seed: int) -> list[int]:
    """A hundred that ask until the money is gone or nobody answers; the answers' status codes."""
    codes: list[int] = []

    async def one(client: httpx2.AsyncClient, number: int) -> None:
        for turn in range(50):
            body = {"model": "scripted", "max_tokens": 80, "stream": True}
            messages = [{"role": "user", "content": f"{seed} {number} {turn}"}]
            try:
                answer = await client.post("/v1/messages", json={**body, "messages": messages})
            except httpx2.RemoteProtocolError:
                continue  # cut on its way
            except httpx2.HTTPError:
                return
            codes.append(answer.status_code)
            if answer.status_code != 200:
                return

    limits = httpx2.Limits(max_connections=100)
    headers = {"x-api-key": told["key"]}
    async with httpx2.AsyncClient(base_url=told["url"], headers=headers, timeout=30, limits=limits) as client:
        await asyncio.gather(*(one(client, number) for number in range(100)))
    return codes


async def test_the_day_s_cap_holds_over_kills_by_what_was_billed(tmp_path: Path) -> None:
    rng = random.Random(4711)
    with place_at(tmp_path) as place:
        place.operator(DECK)
        place.repository.mkdir()
        async with ScriptedServer(script()) as server:
            served = 0
            for kill in range(KILLS):
                with gateway(place.home, server.url) as (process, told):
                    asking = asyncio.create_task(callers(told, kill))
                    served += rng.randint(20, 60)
                    async with asyncio.timeout(60):
                        await server.seen(served)
                    process.kill()
                    await asking
                await server.idle()
                served = server.total.requests
            with gateway(place.home, server.url) as (_, told):
                codes = await callers(told, KILLS)
            await server.idle()
        assert 400 in codes, "the money ended"
        assert server.total.requests > KILLS * 20
        store = await store_kit.open_at(place.home / "deck.db")
        try:
            rows = await store.read("view_purses", first="user/", last="user0")
        finally:
            await store.close()
        settled, reserved = sum(row["settled"] for row in rows), sum(row["reserved"] for row in rows)
        assert server.total.nusd <= settled + reserved <= CAP * 1e9
        assert server.total.nusd > CAP * 1e9 * 0.2
        _, lines, _ = await asyncio.to_thread(place.call, "cost", "--by", "key", "--json")
        keys = [json.loads(line) for line in lines.splitlines()]
        assert (
            sum(round(key["settled_usd"] * 1e9) + round(key["reserved_usd"] * 1e9) for key in keys)
            == settled + reserved
        )
        assert told["name"] in {key["key"] for key in keys}, "no run, so no other list would name it"
        assert told["name"] in (await asyncio.to_thread(place.call, "cost"))[1]
