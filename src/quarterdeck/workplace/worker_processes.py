"""Processes of a sandbox, seen from inside (standard library of Python 3.8 only; see `worker`).

Rules
- A process belongs to a session where it carries the session's mark in its environment, also when it left the group.
- Orphans are this process's to collect: each that is not counts against the sandbox's process limit.
"""

# Raw paths; pathlib would only slow the start of every sandbox.
# ruff: noqa: PTH123, PTH208
from __future__ import annotations

import os
import signal
import time

MARK = "QUARTERDECK_SESSION"
_ROUNDS = 50


def status(pid: int) -> int | None:
    """The leader's exit code (128 + number for a signal), left unreaped; None while it runs."""
    try:
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
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
    """Collect ended orphans: this process is their parent, and each counts against the sandbox's process limit. The
    leader of a session of its own is left: another thread may wait for it."""
    own, session = os.getpid(), os.getsid(0)
    for pid in everything():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            state, parent, of = fields[0], int(fields[1]), int(fields[3])
            if state == b"Z" and parent == own and of not in (pid, session):
                os.waitpid(pid, os.WNOHANG)
        except (OSError, ValueError, IndexError):  # collected meanwhile
            continue


def everything() -> list[int]:
    """Every process that is seen from here; none where there is no /proc."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read(1048576).split(b"\0")
    except OSError:  # ended, a zombie, or somebody else's
        return []
