"""What every `Engine` must do. A test module subclasses `EngineConformance` and provides the fixture `bench`.

Rules
- `bench.engine()` makes another engine over the same queue, as another worker or process would.
- Nothing here assumes one owner: what holds for one owner only is tested with the embedded engine.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import pytest

from quarterdeck.engine.port import Engine, Handler, Job, Later
from quarterdeck.kernel.failures import StoreUnavailable
from quarterdeck.store.port import Store, Tx


class Bench(Protocol):
    """A queue to test on."""

    @property
    def store(self) -> Store: ...

    def engine(self) -> Engine:
        """A new engine over the queue; closed at the end of the test."""
        ...


class Stop(BaseException):
    """No failure."""


def job(key: str, *, lock: str = "", run: str = "r", kind: str = "work", priority: int = 0, delay: float = 0.0) -> Job:
    return Job(kind=kind, key=key, lock=lock or key, run=run, payload={"n": 1}, priority=priority, delay=delay)


async def defer(bench: Bench, engine: Engine, *jobs: Job) -> None:
    def work(tx: Tx) -> None:
        for one in jobs:
            engine.defer(tx, one)

    await bench.store.write(work)


async def drain(engine: Engine, handlers: Mapping[str, Handler]) -> None:
    async with asyncio.timeout(30):
        await engine.serve(handlers, until_idle=True)


class EngineConformance:
    async def test_jobs_are_performed_once_and_gone(self, bench: Bench) -> None:
        engine = bench.engine()
        seen: list[Job] = []

        async def handle(one: Job) -> None:
            seen.append(one)

        await defer(bench, engine, *(job(f"k{n}") for n in range(20)))
        assert await engine.unfinished() == 20
        assert await engine.unfinished("other") == 0
        await drain(engine, {"work": handle})
        assert sorted(one.key for one in seen) == sorted(f"k{n}" for n in range(20))
        assert seen[0].payload == {"n": 1}
        assert await engine.unfinished() == 0
        assert await engine.failed() == []

    async def test_an_undone_transaction_defers_nothing(self, bench: Bench) -> None:
        engine = bench.engine()

        def work(tx: Tx) -> None:
            engine.defer(tx, job("k"))
            raise LookupError

        with pytest.raises(LookupError):
            await bench.store.write(work)
        assert await engine.unfinished() == 0

    async def test_who_is_alive_may_go_on(self, bench: Bench) -> None:
        engine = bench.engine()
        await bench.store.write(engine.fence)
        await engine.try_own()
        await bench.store.write(engine.fence)
        await engine.close()
        await bench.store.write(engine.fence)

    async def test_one_lock_runs_one_job_at_a_time_in_order(self, bench: Bench) -> None:
        engine = bench.engine()
        order: list[str] = []
        inside: set[str] = set()

        async def handle(one: Job) -> None:
            assert one.lock not in inside
            inside.add(one.lock)
            for _ in range(5):
                await asyncio.sleep(0)
            inside.discard(one.lock)
            order.append(one.key)

        await defer(bench, engine, *(job(f"{lock}{n}", lock=lock) for n in range(5) for lock in "ab"))
        await drain(engine, {"work": handle})
        assert await engine.failed() == []
        assert [key for key in order if key[0] == "a"] == [f"a{n}" for n in range(5)]
        assert [key for key in order if key[0] == "b"] == [f"b{n}" for n in range(5)]

    async def test_higher_priority_first(self, bench: Bench) -> None:
        engine = bench.engine()
        order: list[str] = []

        async def handle(one: Job) -> None:
            order.append(one.key)

        await defer(bench, engine, *(job(f"k{p}", lock="l", priority=p) for p in (0, 20, 10)))
        await drain(engine, {"work": handle})
        assert order == ["k20", "k10", "k0"]

    async def test_different_locks_overlap(self, bench: Bench) -> None:
        engine = bench.engine()
        together = asyncio.Barrier(3)

        async def handle(one: Job) -> None:
            await together.wait()

        await defer(bench, engine, job("a"), job("b"), job("c"))
        await drain(engine, {"work": handle})
        assert await engine.failed() == []

    async def test_a_waiting_key_is_not_doubled_a_running_one_does_not_count(self, bench: Bench) -> None:
        engine = bench.engine()
        seen: list[str] = []

        async def handle(one: Job) -> None:
            seen.append(one.key)
            if len(seen) == 1:
                await defer(bench, engine, job("k"), job("k"))

        await defer(bench, engine, job("k"), job("k"))
        assert await engine.unfinished() == 1
        await drain(engine, {"work": handle})
        assert seen == ["k", "k"]

    async def test_later_runs_again_even_when_deferred_meanwhile(self, bench: Bench) -> None:
        engine = bench.engine()
        seen: list[str] = []

        async def handle(one: Job) -> None:
            seen.append(one.key)
            if len(seen) == 1:
                await defer(bench, engine, job("k"))
                raise Later(0.0, "not yet")
            if len(seen) == 2:
                raise Later(0.01, "still not")

        await defer(bench, engine, job("k"))
        await drain(engine, {"work": handle})
        assert seen == ["k"] * 3
        assert await engine.failed() == []

    async def test_whoever_passes_a_job_that_was_to_wait_can_know(self, bench: Bench) -> None:
        engine, beside = bench.engine(), bench.engine()
        told: list[tuple[str, bool]] = []

        async def handle(one: Job) -> None:
            passes = await engine.overtakes(one)
            assert await beside.overtakes(one) is passes, "whoever asks"
            told.append((one.key, passes))
            if passes or len(told) == 1:
                raise Later(0.2 if len(told) == 1 else 0.01, "not yet")

        first, second = job("first", lock="l"), job("second", lock="l")
        await defer(bench, engine, first, second, job("else", lock="l", kind="else"), job("not", run="s", lock="l"))
        await drain(engine, {"work": handle, "else": handle})
        said = [one for one in told if one[0] in ("first", "second")]
        assert said[:2] == [("first", False), ("second", True)]
        assert set(said[2:-2]) <= {("second", True)}, "however often it is looked at"
        assert said[-2:] == [("first", False), ("second", False)], "and come in their order"
        assert sorted(one for one in told if one not in said) == [("else", False), ("not", False)]

    async def test_a_delayed_job_waits_and_hinders_nobody(self, bench: Bench) -> None:
        engine = bench.engine()
        order: list[str] = []

        async def handle(one: Job) -> None:
            order.append(one.key)

        await defer(bench, engine, job("late", lock="l", delay=0.2), job("soon", lock="l"))
        await drain(engine, {"work": handle})
        assert order == ["soon", "late"]

    async def test_deferring_without_delay_hurries_a_delayed_one(self, bench: Bench) -> None:
        engine = bench.engine()
        seen: list[str] = []

        async def handle(one: Job) -> None:
            seen.append(one.key)

        await defer(bench, engine, job("k", delay=3600.0))
        await defer(bench, engine, job("k"))
        await drain(engine, {"work": handle})
        assert seen == ["k"]

    async def test_a_failure_is_kept_with_its_trace_and_others_go_on(self, bench: Bench) -> None:
        engine = bench.engine()
        seen: list[str] = []

        async def handle(one: Job) -> None:
            if one.key == "bad":
                raise ZeroDivisionError("the reason")
            if one.key == "cancelled":
                raise asyncio.CancelledError
            seen.append(one.key)

        await defer(bench, engine, job("bad"), job("cancelled"), job("good"), job("unknown", kind="nobody"))
        await drain(engine, {"work": handle})
        assert seen == ["good"]
        failed = {one.key: trace for one, trace in await engine.failed()}
        assert set(failed) == {"bad", "cancelled", "unknown"}
        assert "the reason" in failed["bad"]
        assert "nobody" in failed["unknown"]

    async def test_a_failure_that_no_text_can_hold_is_kept_too(self, bench: Bench) -> None:
        engine = bench.engine()

        async def handle(one: Job) -> None:
            if one.key == "bad":
                raise OSError(2, "no such file", "name-\udcff\0.txt")

        await defer(bench, engine, job("bad", lock="l"), job("behind", lock="l"))
        await drain(engine, {"work": handle})
        assert [one.key for one, _ in await engine.failed()] == ["bad"]
        assert "udcff" in (await engine.failed())[0][1]

    async def test_what_is_no_failure_ends_serving_and_the_job_goes_back(self, bench: Bench) -> None:
        """As when the process is told to stop: nobody has looked at the job."""
        engine = bench.engine()
        seen: list[str] = []

        async def stop(_: Job) -> None:
            raise Stop

        async def handle(one: Job) -> None:
            seen.append(one.key)

        await defer(bench, engine, job("k"))
        with pytest.raises(Stop):
            await drain(engine, {"work": stop})
        assert (await engine.failed(), await engine.unfinished()) == ([], 1)
        await drain(engine, {"work": handle})
        assert seen == ["k"]

    async def test_abort_drops_waiting_jobs_and_cancels_running_ones(self, bench: Bench) -> None:
        engine, elsewhere = bench.engine(), bench.engine()
        started, cancelled, seen = asyncio.Event(), asyncio.Event(), list[str]()

        async def handle(one: Job) -> None:
            seen.append(one.key)
            if one.key == "long":
                started.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    cancelled.set()
            if one.key == "control":
                await bench.store.write(lambda tx: elsewhere.abort(tx, "r"))
                await cancelled.wait()

        await defer(bench, engine, job("long", lock="l"), job("behind", lock="l"), job("other", run="s"))
        serving = asyncio.ensure_future(drain(engine, {"work": handle}))
        await started.wait()
        await defer(bench, elsewhere, job("control", lock="run/r"), job("after", lock="run/r"))
        await serving
        assert sorted(seen) == ["after", "control", "long", "other"]
        assert await engine.unfinished() == 0
        assert await engine.failed() == []

    async def test_a_cancelled_job_that_wants_to_run_again_takes_nobody_with_it(self, bench: Bench) -> None:
        engine, elsewhere = bench.engine(), bench.engine()
        started, looked, seen = asyncio.Event(), asyncio.Event(), list[str]()

        async def handle(one: Job) -> None:
            seen.append(one.key)
            match one.key:
                case "k" if not started.is_set():
                    started.set()
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:  # as a sandbox does that cannot be closed on the way out
                        raise Later(0.01, "the machine is not well") from None
                case "k":  # a look at the queue takes place while it is performed
                    await defer(bench, elsewhere, job("other", run="s"))
                    await looked.wait()
                    seen.append("ended")
                case "anew":
                    await defer(bench, elsewhere, job("k", lock="l"))
                case _:
                    looked.set()

        await defer(bench, engine, job("k", lock="l"))
        serving = asyncio.ensure_future(drain(engine, {"work": handle}))
        await started.wait()
        await bench.store.write(lambda tx: elsewhere.abort(tx, "r"))
        await defer(bench, elsewhere, job("anew", lock="l", run="s"))
        await serving
        assert seen == ["k", "anew", "k", "other", "ended"]
        assert await engine.unfinished() == 0

    async def test_cancelling_serve_gives_the_jobs_back(self, bench: Bench) -> None:
        engine = bench.engine()
        started, ended = asyncio.Event(), asyncio.Event()

        async def forever(one: Job) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        await defer(bench, engine, job("k"), job("behind", lock="k"))
        serving = asyncio.ensure_future(engine.serve({"work": forever}, until_idle=False))
        await started.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert ended.is_set()
        assert await engine.unfinished() == 2
        seen: list[str] = []

        async def handle(one: Job) -> None:
            seen.append(one.key)

        await drain(engine, {"work": handle})
        assert seen == ["k", "behind"]

    async def test_serve_wakes_for_a_job_that_comes_later(self, bench: Bench) -> None:
        engine = bench.engine()
        done = asyncio.Event()

        async def handle(one: Job) -> None:
            done.set()

        serving = asyncio.ensure_future(engine.serve({"work": handle}, until_idle=False))
        await asyncio.sleep(0)
        await defer(bench, bench.engine(), job("k"))
        async with asyncio.timeout(30):
            await done.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        await engine.close()
        await engine.close()

    async def test_an_ill_machine_blames_no_job(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("quarterdeck.engine.illness.BACKOFF", (0.01, 0.02))
        engine = bench.engine()
        tries: list[int] = []

        async def handle(one: Job) -> None:
            tries.append(1)
            if len(tries) < 3:
                raise StoreUnavailable

        await defer(bench, engine, job("k"))
        await drain(engine, {"work": handle})
        assert len(tries) == 3
        assert await engine.failed() == []

    async def test_a_queue_is_attended_while_somebody_owns_it(self, bench: Bench) -> None:
        engine, onlooker = bench.engine(), bench.engine()
        assert not await onlooker.attended()
        assert await engine.try_own()
        assert await engine.attended()
        assert await onlooker.attended()
        await engine.close()
        assert not await onlooker.attended()
        await onlooker.close()
