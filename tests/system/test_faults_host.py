"""Faults of the machine, of agents and of checks, made to happen: the reaction, by the journal, the tree and the exit.

Where else such faults are tested: the tools of a native agent in `test_faults_tools.py`; SIGKILL between a reply and
its record (`model.replied`), between a tool's effect and its record (`tool.effected`) and between the update of a ref
and its record (`change.pinned`, `gate.moved`) in `test_kill.py::test_killed_at`; each sandbox provider under a hanging
command, 50 MB and bytes that are no text in `test_sandbox.py::test_conformance`; limits of memory, disk and processes
in `test_isolation.py`; a database that is held for long, and patience in general, in `test_machine_faults.py`.

A suspended machine is a step of its wall clock: the monotonic clock stands still meanwhile.
"""

import asyncio
import errno
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from deck_kit import Place, events, git, one, place_at, run_events, task

from quarterdeck.assembly import Deck, open_deck
from quarterdeck.delivery.order import RunResult
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import Exit, QuarterdeckError, SandboxFailed, StoreLost, StoreUnavailable
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Provider, Spec
from quarterdeck.workplace.watchdog import descendants

pytestmark = pytest.mark.sandbox

MEBIBYTE = 1024 * 1024
CALM = "true"
"""A gate that passes."""
FILE = pytest.mark.embedded("what is full, held, lost or damaged is SQLite's file; test_engine_faults ends the server")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with place_at(tmp_path) as made:
        yield made


@contextmanager
def at(point: str, act: Callable[[], object]) -> Iterator[None]:
    """Do something when this process reaches the probe point for the first time."""
    waiting = [act]

    def hook(name: str) -> None:
        if name == point and waiting:
            waiting.pop()()

    probes.install(hook)
    try:
        yield
    finally:
        probes.install(None)
    assert not waiting, f"{point} was never reached"


@asynccontextmanager
async def begun(place: Place, *tasks: dict[str, Any], **fields: Any) -> AsyncIterator[tuple[Deck, str]]:
    """An open deck with a run that nobody works on yet."""
    async with open_deck(place.settings) as deck:
        yield deck, await deck.create(place.order(*tasks, **fields))


async def until(deck: Deck, run: str, wanted: type[e.EventBase], *, times: int = 1) -> None:
    """Wait until such an event of the run is on record so often."""
    async with asyncio.timeout(60):
        async for record in deck.events(run):
            times -= isinstance(record.event, wanted)
            if times <= 0:
                return


async def waited_out(deck: Deck, run: str, wanted: type[e.EventBase], mend: Callable[[], object]) -> RunResult:
    """Work on the run until such an event says that something is in the way, mend that, and work on to the end."""
    working = asyncio.create_task(deck.work(run))
    try:
        await until(deck, run, wanted)
        mend()
        async with asyncio.timeout(60):
            await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    return await deck.result(run)


async def delays(deck: Deck, run: str, attempt: str = "a.1") -> list[str]:
    """Why the nodes of an attempt had to wait."""
    found = await events(deck, ids.attempt_stream(f"{run}.{attempt}"))
    return [event.reason for event in found if isinstance(event, e.NodeDelayed)]


async def whole(deck: Deck, place: Place, result: RunResult, *, attempts: int = 1) -> None:
    """The run is done as if nothing had happened: one attempt that counts, its tree, an intact journal."""
    assert (result.status, one(result, "a").attempts) == (RunStatus.DONE, attempts), result
    assert place.tree(result) == {"a.txt": "a"}
    assert (await deck.verify()).faults == ()
    assert git(place.repository, "fsck", "--no-dangling") == ""


def sandboxes(place: Place) -> list[str]:
    """Command lines of bwrap processes of this deck."""
    mark = os.fsencode(Ground(place.home).workspaces)
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark in (line := (entry / "cmdline").read_bytes()):
                found.append(line.decode("utf-8", "replace"))
    return found


