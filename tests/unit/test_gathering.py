"""What a server writes together, and what never waits."""

import asyncio

from quarterdeck.doors.gathering import Gathered


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
