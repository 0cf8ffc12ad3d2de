"""The provider `bubblewrap`: Linux namespaces, a seccomp filter and resource limits, without any right of root.

Rules
- bwrap itself starts with an empty environment, and never as root (root's uid would still own /proc/sys and ignore
  process limits). It makes the worker and stays outside.
- A sandbox ends with its deck: bwrap dies with its parent, and everything inside dies with bwrap.
- The probe is a real launch, or one of the last day that passed under the same circumstances. Where it fails there are
  no agents, and it names what mends it.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import UNWELL, QuarterdeckError, SandboxFailed, SandboxUnavailable
from quarterdeck.workplace import seccomp, tried
from quarterdeck.workplace.bwrap import INSTALL, explained, find_bwrap
from quarterdeck.workplace.channel import Channel
from quarterdeck.workplace.ending import NamespaceEnder
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.holding import Held
from quarterdeck.workplace.mounts import HostTrees, check_bridges
from quarterdeck.workplace.nameless import may_look
from quarterdeck.workplace.port import ENVIRONMENT, HOME, WORKSPACE, Limits, Probe, Spec
from quarterdeck.workplace.profile import BRIDGES, ETC, OWN_ETC, PROGRAM, PROXY, Mounts, System, arguments
from quarterdeck.workplace.provision import Provision
from quarterdeck.workplace.sandboxed import Inside, WorkerSandbox, resource_limits
from quarterdeck.workplace.shipping import (
    FLAGS,
    SYSTEM_PATH,
    Interpreter,
    find_python,
    publish,
    ship,
    spawn,
)
from quarterdeck.workplace.strays import strays
from quarterdeck.workplace.worker_bridge import PORT
from quarterdeck.workplace.workspaces import Process, Workspaces

_START_DEADLINE: Final = 30.0
_PROBE_ID: Final = "_probe"
_ROOT_NAMES: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

_BLIND: Final = (
    "root may not look into agents' processes here (no CAP_SYS_PTRACE): what they have open and deleted does not count "
    "as disk; start the container with --cap-add SYS_PTRACE, or Quarterdeck as an ordinary user"
)
_MACOS: Final = "bubblewrap needs Linux; on this system only --sandbox none works, and it isolates nothing"


@dataclass(frozen=True, slots=True)
class Tools:
    """What was found once and is used for every sandbox."""

    bwrap: Path
    version: str
    python: Interpreter
    system: System
    program: bytes
    """The seccomp filter."""
    files: Held
    """The worker's."""


