"""Where workspaces lie, who may enter, and that removal follows nothing."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.ground import Ground, sweep, worker_uid
from quarterdeck.workplace.holding import HELD, being_made, clear, hold
from quarterdeck.workplace.port import Limits
from quarterdeck.workplace.removal import remove_tree
from quarterdeck.workplace.shipping import find_python, publish, ship
from quarterdeck.workplace.watchdog import Usage, occupied, pause, should_walk, verdict
from quarterdeck.workplace.workspaces import Process, Workspaces

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a shared ground")
as_user = pytest.mark.skipif(os.geteuid() == 0, reason="root has a shared ground")


@as_root
def test_a_shared_ground_can_be_traversed_but_not_listed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    ground = Ground(tmp_path / "home", shared=tmp_path / "shared").prepare().prepare()
    for directory in (ground.shared, ground.root, ground.workspaces, ground.bin, ground.sockets):
        assert (directory.stat().st_uid, directory.stat().st_mode & 0o777) == (0, 0o711)
    for directory in (ground.mirrors, ground.environments):
        assert directory.stat().st_mode & 0o777 == 0o750
        assert directory.stat().st_gid == (worker_uid() or (0, 0))[1]
    other = Ground(tmp_path / "other", shared=tmp_path / "shared")
    assert (other.root != ground.root, other.bin) == (True, ground.bin)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert Ground(tmp_path / "link", shared=tmp_path / "shared").root == ground.root


@as_root
def test_sweep_removes_what_has_no_home_any_more(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    grounds = {name: Ground(tmp_path / "homes" / name, shared=shared) for name in ("kept", "gone", "busy")}
    for ground in grounds.values():
        ground.home.mkdir(parents=True)
        ground.prepare()
    foreign = Ground(tmp_path / "unmounted" / "disk", shared=shared)
    foreign.home.mkdir(parents=True)
    foreign.prepare()
    foreign.home.rmdir()
    foreign.home.parent.rmdir()
    grounds["gone"].home.rmdir()
    assert sweep(shared=shared, idle_seconds=3600) == []
    assert sweep(shared=shared, idle_seconds=0) == [tmp_path / "homes" / "gone"]
    assert grounds["kept"].root.is_dir()
    assert foreign.root.is_dir(), "a home whose parent is gone may be on a disk that is not mounted"


# --- programs that many processes use -----------------------------------------------------------------------


def program(place: Path, name: str) -> Path:
    """A finished one that nobody holds."""
    new = being_made(place)
    (new / "file").touch()
    publish(new, place / f"{name}{HELD}")
    return place / f"{name}{HELD}"


def test_a_program_stays_as_long_as_a_process_that_holds_it_lives(tmp_path: Path) -> None:
    used, idle, foreign = program(tmp_path, "used"), program(tmp_path, "idle"), tmp_path / "worker-of-before"
    foreign.mkdir()
    said, ended = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        kept = hold(used)
        os.write(said[1], b"1" if kept is not None else b"0")
        os.read(ended[0], 1)
        os._exit(0)
    assert os.read(said[0], 1) == b"1"
    assert clear(tmp_path) == [idle]
    assert sorted(tmp_path.iterdir()) == [used, foreign]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert clear(tmp_path) == [used]
    assert list(tmp_path.iterdir()) == [foreign], "who uses that cannot be known"
    for end in (*said, *ended):
        os.close(end)


def test_what_was_left_half_made_is_removed_after_a_day(tmp_path: Path) -> None:
    left, young = being_made(tmp_path), being_made(tmp_path)
    os.utime(left, (1.0, 1.0))
    assert clear(tmp_path) == [left]
    assert list(tmp_path.iterdir()) == [young]


def test_of_many_who_make_hold_and_clear_at_once_nobody_loses_what_is_held(tmp_path: Path) -> None:
    together = Barrier(4)

    def one(_: int) -> int:
        together.wait()
        rounds = 0
        while rounds < 40:
            while (held := hold(tmp_path / f"p{HELD}")) is None:
                program(tmp_path, "p")
            clear(tmp_path)
            assert (held.path / "file").exists()
            held.end()
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(one, range(4))) == [40] * 4
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_the_workers_files_of_a_version_that_nobody_runs_any_more_are_removed(tmp_path: Path) -> None:
    python = await find_python(Ground(tmp_path / "home", shared=tmp_path / "shared"))

    def version(number: int) -> Ground:
        ground = Ground(tmp_path / "home", shared=tmp_path / "shared", programs={"version": b"%d" % number})
        ground.home.mkdir(exist_ok=True)
        return ground.prepare()

    first, again, second = [await ship(version(number), python) for number in (1, 1, 2)]
    assert first.path == again.path != second.path
    first.end()
    assert (await ship(version(2), python)).path == second.path
    assert first.path.is_dir(), "another one runs it still"
    again.end()
    third = await ship(version(3), python)
    assert sorted(third.path.parent.glob(f"*{HELD}")) == sorted((second.path, third.path))


def test_another_users_deck_is_not_stopped_by_grounds_that_are_roots(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o311)
    child = os.fork()
    if child == 0:  # nothing but a system call that cannot be undone makes root an ordinary user
        if os.geteuid() == 0:
            os.setuid(65533)
        code = 1
        try:
            code = int(sweep(shared=shared, idle_seconds=0) != [])
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@as_user
def test_an_own_ground_is_private(tmp_path: Path) -> None:
    ground = Ground(tmp_path).prepare()
    assert ground.root == tmp_path / "work"
    assert ground.root.stat().st_mode & 0o777 == 0o700


def test_a_ground_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SandboxFailed) as failed:
        Ground(tmp_path / "file" / "home", shared=tmp_path / "file" / "shared").prepare()
    assert failed.value.fix


@given(st.text(max_size=30))
def test_a_workspace_never_lies_elsewhere(name: str) -> None:
    ground = Ground(Path("/home"))
    try:
        place = ground.place(name)
    except ValueError:
        return
    assert place.parent == ground.workspaces
    assert os.path.normpath(place) == str(place)


def test_workspaces_belong_to_the_agents_uid_and_are_closed(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "home", shared=tmp_path / "shared")
    ground.home.mkdir()
    ground.prepare()
    workspace = Workspaces(ground).create("a")
    folder, inside = workspace.parent.stat(), workspace.stat()
    agents = worker_uid()
    assert folder.st_uid == os.geteuid(), "what is written beside the workspace is the deck's"
    assert folder.st_mode & 0o777 == (0o700 if agents is None else 0o710)
    assert agents is None or folder.st_gid == agents[1]
    assert inside.st_uid == (agents or (os.geteuid(), 0))[0]
    with pytest.raises(FileExistsError):
        Workspaces(ground).create("a")


def test_a_record_cut_short_names_nobody(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "home", shared=tmp_path / "shared")
    ground.home.mkdir()
    ground.prepare()
    workspaces = Workspaces(ground)
    workspaces.create("a")
    workspaces.occupy("a", os.getpid())
    found = workspaces.occupation("a")
    assert found is None or (found.owner == Process.of(os.getpid()) and not found.foreign)
    for text in ("", "[", "{}", '[{"pid": 1}]', "[]"):
        (ground.place("a") / "owner.json").write_text(text)
        assert workspaces.occupation("a") is None


def test_removal_follows_no_link_and_minds_no_mode(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("x")
    top = tmp_path / "top"
    (top / "a" / "b" / "c").mkdir(parents=True)
    (top / "a" / "b" / "f").write_text("x")
    (top / "a" / "out").symlink_to(tmp_path / "outside")
    os.mkfifo(top / "a" / "fifo")
    (top / f".removed-{os.getpid()}-1").mkdir()
    (top / f".removed-{os.getpid()}-2").write_text("a file in the way")
    for directory in ("a/b/c", "a/b", "a"):
        (top / directory).chmod(0)
    remove_tree(top)
    remove_tree(top)
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (tmp_path / "outside" / "f").read_text() == "x"
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    remove_tree(tmp_path / "link")
    assert (tmp_path / "outside" / "f").exists()


def test_two_may_remove_the_same_tree_at_once(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for wide in range(30):
        deep = top / f"w{wide}" / "x" / "y" / "z"
        deep.mkdir(parents=True)
        for file in range(5):
            (deep / f"f{file}").touch()
    together = Barrier(4)

    def remove() -> None:
        together.wait()
        remove_tree(top)

    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(remove) for _ in range(4)]:
            done.result()
    assert list(tmp_path.iterdir()) == []


def test_occupied_counts_files_and_follows_nothing(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 1_000_000)
    top = tmp_path / "top"
    (top / "d").mkdir(parents=True)
    (top / "d" / "f").write_bytes(b"x" * 100_000)
    (top / "link").symlink_to(tmp_path)
    used, unknown = occupied(top)
    assert 100_000 <= used < 500_000
    assert unknown == 0
    assert occupied(tmp_path / "missing") == (0, 0)


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 3), st.integers(0, 100))
def test_the_verdict(memory: int, disk: int, unknown: int, lost: int) -> None:
    limits = Limits(memory_bytes=50, disk_bytes=60)
    found = verdict(Usage(memory, disk, 1, unknown, lost), limits)
    if memory > 50:
        assert found == "memory"
    elif disk > 60 or (unknown and lost > 60):
        assert found == "disk"
    else:
        assert found is None


def test_walking_is_rare_while_little_is_written_and_costs_at_most_a_tenth() -> None:
    assert not should_walk(used=0, limit=1000, lost_since=100, age=1, cost=0.001)
    assert should_walk(used=0, limit=1000, lost_since=300, age=1, cost=0.001)
    assert should_walk(used=900, limit=1000, lost_since=30, age=1, cost=0.001)
    assert should_walk(used=0, limit=1000, lost_since=0, age=60, cost=0.001)
    assert not should_walk(used=0, limit=1000, lost_since=900, age=1, cost=2.0)
    assert pause(busy=True, cost=0.0) == 0.5
    assert pause(busy=True, cost=0.2) == 2.0
    assert pause(busy=False, cost=0.0) == 2.0
