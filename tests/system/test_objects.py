"""What objects hold, read by a git process that stays."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from quarterdeck.kernel.failures import GitFailed
from quarterdeck.workplace import objects
from quarterdeck.workplace.git import NO_CONFIGURATION, Git
from quarterdeck.workplace.objects import MOST, Object, Objects


def made(path: Path) -> Objects:
    subprocess.run(["git", "init", "-q", "--bare", str(path)], check=True, env={"PATH": os.defpath})
    return Objects(Git(f"--git-dir={path}", environment=NO_CONFIGURATION), path)


def blob(path: Path, data: bytes) -> str:
    command = ["git", f"--git-dir={path}", "hash-object", "-w", "--stdin"]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout.decode().strip()


def readers() -> list[int]:
    """Living `git cat-file` processes of this one."""
    children = " ".join(task.read_text() for task in Path("/proc/self/task").glob("*/children")).split()
    return [int(pid) for pid in children if b"cat-file" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_what_is_there_is_told_and_what_is_not_is_none(tmp_path: Path) -> None:
    looked = made(tmp_path / "a")
    text = b"one\n\0two" * 40_000
    large, empty = blob(tmp_path / "a", text), blob(tmp_path / "a", b"")
    found = await looked.look(large, "no such name", "a\nname", "", empty)
    assert found == (Object(large, "blob", len(text)), None, None, None, Object(empty, "blob", 0))
    assert await looked.all_contents((empty, large, "f" * 40, empty), len(text)) == (b"", text, None, b"")
    assert await looked.contents(large, len(text) - 1) is None
    assert len(readers()) == 1


async def test_more_names_than_a_pipe_holds(tmp_path: Path) -> None:
    looked = made(tmp_path / "a")
    name = blob(tmp_path / "a", b"x")
    there = Object(name, "blob", 1)
    names = [f"{number}-{'n' * 4000}" for number in range(200)]
    assert await looked.look(*names, name, "n" * 200_000, name) == (*(None,) * 200, there, None, there)


async def test_objects_that_come_later_are_seen(tmp_path: Path) -> None:
    looked = made(tmp_path / "a")
    assert await looked.look("f" * 40) == (None,)
    assert await looked.contents(blob(tmp_path / "a", b"later"), 10) == b"later"


async def test_a_process_that_ended_is_replaced(tmp_path: Path) -> None:
    looked = made(tmp_path / "a")
    name = blob(tmp_path / "a", b"x")
    await looked.look(name)
    (first,) = readers()
    os.kill(first, signal.SIGKILL)
    assert await looked.contents(name, 10) == b"x"
    assert readers() != [first]


async def test_an_answer_that_comes_too_late_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = made(tmp_path / "a")
    names = [blob(tmp_path / "a", text) for text in (b"x", b"yy", b"zzz")]
    await looked.look(names[0])
    (stalled,) = readers()
    monkeypatch.setattr(objects, "ANSWER", 0.2)
    os.kill(stalled, signal.SIGSTOP)
    asyncio.get_running_loop().call_later(0.3, os.kill, stalled, signal.SIGCONT)  # the first has given up by then
    found = await asyncio.gather(*(looked.look(name) for name in names))
    assert found == [(Object(name, "blob", size),) for size, name in enumerate(names, 1)]
    assert stalled not in readers()


async def test_another_repository_at_the_same_place_is_another_one(tmp_path: Path) -> None:
    looked = made(tmp_path / "a")
    name = blob(tmp_path / "a", b"x")
    assert await looked.look(name) != (None,)
    (tmp_path / "a").rename(tmp_path / "old")
    with pytest.raises(GitFailed, match="cannot be read"):
        await looked.look(name)
    made(tmp_path / "a")
    assert await looked.look(name) == (None,)


async def test_few_stay_and_none_when_all_are_ended(tmp_path: Path) -> None:
    for number in range(MOST + 3):
        await made(tmp_path / str(number)).look("HEAD")
    assert len(readers()) == MOST
    objects.end_all()
    assert readers() == []
