"""A sandbox as the rest of the system sees it: the port's operations over a worker's channel. All providers share it;
they differ only in how the worker is started (`Inside`) and ended (`Ender`).

Rules
- An exec in flight when the sandbox dies is answered with the flag `died`: its command may be what killed it. Any later
  call raises SandboxFailed.
- While the sandbox lives, a watchdog looks at it; commands that run when it strikes are flagged with its verdict.
- What fails because the machine took the workspace or the mirror away, or has no room left, is the machine's failure,
  not that of whoever works inside.
- What comes out of a sandbox is not believed (`answers`).
"""

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.answers import exec_result, exported, ports_of
from quarterdeck.workplace.channel import Channel, ChannelClosed
from quarterdeck.workplace.port import WORKSPACE, ExecResult, Exported, Limits, Spec, Stats
from quarterdeck.workplace.session import WorkerSession
from quarterdeck.workplace.watchdog import Verdict, Watchdog, descendants, pause, verdict

_log = logging.getLogger(__name__)

_FILE_DEADLINE: Final = 120.0
_GIT_DEADLINE: Final = 900.0
_EXEC_GRACE: Final = 30.0
_START_DEADLINE: Final = 60.0
_NO_ROOM: Final = 64 * 1024
"""Bytes; with less on its disk, git can do nothing any more."""
_OWN_SHARE: Final = 0.5
"""Of what a full disk holds: a workspace with so much of it filled the disk itself, and its agent sees the error."""
_PACK_LIMIT: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Inside:
    """What a worker is told about where it is."""

    places: Mapping[str, str]
    """Real directory (as the worker sees it) of `/workspace` and `/env`."""
    objects: tuple[str, ...]
    env: Mapping[str, str]
    path: str
    """Where the machine keeps its programs: what we run ourselves is never one that an environment has brought."""
    scratch: str
    confined: bool
    """The worker itself must keep file operations in the workspace, because nothing else does."""
    proxy: str | None = None
    proxy_port: int = 0
    bridges: Mapping[int, str] = field(default_factory=dict)
    """Port to the path of a socket, as the worker sees it."""
    ports_shared: bool = False
    """The loopback is the machine's: any free port has to do."""
    limits: Mapping[str, int] = field(default_factory=dict)


class Ender(Protocol):
    """How a provider ends a sandbox."""

    async def end(self) -> None:
        """SIGKILL everything inside and wait until it is gone. Idempotent."""
        ...


def resource_limits(limits: Limits) -> dict[str, int]:
    """Names of `resource` and their hard limits, for each process inside.

    RLIMIT_DATA bounds what a process can really write to; RLIMIT_AS is generous, because runtimes reserve address
    space that they never touch.
    """
    return {
        "RLIMIT_NPROC": limits.processes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_FSIZE": limits.disk_bytes,
        "RLIMIT_DATA": limits.memory_bytes,
        "RLIMIT_AS": max(16 * limits.memory_bytes, 64 * 1024**3),
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_CORE": 0,
        "RLIMIT_NICE": 0,
        "RLIMIT_RTPRIO": 0,
    }


