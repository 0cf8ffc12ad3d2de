"""The client by which the gateway is measured."""

import asyncio

from bench.light_client import Answered, LightClient


async def _asked(said: bytes) -> tuple[Answered | BaseException, Exception | None]:
    """What became of a request to a server that says that and closes, and what ended a second one."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        client, gone = await LightClient.connect(url), asyncio.Event()
        lost = client.connection_lost

        def leave(exc: Exception | None) -> None:
            lost(exc)
            gone.set()

        client.connection_lost = leave  # type: ignore[method-assign]  # it tells the test
        first = (await asyncio.gather(client.post(url, {}, b""), return_exceptions=True))[0]
        await asyncio.wait_for(gone.wait(), 10)
        try:
            await asyncio.wait_for(client.post(url, {}, b""), 10)
        except (OSError, TimeoutError) as error:
            return first, error
        return first, None


async def test_a_connection_that_the_server_closed_is_not_waited_for() -> None:
    first, second = await _asked(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert isinstance(first, Answered)
    assert (first.status, first.end) == (200, b"ok")
    assert 0 < first.first <= first.whole
    assert isinstance(second, ConnectionError)


async def test_an_answer_without_a_body_takes_until_its_end() -> None:
    first, _ = await _asked(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert isinstance(first, Answered)
    assert first.first == first.whole > 0


async def test_an_answer_that_breaks_off_is_none() -> None:
    first, _ = await _asked(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")
    assert isinstance(first, ConnectionError)
