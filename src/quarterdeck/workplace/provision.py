"""What all providers share: creating, attaching, reaping and discarding workspaces around a way to launch a sandbox.

Rules
- One sandbox a workspace at a time. A workspace whose owner lives in another process is left alone.
- Few launches at a time, in the order in which they are asked for: of many that begin together, the first is ready
  soon, and the last no later.
- A launch that fails leaves no workspace behind.
- A launch is never torn down half-way: its process would outlive it unrecorded. A cancelled one is finished, which its
  own deadline bounds, and closed.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.port import Spec
from quarterdeck.workplace.sandboxed import WorkerSandbox
from quarterdeck.workplace.workspaces import Occupation, Process, Workspaces

_END_DEADLINE: Final = 10.0
_LAUNCHES: Final = 2 * (os.cpu_count() or 1)
Launch = Callable[[Spec, Path, bool], Awaitable[WorkerSandbox]]
"""(spec, workspace, whether another sandbox left it behind)"""


class Provision:
    """The workspaces of one provider."""

    def __init__(self, ground: Ground, workspaces: Workspaces, launch: Launch) -> None:
        self._ground = ground
        self._workspaces = workspaces
        self._launch = launch
        self._open: dict[str, WorkerSandbox] = {}
        self._launching = asyncio.Semaphore(_LAUNCHES)

    async def create(self, spec: Spec) -> WorkerSandbox:
        """See the port."""
        self._ground.prepare()
        workspace = self._workspaces.create(spec.id)
        try:
            return await self._start(spec, workspace, left_behind=False)
        except BaseException:
            await asyncio.to_thread(self._workspaces.remove, spec.id)
            raise

    async def attach(self, spec: Spec) -> WorkerSandbox | None:
        """See the port. Raises SandboxFailed where a living sandbox is in it."""
        if not self._workspaces.exists(spec.id):
            return None
        if self._is_open(spec.id):
            raise SandboxFailed("the workspace is in use", why=f"{spec.id} is open in this process")
        occupation = self._workspaces.occupation(spec.id)
        if occupation is not None:
            if occupation.in_use:
                raise SandboxFailed("the workspace is in use", why=f"process {occupation.owner.pid} works in {spec.id}")
            await _end(occupation)
        return await self._start(spec, self._workspaces.directory(spec.id), left_behind=True)

    async def reap(self, keep: frozenset[str]) -> list[str]:
        """See the port."""
        removed = []
        for name in self._workspaces.ids():
            occupation = self._workspaces.occupation(name)
            if self._is_open(name) or (occupation is not None and occupation.foreign):
                continue
            if occupation is not None:
                await _end(occupation)
            if name not in keep:
                await asyncio.to_thread(self._workspaces.remove, name)
                removed.append(name)
        return removed

    async def discard(self, id: str) -> None:
        """See the port. Raises SandboxFailed where the sandbox is open."""
        if self._is_open(id):
            raise SandboxFailed("the workspace is in use", why=f"{id} must be closed before it is discarded")
        occupation = self._workspaces.occupation(id)
        if occupation is not None and occupation.in_use:
            raise SandboxFailed("the workspace is in use", why=f"process {occupation.owner.pid} works in {id}")
        await asyncio.to_thread(self._workspaces.remove, id)

    async def _start(self, spec: Spec, workspace: Path, *, left_behind: bool) -> WorkerSandbox:
        async with self._launching:
            launching = asyncio.ensure_future(self._launch(spec, workspace, left_behind))
            try:
                sandbox = await asyncio.shield(launching)
            except asyncio.CancelledError:
                await _undone(launching)
                raise
        self._open[spec.id] = sandbox
        return sandbox

    def _is_open(self, id: str) -> bool:
        sandbox = self._open.get(id)
        if sandbox is not None and not sandbox.running:
            del self._open[id]
            return False
        return sandbox is not None


async def _undone(launching: asyncio.Future[WorkerSandbox]) -> None:
    """Wait for a launch that nobody wants any more, and close what it made."""
    while not launching.done():
        with contextlib.suppress(asyncio.CancelledError):  # cancelled again: its process is still being made
            await asyncio.wait({launching})
    if not launching.cancelled() and launching.exception() is None:
        await launching.result().close()


async def _end(occupation: Occupation) -> None:
    """Kill what a dead owner left running, and wait until it is gone. Raises SandboxFailed where it stays."""
    processes: tuple[Process, ...] = (occupation.root, *occupation.also)
    deadline = time.monotonic() + _END_DEADLINE
    pause = 0.002
    while alive := [process for process in processes if process.alive]:
        if time.monotonic() > deadline:
            raise SandboxFailed("a sandbox left behind cannot be ended", why=f"process {alive[0].pid} stays")
        for process in alive:
            process.kill()
        await asyncio.sleep(pause)
        pause = min(pause * 2, 0.1)
