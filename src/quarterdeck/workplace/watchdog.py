"""What resource limits of the kernel do not stop: several processes that together use too much memory, and many small
files that fill the disk.

Rules
- Memory is the proportional share (PSS) of all processes of a sandbox, and what the kernel holds for them beside it
  (`kernel_memory`). The cheaper resident size is an upper bound of PSS, which is only read where that is too much.
- Disk is what the workspace's files occupy, plus a kibibyte for each entry, and what is open there without a name. That
  is looked at only when the file system has lost a noticeable part of what the sandbox may still use, or when the last
  look is old.
- The verdict is a pure function. What cannot be looked into is not assumed to be empty: it counts against a sandbox as
  soon as the file system has lost more than the sandbox may use.
- It looks from outside: nothing inside can make itself unreadable to it. Looking never follows a link.
- A machine that does not let us look (no descriptor left) is an OSError, never an empty sandbox.
- It overshoots by what can be written or touched in one period.
"""

import os
import signal
import stat
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from quarterdeck.kernel.failures import UNWELL
from quarterdeck.workplace.kernel_memory import in_sockets, page_tables, resident
from quarterdeck.workplace.nameless import may_look, nameless
from quarterdeck.workplace.port import Limits, Stats

Verdict = Literal["memory", "disk"]

PERIOD: Final = 0.5
_IDLE_PERIOD: Final = 2.0
_WALK_AGE: Final = 15.0
_ENTRY: Final = 1024
_DEPTH: Final = 200
_KILL_TIME: Final = 5.0
_KILL_PAUSE: Final = 0.005


@dataclass(frozen=True, slots=True)
class Usage:
    """One look at a sandbox."""

    memory_bytes: int
    disk_bytes: int
    processes: int
    unknown: int = 0
    """Directories that could not be looked into."""
    lost_bytes: int = 0
    """What the file system has lost since the sandbox began."""


def verdict(usage: Usage, limits: Limits) -> Verdict | None:
    """What the sandbox has too much of, if anything."""
    if usage.memory_bytes > limits.memory_bytes:
        return "memory"
    if usage.disk_bytes > limits.disk_bytes:
        return "disk"
    if usage.unknown and usage.lost_bytes > limits.disk_bytes:
        return "disk"
    return None


def should_walk(*, used: int, limit: int, lost_since: int, age: float, cost: float) -> bool:
    """Whether the workspace's disk usage must be measured again.

    `used`: bytes at the last walk; `lost_since`: bytes the file system lost since; `age`: seconds since; `cost`:
    seconds the last walk took.
    """
    if age < 10 * cost:
        return False
    headroom = max(limit - used, 0)
    return lost_since > headroom // 4 or age > _WALK_AGE


def pause(*, busy: bool, cost: float) -> float:
    """Seconds until the next look: rarely when no command runs, and never more than a tenth of the time looking."""
    return max(PERIOD if busy else _IDLE_PERIOD, 10 * cost)


