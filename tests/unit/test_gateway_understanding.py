"""What is learned of a request before anything is set aside: others do not wait for it."""

import asyncio
import gc
import json
import threading
import time
from typing import Any, cast

import pytest

from quarterdeck.gateway import wires
from quarterdeck.gateway.keys import Key
from quarterdeck.gateway.port import Grant
from quarterdeck.gateway.understanding import Understood, understood
from quarterdeck.gateway.wires import Asked, Operation, Place, Wire


def request(body: dict[str, Any]) -> Asked:
    said = {"model": "m", "max_tokens": 5, "messages": [], **body}
    return wires.read(Place(Wire.MESSAGES, Operation.CALL), json.dumps(said).encode())


async def turns_of_others(asked: Asked) -> tuple[Understood, int]:
    """What is understood, and how often others had their turn meanwhile."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    beside = asyncio.create_task(others())
    await asyncio.sleep(0)
    before = turns
    known = await understood(Key("qd-x", cast(Grant, None)), asked)
    beside.cancel()
    await asyncio.gather(beside, return_exceptions=True)
    return known, turns - before


@pytest.mark.parametrize(
    ("body", "unmetered"),
    [
        ({"messages": [{}] * 150_000}, ""),
        ({"messages": [{"content": [{"text": "a"}] * 150_000}]}, ""),
        ({"tools": [{}] * 150_000}, ""),
        ({"tools": [{"type": "web_search_20250305"}, *[{}] * 150_000]}, "web_search_20250305 runs at the provider"),
    ],
)
async def test_a_request_of_very_many_values_is_looked_at_beside_everything_else(
    body: dict[str, Any], unmetered: str
) -> None:
    asked = request(body)
    known, turns = await turns_of_others(asked)
    assert unmetered in known.unmetered
    assert turns > 10
    if not unmetered:
        began = time.thread_time()
        assert not asked.elsewhere and not asked.long_cache
        assert time.thread_time() - began < 0.01, "it is known by then"


async def test_a_request_as_they_mostly_are_is_looked_at_at_once() -> None:
    block = {"type": "text", "text": "for (a, b) in c { d[1] = 2 }\n" * 20, "cache_control": {"type": "ephemeral"}}
    known, turns = await turns_of_others(request({"messages": [{"role": "user", "content": [block] * 50}]}))
    assert (known, turns) == (Understood(""), 0)


@pytest.mark.parametrize("values", ["{},", "0,", "[],"])
def test_more_values_than_any_model_takes_are_not_even_read(values: str) -> None:
    raw = b'{"messages":[' + values.encode() * wires.MOST + b"0]}"
    began = time.thread_time()
    with pytest.raises(ValueError, match="more values than any model takes"):
        wires.read(Place(Wire.MESSAGES, Operation.CALL), raw)
    assert time.thread_time() - began < 0.2


async def test_a_request_that_is_given_up_is_counted_as_one_until_it_is_let_go_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, goes_on, ended = threading.Event(), threading.Event(), list[bool]()
    look_through = Asked.look_through

    def slowly(asked: Asked) -> None:
        begun.set()
        goes_on.wait(20)
        look_through(asked)
        ended.append(True)

    monkeypatch.setattr(Asked, "look_through", slowly)
    key = Key("qd-x", cast(Grant, None))
    given_up = asyncio.create_task(understood(key, request({"messages": [{}] * 15_000})))
    await asyncio.to_thread(begun.wait, 20)
    given_up.cancel()
    await asyncio.sleep(0)
    assert key.measuring.locked(), "its values are still held"
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert ended == [True]
    assert not key.measuring.locked()


def test_a_body_of_as_many_values_as_are_read_is_read_in_a_part_of_a_second() -> None:
    raw = b'{"messages":[' + b'{"file":{}},' * (wires.MOST // 3 - 2) + b"0]}"
    began = time.thread_time()
    assert len(wires.read(Place(Wire.CHAT, Operation.CALL), raw).body["messages"]) == wires.MOST // 3 - 1
    assert time.thread_time() - began < 1.0  # it takes a fifth of that
    assert gc.isenabled()
