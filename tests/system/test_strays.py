"""A launch that is killed half-way leaves nothing for ever."""

import asyncio
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.testing.sandbox_conformance import LIMITS, opened
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.port import Spec
from quarterdeck.workplace.strays import strays

pytestmark = pytest.mark.sandbox


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    (tmp_path / "home").mkdir()
    made = Ground(tmp_path / "home").prepare()
    yield made
    made.destroy()


def half_launched(bwrap: str, workspace: Path, held: int) -> tuple["subprocess.Popen[bytes]", int]:
    """bwrap that has made its child and waits for `held` before it maps its user ids; with the child's id."""
    said, says = os.pipe()
    try:
        options = ["--unshare-user", "--unshare-pid", "--info-fd", str(says), "--userns-block-fd", str(held)]
        places = ["--ro-bind", "/", "/", "--bind", str(workspace), "/tmp", "--die-with-parent"]
        process = subprocess.Popen([bwrap, *options, *places, "true"], pass_fds=(says, held))
        data = b""
        while b"}" not in data:
            data += os.read(said, 4096)
        return process, int(json.loads(data)["child-pid"])
    finally:
        os.close(says)
        os.close(said)


async def test_the_child_of_a_killed_launch_is_reaped(ground: Ground) -> None:
    provider = Bubblewrap(ground)
    bwrap = (await provider.probe()).detail.split(" ")[0]
    (ground.workspaces / "x" / "w").mkdir(parents=True)
    held, holds = os.pipe()
    process, child = half_launched(bwrap, ground.workspaces / "x" / "w", held)
    handle = os.pidfd_open(child)
    try:
        assert strays(ground.workspaces) == [], "its launcher lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert strays(ground.workspaces) == [child], "it does not die with its parent"
        await provider.reap(frozenset())
        assert select.select([handle], [], [], 10)[0], "it has ended"
        assert strays(ground.workspaces) == []
    finally:
        for descriptor in (handle, held, holds):
            os.close(descriptor)


async def test_a_sandbox_at_work_is_no_stray(ground: Ground) -> None:
    provider = Bubblewrap(ground)
    async with opened(provider, Spec("x", limits=LIMITS)) as sandbox:
        assert strays(ground.workspaces) == []
        await provider.reap(frozenset())
        assert (await sandbox.exec("echo here", timeout=20)).stdout == b"here\n"


async def test_a_cancelled_launch_leaves_nothing(ground: Ground) -> None:
    provider = Bubblewrap(ground)
    assert (await provider.probe()).ok
    for moment in range(30):
        launching = asyncio.create_task(provider.create(Spec(f"x{moment}", limits=LIMITS)))
        await asyncio.wait({launching}, timeout=0.001 * moment)
        launching.cancel()
        for made in await asyncio.gather(launching, return_exceptions=True):
            if not isinstance(made, BaseException):
                await made.close()
        assert strays(ground.workspaces) == [], f"cancelled after {moment} ms"
