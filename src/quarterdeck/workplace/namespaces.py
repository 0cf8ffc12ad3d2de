"""Which process namespace a process lives in, by what the kernel says of every process to everybody.

Rules
- No right over the process is needed: a deck of root may have been left without the one to look into other processes,
  as it is in a container.
- A process that is gone has no place: that is None.
"""

import os
from pathlib import Path


def first_of(pid: int) -> int | None:
    """The first process of the namespace below ours in which a process lives, by our number for it; 0 = it lives in
    ours; None = it is gone, or nothing is known of it."""
    own = len(status(os.getpid(), "NSpid"))
    while levels := status(pid, "NSpid"):
        if len(levels) <= own:
            return 0
        if levels[-1] == "1":
            return pid
        pid = parent(pid)
    return None


def parent(pid: int) -> int:
    """0 where it is gone."""
    return int((status(pid, "PPid") or ["0"])[0])


def status(pid: int, name: str) -> list[str]:
    """The words of one line of `/proc/PID/status`; empty where there is no such process, or no such line."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    return next((line.split()[1:] for line in lines if line.startswith(f"{name}:")), [])