class WorkerSandbox:
    """Made by a provider; see the port for what each method does and raises."""

    def __init__(
        self,
        spec: Spec,
        channel: Channel,
        ender: Ender,
        workspace: Path,
        root_pid: int,
        home: Path | None = None,
    ) -> None:
        """`root_pid`: process above all of the sandbox; `home`: one that is kept, which lies on the disk too."""
        self._spec = spec
        self._channel = channel
        self._ender = ender
        self._root_pid = root_pid
        self._workspace = workspace
        built = spec.environment if spec.environment_writable else None
        also = [place for place in (home, built) if place is not None]
        self._watchdog = Watchdog(root_pid, workspace, spec.limits, *also)
        self._spare: frozenset[int] = frozenset()
        self._active: dict[object, set[Verdict]] = {}
        self._closing = False
        self._ended = False
        self._closed: asyncio.Future[None] | None = None
        self._striking = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._places: Mapping[str, str] = {}
        self._path = ""
        self._ports: Mapping[int, int] = {}
        self._sessions = 0

    @property
    def id(self) -> str:
        return self._spec.id

    @property
    def running(self) -> bool:
        """Whether processes of it may still be there."""
        return not self._ended

    async def start(self, inside: Inside, *, left_behind: bool) -> None:
        """Configure the worker; it answers when it is ready. `left_behind`: the workspace is another one's, whose lock
        files mean nothing any more."""
        arguments = {
            "places": dict(inside.places),
            "objects": list(inside.objects),
            "env": dict(inside.env),
            "path": inside.path,
            "scratch": inside.scratch,
            "confined": inside.confined,
            "proxy": inside.proxy,
            "proxy_port": inside.proxy_port,
            "bridges": sorted(inside.bridges.items()),
            "ports_shared": inside.ports_shared,
            "limits": dict(inside.limits),
            "left_behind": left_behind,
        }
        try:
            answer, _ = await self._channel.request("configure", arguments, deadline=_START_DEADLINE)
        except OSError as error:
            raise SandboxFailed("a port inside the sandbox cannot be opened", why=str(error)) from error
        self._places, self._path, self._ports = inside.places, inside.path, ports_of(answer, inside.bridges)
        # nothing has been run yet: what is there now keeps the sandbox alive
        self._spare = frozenset(descendants(self._root_pid))
        self._watching = asyncio.create_task(self._watch())

    async def exec(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float,
        output_limit: int = 64 * 1024,
        cwd: str = WORKSPACE,
        ours: bool = False,
    ) -> ExecResult:
        arguments = {
            "command": command if isinstance(command, str) else list(command),
            "env": {**(env or {}), **({"PATH": self._path} if ours else {})},
            "timeout": timeout,
            "limit": output_limit,
            "cwd": cwd,
        }
        ticket = object()
        async with self._striking:  # a command that begins while the watchdog strikes would be struck down too
            self._active[ticket] = set()
        begun = time.monotonic()
        try:
            header, data = await self._request("exec", arguments, stdin, deadline=timeout + _EXEC_GRACE)
        except ChannelClosed:
            if self._closing or not self._was_running(begun):
                raise
            await self._ender.end()
            flags = ("died", *sorted(self._active[ticket]))
            return ExecResult(None, b"", b"", time.monotonic() - begun, flags)
        finally:
            strikes = self._active.pop(ticket)
        result = exec_result(header, data, strikes, output_limit)
        if result.exit_code != 0 and not result.flags and await self._crowded_out():
            raise SandboxFailed("the disk of this machine is full", why=os.strerror(errno.ENOSPC))
        return result

    def where(self, path: str) -> str:
        for inside, real in self._places.items():
            if path == inside or path.startswith(f"{inside}/"):
                return real + path[len(inside) :]
        return path

    def port(self, wanted: int) -> int:
        return self._ports[wanted]

    async def open(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = WORKSPACE,
        timeout: float,
    ) -> WorkerSession:
        self._sessions += 1
        number, ticket = self._sessions, object()
        arguments = {
            "session": number,
            "command": list(command),
            "env": dict(env or {}),
            "timeout": timeout,
            "cwd": cwd,
        }
        strikes: set[Verdict] = set()
        async with self._striking:  # as in `exec`
            self._active[ticket] = strikes
        try:
            await self._request("open", arguments)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):  # it may have been started all the same
                await self._opened(number, strikes, ticket).kill(0.0)
            self._active.pop(ticket, None)
            raise
        return self._opened(number, strikes, ticket)

    def _opened(self, number: int, strikes: set[Verdict], ticket: object) -> WorkerSession:
        return WorkerSession(self._channel, number, strikes, lambda: self._active.pop(ticket, None))

    def _was_running(self, begun: float) -> bool:
        return self._channel.closed_at >= begun

    async def read(self, path: str, *, offset: int = 0, limit: int = 1024 * 1024) -> bytes:
        _, data = await self._request("read", {"path": path, "offset": offset, "limit": limit})
        return data[:limit]

    async def write(self, path: str, data: bytes, *, mode: int | None = None) -> None:
        try:
            await self._request("write", {"path": path, "mode": mode}, data)
        except OSError as error:
            if error.errno == errno.ENOSPC and await self._crowded_out():
                raise SandboxFailed("the disk of this machine is full", why=str(error)) from error
            raise

    async def call(self, operation: str, /, **arguments: object) -> dict[str, object]:
        if operation not in ("list", "search", "stat"):
            raise ValueError(f"no such operation: {operation}")
        header, _ = await self._request(operation, arguments)
        return header

    async def import_(
        self, commit: str, *, tree: str | None = None, identity: tuple[str, str] = ("agent", "agent@localhost")
    ) -> None:
        shallow = await asyncio.to_thread(_shallow, self._spec.objects)
        arguments = {"commit": commit, "tree": tree, "identity": list(identity), "shallow": shallow}
        try:
            await self._request("import", arguments, deadline=_GIT_DEADLINE)
        except (ValueError, OSError) as error:  # nobody has worked in it yet who could be to blame
            self._refuse_if_unwell(error)
            raise SandboxFailed("the workspace cannot be filled", why=str(error)) from error

    async def export(
        self,
        base: str,
        message: str,
        *,
        author: tuple[str, str],
        when: int,
        max_bytes: int,
        exclude: Sequence[str] = (),
    ) -> Exported | None:
        signature = f"{_signable(author[0])} <{_signable(author[1])}>"
        arguments = {
            "base": base,
            "message": message,
            "author": signature,
            "when": when,
            "max_bytes": min(max_bytes, _PACK_LIMIT),
            "exclude": list(exclude),
        }
        try:
            header, pack = await self._request("export", arguments, deadline=_GIT_DEADLINE)
        except (ValueError, OSError) as error:
            self._refuse_if_unwell(error)
            raise
        return exported(header, pack, base, message, signature, when, max_bytes)

    def _refuse_if_unwell(self, error: Exception) -> None:
        """Raises SandboxFailed or OSError where it was the machine that `error` comes from."""
        for directory in (self._workspace, *self._spec.objects):
            if not directory.is_dir():
                raise SandboxFailed(f"{directory} was deleted while it was in use") from error
        if _no_room(self._workspace):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._workspace)) from error

    async def _crowded_out(self) -> bool:
        """Whether its disk is full, and what fills it is not this sandbox's own."""
        if not _no_room(self._workspace):
            return False
        info = os.statvfs(self._workspace)
        own = (await self.stats()).disk_bytes
        return own < _OWN_SHARE * (info.f_blocks - info.f_bfree) * info.f_frsize

    async def stats(self) -> Stats:
        return await asyncio.to_thread(self._watchdog.stats)

    async def close(self) -> None:
        self._closing = True
        self._channel.abandon()
        if self._closed is None or (self._closed.done() and not self._ended):
            self._closed = asyncio.ensure_future(self._close())
        cancelled: asyncio.CancelledError | None = None
        while not self._closed.done():
            try:
                await asyncio.wait({self._closed})
            except asyncio.CancelledError as error:  # half closed would be open for ever: nobody closes it again
                cancelled = error
        self._closed.result()
        if cancelled is not None:
            raise cancelled

    async def _close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None
        await self._ender.end()
        await self._channel.close()
        self._ended = True

    async def _request(
        self,
        operation: str,
        arguments: Mapping[str, object],
        payload: bytes = b"",
        *,
        deadline: float = _FILE_DEADLINE,
    ) -> tuple[dict[str, object], bytes]:
        return await self._channel.request(operation, arguments, payload, deadline=deadline)

    async def _watch(self) -> None:
        """Look, judge, strike; until the sandbox is gone. A worker that is gone takes the rest with it."""
        cost = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause(busy=bool(self._active), cost=cost)):
                    await self._channel.wait_closed()
            if self._channel.closed:
                await self._ender.end()
                return
            begun = time.monotonic()
            try:
                usage = await asyncio.to_thread(self._watchdog.look)
            except OSError as error:  # the next look may succeed; giving up would leave the sandbox without limits
                _log.warning("%s cannot be looked at: %s", self.id, error)
                continue
            cost = time.monotonic() - begun
            judged = verdict(usage, self._spec.limits)
            if judged is not None:
                await self._strike(judged)

    async def _strike(self, judged: Verdict) -> None:
        async with self._striking:
            for strikes in self._active.values():
                strikes.add(judged)
            try:
                killed = await asyncio.to_thread(self._watchdog.kill, self._spare)
            except OSError as error:
                _log.warning("the processes of %s cannot be found: %s", self.id, error)
                killed = False
            if not killed:
                await self._ender.end()


def _no_room(directory: Path) -> bool:
    info = os.statvfs(directory)
    return info.f_bavail * info.f_frsize < _NO_ROOM or (info.f_files > 0 and info.f_favail == 0)


def _shallow(objects: Sequence[Path]) -> str:
    """Where the histories of the mirrors end, if they do; git keeps that beside the objects."""
    files = [directory.parent / "shallow" for directory in objects]
    return "".join(file.read_text(encoding="ascii") for file in files if file.is_file())


def _signable(text: str) -> str:
    """A name or address as git allows it in a commit."""
    return "".join(" " if character in "<>\n\0" else character for character in text).strip() or "unknown"
