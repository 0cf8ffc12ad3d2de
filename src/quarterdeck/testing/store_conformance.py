"""What every `Store` must do. A test module subclasses `StoreConformance` and provides the fixture `open_store`.

Rules
- `open_store()` opens the same, initially empty database each time, as another process would; the fixture closes all.
- Only statements that every store has are used.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from quarterdeck.kernel.failures import Conflicting, StoreUnavailable
from quarterdeck.store.port import Store, Torn, Tx

OpenStore = Callable[[], Awaitable[Store]]


def _claim(stream: str) -> Callable[[Tx], int]:
    def work(tx: Tx) -> int:
        return int(tx.run("stream_claim", stream=stream)[0]["epoch"])

    return work


async def _names(store: Store, prefix: str = "") -> list[str]:
    return [row["name"] for row in await store.read("stream_names", prefix=prefix)]


class _Oops(Exception):
    pass


class StoreConformance:
    async def test_what_was_answered_can_be_read_by_everybody(self, open_store: OpenStore) -> None:
        one, other = await open_store(), await open_store()
        assert await one.write(_claim("run/a")) == 1
        assert await one.write(_claim("run/a")) == 2
        assert await _names(other) == ["run/a"]
        assert await other.write(_claim("run/a")) == 3

    async def test_several_reads_see_the_same_commit(self, open_store: OpenStore) -> None:
        one, other = await open_store(), await open_store()
        ask = ("stream_names", {"prefix": ""})
        writing = asyncio.gather(*[one.write(_claim(f"run/{number}")) for number in range(50)])
        sizes = []
        while not writing.done():
            first, second = await other.reads(ask, ask)
            assert first == second
            sizes.append(len(first))
        await writing
        assert sizes == sorted(sizes)
        assert [len(rows) for rows in await other.reads(ask, ask, ask)] == [50] * 3

    async def test_a_failing_write_undoes_only_itself(self, open_store: OpenStore) -> None:
        store = await open_store()

        def fails(tx: Tx) -> None:
            _claim("run/bad")(tx)
            raise _Oops

        results = await asyncio.gather(
            store.write(_claim("run/a")), store.write(fails), store.write(_claim("run/b")), return_exceptions=True
        )
        assert results[0] == 1
        assert isinstance(results[1], _Oops)
        assert results[2] == 1
        assert await _names(store) == ["run/a", "run/b"]

    async def test_a_constraint_hurts_only_the_write_that_broke_it(self, open_store: OpenStore) -> None:
        store = await open_store()

        def breaks(tx: Tx) -> None:
            tx.run_many("blob_put", [(b"x", 0, None)])

        results = await asyncio.gather(store.write(breaks), store.write(_claim("run/a")), return_exceptions=True)
        assert isinstance(results[0], Exception)
        assert results[1] == 1

    async def test_part_of_a_write_can_fail_alone(self, open_store: OpenStore) -> None:
        store = await open_store()

        def inner(tx: Tx) -> None:
            _claim("run/inner")(tx)
            raise _Oops

        def work(tx: Tx) -> None:
            _claim("run/before")(tx)
            with pytest.raises(_Oops):
                tx.alone(inner)
            assert tx.alone(_claim("run/after")) == 1

        await store.write(work)
        assert await _names(store) == ["run/after", "run/before"]

    async def test_what_looks_before_it_changes_anything_can_fail_lightly(self, open_store: OpenStore) -> None:
        store = await open_store()

        def refuses(tx: Tx) -> None:
            tx.run("stream_heads_of", names='["run/before"]')
            raise _Oops

        def work(tx: Tx) -> None:
            _claim("run/before")(tx)
            with pytest.raises(_Oops):
                tx.lightly(refuses)
            assert tx.lightly(_claim("run/after")) == 1

        await store.write(work)
        assert await _names(store) == ["run/after", "run/before"]

    async def test_nothing_is_kept_of_what_fails_lightly_after_a_change(self, open_store: OpenStore) -> None:
        store = await open_store()

        def changes(tx: Tx) -> None:
            _claim("run/inner")(tx)
            raise _Oops

        def work(tx: Tx) -> None:
            _claim("run/before")(tx)
            with contextlib.suppress(_Oops):  # Torn is not
                tx.lightly(changes)

        torn = (await asyncio.gather(store.write(work), return_exceptions=True))[0]
        assert torn is None or isinstance(torn, Torn)
        assert await _names(store) == ([] if torn else ["run/before"])

    async def test_run_many(self, open_store: OpenStore) -> None:
        store = await open_store()
        rows = [(bytes([n]), 0, b"body") for n in range(10)]
        await store.write(lambda tx: tx.run_many("blob_put", rows))
        assert len(await store.read("blobs_all", after=0, limit=100)) == 10
        assert (await store.read("blob_get", digest=b"\x03"))[0]["body"] == b"body"

    async def test_an_unknown_statement_is_an_error(self, open_store: OpenStore) -> None:
        store = await open_store()
        with pytest.raises(KeyError):
            await store.read("no_such_statement")
        with pytest.raises(KeyError):
            await store.write(lambda tx: tx.run("no_such_statement"))

    async def test_changes_are_noticed_own_and_foreign(self, open_store: OpenStore) -> None:
        one, other = await open_store(), await open_store()
        for writer in (one, other):
            mark = await one.changed(0, 5)
            waiting = asyncio.ensure_future(one.changed(mark, 30))
            while True:  # the poll may first report what it had not yet seen
                await writer.write(_claim("run/a"))
                mark, before = await waiting, mark
                assert mark != before
                break

    async def test_no_change_ends_with_the_timeout(self, open_store: OpenStore) -> None:
        store = await open_store()
        marks = [await store.changed(0, 5)]
        while len(marks) < 10 and marks[-1] not in marks[:-1]:  # what it had not yet seen may be reported first
            marks.append(await store.changed(marks[-1], 0.1))
        assert marks[-1] == marks[-2]

    async def test_a_change_before_the_wait_is_not_missed(self, open_store: OpenStore) -> None:
        one, other = await open_store(), await open_store()
        mark = await one.changed(0, 5)
        mark = await one.changed(mark, 0.1)
        await other.write(_claim("run/a"))
        assert await one.changed(mark, 30) != mark

    async def test_what_a_write_reads_stays_so_until_it_ends(self, open_store: OpenStore) -> None:
        stores = [await open_store() for _ in range(3)]

        def move(tx: Tx) -> None:
            cap = next((row["cap"] for row in tx.run("purses_of", purses='["p"]', holder="h") if row["cap"]), 0)
            tx.run("purse_open", purse="p", cap=cap + 1)

        await asyncio.gather(*(store.write(move) for store in stores for _ in range(20)))
        assert (await stores[0].read("view_purses", first="p", last="q"))[0]["cap"] == 60

    async def test_ids_rise_in_the_order_of_the_commits(self, open_store: OpenStore) -> None:
        """Whoever reads on from the last id that it saw misses nothing."""
        stores = [await open_store() for _ in range(3)]

        def add(tx: Tx) -> None:
            last = tx.run("event_last")[0]["last"]
            stream = tx.run("stream_heads_of", names='["run/a"]')[0]["id"]
            tx.run_many("event_add", [(last + 1, stream, 1, 0, 0.0, 1, b"", b"{}")])

        await stores[0].write(_claim("run/a"))
        writing = asyncio.gather(*(store.write(add) for store in stores for _ in range(20)))
        seen: list[int] = []
        while len(seen) < 60:
            rows = await stores[0].read("tail_events", after=seen[-1] if seen else 0, limit=7)
            seen += [row["id"] for row in rows]
        await writing
        assert seen == list(range(1, 61))

    async def test_many_writers_lose_nothing(self, open_store: OpenStore) -> None:
        stores = [await open_store(), await open_store()]
        await asyncio.gather(*(stores[n % 2].write(_claim("run/a")) for n in range(200)))
        assert await stores[0].write(_claim("run/a")) == 201

    async def test_whoever_has_it_alone_is_the_only_one_who_writes(self, open_store: OpenStore) -> None:
        one, other, onlooker = await open_store(), await open_store(), await open_store()
        await one.write(_claim("run/a"))
        await other.write(_claim("run/a"))
        with pytest.raises(Conflicting):
            async with one.sole():
                raise AssertionError  # the other one has written, and relies on what it saw
        await one.write(_claim("run/a"))
        await other.close()
        async with one.sole():
            assert await _names(onlooker) == ["run/a"]
            with pytest.raises(StoreUnavailable):
                await onlooker.write(_claim("run/a"))
            assert await one.write(_claim("run/a")) == 4
            with pytest.raises(StoreUnavailable):
                await (await open_store()).write(_claim("run/a"))
        assert await onlooker.write(_claim("run/a")) == 5

    async def test_close_finishes_what_waits_and_is_idempotent(self, open_store: OpenStore) -> None:
        one, other = await open_store(), await open_store()
        writes = [asyncio.ensure_future(one.write(_claim("run/a"))) for _ in range(20)]
        await asyncio.sleep(0)
        await one.close()
        await one.close()
        assert sorted(await asyncio.gather(*writes)) == list(range(1, 21))
        assert await other.write(_claim("run/a")) == 21
