"""Running one command inside a sandbox (standard library of Python 3.8 only; see `worker`).

Rules
- A command is the leader of a session of its own; a timeout or a cancellation ends its whole process group: SIGTERM,
  and SIGKILL two seconds later.
- Memory for output is bounded: the head and the tail of each stream are kept, however much a command prints.
- A command is over when its leader is, even where a background child keeps the pipes open; what that child prints
  afterwards is read and thrown away, so that it does not die of a broken pipe.
- Orphans are collected while it runs: they count against the sandbox's process limit.
"""

from __future__ import annotations

import os
import time

from quarterdeck.workplace.worker_processes import Ready, begin, bury, collect, start, status

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    import signal
    from collections import deque
    from typing import Any

    from quarterdeck.workplace.worker_processes import Process
else:  # the compiled halves of them, which load in no time
    import _signal as signal
    from _collections import deque

TERM_GRACE = 2.0
_CHUNK = 65536
_LINGER = 0.25
_TICK = 0.05


class Keeper:
    """Head and tail of a stream in at most `limit` bytes (plus one chunk while reading)."""

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 0)
        self._head_limit = self._limit // 2
        self._tail_limit = self._limit - self._head_limit
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size - len(self._tail[0]) >= self._tail_limit and len(self._tail) > 1:
            self._tail_size -= len(self._tail.popleft())

    @property
    def truncated(self) -> bool:
        return self.total > self._limit

    def value(self) -> bytes:
        """All of it, or head, a note of how much was cut, and tail: never more than the limit."""
        tail = b"".join(self._tail)
        if not self.truncated:
            return bytes(self._head) + tail
        note = b"\n[... %d bytes cut ...]\n" % (self.total - self._limit)
        if len(note) * 2 >= self._limit:
            return (bytes(self._head) + tail[-self._tail_limit :] if self._tail_limit else b"")[: self._limit]
        keep = self._tail_limit - len(note)
        return bytes(self._head) + note + tail[-keep:]


class Run:
    """One command from start to end. `cancel` may be called from any thread."""

    def __init__(self) -> None:
        self._cancelled = False
        self._leader: int | None = None

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def kill(self) -> None:
        """SIGKILL without grace, because everything ends."""
        if self._leader is not None:
            send(self._leader, signal.SIGKILL)

    def __call__(
        self, argv: list[str], *, stdin: bytes, env: dict[str, str], cwd: str, timeout: float, limit: int
    ) -> tuple[dict[str, Any], bytes]:
        """(header, stdout + stderr). Never raises for what the command does."""
        begun = time.monotonic()
        out, err = Keeper(limit), Keeper(limit)
        try:
            process = start(argv, env, cwd)
        except (OSError, ValueError) as error:
            err.add(f"cannot start {argv[0]!r}: {error}\n".encode("utf-8", "replace"))
            code = 127 if isinstance(error, FileNotFoundError) else 126
            return _answer(code, out, err, time.monotonic() - begun, False)
        self._leader = process.pid
        timed_out = self._attend(process, stdin, out, err, begun + timeout)
        self._leader = None
        code = collect(process)
        killed = timed_out or self._cancelled
        exit_code = None if killed else (128 - code if code < 0 else code)
        return _answer(exit_code, out, err, time.monotonic() - begun, timed_out)

    def _attend(self, process: Process, stdin: bytes, out: Keeper, err: Keeper, deadline: float) -> bool:
        """Feed and read until the leader is gone; True where it was killed for its time."""
        pipes = _Pipes(process, stdin, out, err)
        exit_fd = watch(process.pid)
        if exit_fd is not None:
            pipes.ready.read(exit_fd)
        timed_out = False
        kill_at: float | None = None
        pause, looked = 0.0005, 0.0
        try:
            while status(process) is None:
                now = time.monotonic()
                if now - looked >= _TICK:
                    bury()
                    looked = now
                if kill_at is None and (now >= deadline or self._cancelled):
                    timed_out = not self._cancelled
                    send(process.pid, signal.SIGTERM)
                    kill_at = now + TERM_GRACE
                elif kill_at is not None and now >= kill_at:
                    send(process.pid, signal.SIGKILL)
                    kill_at = now + 0.2
                if pipes.reading or exit_fd is not None:
                    pipes.turn(max(0.0, min(_TICK, (kill_at or deadline) - now)))
                else:
                    time.sleep(pause)
                    pause = min(pause * 2, 0.02)
            if kill_at is not None:
                send(process.pid, signal.SIGKILL)  # the leader heeded SIGTERM, its children may not have
            if exit_fd is not None:
                pipes.ready.drop(exit_fd)
            pipes.linger()
        finally:
            if exit_fd is not None:
                os.close(exit_fd)
            pipes.release()
        return timed_out