@contextmanager
def mounted(path: Path, *arguments: str) -> Iterator[Path]:
    """Something mounted at `path`; skips where that is not allowed."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *arguments, str(path)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def small(path: Path, size: str) -> Any:
    """A file system of that size."""
    return mounted(path, "-t", "tmpfs", "-o", f"size={size},mode=711", "tmpfs")


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """The directory on a read-only file system."""
    with mounted(path, "--bind", str(path)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        yield


def fill(directory: Path) -> Path:
    """Use up all room of a file system; the file that does."""
    path = directory / "fill"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for size in (65536, 4096):
            with suppress(OSError):
                while os.write(handle, bytes(size)):
                    continue
    finally:
        os.close(handle)
    return path


class Trouble:
    """What the deck says about its database, and what is done when it says so."""

    def __init__(self, deck: Deck, mend: Callable[[], object]) -> None:
        self.said: list[QuarterdeckError | None] = []
        self.came = asyncio.Event()
        self._mend = mend
        deck.on_trouble(self._hear)

    def _hear(self, error: QuarterdeckError | None) -> None:
        self.said.append(error)
        if error is not None:
            self.came.set()
            self._mend()


# --- tools ----------------------------------------------------------------------------------------------------


async def test_agents_and_checks_that_misbehave_end_their_attempt_and_nothing_else(place: Place) -> None:
    noise = r"head -c 52428800 /dev/zero; printf '\377\376\0'"
    place.begin(gate=CALM, deck="[limits]\nattempts = 1\n", wall=1)
    tasks = (
        task("a", f"({noise}); echo a > a.txt", verify=[f"{noise}; ({noise}) >&2"]),
        task("hangs", "trap '' TERM; (trap '' TERM; sleep 600) & sleep 600"),
        task("dies", "exit 137"),
        task("checked", "echo c > checked.txt", verify=["kill -9 $$"]),
    )
    async with begun(place, *tasks) as (deck, run):
        await deck.work(run)
        result = await deck.result(run)
        assert (result.status, result.exit_code) == (RunStatus.PARTIAL, Exit.FAILED)
        assert {item.id: item.status for item in result.tasks} == {
            "a": TaskStatus.MERGED,
            "hangs": TaskStatus.FAILED,
            "dies": TaskStatus.FAILED,
            "checked": TaskStatus.FAILED,
        }
        assert "was stopped after 1 s (limits.wall)" in one(result, "hangs").reason
        assert "ended by signal 9" in one(result, "dies").reason
        assert "`kill -9 $$` failed: exit 137" in one(result, "checked").reason
        assert place.tree(result) == {"a.txt": "a"}
        await deck.export(run, place.root / "out")
        assert (await deck.verify()).faults == ()
    if place.settings.database_url is None:
        assert (place.home / "deck.db").stat().st_size < 4 * MEBIBYTE
    assert sandboxes(place) == []


# --- the store ------------------------------------------------------------------------------------------------


@FILE
async def test_a_full_store_is_said_waited_out_and_loses_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full between the end of the agent and its record; room as soon as somebody was told."""
    monkeypatch.setattr("quarterdeck.store.room._MOST", 0)  # else there may be enough of it for the rest of the run
    with small(place.home, "3m"):
        place.begin(gate=CALM)
        async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
            trouble = Trouble(deck, lambda: (place.home / "fill").unlink())
            with at("harness.finished", lambda: fill(place.home)):
                await deck.work(run)
            told, back = trouble.said
            assert isinstance(told, StoreUnavailable)
            assert "disk is full" in str(told)
            assert told.fix == f"free some space on the disk of {place.home}/deck.db"
            assert back is None
            await whole(deck, place, await deck.result(run))


