"""git inside a sandbox, with nothing to be configured by but us (standard library of Python 3.8 only; see `worker`).

Rules
- No configuration but ours counts: not the system's, not the user's, and no hook, filter or monitor of the workspace.
- A command ends when the host no longer wants its answer, after five minutes, or beyond the bytes it may write; nothing
  of it stays behind.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

from quarterdeck.workplace.worker_processes import collect, start

_TIMEOUT = 300.0
"""Seconds that one command may take."""
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
        process = start(
            [*self._prefix, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self._workspace,
            env=self._env,
            start_new_session=True,
        )
        try:
            out, err = self._talk(process, stdin, bound)
        finally:
            process.kill()
            collect(process)
        if process.returncode not in ok:
            raise GitError(f"git {arguments[0]}: {err.decode('utf-8', 'replace').strip()[-2000:] or _end(process)}")
        self.said = err.decode("utf-8", "replace")
        return out

    def _talk(self, process: subprocess.Popen[bytes], stdin: bytes, bound: int | None) -> tuple[bytes, bytes]:
        if bound is not None:
            return _bounded(process, stdin, bound)
        deadline = time.monotonic() + _TIMEOUT
        send: bytes | None = stdin
        while True:
            try:
                return process.communicate(send, timeout=0.5)
            except subprocess.TimeoutExpired:
                send = None
                if self._cancelled():
                    raise Cancelled from None
                if time.monotonic() > deadline:
                    raise GitError(f"git took longer than {_TIMEOUT:.0f} s") from None


def _end(process: subprocess.Popen[bytes]) -> str:
    """How it ended, where it said nothing itself."""
    if process.returncode == -signal.SIGKILL:
        return "it was killed, as is what needs more memory or disk than this sandbox has"
    return f"it ended with {process.returncode}"


def _bounded(process: subprocess.Popen[bytes], stdin: bytes, bound: int) -> tuple[bytes, bytes]:
    """Output up to `bound` bytes. Raises ValueError beyond. Input and messages are small enough for a pipe's buffer."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    guard = threading.Timer(_TIMEOUT, process.kill)
    guard.start()
    try:
        process.stdin.write(stdin)
        process.stdin.close()
        out = process.stdout.read(bound + 1)
        if len(out) > bound:
            raise ValueError(f"the change is larger than {bound} bytes")
        return out, process.stderr.read()
    finally:
        guard.cancel()
        process.kill()
        process.stdout.close()
        process.stderr.close()
