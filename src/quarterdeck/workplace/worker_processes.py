"""Processes of a sandbox, seen from inside (standard library of Python 3.8 only; see `worker`).

Rules
- A process belongs to a session where it carries the session's mark in its environment, also when it left the group.
- Orphans are this process's to collect: each that is not counts against the sandbox's process limit. What a thread of
  ours waits for is left to it: its exit code must be the one that it ended with.
"""

# Raw paths; pathlib would only slow the start of every sandbox.
# ruff: noqa: PTH123, PTH208
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    from typing import Any

MARK = "QUARTERDECK_SESSION"
_STEP = 5
_ROUNDS = 50
_starting = threading.Lock()
_awaited: dict[int, subprocess.Popen[bytes]] = {}


def step_back() -> None:
    """Have the calling thread, and all that it starts, give way to the deck and to what else the machine does. Not on
    macOS, where a thread has no niceness of its own."""
    if sys.platform.startswith("linux"):
        try:
            own = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, 0, min(own + _STEP, 19))
        except OSError:  # a machine that does not let us say so: what is to be done is done all the same
            return


def start(argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
    """A process that somebody here waits for, with `collect`. Raises OSError, ValueError."""
    with _starting:  # nobody buries it before it is known
        process = subprocess.Popen(argv, **how)
        _awaited[process.pid] = process
    return process


def collect(process: subprocess.Popen[bytes]) -> int:
    """Wait for what was started; its exit code, or the number of its signal below 0."""
    code = process.wait()
    with _starting:
        if _awaited.get(process.pid) is process:  # else its number has passed to another one
            del _awaited[process.pid]
    return code


def status(process: subprocess.Popen[bytes]) -> int | None:
    """Its exit code (128 + number for a signal); None while it runs. It is left unreaped, so that the number of its
    group cannot be given away, but on macOS under a Python before 3.13, which has no way to."""
    if not hasattr(os, "waitid"):
        code = process.poll()
        return 128 - code if code is not None and code < 0 else code
    try:
        found = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    if found is None:
        return None
    return found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status


def kill(pids: list[int]) -> None:
    """End these at once."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # ended meanwhile
            continue


def end_marked(mark: str) -> None:
    """Kill what carries the mark, until there is nothing. Linux; elsewhere the group is all that is known."""
    wanted = f"{MARK}={mark}".encode()
    for _ in range(_ROUNDS):
        found = [pid for pid in everything() if wanted in _environment(pid)]
        if not found:
            return
        kill(found)
        time.sleep(0.005)


def bury() -> None:
    """Collect ended orphans: this process is their parent, and each counts against the sandbox's process limit."""
    if not hasattr(os, "waitid"):
        return
    try:
        if os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return
    except ChildProcessError:
        return
    session = os.getsid(0)
    for pid in _children():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            if fields[0] != b"Z" or int(fields[3]) == session:
                continue
            with _starting:
                if pid not in _awaited:
                    os.waitpid(pid, os.WNOHANG)
        except (OSError, ValueError, IndexError):  # collected meanwhile
            continue


def _children() -> list[int]:
    """Of this process; none where the system does not tell."""
    found = []
    for task in _listed("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children", "rb") as file:
                found += [int(pid) for pid in file.read().split()]
        except OSError:  # a thread that has ended meanwhile
            continue
    return found


def everything() -> list[int]:
    """Every process that is seen from here; none where there is no /proc."""
    return _listed("/proc")


def _listed(folder: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read(1048576).split(b"\0")
    except OSError:  # ended, a zombie, or somebody else's
        return []