@FILE
async def test_a_run_on_a_full_store_can_be_left_and_resumed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.store.room._MOST", 0)  # else there may be enough of it for the rest of the run
    with small(place.home, "3m"):
        place.begin(gate=CALM)
        async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
            trouble = Trouble(deck, lambda: None)
            with at("gate.moved", lambda: fill(place.home)):
                working = asyncio.create_task(deck.work(run))
                await asyncio.wait({working, asyncio.ensure_future(trouble.came.wait())}, return_when="FIRST_COMPLETED")
            assert trouble.came.is_set()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
        with pytest.raises(StoreUnavailable, match="disk is full"):
            async with open_deck(place.settings) as deck:
                await deck.work(run)
        (place.home / "fill").unlink()
        async with open_deck(place.settings) as deck:
            await deck.work(run)
            await whole(deck, place, await deck.result(run))
            (target,) = await deck.journal.streams("gate/")
            landed = [event for event in await events(deck, target) if isinstance(event, e.ChangeLanded)]
            assert len(landed) == 1, "the branch had moved before the store was full; it does not move twice"


@FILE
async def test_a_deck_on_a_full_disk_is_said_to_be_that_and_doctor_looks_at_the_rest(place: Place) -> None:
    with small(place.home, "4m"):
        place.begin(gate=CALM)
        assert place.call("ps")[0] == 0
        fill(place.home)
        code, _, err = place.call("ps")
        assert code == Exit.FAILED and "disk is full" in err and "free some space on the disk of" in err
        code, out, err = place.call("doctor")
        assert code == Exit.FAILED and "1 problem to fix" in err
        assert "git version" in out and "0.0 GiB free" in out
        assert "✗ deck" in out and "disk is full" in out and "fix: free some space on the disk of" in out
        (place.home / "fill").unlink()
        with read_only(place.home):
            code, out, err = place.call("doctor")
            assert code == Exit.FAILED and "git version" in out and "✗ deck" in out and "Read-only file system" in out


@FILE
async def test_a_store_that_never_had_room_is_refused_in_words(place: Place) -> None:
    with small(place.home, "1m"):
        place.begin(gate=CALM)
        plan = place.plan(task("a", "echo a > a.txt"))
        fill(place.home)
        code, out, err = place.call("run", "--plan", str(plan))
        assert (code, out) == (Exit.FAILED, "")
        assert "No space left on device" in err or "disk is full" in err
        assert "Traceback" not in err
        assert "a bug in" not in err
        (place.home / "fill").unlink()
        assert place.call("ps", "--json")[:2] == (0, ""), "nothing half-made is in the way"


@FILE
async def test_a_database_that_another_process_holds_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.store.sqlite._BUSY_SECONDS", 0.05)
    place.begin(gate=CALM)
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        holder = sqlite3.connect(place.home / "deck.db", isolation_level=None)
        trouble = Trouble(deck, lambda: holder.execute("ROLLBACK"))
        with at("harness.finished", lambda: holder.execute("BEGIN IMMEDIATE")):
            await deck.work(run)
        holder.close()
        told, back = trouble.said
        assert "locked" in str(told)
        assert back is None
        await whole(deck, place, await deck.result(run))


@FILE
@pytest.mark.parametrize("how", ["deleted", "replaced"])
async def test_a_database_that_goes_away_ends_the_work_at_once(how: str, place: Place) -> None:
    """Writing on into a file without a name would look like success and keep nothing."""

    def lose() -> None:
        for path in place.home.glob("deck.db*"):
            path.unlink()
        if how == "replaced":
            sqlite3.connect(place.home / "deck.db").close()
            (place.home / "deck.db").touch()

    place.begin(gate=CALM)
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        with at("harness.started", lose), pytest.raises(StoreLost, match=f"was {how}") as caught:
            async with asyncio.timeout(60):
                await deck.work(run)
        assert "restore it from a backup" in caught.value.fix
    assert sandboxes(place) == []
    assert git(place.repository, "branch", "--format=%(refname:short)") == "main"
    code, out, _ = place.call("ps", "--json")
    assert (code, out) == (0, ""), "the next deck begins with an empty database"


