"""Processes of a sandbox, seen from inside (standard library of Python 3.8 only; see `worker`).

Rules
- A process belongs to a session where it carries the session's mark in its environment, also when it left the group.
- Orphans are this process's to collect: each that is not counts against the sandbox's process limit. What a thread of
  ours waits for is left to it: its exit code must be the one that it ended with.
- Nothing is loaded that is slow to load, here and in whatever the start of a sandbox loads: `subprocess`, `threading`,
  `selectors`, `signal`, `re`, `json` and what they need took longer than all the rest of it.
"""

# Raw paths; pathlib would only slow the start of every sandbox.
# ruff: noqa: PTH116, PTH118, PTH123, PTH208
from __future__ import annotations

import _thread
import errno
import os
import select
import sys
import time

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any
else:  # the compiled half of it, which loads in no time
    import _signal as signal

MARK = "QUARTERDECK_SESSION"
_STEP = 5
_ROUNDS = 50
_starting = _thread.allocate_lock()
"""Held by who starts a process: meanwhile this process is in the directory that it starts in."""
_awaited: dict[int, Process] = {}
_HERE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


class suppress:
    """Goes on behind the block where one of these was raised in it: as in `contextlib`, which is slow to load."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


def begin(act: Callable[..., object], *arguments: Any) -> None:
    """Do it in a thread of its own, which nobody waits for. Raises RuntimeError where there is no thread to be had."""
    _thread.start_new_thread(act, arguments)


class Ready:
    """Descriptors that are waited for together. A descriptor is dropped before it is closed."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self.wanted: set[int] = set()

    def read(self, fd: int) -> None:
        """Wait also until there is something to read, or never will be."""
        self._poll.register(fd, select.POLLIN | select.POLLPRI)
        self.wanted.add(fd)

    def write(self, fd: int) -> None:
        """Wait also until there is room to write, or nobody reads."""
        self._poll.register(fd, select.POLLOUT)
        self.wanted.add(fd)

    def drop(self, fd: int) -> None:
        """Wait for this one no more."""
        if fd in self.wanted:
            self.wanted.discard(fd)
            self._poll.unregister(fd)

    def wait(self, seconds: float) -> list[int]:
        """Those that are ready, after at most that time."""
        return [fd for fd, _ in self._poll.poll(-int(-seconds * 1000 // 1))]


class Process:
    """One that was started here: the leader of a session of its own, with a pipe for each of its streams."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: str) -> None:
        """Raises OSError, ValueError."""
        self.returncode: int | None = None
        """Its exit code, or the number of its signal below 0; None = it was not waited for."""
        pipes: list[tuple[int, int]] = []
        try:
            for _ in "012":
                pipes += [os.pipe()]
            (theirs, self.stdin), (self.stdout, out), (self.stderr, err) = pipes
            self.pid = _launch(argv, env, cwd, (theirs, out, err))
        except BaseException:
            for pipe in pipes:
                os.close(pipe[0])
                os.close(pipe[1])
            raise
        for end in (theirs, out, err):
            os.close(end)
        self._open = {self.stdin, self.stdout, self.stderr}

    def close(self, *ends: int) -> None:
        """Close these ends of its pipes, or all; those that are closed already are left."""
        for end in ends or tuple(self._open):
            if end in self._open:
                self._open.discard(end)
                os.close(end)

    def kill(self) -> None:
        """End it at once; also where it has ended already."""
        if self.returncode is None:
            kill([self.pid])

    def wait(self, how: int = 0) -> int | None:
        """Its exit code; with WNOHANG None while it runs."""
        if self.returncode is None:
            try:
                pid, found = os.waitpid(self.pid, how)
            except ChildProcessError:  # somebody else was told
                pid, found = self.pid, 0
            if pid:
                self.returncode = -os.WTERMSIG(found) if os.WIFSIGNALED(found) else os.WEXITSTATUS(found)
        return self.returncode


def _launch(argv: Sequence[str], env: Mapping[str, str], cwd: str, ends: tuple[int, int, int]) -> int:
    """The number of the process. As with `subprocess`, what the worker ignores is no longer ignored there."""
    here = os.open(".", _HERE)
    try:
        os.chdir(cwd)
        actions = [(os.POSIX_SPAWN_DUP2, end, number) for number, end in enumerate(ends)]
        restored = (signal.SIGPIPE, signal.SIGXFSZ)
        problem: PermissionError | None = None
        for program in _candidates(argv[0], env):
            try:
                os.stat(program)
                return os.posix_spawn(program, [*argv], env, file_actions=actions, setsid=True, setsigdef=restored)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except PermissionError as error:
                problem = PermissionError(error.errno, error.strerror, argv[0])
        raise problem or FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), argv[0])
    except NotImplementedError:  # an older system cannot have it lead a session
        return _launch_slowly(argv, env, ends)
    finally:
        with suppress(OSError):  # nobody may go there any more, and nobody needs to
            os.fchdir(here)
        os.close(here)


def _launch_slowly(argv: Sequence[str], env: Mapping[str, str], ends: tuple[int, int, int]) -> int:
    import subprocess  # noqa: PLC0415 -- slow to load

    stdin, stdout, stderr = ends
    process = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, env=env, start_new_session=True)
    process.returncode = 0  # it is collected by us
    return process.pid


def _candidates(program: str, env: Mapping[str, str]) -> Iterator[str]:
    """Where the program may lie."""
    if "/" in program:
        yield program
        return
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        yield os.path.join(folder, program)


def step_back() -> None:
    """Have the calling thread, and all that it starts, give way to the deck and to what else the machine does. Not on
    macOS, where a thread has no niceness of its own."""
    if sys.platform.startswith("linux"):
        try:
            own = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, 0, min(own + _STEP, 19))
        except OSError:  # a machine that does not let us say so: what is to be done is done all the same
            return


def start(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> Process:
    """A process that somebody here waits for, with `collect`. Raises OSError, ValueError."""
    with _starting:  # nobody buries it before it is known
        process = Process(argv, env, cwd)
        _awaited[process.pid] = process
    return process


def collect(process: Process) -> int:
    """Wait for what was started; its exit code, or the number of its signal below 0."""
    code = process.wait()
    assert code is not None
    with _starting:
        if _awaited.get(process.pid) is process:  # else its number has passed to another one
            del _awaited[process.pid]
    return code


def status(process: Process) -> int | None:
    """Its exit code (128 + number for a signal); None while it runs. It is left unreaped, so that the number of its
    group cannot be given away, but on macOS under a Python before 3.13, which has no way to."""
    if not hasattr(os, "waitid"):
        code = process.wait(os.WNOHANG)
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


def end_all() -> None:
    """Kill all descendants of this process, until there are none. Linux; elsewhere the host ends the process groups."""
    for _ in range(100):
        found = _descendants()
        if not found:
            return
        kill(found)
        for pid in found:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:  # not a direct child: its parent, or we at the next turn, collect it
                continue


def _descendants() -> list[int]:
    parents: dict[int, int] = {}
    for pid in everything():
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                parents[pid] = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):  # ended meanwhile
            continue
    found = {os.getpid()}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return sorted(found - {os.getpid()})


def keep_to_itself() -> None:
    """What this process was given besides its three streams is not passed on to what it starts."""
    for fd in _listed("/proc/self/fd" if sys.platform.startswith("linux") else "/dev/fd"):
        with suppress(OSError):  # the one that the list was read from
            if fd > 2:
                os.set_inheritable(fd, False)


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
