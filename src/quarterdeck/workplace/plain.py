"""The provider `none`: a worker without a sandbox.

Rules
- It isolates nothing: commands see the machine, its network and every file that their uid can read. It exists for
  `--sandbox none`, and for systems without bubblewrap.
- Root's rights are dropped all the same, the environment is clean, and each workspace has a home and a temporary
  directory of its own.
- File operations are kept to the workspace and the environment by the worker; that is a guard against mistakes.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import UNWELL, QuarterdeckError, SandboxFailed
from quarterdeck.workplace.channel import Channel
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.holding import Held
from quarterdeck.workplace.mounts import HostTrees, check_bridges
from quarterdeck.workplace.port import ENVIRONMENT, HOME, WORKSPACE, Probe, Spec
from quarterdeck.workplace.profile import PROGRAM
from quarterdeck.workplace.provision import Provision
from quarterdeck.workplace.sandboxed import Inside, WorkerSandbox, resource_limits
from quarterdeck.workplace.shipping import (
    FLAGS,
    SYSTEM_PATH,
    Interpreter,
    find_python,
    ship,
    spawn,
)
from quarterdeck.workplace.watchdog import descendants, kill_descendants
from quarterdeck.workplace.workspaces import Workspaces

_log = logging.getLogger(__name__)

_END_SECONDS: Final = 5.0
_WARNING: Final = "no sandbox: agents can read and change whatever this user can, and reach the network"


class Plain:
    """No isolation."""

    name = "none"

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._workspaces = Workspaces(ground)
        self._trees = HostTrees(ground)
        self._provision = Provision(ground, self._workspaces, self._launch)
        self._python: Interpreter | None = None
        self._files: Held | None = None
        self._finding = asyncio.Lock()
        self.create = self._provision.create
        self.attach = self._provision.attach
        self.reap = self._provision.reap
        self.discard = self._provision.discard

    async def probe(self, *, anew: bool = False) -> Probe:
        try:
            self._ground.prepare()
            python, _ = await self._find()
        except QuarterdeckError as error:
            return Probe(ok=False, detail=str(error), fix=error.fix, warnings=(_WARNING,))
        return Probe(ok=True, detail=f"no sandbox; worker runs with {python.path}", warnings=(_WARNING,))

    async def _find(self) -> tuple[Interpreter, Path]:
        """What a worker runs with, and its files."""
        async with self._finding:
            if self._python is None:
                self._python = await find_python(self._ground)
            if self._files is None or not self._files.path.is_dir():
                self._files = await ship(self._ground, self._python)
            return self._python, self._files.path

    async def _launch(self, spec: Spec, workspace: Path, left_behind: bool) -> WorkerSandbox:
        python, program = await self._find()
        scratch = self._workspaces.scratch(spec.id)
        check_bridges(spec.bridges)
        given = await asyncio.to_thread(self._trees.reachable, spec.mounts)
        try:
            process = await spawn((str(python.path), *FLAGS, str(program)), {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"})
        except OSError as error:
            if error.errno in UNWELL:
                raise
            raise SandboxFailed(why=str(error)) from error
        channel = Channel(process)
        sandbox = WorkerSandbox(spec, channel, _Ender(process), workspace, process.pid)
        try:
            self._workspaces.occupy(spec.id, process.pid)
            await sandbox.start(
                _inside(spec, workspace, scratch, python, {PROGRAM: program, **given}), left_behind=left_behind
            )
        except BaseException:
            await sandbox.close()
            raise
        return sandbox


class _Ender:
    """Ends the worker and all below it; the worker is the parent of orphans, so there is nothing beside that."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def end(self) -> None:
        if self._process.returncode is not None:
            return
        try:
            await self._end_below()
        except OSError as error:
            _log.warning("what runs below process %d cannot be looked at: %s", self._process.pid, error)
            await self._ask_to_end()
        if sys.platform == "linux":
            # asyncio's own kill reaps the process behind its watcher's back
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def _end_below(self) -> None:
        """End all that the worker started. Raises OSError where the machine does not let us look."""
        if sys.platform != "linux":
            await self._ask_to_end()
            return
        for _ in range(20):
            below = descendants(self._process.pid)
            if not below:
                break
            await asyncio.to_thread(kill_descendants, self._process.pid, below)

    async def _ask_to_end(self) -> None:
        """At the end of its input the worker ends the process groups that it started."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if sys.platform == "linux":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS):
                    await self._process.wait()


def _inside(spec: Spec, workspace: Path, scratch: Path, python: Interpreter, given: Mapping[str, Path]) -> Inside:
    path = f"{SYSTEM_PATH}:{python.path.parent}"
    if sys.platform == "darwin":
        path += ":/opt/homebrew/bin"
    first = ""
    places = {WORKSPACE: str(workspace), HOME: str(scratch), **{inside: str(real) for inside, real in given.items()}}
    if spec.environment is not None:
        first = f"{spec.environment / 'bin'}:"
        places[ENVIRONMENT] = str(spec.environment)
    home = str(scratch)
    env = {"PATH": first + path, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8", "USER": "agent", "LOGNAME": "agent"}
    return Inside(
        places=places,
        objects=tuple(str(directory) for directory in spec.objects),
        env={**env, **spec.env},
        path=path,
        scratch=home,
        confined=True,
        proxy=None if spec.proxy_socket is None else str(spec.proxy_socket),
        bridges={port: str(socket) for port, socket in spec.bridges.items()},
        ports_shared=True,
        limits=_limits(spec),
    )


def _limits(spec: Spec) -> dict[str, int]:
    """Without a user namespace the process limit counts all of the user's processes, so it cannot bound one sandbox."""
    limits = resource_limits(spec.limits)
    del limits["RLIMIT_NPROC"]
    return limits
