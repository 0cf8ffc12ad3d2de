"""git inside a sandbox, with nothing to be configured by but us (standard library of Python 3.8 only; see `worker`).

Rules
- No configuration but ours counts: not the system's, not the user's, and no hook, filter or monitor of the workspace.
- A command ends when the host no longer wants its answer, after five minutes, or beyond the bytes it may write; nothing
  of it stays behind.
"""

from __future__ import annotations

import os
import time

from quarterdeck.workplace.worker_processes import Ready, collect, start, status

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from quarterdeck.workplace.worker_processes import Process
else:  # the compiled half of it, which loads in no time
    import _signal as signal

_TIMEOUT = 300.0
"""Seconds that one command may take."""
_LOOK = 0.5
"""Seconds after which somebody looks whether the answer is still wanted."""
_CHUNK = 65536
_SAFE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.autocrlf=false",
    "core.safecrlf=false",
    "core.excludesFile=/dev/null",
    "core.attributesFile=/dev/null",
    "core.quotePath=false",
    "core.looseCompression=1",
    "gc.auto=0",
    "maintenance.auto=false",
    "diff.ignoreSubmodules=all",
    "submodule.recurse=false",
    "advice.addEmbeddedRepo=false",
)


class GitError(ValueError):
    """A git command failed."""


class Cancelled(Exception):
    """The host no longer wants the answer."""


class PrivateGit:
    """git on one git directory and the workspace, with nothing else to be configured by."""

    def __init__(self, directory: str, workspace: str, env: dict[str, str], cancelled: Callable[[], bool]) -> None:
        self._workspace = workspace
        self._cancelled = cancelled
        self._base_env = env
        self._env = {
            **env,
            "GIT_DIR": directory,
            "GIT_WORK_TREE": workspace,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "LC_ALL": "C",
        }
        self.said = ""
        """What the last command that succeeded wrote to standard error."""
        self._prefix = ["git", *(part for setting in _SAFE for part in ("-c", setting))]

    def beside(self, directory: str) -> PrivateGit:
        """The same on another git directory."""
        return PrivateGit(directory, self._workspace, self._base_env, self._cancelled)

    def __call__(
        self, *arguments: str, stdin: bytes = b"", bound: int | None = None, ok: tuple[int, ...] = (0,)
    ) -> bytes:
        """Standard output. Raises GitError; ValueError beyond `bound` bytes; Cancelled."""
        process = start([*self._prefix, *arguments], self._env, self._workspace)
        try:
            out, err = self._talk(process, stdin, bound)
        finally:
            process.kill()
            collect(process)
            process.close()
        if process.returncode not in ok:
            raise GitError(f"git {arguments[0]}: {err.decode('utf-8', 'replace').strip()[-2000:] or _end(process)}")
        self.said = err.decode("utf-8", "replace")
        return out

    def _talk(self, process: Process, stdin: bytes, bound: int | None) -> tuple[bytes, bytes]:
        """Both its streams to their end, and its end. Raises as a call does."""
        deadline = time.monotonic() + _TIMEOUT
        said = {process.stdout: bytearray(), process.stderr: bytearray()}
        left = memoryview(stdin)
        ready = Ready()
        for fd in said:
            ready.read(fd)
        ready.write(process.stdin)
        os.set_blocking(process.stdin, False)
        while ready.wanted:
            for fd in ready.wait(_LOOK):
                if fd in said:
                    data = os.read(fd, _CHUNK)
                    said[fd] += data
                    if data:
                        continue
                else:
                    left = _sent(fd, left)
                    if left:
                        continue
                ready.drop(fd)
                process.close(fd)
            if bound is not None and len(said[process.stdout]) > bound:
                raise ValueError(f"the change is larger than {bound} bytes")
            self._see(deadline)
        pause = 0.0005
        while status(process) is None:
            self._see(deadline)
            time.sleep(pause)
            pause = min(pause * 2, 0.02)
        return bytes(said[process.stdout]), bytes(said[process.stderr])

    def _see(self, deadline: float) -> None:
        """Whether to go on. Raises Cancelled, GitError."""
        if self._cancelled():
            raise Cancelled
        if time.monotonic() > deadline:
            raise GitError(f"git took longer than {_TIMEOUT:.0f} s")


def _sent(fd: int, left: memoryview) -> memoryview:
    """What is left to be said."""
    try:
        return left[os.write(fd, left[:_CHUNK]) :] if left else left
    except (BlockingIOError, InterruptedError):
        return left
    except OSError:  # it does not read its input: that is its right
        return left[:0]


def _end(process: Process) -> str:
    """How it ended, where it said nothing itself."""
    if process.returncode == -signal.SIGKILL:
        return "it was killed, as is what needs more memory or disk than this sandbox has"
    return f"it ended with {process.returncode}"
