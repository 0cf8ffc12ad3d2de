"""What was answered to requests that carry a key."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_kit import open_at

from quarterdeck.doors.api.replies import SHARED_SECONDS, New, Replies, Reply, UnderWay
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.store.port import Store


class Leaping(SystemClock):
    """A clock that a test puts forward."""

    ahead = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[Store, Store]]:
    opened = [await open_at(tmp_path / "deck.db") for _ in range(2)]
    yield opened[0], opened[1]
    for store in opened:
        await store.close()


async def test_of_two_servers_one_takes_a_request_on(stores: tuple[Store, Store]) -> None:
    clock = Leaping()
    servers = [Replies(store, name, clock, shared=True) for store, name in zip(stores, "ab", strict=True)]
    found = await asyncio.gather(*(server.begin("me", "key", "request") for server in servers), return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["New", "UnderWay"]
    first, other = (servers, servers[::-1])[isinstance(found[1], New)]
    reply = Reply(201, "/runs/r", b"{}")
    await first.end("me", "key", reply)
    assert await other.begin("me", "key", "request") == reply


async def test_what_a_dead_server_took_on_is_taken_on_later_under_the_same_run(stores: tuple[Store, Store]) -> None:
    clock = Leaping()
    first = await Replies(stores[0], "dead", clock, shared=True).begin("me", "key", "request")
    other = Replies(stores[1], "living", clock, shared=True)
    with pytest.raises(UnderWay):
        await other.begin("me", "key", "request")
    clock.ahead = SHARED_SECONDS + 1
    assert await other.begin("me", "key", "request") == first


async def test_the_answer_of_the_server_that_took_it_on_last_stays(stores: tuple[Store, Store]) -> None:
    clock = Leaping()
    slow = Replies(stores[0], "slow", clock, shared=True)
    other = Replies(stores[1], "other", clock, shared=True)
    await slow.begin("me", "key", "request")
    clock.ahead = SHARED_SECONDS + 1
    await other.begin("me", "key", "request")
    reply = Reply(201, "/runs/r", b"{}")
    await other.end("me", "key", reply)
    await slow.end("me", "key", Reply(409, "", b"no"))
    await slow.forget("me", "key")
    assert await slow.begin("me", "key", "request") == reply


async def test_the_only_server_goes_on_at_once(stores: tuple[Store, Store]) -> None:
    clock = Leaping()
    first = await Replies(stores[0], "dead", clock).begin("me", "key", "request")
    assert await Replies(stores[1], "living", clock).begin("me", "key", "request") == first


async def test_one_that_broke_off_is_made_again_by_the_same_server_at_once(stores: tuple[Store, Store]) -> None:
    server = Replies(stores[0], "a", Leaping(), shared=True)
    first = await server.begin("me", "key", "request")
    server.leave("me", "key")
    assert await server.begin("me", "key", "request") == first
