"""What a server writes together, and what never waits."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from quarterdeck.doors.gathering import Gathered
from quarterdeck.doors.model_calls import AT_ONCE
from quarterdeck.doors.serve import Endpoint


class _Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return 7


async def test_a_head_goes_out_with_the_first_of_its_body_and_nothing_else_waits() -> None:
    wire = _Wire()
    gathered = Gathered(wire, asyncio.get_running_loop())
    for _ in range(2):  # a connection is used again
        wire.writes.clear()
        gathered.begin()
        gathered.write(b"head ")
        assert wire.writes == []
        gathered.write(b"one ")
        assert wire.writes == [b"head one "]
        gathered.write(b"two")
        assert wire.writes == [b"head one ", b"two"]


async def test_a_head_without_a_body_waits_for_one_turn_of_the_loop() -> None:
    wire = _Wire()
    gathered = Gathered(wire, asyncio.get_running_loop())
    gathered.write(b"head")
    await asyncio.sleep(0)
    assert wire.writes == [b"head"]
    gathered.write(b"late")
    assert wire.writes == [b"head", b"late"]


async def test_what_was_said_before_the_end_is_sent() -> None:
    wire = _Wire()
    gathered = Gathered(wire, asyncio.get_running_loop())
    gathered.write(b"all of it")
    gathered.close()
    await asyncio.sleep(0)
    assert (wire.writes, wire.closed) == ([b"all of it"], True)
    assert gathered.get_write_buffer_size() == 7


async def test_parts_are_written_at_once_until_the_client_does_not_keep_up(tmp_path: Path) -> None:
    part, written, read = b"x" * 65_536, list[bool](), asyncio.Event()

    async def app(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        write = scope["extensions"][AT_ONCE]["write"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        while not written or written[-1]:
            written.append(write(part))
        read.set()
        await send({"type": "http.response.body", "body": b"last", "more_body": False})

    endpoint = Endpoint(app, tmp_path)
    try:
        host, port = await endpoint.listen("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(host, port, limit=4096)
        writer.write(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        await asyncio.wait_for(read.wait(), 10)
        body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")[2]
        writer.close()
    finally:
        await endpoint.close()
    chunk = b"%x\r\n%b\r\n"
    parts = b"".join(chunk % (len(one), one) for one in [b"first", *[part] * len(written), b"last"])
    assert body == parts + b"0\r\n\r\n"
    assert len(written) > 1, "a buffer is room for more than one"


async def test_a_request_is_let_go_of_with_its_end_and_waits_for_nobody_who_looks_for_garbage(tmp_path: Path) -> None:
    seen = list["weakref.ref[Any]"]()

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        seen.append(weakref.ref(send.__self__))  # type: ignore[attr-defined]  # the server's answer
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all", "more_body": False})

    endpoint, collecting = Endpoint(app, tmp_path), gc.isenabled()
    gc.disable()
    try:
        host, port = await endpoint.listen("127.0.0.1", 0)
        for _ in range(3):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            await asyncio.wait_for(reader.read(), 10)
            writer.close()
        await endpoint.close()
        assert [each() for each in seen] == [None] * 3
    finally:
        if collecting:
            gc.enable()


async def test_who_makes_an_answer_is_told_that_its_client_went_away(tmp_path: Path) -> None:
    """Once, where it wants to know it, and also behind a body for which the server had stopped reading."""
    size, told, ready, late = 300_000, list[str](), asyncio.Event(), asyncio.Event()

    async def app(scope: MutableMapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        got = 0
        while got < size:
            got += len((await receive())["body"])
        when_gone, left = scope["extensions"][AT_ONCE]["gone"], asyncio.Event()

        def first() -> None:
            told.append("first")

        def second() -> None:
            told.append("second")
            left.set()

        forget = when_gone(first)
        forget()
        assert when_gone(second) is not None
        forget()  # its own only
        ready.set()
        await left.wait()
        told.append("nobody left" if when_gone(first) is None else "still there")
        late.set()

    endpoint = Endpoint(app, tmp_path)
    try:
        host, port = await endpoint.listen("127.0.0.1", 0)
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
        await asyncio.wait_for(ready.wait(), 10)
        writer.close()
        await asyncio.wait_for(late.wait(), 10)
    finally:
        await endpoint.close()
    assert told == ["second", "nobody left"]
