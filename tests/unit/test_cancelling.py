"""A task is over once it was ended, also where a library loses the request."""

import asyncio

from quarterdeck.engine import cancelling


async def test_a_task_ends_whose_library_took_the_cancellation_away() -> None:
    news: asyncio.Queue[int] = asyncio.Queue()
    heard: list[int] = []

    async def listen() -> None:
        while True:
            heard.append(await asyncio.wait_for(news.get(), 60))

    listening = asyncio.create_task(listen())
    loop = asyncio.get_running_loop()
    waiting = loop.create_future()
    loop.call_soon(waiting.set_result, None)  # it has begun to wait
    await waiting
    news.put_nowait(1)
    await asyncio.sleep(0)  # what it waits for is there; it has not been told
    async with asyncio.timeout(30):
        await cancelling.end(listening)
    assert listening.cancelled()


async def test_what_it_raises_on_its_way_out_is_not_raised() -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            raise OSError("on the way out")

    task = asyncio.create_task(wait())
    await begun.wait()
    await cancelling.end(task)
    assert isinstance(task.exception(), OSError)
