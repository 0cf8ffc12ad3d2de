"""Runs git. Every git process on the host is started here.

Rules
- A git process inherits nothing of our environment: no GIT_* variable, no credential prompt, no locale.
- Hooks, the file system monitor and background maintenance are off in every call.
- Every call has a deadline and bounded output; at the deadline the whole process group is killed.
- The user's own configuration applies in the user's repository (they may trust directories there); our own
  repositories are run with none, so that results do not depend on who runs them.
"""

import asyncio
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import GitFailed
from quarterdeck.workplace.descriptors import see_room

OUTPUT_LIMIT: Final = 64 * 1024 * 1024
_STDERR_TAIL: Final = 16 * 1024
_CHUNK: Final = 256 * 1024

_OPTIONS: Final = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    # Several processes write refs at once; waiting for a lock is cheaper than failing.
    "core.filesRefLockTimeout=5000",
    "core.packedRefsTimeout=10000",
)

_ENVIRONMENT: Final = {
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ALLOW_PROTOCOL": "file",
}

NO_CONFIGURATION: Final = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_ATTR_NOSYSTEM": "1"}
"""Environment for repositories of our own."""


@dataclass(frozen=True, slots=True)
class Completed:
    """One finished git command."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    cut: bool = False
    """stdout was longer than the limit and is cut there; the command was killed."""

    @property
    def text(self) -> str:
        """stdout without the last line break; bytes that are not UTF-8 are kept as surrogates."""
        return decode(self.stdout).removesuffix("\n")

    @property
    def complaint(self) -> str:
        """The tail of stderr, for people."""
        return self.stderr[-2000:].decode("utf-8", "replace").strip()


def decode(data: bytes) -> str:
    """Path names and texts of git, losslessly."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The inverse of `decode`."""
    return text.encode("utf-8", "surrogateescape")


def git_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a git process. Raises GitFailed where git is not installed."""
    path = os.pathsep.join(os.get_exec_path())
    if not os.access(program := _program(path), os.X_OK):  # git was moved
        _program.cache_clear()
        program = _program(path)
    path = os.pathsep.join((str(Path(program).parent), os.defpath))
    return {"PATH": path, "HOME": str(Path.home()), **_ENVIRONMENT, **(extra or {})}


@lru_cache(maxsize=8)
def _program(path: str) -> str:
    """git's program. It is looked for once: each call of git would look through all of `path`."""
    program = shutil.which("git", path=path)
    if program is None:
        raise GitFailed("git is not installed", fix="install git 2.38 or later, then run `quarterdeck doctor`")
    return program


def options(*settings: str) -> tuple[str, ...]:
    """`-c` arguments for the settings that every call has, and for `settings`."""
    return tuple(part for setting in (*_OPTIONS, *settings) for part in ("-c", setting))


class Git:
    """git in one repository.

    `place`: leading arguments that name the repository (`-C path` or `--git-dir=path`). `environment`: added to each
    call. `umask`: of the files it creates; -1 = ours.
    """

    def __init__(self, *place: str, environment: Mapping[str, str] | None = None, umask: int = -1) -> None:
        self.place = place
        self.environment = dict(environment or {})
        self.umask = umask

    async def run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        settings: Sequence[str] = (),
        ok: Sequence[int] = (0,),
        timeout: float = 120.0,
        limit: int = OUTPUT_LIMIT,
        may_cut: bool = False,
        memory: int | None = None,
    ) -> Completed:
        """Run `git <arguments>` and wait for it.

        `settings`: further `-c` values. `ok`: exit codes that are answers rather than failures. `timeout`: seconds.
        `limit`: bytes of stdout; beyond it the result is cut (`may_cut`) or the call fails. `memory`: bytes of address
        space that the process may use. Raises GitFailed.
        """
        command = ["git", *options(*settings), *self.place, *arguments]
        if memory is not None:
            # Not every system knows this limit; the deadline holds everywhere.
            script = f'ulimit -v {memory // 1024} 2>/dev/null; exec "$@"'
            command = ["/bin/sh", "-c", script, "sh", *command]
        done = await run_program(
            command, stdin, git_environment({**self.environment, **(env or {})}), self.umask, timeout, limit
        )
        # Without its options, so that what git complains about is not cut off behind them.
        name = " ".join(("git", *(word for word in arguments if not word.startswith("-"))))[:200]
        if done.cut and not may_cut:
            raise GitFailed(f"`{name}` printed more than {limit} bytes")
        if not done.cut and done.exit_code not in ok:
            raise GitFailed(f"`{name}` ended with {done.exit_code}", why=done.complaint)
        return done

    async def text(self, *arguments: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> str:
        """stdout of a command that must succeed, without the last line break."""
        return (await self.run(*arguments, env=env, stdin=stdin)).text


async def run_program(
    command: Sequence[str], stdin: bytes, environment: Mapping[str, str], umask: int, timeout: float, limit: int
) -> Completed:
    """Run a program with this environment and no other, and wait for it; it and its children end at the deadline.

    `timeout`: seconds. `limit`: bytes of stdout, beyond which it is stopped. Raises GitFailed where it takes too long.
    """
    process = await _start(command, bool(stdin), environment, umask)
    try:
        async with asyncio.timeout(timeout):
            _, (stdout, cut), stderr = await asyncio.gather(
                _feed(process.stdin, stdin), _head(process, limit), _tail(process.stderr)
            )
            await process.wait()
    except TimeoutError as error:
        raise GitFailed(f"`{' '.join(command)[:300]}` took longer than {timeout:g} s") from error
    finally:
        if process.returncode is None:
            _kill(process)
            await process.wait()
    return Completed(process.returncode if process.returncode is not None else -1, stdout, stderr, cut)


async def _start(
    command: Sequence[str], fed: bool, environment: Mapping[str, str], umask: int
) -> asyncio.subprocess.Process:
    see_room()
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if fed else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
            umask=umask,
            start_new_session=True,
            # A directory that is removed under us must not make every later call fail.
            cwd="/",
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled while it starts: what it has started by then would be nobody's.
        process = await starting
        _kill(process)
        await process.wait()
        raise


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    try:
        stream.write(data)
        await stream.drain()
        stream.close()
        await stream.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        # It ended before it had read everything: its exit code and stderr say why.
        return


async def _head(process: asyncio.subprocess.Process, limit: int) -> tuple[bytes, bool]:
    assert process.stdout is not None
    chunks: list[bytes] = []
    size = 0
    while chunk := await process.stdout.read(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            _kill(process)
            while await process.stdout.read(_CHUNK):
                pass  # up to its end: a pipe that nobody reads would stay open
            return b"".join(chunks)[:limit], True
    return b"".join(chunks), False


async def _tail(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    tail = b""
    while chunk := await stream.read(_CHUNK):
        tail = (tail + chunk)[-_STDERR_TAIL:]
    return tail


def _kill(process: asyncio.subprocess.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        # Ended meanwhile, which is what was wanted.
        return