class Watchdog:
    """Measures one sandbox: all processes below `root_pid`, and the files of `workspace` and of what else it can write
    that lies on the disk (`also`)."""

    def __init__(self, root_pid: int, workspace: Path, limits: Limits, *also: Path) -> None:
        self._root = root_pid
        self._workspace = workspace
        self._also = also
        self._limits = limits
        self._begun = _free(workspace)
        self._device = _device(workspace)
        self._may_look = may_look()
        self._walked_free = self._begun
        self._walked_at = float("-inf")
        self._walk_cost = 0.0
        self._disk = (0, 0)
        self._hidden = 0

    def look(self) -> Usage:
        """Measure now. Blocking; milliseconds. Raises OSError where the machine does not let us look."""
        pids = descendants(self._root)
        memory = in_sockets(pids, self._limits.memory_bytes)
        if memory + sum(_resident(pid) for pid in pids) > self._limits.memory_bytes:
            memory += sum(_proportional(pid) for pid in pids)
        free = _free(self._workspace)
        age = time.monotonic() - self._walked_at
        lost_since = self._walked_free - free
        if should_walk(
            used=self._disk[0], limit=self._limits.disk_bytes, lost_since=lost_since, age=age, cost=self._walk_cost
        ):
            self._walk(free, pids)
        used, unknown = self._disk
        return Usage(memory, used, len(pids), unknown, max(self._begun - free, 0))

    def _walk(self, free: int, pids: Sequence[int]) -> None:
        begun = time.monotonic()
        used, unknown = self._occupied()
        mapped = self._begun - free > max(used, self._limits.disk_bytes // 2)
        held, hidden = nameless(pids, self._device, mapped=mapped) if self._may_look else (0, 0)
        self._disk = used + held, unknown + min(hidden, self._hidden)  # what is only passing by is nobody's fault
        self._hidden = hidden
        self._walked_at = time.monotonic()
        self._walk_cost = self._walked_at - begun
        self._walked_free = free

    def _occupied(self) -> tuple[int, int]:
        found = [occupied(place) for place in (self._workspace, *self._also)]
        return sum(used for used, _ in found), sum(unknown for _, unknown in found)

    def stats(self) -> Stats:
        """Exact figures. Blocking."""
        pids = descendants(self._root)
        self._walk(_free(self._workspace), pids)
        memory = in_sockets(pids, self._limits.memory_bytes) + sum(_proportional(pid) for pid in pids)
        return Stats(memory, self._disk[0], len(pids))

    def kill(self, spare: frozenset[int]) -> bool:
        """SIGKILL all processes of the sandbox but `spare`; whether none was left at the end. Raises OSError where the
        machine does not let us look."""
        deadline = time.monotonic() + _KILL_TIME
        self._walked_at, self._hidden = float("-inf"), 0  # what only they held is gone with them, or will be soon
        while time.monotonic() < deadline:
            doomed = [pid for pid in descendants(self._root) if pid not in spare and _lives(pid)]
            if not doomed:
                return True
            kill_descendants(self._root, doomed)
            time.sleep(_KILL_PAUSE)
        return False


def descendants(root: int) -> list[int]:
    """Process ids below `root`, without it. Empty where the system has no /proc. Raises OSError where the machine does
    not let us look."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        children = list(_children(waiting.pop()))
        found += children
        waiting += children
    return found


def _children(pid: int) -> Iterable[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError as error:
        _ended_meanwhile(error)
        return
    for task in tasks:
        try:
            yield from map(int, (task / "children").read_bytes().split())
        except OSError as error:
            _ended_meanwhile(error)


def _ended_meanwhile(error: OSError) -> None:
    """What the end of a process looks like in /proc. Raises what the machine's own trouble looks like."""
    if error.errno in UNWELL:
        raise error


def kill_descendants(root: int, pids: Iterable[int]) -> None:
    """SIGKILL `pids` that are still below `root`: a process id can be given away between looking and killing, so the
    ancestry is asked again once a descriptor holds the process."""
    if sys.platform != "linux":
        return
    held: dict[int, int] = {}
    try:
        for pid in pids:
            try:
                held[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        still = set(descendants(root))
        for pid, handle in held.items():
            if pid in still:
                try:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                except ProcessLookupError:
                    continue
    finally:
        for handle in held.values():
            os.close(handle)


def _lives(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError as error:
        _ended_meanwhile(error)
        return False
    except IndexError:
        return False
    return state not in (b"Z", b"X")


def _resident(pid: int) -> int:
    status = _status(pid)
    return resident(status) + page_tables(status)


def _proportional(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024 + page_tables(_status(pid))
    except PermissionError:
        return _resident(pid)
    except OSError as error:
        _ended_meanwhile(error)
    return 0


def _status(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/status").read_bytes()
    except OSError as error:
        _ended_meanwhile(error)
        return b""


def _free(path: Path) -> int:
    """Free bytes of the file system, each free inode counted as an entry: empty files fill a disk too."""
    try:
        info = os.statvfs(path)
    except OSError:  # the workspace was removed meanwhile
        return 0
    return info.f_bfree * info.f_frsize + info.f_ffree * _ENTRY


def _device(path: Path) -> int:
    try:
        return path.stat().st_dev
    except OSError:  # as above
        return -1


def occupied(path: Path) -> tuple[int, int]:
    """(bytes below `path`, directories that could not be looked into)."""
    used = unknown = 0
    try:
        stack = [os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)]
    except FileNotFoundError:  # removed meanwhile
        return 0, 0
    except OSError:
        return 0, 1
    pending = [_inside(stack[0])]
    try:
        while stack:
            used += pending[-1][1]
            pending[-1] = (pending[-1][0], 0)
            if not pending[-1][0]:
                os.close(stack.pop())
                pending.pop()
                continue
            name = pending[-1][0].pop()
            if len(stack) >= _DEPTH:
                unknown += 1
                continue
            try:
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack[-1])
            except FileNotFoundError:
                continue
            except OSError:
                unknown += 1
                continue
            stack.append(child)
            pending.append(_inside(child))
    finally:
        for handle in stack:
            os.close(handle)
    return used, unknown


def _inside(directory: int) -> tuple[list[str], int]:
    """(subdirectories, bytes of the entries)."""
    names, used = [], 0
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                info = entry.stat(follow_symlinks=False)
            except OSError:  # removed meanwhile
                continue
            used += info.st_blocks * 512 + _ENTRY
            if stat.S_ISDIR(info.st_mode):
                names.append(entry.name)
    return names, used
