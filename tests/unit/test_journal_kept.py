"""What is kept of a journal's appends, and answered, whoever leaves meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_kit import open_at

from quarterdeck.journal.log import Log
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events import RunPaused
from quarterdeck.store.port import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await open_at(tmp_path / "deck.db")
    yield store
    await store.close()


async def test_who_is_cancelled_while_what_is_kept_is_written_hears_of_it_then(store: Store) -> None:
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")

    async def says() -> None:
        await log.append(claim, RunPaused(by="me"), kept=True)

    saying = asyncio.create_task(says())
    await asyncio.sleep(0)
    saying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saying
    assert len(await log.read("run/a")) == 1, "it was written, and not dropped with its caller"


async def test_what_is_kept_ends_also_where_nobody_writes_any_more(store: Store) -> None:
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")
    write = store.write

    async def never(work: object) -> None:
        await asyncio.Event().wait()

    store.write = never  # type: ignore[assignment]  # a loop that ends cancels what waits for the store
    before = asyncio.all_tasks()
    writing = log.append(claim, RunPaused(by="me"), kept=True)
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await asyncio.wait([writing], timeout=10)
    assert writing.cancelled()
    store.write = write  # type: ignore[method-assign]  # the store as it was


async def test_what_is_in_line_is_written_also_where_the_writing_was_cancelled_before_it_began(store: Store) -> None:
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")
    before = asyncio.all_tasks()
    writing = log.append(claim, RunPaused(by="me"), kept=True)
    for task in asyncio.all_tasks() - before:  # as a loop that ends does
        task.cancel()
    await asyncio.wait([writing], timeout=10)
    assert writing.done(), "nobody answers any more"
    assert len(await log.read("run/a")) == 1


async def test_what_is_in_line_is_written_also_where_the_writing_was_cancelled_between_two_transactions(
    store: Store,
) -> None:
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")
    before, late = asyncio.all_tasks(), list[asyncio.Future[None]]()

    def end_the_loop(_: object) -> None:
        late.append(log.append(claim, RunPaused(by="me"), kept=True))
        for task in asyncio.all_tasks() - before:
            task.cancel()

    first = log.append(claim, RunPaused(by="me"))
    first.add_done_callback(end_the_loop)
    await asyncio.wait([first], timeout=10)
    await asyncio.wait(late, timeout=10)
    assert late[0].done(), "nobody answers any more"
    assert len(await log.read("run/a")) == 2
