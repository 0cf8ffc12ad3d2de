"""The engine and the journal among real processes: killed owners, followers, and claims of the dead.

The child processes perform jobs and say on stdout what they do; what must outlive them they append to a file.
"""

import asyncio
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from quarterdeck.engine.embedded import EmbeddedEngine
from quarterdeck.engine.port import Job
from quarterdeck.journal.log import Log
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events import RunPaused
from quarterdeck.store.port import Tx
from quarterdeck.store.sqlite import SqliteStore

pytestmark = pytest.mark.embedded("the engine over SQLite itself; test_engine_workers has the one over PostgreSQL")

_CHILD = """
import asyncio, fcntl, os, sys
from pathlib import Path
from quarterdeck.engine.embedded import EmbeddedEngine
from quarterdeck.journal.log import Log
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.events import RunPaused
from quarterdeck.kernel.failures import StaleClaim
from quarterdeck.store.sqlite import SqliteStore

home, mode, holds = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
diary = os.open(home / "diary", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def say(*words):
    print(*words, flush=True)

async def perform(job):
    os.write(diary, f"in {job.lock} {job.key} {os.getpid()}\\n".encode())
    say("started", job.key)
    if job.key == holds:
        await asyncio.Event().wait()
    await asyncio.to_thread(os.fsync, diary)
    os.write(diary, f"out {job.lock} {job.key} {os.getpid()}\\n".encode())

async def serve(store):
    engine = EmbeddedEngine(store, home / "owner.lock", ids.new_owner_id(), SystemClock())
    if not await engine.try_own():
        say("following")
        with open(home / "owner.lock") as lock:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        assert await engine.try_own()
    say("owning")
    await engine.serve({"work": perform}, until_idle=True)
    await engine.close()
    say("idle")

async def append(store):
    log = Log(store, SystemClock())
    claim = await log.claim("run/a")
    await log.append(claim, RunPaused(by="child"))
    say("claimed")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    try:
        await log.append(claim, RunPaused(by="the dead"))
        say("appended")
    except StaleClaim:
        say("stale")

async def main():
    store = await SqliteStore.open(home / "deck.db")
    await (append if mode == "append" else serve)(store)
    await store.close()

asyncio.run(main())
"""


class _Deck:
    def __init__(self, home: Path, store: SqliteStore) -> None:
        self.home = home
        self.store = store
        self.engine = EmbeddedEngine(store, home / "owner.lock", ids.new_owner_id(), SystemClock())
        self._children: list[Process] = []

    async def defer(self, *jobs: Job) -> None:
        def work(tx: Tx) -> None:
            for job in jobs:
                self.engine.defer(tx, job)

        await self.store.write(work)

    async def child(self, mode: str = "serve", holds: str = "-") -> Process:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHILD, str(self.home), mode, holds, stdin=PIPE, stdout=PIPE
        )
        self._children.append(child)
        return child

    def diary(self) -> list[list[str]]:
        path = self.home / "diary"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    async def close(self) -> None:
        for child in self._children:
            await kill(child)
        await self.engine.close()
        await self.store.close()


async def said(child: Process, words: str) -> None:
    """Wait until the child has said it."""
    assert child.stdout is not None
    async with asyncio.timeout(60):
        while line := (await child.stdout.readline()).decode():
            if line.strip() == words:
                return
    pytest.fail(f"the child ended before it said: {words}")


async def kill(child: Process) -> None:
    if child.returncode is None:
        child.kill()
    await child.communicate()


@asynccontextmanager
async def _open(home: Path) -> AsyncIterator[_Deck]:
    deck = _Deck(home, await SqliteStore.open(home / "deck.db"))
    try:
        yield deck
    finally:
        await deck.close()


@pytest.fixture
async def deck(tmp_path: Path) -> AsyncIterator[_Deck]:
    async with _open(tmp_path) as deck:
        yield deck


def _jobs(count: int, locks: int) -> list[Job]:
    return [Job(kind="work", key=f"k{n}", lock=f"l{n % locks}", run="r") for n in range(count)]


def _overlaps(diary: list[list[str]]) -> list[str]:
    """Jobs that began while another one of their lock was being performed by the same living process."""
    inside: dict[str, str] = {}
    found = []
    for what, lock, key, pid in diary:
        if what == "in":
            if inside.get(lock) == pid:
                found.append(key)
            inside[lock] = pid
        else:
            inside.pop(lock, None)
    return found


async def test_a_follower_takes_over_from_a_killed_owner(deck: _Deck) -> None:
    await deck.defer(*_jobs(20, locks=4))
    owner = await deck.child(holds="k5")
    await said(owner, "started k5")
    follower = await deck.child()
    await said(follower, "following")
    owner.send_signal(signal.SIGKILL)
    await said(follower, "idle")
    diary = deck.diary()
    assert {key for what, _, key, _ in diary if what == "out"} == {f"k{n}" for n in range(20)}
    assert sum(what == "in" and key == "k5" for what, _, key, _ in diary) == 2
    assert _overlaps(diary) == []
    assert await deck.engine.unfinished() == 0
    assert await deck.engine.failed() == []
    lock_1 = [key for what, lock, key, _ in diary if what == "out" and lock == "l1"]
    assert lock_1 == ["k1", "k5", "k9", "k13", "k17"]


async def test_a_second_process_inserts_while_the_owner_works(deck: _Deck) -> None:
    await deck.defer(Job(kind="work", key="hold", lock="h", run="r"))
    owner = await deck.child(holds="hold")
    await said(owner, "started hold")
    assert not await deck.engine.try_own()
    await deck.defer(Job(kind="work", key="late", lock="x", run="s"))
    await said(owner, "started late")
    await deck.store.write(lambda tx: deck.engine.abort(tx, "r"))
    await said(owner, "idle")
    assert await deck.engine.unfinished() == 0


async def test_random_kills_lose_no_job(deck: _Deck) -> None:
    chance = random.Random(7)
    count = 60
    await deck.defer(*_jobs(count, locks=6))
    for _ in range(8):
        child = await deck.child()
        key = f"k{chance.randrange(count)}"
        await _reach(child, key, chance.random() * 0.05)
        await kill(child)
    survivor = await deck.child()
    await said(survivor, "idle")
    diary = deck.diary()
    assert {key for what, _, key, _ in diary if what == "out"} == {f"k{n}" for n in range(count)}
    assert _overlaps(diary) == []
    assert await deck.engine.failed() == []


async def _reach(child: Process, key: str, patience: float) -> None:
    """Until the child starts that job, or a moment after it owns the queue, or it has nothing more to do."""
    await said(child, "owning")
    assert child.stdout is not None
    try:
        async with asyncio.timeout(patience):
            while line := (await child.stdout.readline()).decode():
                if line.strip() in (f"started {key}", "idle"):
                    return
    except TimeoutError:
        return


async def test_a_process_back_from_the_dead_can_write_nothing(deck: _Deck) -> None:
    child = await deck.child("append")
    await said(child, "claimed")
    child.send_signal(signal.SIGSTOP)
    log = Log(deck.store, SystemClock())
    claim = await log.claim("run/a")
    await log.append(claim, RunPaused(by="heir"))
    child.send_signal(signal.SIGCONT)
    assert child.stdin is not None
    child.stdin.write(b"go\n")
    await said(child, "stale")
    await log.append(claim, RunPaused(by="heir"))
    writers = [record.event.by for record in await log.read("run/a") if isinstance(record.event, RunPaused)]
    assert writers == ["child", "heir", "heir"]
    assert (await log.verify()).faults == ()
