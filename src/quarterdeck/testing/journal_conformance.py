"""What every `Journal` must do. A test module subclasses `JournalConformance` and provides the fixture `open_journal`.

Rules
- `open_journal()` opens a journal on the same, initially empty database each time, as another process would.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from quarterdeck.journal.port import Claim, Entry, Journal, Record
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import MAX_EVENT_BYTES, ContextCompacted, RunPaused, RunResumed
from quarterdeck.kernel.failures import BadInput, NotFound, StaleClaim
from quarterdeck.store.port import Tx

OpenJournal = Callable[[], Awaitable[Journal]]


def _event(n: int = 0) -> RunPaused:
    return RunPaused(by=f"user {n}")


class _Oops(Exception):
    pass


class JournalConformance:
    async def test_events_come_back_in_order_and_linked(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()
        claim = await journal.claim("run/a")
        await journal.append(claim, _event(1), RunResumed(by="me"))
        await journal.append(claim, _event(2))
        records = await journal.read("run/a")
        assert [record.seq for record in records] == [1, 2, 3]
        assert [record.event for record in records] == [_event(1), RunResumed(by="me"), _event(2)]
        assert {record.epoch for record in records} == {claim.epoch}
        assert len({record.hash for record in records}) == 3
        assert await journal.read("run/a", after=1, limit=1) == records[1:2]
        assert await journal.last("run/a") == records[-1]
        assert await journal.read("run/none") == []
        assert await journal.last("run/none") is None
        assert (await journal.verify()).faults == ()

    async def test_a_newer_claim_fences_the_older_one(self, open_journal: OpenJournal) -> None:
        one, other = await open_journal(), await open_journal()
        old = await one.claim("run/a")
        await one.append(old, _event(1))
        new = await other.claim("run/a")
        assert new.epoch > old.epoch
        with pytest.raises(StaleClaim):
            await one.append(old, _event(2))
        await other.append(new, _event(3))
        with pytest.raises(StaleClaim):
            await one.append(old, _event(4))
        assert [record.event for record in await one.read("run/a")] == [_event(1), _event(3)]
        again = await one.claim("run/a")
        await one.append(again, _event(5))
        with pytest.raises(StaleClaim):
            await other.append(new, _event(6))
        assert (await one.verify()).faults == ()

    async def test_a_stream_without_claim_refuses(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()
        claim = await journal.claim("run/a")
        with pytest.raises(StaleClaim):
            await journal.append(type(claim)("run/other", 1), _event())

    async def test_one_commit_is_all_or_nothing(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()
        a, b = await journal.claim("run/a"), await journal.claim("run/b")
        await journal.commit(Entry(a, (_event(1),)), Entry(b, (_event(2),)))
        stale, b = b, await journal.claim("run/b")
        with pytest.raises(StaleClaim):
            await journal.commit(Entry(a, (_event(3),)), Entry(stale, (_event(4),)))
        assert len(await journal.read("run/a")) == 1

        def fails(tx: Tx) -> None:
            tx.run("stream_claim", stream="run/by-also")
            raise _Oops

        with pytest.raises(_Oops):
            await journal.commit(Entry(a, (_event(5),)), Entry(b, (_event(6),)), also=fails)
        assert len(await journal.read("run/a")) == 1
        assert len(await journal.read("run/b")) == 1
        assert await journal.streams() == ["run/a", "run/b"]

    async def test_also_alone(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()

        def also(tx: Tx) -> None:
            tx.run("stream_claim", stream="run/by-also")

        await journal.commit(also=also)
        assert await journal.streams("run/") == ["run/by-also"]
        assert await journal.streams("gate/") == []

    async def test_a_failing_neighbour_harms_nobody(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()
        claims = [await journal.claim(f"run/{n}") for n in range(10)]
        stale = claims[3]
        claims[3] = await journal.claim("run/3")

        def fails(_: Tx) -> None:
            raise _Oops

        results = await asyncio.gather(
            *(journal.append(claim, _event(n)) for n, claim in enumerate(claims)),
            journal.append(stale, _event(99)),
            journal.append(claims[4], _event(100), also=fails),
            return_exceptions=True,
        )
        assert results[:10] == [None] * 10
        assert isinstance(results[10], StaleClaim)
        assert isinstance(results[11], _Oops)
        assert all([len(await journal.read(f"run/{n}")) == 1 for n in range(10)])
        assert (await journal.verify()).faults == ()

    async def test_what_nobody_waits_for_comes_first_and_in_the_same_transaction(
        self, open_journal: OpenJournal
    ) -> None:
        journal = await open_journal()
        claim = await journal.claim("run/a")
        seen: list[int] = []
        soon = journal.append_soon(claim, _event(1), also=lambda tx: seen.append(id(tx)))
        await journal.append(claim, _event(2), also=lambda tx: seen.append(id(tx)))
        assert soon.done()
        await soon
        assert [record.event for record in await journal.read("run/a")] == [_event(1), _event(2)]
        assert seen == [seen[0]] * 2
        journal.append_soon(claim, _event(3))
        await journal.append(await journal.claim("run/b"), _event(4))
        assert len(await journal.read("run/a")) == 3

    async def test_what_may_wait_comes_in_its_place_with_whatever_is_next_and_at_last_alone(
        self, open_journal: OpenJournal
    ) -> None:
        journal = await open_journal()
        claim, other = await journal.claim("run/a"), await journal.claim("run/b")
        seen: list[int] = []
        first = journal.append_soon(claim, _event(1))
        patient = journal.append_patiently(claim, _event(2), also=lambda tx: seen.append(id(tx)))
        await journal.append(other, _event(9), also=lambda tx: seen.append(id(tx)))
        assert first.done() and patient.done(), "it came along"
        assert seen == [seen[0]] * 2
        later = journal.append_patiently(claim, _event(3))
        await journal.append(claim, _event(4))
        await later
        await journal.append_patiently(claim, _event(5))
        assert [record.event for record in await journal.read("run/a")] == [_event(n) for n in range(1, 6)]
        with pytest.raises(StaleClaim):
            await journal.append_patiently(Claim("run/a", claim.epoch - 1), _event(6))

    async def test_where_what_nobody_waits_for_fails_nothing_follows_it(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()
        a, b = await journal.claim("run/a"), await journal.claim("run/b")

        def fails(_: Tx) -> None:
            raise _Oops

        soon = journal.append_soon(a, _event(1), also=fails)
        behind, neighbour = journal.append(a, _event(2)), journal.append(b, _event(3))
        await neighbour
        for failed in (soon, behind):
            with pytest.raises(_Oops):
                await failed
        assert await journal.read("run/a") == []
        with pytest.raises(_Oops):
            await journal.append(a, _event(4), also=fails)
        await journal.append(a, _event(5))
        assert [record.event for record in await journal.read("run/a")] == [_event(5)]

    async def test_concurrent_appends_to_one_stream_form_one_chain(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()
        claim = await journal.claim("run/a")
        await asyncio.gather(*(journal.append(claim, _event(n)) for n in range(100)))
        assert [record.seq for record in await journal.read("run/a")] == list(range(1, 101))
        found = await journal.verify()
        assert (found.records, found.faults) == (100, ())

    async def test_too_large_an_event_is_refused(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()
        claim = await journal.claim("run/a")
        large = ContextCompacted(step=1, messages=("x" * 100,) * 900, before_tokens=1, after_tokens=1)
        assert len(large.model_dump_json()) > MAX_EVENT_BYTES
        with pytest.raises(BadInput):
            await journal.append(claim, large)
        assert await journal.read("run/a") == []

    async def test_follow_sees_old_new_and_foreign_records(self, open_journal: OpenJournal) -> None:
        one, other = await open_journal(), await open_journal()
        claim = await one.claim("run/a")
        await one.append(claim, _event(1), _event(2))
        following = one.follow("run/a", after=1)

        async def next_record() -> Record:
            return await anext(following)

        assert (await next_record()).seq == 2
        waiting = asyncio.ensure_future(next_record())
        await one.append(claim, _event(3))
        assert (await waiting).event == _event(3)
        foreign = await other.claim("run/a")
        waiting = asyncio.ensure_future(next_record())
        await other.append(foreign, _event(4))
        assert (await waiting).event == _event(4)

    async def test_blobs(self, open_journal: OpenJournal) -> None:
        one, other = await open_journal(), await open_journal()
        claim = await one.claim("run/a")
        bodies = [b"", b"short", b"long " * 5000, bytes(range(256)) * 10]
        digests = [await one.put(body) for body in bodies]
        assert digests == [ids.digest(body) for body in bodies]
        assert await one.put(bodies[2]) == digests[2]
        await one.append(claim, _event())
        assert [await other.get(digest) for digest in digests] == bodies
        assert await other.put(bodies[2]) == digests[2]
        for missing in ("0" * 64, "not a digest"):
            with pytest.raises(NotFound):
                await one.get(missing)

    async def test_anchors_hold_until_the_streams_change_behind_them(self, open_journal: OpenJournal) -> None:
        journal = await open_journal()
        deck, claim = await journal.claim(ids.DECK_STREAM), await journal.claim("run/a")
        await journal.append(claim, _event(1))
        await journal.anchor(deck)
        await journal.append(claim, _event(2))
        await journal.anchor(deck)
        await journal.append(claim, _event(3))
        found = await journal.verify()
        assert (found.streams, found.records, found.faults) == (2, 5, ())
        assert (await journal.verify("run/")).streams == 1