class Bubblewrap:
    """Sandboxes by bubblewrap."""

    name = "bubblewrap"

    def __init__(self, ground: Ground, *, system_path: str = SYSTEM_PATH) -> None:
        """`system_path`: where the system's bwrap is looked for."""
        self._ground = ground
        self._system_path = system_path
        self._workspaces = Workspaces(ground)
        self._trees = HostTrees(ground)
        self._provision = Provision(ground, self._workspaces, self._launch)
        self._tools: Tools | None = None
        self._passed: Probe | None = None
        self._probing = asyncio.Lock()
        self._finding = asyncio.Lock()
        self.create = self._provision.create
        self.attach = self._provision.attach
        self.discard = self._provision.discard

    async def probe(self, *, anew: bool = False) -> Probe:
        async with self._probing:
            if anew or self._passed is None:
                found = await self._try(anew)
                self._passed = found if found.ok else None
                return found
            return self._passed

    async def reap(self, keep: frozenset[str]) -> list[str]:
        """See the port."""
        for pid in await asyncio.to_thread(strays, self._ground.workspaces):
            if (stray := Process.of(pid)) is not None:
                stray.kill()
        return await self._provision.reap(keep)

    async def _try(self, anew: bool) -> Probe:
        if sys.platform != "linux":
            return Probe(ok=False, detail="there is no bubblewrap on this system", fix=_MACOS)
        spec = Spec(f"{_PROBE_ID}-{os.getpid()}-{os.urandom(4).hex()}", limits=Limits(disk_bytes=64 * 1024 * 1024))
        try:
            tools = await self._find()
            parts = [tools.bwrap, tools.python.path, *_programs()]
            if not anew and (said := tried.known(self._ground.bin, tools.files.path.name, parts)) is not None:
                return Probe(ok=True, detail=said, warnings=_warnings())
            sandbox = await self.create(spec)
            try:
                result = await sandbox.exec("git --version && python3 --version", timeout=_START_DEADLINE)
            finally:
                await sandbox.close()
                await self.discard(spec.id)
        except QuarterdeckError as error:
            return Probe(ok=False, detail=str(error), fix=error.fix)
        if result.exit_code != 0:
            missing = (result.stdout + result.stderr).decode("utf-8", "replace").strip()
            return Probe(ok=False, detail=f"git or python3 is missing inside: {missing}", fix="apt install git python3")
        inside = ", ".join(result.stdout.decode("utf-8", "replace").split("\n")[:2])
        detail = f"{tools.bwrap} {tools.version}; inside: {inside}"
        tried.note(self._ground.bin, tools.files.path.name, parts, detail)
        return Probe(ok=True, detail=detail, warnings=_warnings())

    async def _find(self) -> Tools:
        """Find or make everything a launch needs, once."""
        async with self._finding:
            if self._tools is None:
                self._ground.prepare()
                machine = platform.machine()
                if machine not in seccomp.ARCHITECTURES:
                    raise SandboxUnavailable(
                        "there is no system call filter for this machine",
                        why=machine,
                        fix="use an x86_64 or aarch64 machine, or --sandbox none, which isolates nothing",
                    )
                bwrap, version = await find_bwrap(self._ground, self._system_path)
                python = await find_python(self._ground)
                files = await ship(self._ground, python)
                system = _system(_own_etc(self._ground), files.path, python)
                self._tools = Tools(bwrap, version, python, system, seccomp.program(machine), files)
            return self._tools

    async def _launch(self, spec: Spec, workspace: Path, left_behind: bool) -> WorkerSandbox:
        tools = await self._find()
        check_bridges(spec.bridges)
        given = await asyncio.to_thread(self._trees.reachable, spec.mounts)
        home = self._workspaces.home(spec.id) if spec.home else None
        process, said = await _started(tools, spec, workspace, home, given)
        channel = Channel(process)
        ender = NamespaceEnder(process)
        try:
            init = await asyncio.to_thread(_child_pid, said)
            ender.hold(init)
            sandbox = WorkerSandbox(spec, channel, ender, workspace, process.pid, home)
            self._workspaces.occupy(spec.id, process.pid, (init,) if init else ())
            await sandbox.start(_inside(spec, tools.python), left_behind=left_behind)
        except BaseException as error:
            try:
                await ender.end()
            finally:
                await channel.close()
            if isinstance(error, SandboxFailed):
                raise explained(channel.diagnosis or str(error)) from error
            raise
        return sandbox


async def _started(
    tools: Tools, spec: Spec, workspace: Path, home: Path | None, given: Mapping[str, Path]
) -> tuple[asyncio.subprocess.Process, int]:
    """The launched bubblewrap, and a descriptor that says what its child is. Whatever goes wrong, every other
    descriptor is closed again: a machine that is short of them must not become shorter with each try."""
    mounts = Mounts(
        workspace=workspace,
        home=home,
        objects=spec.objects,
        environment=spec.environment,
        environment_writable=spec.environment_writable,
        proxy=None if spec.proxy_socket is None else spec.proxy_socket.parent,
        bridges=spec.bridges,
        given=given,
        tmp_bytes=spec.limits.memory_bytes // 4,
    )
    with contextlib.ExitStack() as open_while_starting, contextlib.ExitStack() as kept:
        info_read, info_write = os.pipe()
        kept.callback(os.close, info_read)
        open_while_starting.callback(os.close, info_write)
        filter_fd = _readable(tools.program)
        open_while_starting.callback(os.close, filter_fd)
        argv = [
            *(str(tools.bwrap), *arguments(tools.system, mounts, seccomp_fd=filter_fd, info_fd=info_write)),
            *(str(tools.python.path), *FLAGS, PROGRAM),
        ]
        try:
            process = await spawn(argv, {}, pass_fds=(filter_fd, info_write))
        except OSError as error:
            if error.errno in UNWELL:
                raise
            raise SandboxFailed(why=str(error), fix=INSTALL) from error
        kept.pop_all()
        return process, info_read


