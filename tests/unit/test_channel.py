"""The host's side of the protocol, against programs that speak it well, badly or not at all."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import quarterdeck
from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace import wire
from quarterdeck.workplace.channel import Channel, ChannelClosed

_SOURCE = str(Path(quarterdeck.__file__).parent.parent)
_SPEAKS = """
import sys, os
sys.path.insert(0, sys.argv[1])
from quarterdeck.workplace import wire
def take(n):
    data = b""
    while len(data) < n:
        more = os.read(0, n - len(data))
        if not more: sys.exit(0)
        data += more
    return data
def request():
    a, b = wire.lengths(take(8))
    return wire.header_of(take(a)), take(b)
def say(header, payload=b""):
    os.write(1, wire.pack(header, payload))
"""


@asynccontextmanager
async def speaking(program: str) -> AsyncIterator[Channel]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-c", _SPEAKS + program, _SOURCE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    channel = Channel(process)
    try:
        yield channel
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await channel.close()


@given(st.dictionaries(st.text(), st.one_of(st.integers(), st.text(), st.none()), max_size=5), st.binary(max_size=100))
def test_frames_come_out_as_they_went_in(header: dict[str, object], payload: bytes) -> None:
    frame = wire.pack(header, payload)
    head, tail = wire.lengths(frame[:8])
    assert wire.header_of(frame[8 : 8 + head]) == header
    assert frame[8 + head :] == payload
    assert len(payload) == tail


@pytest.mark.parametrize("prefix", [b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0\xff\xff\xff\xff"])
def test_lengths_are_bounded(prefix: bytes) -> None:
    with pytest.raises(wire.BadFrame):
        wire.lengths(prefix)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_headers_are_objects(text: bytes) -> None:
    with pytest.raises(wire.BadFrame):
        wire.header_of(text)


async def test_answers_find_their_request_in_any_order() -> None:
    program = "a, b = request(), request()\nfor h, p in (b, a): say({'id': h['id'], 'ok': {'n': h['n']}}, p)\nrequest()"
    async with speaking(program) as channel:
        one, two = await asyncio.gather(
            channel.request("x", {"n": 1}, b"1", deadline=30), channel.request("x", {"n": 2}, b"2", deadline=30)
        )
    assert (one, two) == (({"n": 1}, b"1"), ({"n": 2}, b"2"))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("{'error': 'FileNotFoundError', 'errno': 2, 'message': 'no', 'path': 'p'}", FileNotFoundError),
        ("{'error': 'PermissionError', 'errno': 13, 'message': 'no'}", PermissionError),
        ("{'error': 'IsADirectoryError', 'errno': 21, 'message': 'no'}", IsADirectoryError),
        ("{'error': 'ValueError', 'message': 'no'}", ValueError),
        ("{'error': 'OSError', 'errno': 'x', 'message': 'no'}", OSError),
        ("{'error': 'Bug', 'message': 'no'}", SandboxFailed),
        ("{'error': 'SystemExit', 'message': 'no'}", OSError),
        ("{'ok': 'no object'}", ChannelClosed),
        ("{}", ChannelClosed),
    ],
)
async def test_failures_keep_their_kind(answer: str, kind: type[Exception]) -> None:
    async with speaking(f"h, p = request(); say({{'id': h['id'], **{answer}}}); request()") as channel:
        with pytest.raises(kind):
            await channel.request("x", {}, deadline=30)


@pytest.mark.parametrize(
    "program",
    [
        "request(); print('noise' * 100, flush=True); request()",
        "request(); os.write(1, b'\\0\\0\\0\\2\\0\\0\\0\\0[]'); request()",
        "request(); os.write(1, b'\\xff' * 64); request()",
        "request(); os.write(1, b'\\0\\0\\0\\x09\\0\\0\\0\\0{\"id\":1'); sys.exit()",
        "request(); sys.stderr.write('why'); sys.exit(1)",
    ],
)
async def test_nonsense_and_death_end_the_channel(program: str) -> None:
    async with speaking(program) as channel:
        with pytest.raises(ChannelClosed):
            await channel.request("x", {}, deadline=30)
        assert channel.closed
        with pytest.raises(ChannelClosed):
            await channel.request("x", {}, deadline=30)


async def test_silence_ends_at_the_deadline() -> None:
    async with speaking("request(); request()") as channel:
        with pytest.raises(ChannelClosed, match="no answer to x"):
            await channel.request("x", {}, deadline=0.05)
        assert channel.closed


async def test_a_cancelled_request_is_cancelled_inside() -> None:
    program = (
        "a, _ = request(); say({'id': 0}); b, _ = request(); c, _ = request()\nsay({'id': c['id'], 'ok': b})\nrequest()"
    )
    async with speaking(program) as channel:
        task = asyncio.create_task(channel.request("slow", {}, deadline=30))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        seen, _ = await channel.request("next", {}, deadline=30)
    assert (seen["op"], seen["target"]) == ("cancel", 1)


async def test_answers_nobody_asked_for_are_dropped() -> None:
    program = "h, p = request(); say({'id': 99, 'ok': {}}); say({'id': h['id'], 'ok': {'n': 1}}); request()"
    async with speaking(program) as channel:
        assert await channel.request("x", {}, deadline=30) == ({"n": 1}, b"")