@FILE
async def test_every_damaged_page_is_found(place: Place) -> None:
    place.begin(gate=CALM)
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        await deck.work(run)
    path = place.home / "deck.db"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = database.execute("PRAGMA page_size").fetchone()[0]
    database.close()
    good = path.read_bytes()
    assert len(good) > 20 * size
    for start in range(0, len(good), size):
        for other in place.home.glob("deck.db-*"):
            other.unlink()
        path.write_bytes(good[:start] + bytes(range(7, 7 + 128)) * (size // 128) + good[start + size :])
        found = ""
        try:
            async with open_deck(place.settings) as deck:
                found = "; ".join(fault.problem for fault in (await deck.verify()).faults)
        except StoreLost as error:
            found = f"{error} {error.fix}"
        assert found, f"page {start // size + 1} holds something else, and nobody noticed"
    code, out, err = place.call("audit", "verify")
    assert (code, out) == (Exit.FAILED, "")
    assert "malformed" in err
    assert "from a backup" in err


# --- room, descriptors and rights -----------------------------------------------------------------------------


async def test_a_full_disk_delays_workspaces_and_blames_nobody(place: Place) -> None:
    """Full, as with an exhausted quota, while a workspace is made; again while the change is checked."""
    place.begin(gate=CALM)
    ground = Ground(place.home).prepare()
    with small(ground.workspaces, "1m"):
        async with begun(place, task("a", "echo a > a.txt", verify=["grep a a.txt"])) as (deck, run):
            full = [fill(ground.workspaces)]
            with at("change.pinned", lambda: full.append(fill(ground.workspaces))):
                working = asyncio.create_task(deck.work(run))
                await until(deck, run, e.NodeDelayed)
                full[0].unlink()
                await until(deck, run, e.ChangeExported)
            result = await waited_out_again(deck, run, working, lambda: full[1].unlink())
            reasons = await delays(deck, run)
            assert len(reasons) >= 2
            assert all("No space left on device" in reason for reason in reasons), reasons
            await whole(deck, place, result)


async def test_a_command_that_fails_on_a_full_disk_is_not_blamed(place: Place) -> None:
    place.begin(gate=CALM)
    ground, full = Ground(place.home).prepare(), []
    with small(ground.workspaces, "1m"):
        async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
            with at("harness.started", lambda: full.append(fill(ground.workspaces))):
                working = asyncio.create_task(deck.work(run))
                await until(deck, run, e.NodeDelayed)
            full[0].unlink()
            await working
            assert "disk of this machine is full" in (await delays(deck, run))[0]
            await whole(deck, place, await deck.result(run))


async def waited_out_again(
    deck: Deck, run: str, working: "asyncio.Task[None]", mend: Callable[[], object]
) -> RunResult:
    attempt = ids.attempt_stream(f"{run}.a.1")
    async with asyncio.timeout(60):
        async for record in deck.journal.follow(attempt):
            if isinstance(record.event, e.NodeDelayed) and record.event.node is e.Node.CHECK:
                break
        mend()
        await working
    return await deck.result(run)


async def test_an_agent_that_fills_the_disk_sees_it_and_its_work_is_kept(place: Place) -> None:
    place.begin(gate=CALM, deck="[limits]\nattempts = 1\n")
    ground = Ground(place.home).prepare()
    with small(ground.workspaces, "2m"):
        script = "echo a > a.txt; head -c 4000000 /dev/zero > junk; echo $? > /dev/null; rm junk"
        failing = "head -c 4000000 /dev/zero > b.txt"
        async with begun(place, task("a", script), task("b", failing, needs=["a"])) as (deck, run):
            await deck.work(run)
            result = await deck.result(run)
            assert (one(result, "a").status, one(result, "b").status) == (TaskStatus.MERGED, TaskStatus.FAILED)
            first = await events(deck, ids.attempt_stream(f"{run}.b.1"))
            ended = next(event for event in first if isinstance(event, e.HarnessFinished))
            assert not ended.ok
            assert ended.output_blob is not None
            assert b"No space left on device" in await deck.journal.get(ended.output_blob)
            assert place.tree(result) == {"a.txt": "a"}


@contextmanager
def descriptors(spare: int) -> Iterator[None]:
    """So many more descriptors can be opened by this process, and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    listed = os.listdir("/proc/self/fd")  # noqa: PTH208 - as below
    taken = {int(number) for number in listed if os.path.lexists(f"/proc/self/fd/{number}")}  # but that of the look
    free = (number for number in range(len(taken) + spare + 1) if number not in taken)
    limit = next(number for count, number in enumerate(free) if count == spare)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def opened() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path.iterdir opens one more for some versions


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
@pytest.mark.parametrize("kind", [Bubblewrap, Plain])
async def test_a_launch_without_descriptors_leaves_none_behind(kind: Any, tmp_path: Path) -> None:
    """With each number of spare descriptors, up to the first with which a sandbox works."""
    ground = Ground(tmp_path / "home")
    provider: Provider = kind(ground)
    await (await provider.create(Spec("first"))).close()
    before, failures, running = opened(), 0, descendants(os.getpid())
    try:
        for spare in range(40):
            with descriptors(spare):
                try:
                    async with asyncio.timeout(60):
                        sandbox = await provider.create(Spec(f"s{spare}"))
                        try:
                            worked = (await sandbox.exec("echo hi", timeout=20)).stdout == b"hi\n"
                        finally:
                            await sandbox.close()
                except (OSError, SandboxFailed) as error:
                    worked, failures = False, failures + 1
                    assert "Too many open files" in str(error)
            assert descendants(os.getpid()) == running
            now = opened()
            assert now <= before
            before = now  # the first one's pipes may be closed a moment later
            if worked:
                break
        assert worked
        assert failures >= 3
        sandbox = await provider.create(Spec("last"))
        with descriptors(0):
            async with asyncio.timeout(60):
                await sandbox.close()
        assert descendants(os.getpid()) == running, "a process that is out of descriptors can still end a sandbox"
        assert opened() == before
    finally:
        ground.destroy()


async def test_a_deck_without_descriptors_waits_and_goes_on(place: Place) -> None:
    place.begin(gate=CALM)
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        short = descriptors(2)
        with at("attempt.claimed", short.__enter__):
            try:
                result = await waited_out(deck, run, e.NodeDelayed, lambda: short.__exit__(None, None, None))
            finally:
                soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
        reasons = await delays(deck, run)
        assert reasons
        assert all("Too many open files" in reason for reason in reasons)
        await whole(deck, place, result)


async def test_a_home_that_cannot_be_written_is_refused_in_words(place: Place) -> None:
    place.begin(gate=CALM)
    plan = place.plan(task("a", "echo a > a.txt"))
    place.home.mkdir(exist_ok=True)
    before = sorted(place.home.iterdir())
    with read_only(place.home):
        code, out, err = place.call("run", "--plan", str(plan))
        assert (code, out) == (Exit.FAILED, "")
        assert f"The home {place.home} cannot be written" in err
        assert "Read-only file system" in err
        assert "set QUARTERDECK_HOME to another directory" in err
        assert "Traceback" not in err
    assert sorted(place.home.iterdir()) == before
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        await deck.work(run)
        await whole(deck, place, await deck.result(run))
    refused = pytest.raises(StoreUnavailable, match="cannot be opened: Read-only")
    with read_only(place.home), refused if place.settings.database_url is None else nullcontext():
        async with open_deck(place.settings):
            pass


async def test_a_place_for_workspaces_that_cannot_be_written_delays_and_blames_nobody(place: Place) -> None:
    place.begin(gate=CALM)
    ground = Ground(place.home).prepare()
    locked = read_only(ground.workspaces)
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        with at("attempt.claimed", locked.__enter__):
            result = await waited_out(deck, run, e.NodeDelayed, lambda: locked.__exit__(None, None, None))
        reasons = await delays(deck, run)
        assert reasons
        assert all("Read-only file system" in reason for reason in reasons), reasons
        await whole(deck, place, result)


async def test_a_repository_that_cannot_be_written_delays_the_landing(place: Place) -> None:
    place.begin(gate=CALM)
    locked = read_only(place.repository)
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        if os.geteuid() != 0:
            pytest.skip("only root can mount a read-only file system")
        with at("gate.intended", locked.__enter__):
            result = await waited_out(deck, run, e.GateDelayed, lambda: locked.__exit__(None, None, None))
        (target,) = await deck.journal.streams("gate/")
        gate = await events(deck, target)
        reasons = [event.reason for event in gate if isinstance(event, e.GateDelayed)]
        assert reasons
        assert all("Read-only file system" in reason for reason in reasons)
        assert len([event for event in gate if isinstance(event, e.ChangeLanded)]) == 1
        await whole(deck, place, result)


# --- time -----------------------------------------------------------------------------------------------------


@pytest.mark.embedded("a deck on PostgreSQL has its server's clock, which a test does not set")
@pytest.mark.parametrize("hours", [1, -1])
async def test_a_step_of_the_clock_holds_nothing_back(
    hours: int, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a job waits for its delay, and again while a change is judged. Delays are measured otherwise."""
    real, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])

    def step() -> None:
        shift[0] += hours * 3600.0

    place.begin(gate=CALM)
    began = time.monotonic()
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        away = place.root / "away"
        place.repository.rename(away)

        def mend() -> None:
            step()
            away.rename(place.repository)

        with at("gate.checked", step):
            result = await waited_out(deck, run, e.NodeDelayed, mend)
        assert abs(shift[0]) == 7200
        assert time.monotonic() - began < 600, "nothing waited for an hour"
        assert result.wall_s >= 0
        records = await deck.journal.read(ids.run_stream(run))
        assert [record.seq for record in records] == list(range(1, len(records) + 1))
        assert (records[-1].at > records[0].at) == (hours > 0), "records carry what the clock said"
        await whole(deck, place, result)