def _inside(spec: Spec, python: Interpreter) -> Inside:
    path = SYSTEM_PATH if python.prefix is None else f"{SYSTEM_PATH}:{python.prefix / 'bin'}"
    env = {
        "PATH": path if spec.environment is None else f"{ENVIRONMENT}/bin:{path}",
        "HOME": HOME,
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "USER": "agent",
        "LOGNAME": "agent",
        **spec.env,
    }
    return Inside(
        places={WORKSPACE: WORKSPACE, **({ENVIRONMENT: ENVIRONMENT} if spec.environment is not None else {})},
        objects=tuple(f"/objects/{number}" for number in range(len(spec.objects))),
        env=env,
        path=path,
        scratch="/tmp",
        confined=False,
        proxy=None if spec.proxy_socket is None else f"{PROXY}/{spec.proxy_socket.name}",
        proxy_port=PORT,
        bridges={port: f"{BRIDGES}/{port}" for port in spec.bridges},
        limits=resource_limits(spec.limits),
    )


def _warnings() -> tuple[str, ...]:
    """What is weaker on this machine than elsewhere."""
    return () if may_look() else (_BLIND,)


def _programs() -> list[Path]:
    """What the probe runs inside, as far as it is there."""
    found = (shutil.which(name, path=SYSTEM_PATH) for name in ("git", "python3", "sh"))
    return [Path(path) for path in found if path is not None]


def _system(own_etc: Path, program: Path, python: Interpreter) -> System:
    links, directories = {}, []
    for name in _ROOT_NAMES:
        path = Path("/") / name
        if path.is_symlink():
            links[name] = str(path.readlink())
        elif path.is_dir():
            directories.append(name)
    etc = [name for name in ETC if (Path("/etc") / name).exists()]
    return System(links, directories, etc, own_etc, program, python.prefix)


def _own_etc(ground: Ground) -> Path:
    """The files of `OWN_ETC`, in a directory named after their content."""
    digest = hashlib.sha256(repr(sorted(OWN_ETC.items())).encode()).hexdigest()[:16]
    target = ground.bin / f"etc-{digest}"
    if not target.is_dir():
        new = Path(tempfile.mkdtemp(dir=ground.bin))
        for name, text in OWN_ETC.items():
            (new / name).write_text(text, encoding="ascii")
            (new / name).chmod(0o644)
        publish(new, target)
    return target


def _readable(data: bytes) -> int:
    """A descriptor to read `data` from. It must fit into a pipe."""
    source, sink = os.pipe()
    with os.fdopen(sink, "wb") as file:
        file.write(data)
    return source


def _child_pid(source: int) -> int | None:
    """What bwrap says about its child; None where it ended before it said anything. Raises SandboxFailed."""
    said, ends = b"", time.monotonic() + _START_DEADLINE
    try:
        waiting = select.poll()
        waiting.register(source, select.POLLIN)
        while waiting.poll(max(0.0, ends - time.monotonic()) * 1000):
            part = os.read(source, 65536)
            if not part:
                break
            said += part
        else:
            raise SandboxFailed("bubblewrap does not start", why=f"nothing was said for {_START_DEADLINE:g} s")
    finally:
        os.close(source)
    try:
        return int(json.loads(said)["child-pid"])
    except (ValueError, KeyError, TypeError):
        return None
