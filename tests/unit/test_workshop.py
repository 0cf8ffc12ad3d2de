"""How work leaves its sandbox: nobody waits for that, but whoever hands the work over."""

import asyncio
import subprocess
from pathlib import Path
from typing import cast

from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.kernel.config import DeckConfig, RunConfig
from quarterdeck.workplace.environment import Environments
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.port import Provider
from quarterdeck.workplace.proxy import Proxies
from quarterdeck.workplace.workspaces import Occupation, Process, Workspaces

CONFIG = RunConfig(deck=DeckConfig.model_validate({"sandbox": {"backend": "none"}}), agents={})


class Slow:
    """A provider that removes when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.told = asyncio.Event()

    async def discard(self, _id: str) -> None:
        self.asked.set()
        await self.told.wait()


def workshop(provider: Slow) -> Workshop:
    given = {"none": cast("Provider", provider)}
    return Workshop(given, Path("mirrors"), cast("Environments", None), cast("Proxies", None))


async def test_a_server_that_does_not_answer_keeps_nobody_from_another_repository(tmp_path: Path) -> None:
    here = tmp_path / "here"
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")
    for command in (
        ("init", "-q", str(here)),
        (*identity, "-C", str(here), "commit", "-q", "--allow-empty", "-m", "x"),
    ):
        await asyncio.to_thread(subprocess.run, ["git", *command], check=True)
    asked, left = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    nothing = cast("Environments", None), cast("Proxies", None)
    made = Workshop({}, tmp_path / "mirrors", *nothing)
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hangs = asyncio.create_task(made.mirror(f"git://127.0.0.1:{port}/there"))
        await asked.wait()
        async with asyncio.timeout(20):
            mirror = await made.mirror(str(here))
        assert not hangs.done()
        assert await made.mirror(str(here)) is mirror
        hangs.cancel()
        await asyncio.gather(hangs, return_exceptions=True)
        await left.wait()


async def test_who_is_done_does_not_wait_and_the_end_does() -> None:
    provider = Slow()
    made = workshop(provider)
    await made.leave(CONFIG, "a", discard=True)
    await provider.asked.wait()
    closing = asyncio.create_task(made.close())
    again = asyncio.create_task(made.discard(CONFIG, "a"))
    await asyncio.wait({closing, again}, timeout=0)
    assert not closing.done()
    assert not again.done()
    provider.told.set()
    await asyncio.gather(closing, again)


async def test_work_that_was_cancelled_is_handed_over_when_its_workspace_is_gone() -> None:
    provider, begun = Slow(), asyncio.Event()
    made = workshop(provider)

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await made.leave(CONFIG, "a", discard=True)

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    await provider.asked.wait()
    assert not task.done()
    provider.told.set()
    await asyncio.wait({task})
    assert task.cancelled()


def test_a_name_is_free_as_soon_as_its_removal_has_begun(tmp_path: Path) -> None:
    ground = Ground(tmp_path, shared=tmp_path / "shared").prepare()
    workspaces = Workspaces(ground)
    workspaces.create("a")
    (workspaces.directory("a") / "old").touch()
    ground.workspaces.chmod(0o711)
    workspaces.remove("a")
    (workspaces.create("a") / "new").touch()
    assert workspaces.ids() == ["a"]
    workspaces.remove("a")
    workspaces.remove("a")
    assert workspaces.ids() == []


def test_a_workspace_is_in_use_as_long_as_something_of_a_living_process_runs_in_it() -> None:
    deck, sandbox = (subprocess.Popen(["cat"], stdin=subprocess.PIPE) for _ in range(2))
    try:
        owner, root = Process.of(deck.pid), Process.of(sandbox.pid)
        assert owner is not None
        assert root is not None
        occupation = Occupation(owner, root)
        assert occupation.in_use
        sandbox.communicate()
        assert occupation.foreign
        assert not occupation.in_use
    finally:
        for one in (deck, sandbox):
            one.communicate()