# --- git and directories --------------------------------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """git waits for locks for a tenth of a second."""
    options = ("core.hooksPath=/dev/null", "gc.auto=0", "core.filesRefLockTimeout=100", "core.packedRefsTimeout=100")
    monkeypatch.setattr("quarterdeck.workplace.git._OPTIONS", options)
    monkeypatch.setattr("quarterdeck.workplace.here._LOCK_PAUSE", 0.01)


@pytest.mark.usefixtures("hasty")
async def test_a_lock_that_a_killed_git_left_in_the_mirror_is_removed(place: Place) -> None:
    place.begin(gate=CALM)
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        (mirror,) = [path for path in Ground(place.home).mirrors.iterdir() if path.is_dir()]
        lock = mirror / "refs" / "quarterdeck" / "changes" / f"{run}.a.1.lock"

        def leave() -> None:
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()

        with at("harness.finished", leave):
            await deck.work(run)
        assert not lock.exists()
        assert await delays(deck, run) == []
        await whole(deck, place, await deck.result(run))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("name", ["index.lock", "refs/heads/mine.lock"])
async def test_a_lock_in_the_users_repository_is_named_and_left_alone(name: str, place: Place) -> None:
    place.begin(gate=CALM)
    if name == "index.lock":
        git(place.repository, "switch", "-q", "-c", "mine")
    lock = place.repository / ".git" / name
    async with begun(place, task("a", "echo a > a.txt"), into="mine") as (deck, run):
        with at("gate.intended", lock.touch):
            await deck.work(run)
        result = await deck.result(run)
        assert (result.status, result.exit_code) == (RunStatus.FAILED, Exit.FAILED)
        assert f"{lock}': File exists" in one(result, "a").reason
        assert lock.exists(), "whose it is only the user can know"
        lock.unlink()
        await deck.control(run, "resume")
        await deck.work(run)
        await whole(deck, place, await deck.result(run))