class _Pipes:
    """The three pipes of one command."""

    def __init__(self, process: Process, data: bytes, out: Keeper, err: Keeper) -> None:
        self.ready = Ready()
        self._data = memoryview(data)
        self._process = process
        self._keepers = {process.stdout: out, process.stderr: err}
        self.reading = set(self._keepers)
        self._writing = bool(data)
        for fd in (process.stdin, *self.reading):
            os.set_blocking(fd, False)
        for fd in self.reading:
            self.ready.read(fd)
        if data:
            self.ready.write(process.stdin)
        else:
            process.close(process.stdin)

    def _close_stdin(self) -> None:
        if self._writing:
            self._writing = False
            self.ready.drop(self._process.stdin)
            self._process.close(self._process.stdin)

    def turn(self, timeout: float) -> bool:
        """Wait for one round of events; True where something was read."""
        read = False
        for fd in self.ready.wait(timeout):
            if fd in self.reading:
                read = self._read(fd) or read
            elif self._writing and fd == self._process.stdin:
                self._feed()
        return read

    def _read(self, fd: int) -> bool:
        try:
            data = os.read(fd, _CHUNK)
        except (BlockingIOError, InterruptedError):
            return False
        if not data:
            self.ready.drop(fd)
            self.reading.discard(fd)
            return False
        self._keepers[fd].add(data)
        return True

    def _feed(self) -> None:
        try:
            sent = os.write(self._process.stdin, self._data[:_CHUNK])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the command does not read its input: that is its right
            self._close_stdin()
            return
        self._data = self._data[sent:]
        if not self._data:
            self._close_stdin()

    def linger(self) -> None:
        """Read what the ended command left in the pipes; a child that holds them open gets a moment, not more."""
        deadline = time.monotonic() + _LINGER
        while self.reading and time.monotonic() < deadline:
            if not self.turn(0.02):
                break

    def release(self) -> None:
        """Close what is done; hand pipes that a background child holds to a thread that empties them."""
        self._close_stdin()
        left = [os.dup(fd) for fd in self.reading]
        self._process.close()
        for fd in left:
            os.set_blocking(fd, True)
            try:
                begin(_discard, fd)
            except RuntimeError:  # no thread to be had (process limit): the child gets a broken pipe
                os.close(fd)


def _discard(fd: int) -> None:
    try:
        while os.read(fd, _CHUNK):
            continue
    except OSError:  # closed under us at the end of the sandbox
        return
    finally:
        os.close(fd)


def watch(pid: int) -> int | None:
    """A descriptor that is readable once `pid` has ended, where the system and this Python have such a thing."""
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        return int(opener(pid))
    except OSError:
        return None


def send(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # gone, or (macOS) nothing but a zombie
        return


def _answer(
    code: int | None, out: Keeper, err: Keeper, seconds: float, timed_out: bool
) -> tuple[dict[str, Any], bytes]:
    flags = ["timeout"] if timed_out else []
    if out.truncated:
        flags.append("stdout-truncated")
    if err.truncated:
        flags.append("stderr-truncated")
    stdout, stderr = out.value(), err.value()
    header = {"exit_code": code, "seconds": round(seconds, 6), "flags": flags, "stdout": len(stdout)}
    return header, stdout + stderr