@pytest.mark.parametrize("what", ["mirror", "workspace"])
async def test_directories_deleted_under_an_agent_cost_no_attempt(what: str, place: Place) -> None:
    place.begin(gate=CALM)
    ground = Ground(place.home)

    def delete() -> None:
        for path in list((ground.mirrors if what == "mirror" else ground.workspaces).iterdir()):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        with at("harness.finished", delete):
            await deck.work(run)
        (reason,) = await delays(deck, run)
        assert "was deleted while it was in use" in reason
        assert str(ground.root) in reason
        attempt = await events(deck, ids.attempt_stream(f"{run}.a.1"))
        started = [event.incarnation for event in attempt if isinstance(event, e.AttemptStarted)]
        # On PostgreSQL the end of an agent is on record with the files that it left, and those go through the mirror.
        there = what == "mirror" and place.settings.database_url is None
        assert started == ([1] if there else [1, 2]), "work that is still there is not done again"
        await whole(deck, place, await deck.result(run))


async def test_a_mirror_deleted_between_two_processes_is_made_anew(place: Place) -> None:
    """Changes that were only in it are made again, the rest is where it was."""
    place.begin(gate=CALM)
    async with begun(place, task("a", "echo a > a.txt")) as (deck, run):
        working = asyncio.create_task(deck.work(run))
        await until(deck, run, e.ChangeExported)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    shutil.rmtree(Ground(place.home).mirrors)
    async with open_deck(place.settings) as deck:
        await deck.work(run)
        result = await deck.result(run)
        await whole(deck, place, result, attempts=one(result, "a").attempts)
        assert one(result, "a").attempts <= 2


# --- signals and streams --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
async def test_a_signal_ends_the_work_in_order(number: signal.Signals, place: Place) -> None:
    """It arrives while an agent is about to start: the process stops itself there, and finds it when it goes on."""
    place.begin(gate=CALM)
    plan = place.plan(task("a", "echo a > a.txt"))
    with place.quarterdeck(
        "run", "--plan", str(plan), cold=True, QUARTERDECK_PROBE="harness.started:1:stop"
    ) as process:
        await asyncio.to_thread(os.waitid, os.P_PID, process.pid, os.WSTOPPED)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        _, err = await asyncio.to_thread(process.communicate, timeout=60)
    assert process.returncode == Exit.INTERRUPTED, err
    assert "interrupted; everything done so far is kept" in err
    assert sandboxes(place) == []
    async with open_deck(place.settings) as deck:
        ((run, status),) = [(view.run, view.status) for view in await deck.views.runs()]
        assert f"quarterdeck resume {run}" in err
        assert status is RunStatus.RUNNING
        assert not await deck.attended()
        assert not [event for event in await run_events(deck, run) if isinstance(event, e.RunPaused | e.RunFinished)]
        await deck.work(run)
        await whole(deck, place, await deck.result(run))


async def test_a_run_whose_reader_goes_away_can_be_resumed(place: Place) -> None:
    """As in `quarterdeck run --json | head -1`."""
    place.begin(gate=CALM)
    plan = place.plan(task("a", "echo a > a.txt"))
    with place.quarterdeck("run", "--plan", str(plan), "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert '"run.created"' in await asyncio.to_thread(process.stdout.readline)
        process.stdout.close()
        err = await asyncio.to_thread(process.stderr.read)
        assert await asyncio.to_thread(process.wait, 60) == Exit.INTERRUPTED, err
    assert "everything done so far is kept" in err
    assert sandboxes(place) == []
    async with open_deck(place.settings) as deck:
        (run,) = [view.run for view in await deck.views.runs()]
        assert f"quarterdeck resume {run}" in err
        await deck.work(run)
        await whole(deck, place, await deck.result(run))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "quarterdeck.cli.main", "--help"],
            env={**os.environ, "QUARTERDECK_HOME": str(tmp_path / "home")},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == Exit.FAILED
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert os.strerror(errno.ENOSPC) in done.stderr
