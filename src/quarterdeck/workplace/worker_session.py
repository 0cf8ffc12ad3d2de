"""Long-lived processes inside a sandbox, spoken to while they run (standard library of Python 3.8 only; see `worker`).

Rules
- One thread and one process group a session. What the process prints is read only while the host asks for it, so a
  pipe that is full is all that is ever held for it; of its standard error the tail is kept.
- A request of the host is answered within `POLL` seconds, if only to say that nothing has come; nobody waits for a
  process in a request.
- The leader stays unreaped until its session ends, so that the number of its group is not given away meanwhile.
- At the end its group is killed, and what left the group but still carries the session's mark in its environment.
"""

from __future__ import annotations

import _thread
import os
import time

from quarterdeck.workplace.worker_exec import TERM_GRACE, send, watch
from quarterdeck.workplace.worker_processes import (
    MARK,
    Ready,
    begin,
    bury,
    collect,
    end_marked,
    start,
    status,
    step_back,
)

TYPE_CHECKING = False  # loading `typing` would slow the start of every sandbox
if TYPE_CHECKING:
    import signal
    from collections import deque
    from collections.abc import Callable
    from typing import Any

    from quarterdeck.workplace.worker_processes import Process

    Say = Callable[[dict[str, Any], bytes], None]
    Request = tuple[dict[str, Any], bytes]
else:  # the compiled halves of them, which load in no time
    import _signal as signal
    from _collections import deque

POLL = 5.0
OPERATIONS = ("open", "say", "hear", "attend", "eof", "end")
_SESSIONS = 16
_CHUNK = 65536
_HEARD = 262144
_LINGER = 0.25
_TICK = 0.05
_TAIL = 16384
_EARLY = 32
"""Requests that may wait in one session; the host has three under way."""


class Sessions:
    """All sessions of one worker, by the host's number."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._open: dict[int, _Session] = {}

    def handle(self, header: dict[str, Any], payload: bytes, env: dict[str, str], cwd: str) -> None:
        """Serve one request of `OPERATIONS`; it is answered by the session's own thread."""
        number = header["session"]
        session = self._open.get(number)
        if header["op"] != "open":
            if session is None or not session.post(header, payload):
                self._say({"id": header["id"], "ok": {"gone": True}}, b"")
            return
        self._open = {key: one for key, one in self._open.items() if not one.over}
        if number in self._open or len(self._open) >= _SESSIONS:
            self._say({"id": header["id"], "error": "ValueError", "message": "too many sessions"}, b"")
            return
        self._open[number] = session = _Session(self._say, header, env, cwd)
        try:
            begin(session.run)
        except RuntimeError as error:  # the sandbox's process limit counts threads
            del self._open[number]
            self._say({"id": header["id"], "error": "OSError", "errno": 11, "message": str(error)}, b"")

    def abandon(self) -> None:
        """Kill the process groups, because everything ends."""
        for session in list(self._open.values()):
            session.abandon()


class _Session:
    """One process from its start until the host ends it."""

    def __init__(self, say: Say, order: dict[str, Any], env: dict[str, str], cwd: str) -> None:
        self._say = say
        self._order = order
        self._mark = os.urandom(16).hex()
        self._env = {**env, MARK: self._mark}
        self._cwd = cwd
        self._inbox: deque[Request] = deque()
        self._bell = os.pipe()
        self._bell_lock = _thread.allocate_lock()
        self._says: deque[list[Any]] = deque()
        """[header, what is left, how much was taken, since when]"""
        self._hears: deque[tuple[int, float]] = deque()
        self._attends: deque[tuple[int, float]] = deque()
        self._ends: list[int] = []
        self._errors = bytearray()
        self._ready = Ready()
        self._deadline = time.monotonic() + order["timeout"]
        self._kill_at: float | None = None
        self._timed_out = False
        self._status: int | None = None
        self._ended_at = 0.0
        self._leader: int | None = None
        self._silent = False
        self._exit: int | None = None
        self._process: Process | None = None
        self._stdin = self._stdout = self._stderr = -1
        self.over = False

    # -- the host's side: the worker's reading thread ----------------------------------------------------------------

    def post(self, header: dict[str, Any], payload: bytes) -> bool:
        """Hand a request to the session's thread; False where there is none any more."""
        with self._bell_lock:
            if self.over or len(self._inbox) >= _EARLY:
                return False
            self._inbox.append((header, payload))
            os.write(self._bell[1], b"!")
        return True

    def abandon(self) -> None:
        if self._leader is not None and not self.over:
            send(self._leader, signal.SIGKILL)

    # -- the session's own thread ------------------------------------------------------------------------------------

    def run(self) -> None:
        step_back()
        number = self._order["id"]
        try:
            process = start(self._order["command"], self._env, self._cwd)
        except (OSError, ValueError) as error:
            self._close_bell()
            code = getattr(error, "errno", None)
            message = f"cannot start {self._order['command'][0]!r}: {error}"
            self._say({"id": number, "error": type(error).__name__, "errno": code, "message": message}, b"")
            return
        self._leader = process.pid
        self._say({"id": number, "ok": {}}, b"")
        try:
            self._serve(process)
        finally:
            self._finish(process)

    def _serve(self, process: Process) -> None:
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        for fd in (self._stdin, self._stdout, self._stderr, self._bell[0]):
            os.set_blocking(fd, False)
        self._exit = watch(process.pid)
        for fd in (self._bell[0], self._stderr, *(() if self._exit is None else (self._exit,))):
            self._ready.read(fd)
        while True:
            now = time.monotonic()
            self._look(process, now)
            if self._ends and self._status is not None:
                return
            self._move(now)
            for fd in self._ready.wait(self._pause(now)):
                if fd == self._bell[0]:
                    self._take()
                elif fd == self._stderr:
                    self._hear_errors()
            self._want()

    def _pause(self, now: float) -> float:
        """Seconds until something is due by the clock alone."""
        due = [self._deadline] if self._status is None and self._kill_at is None else []
        if self._kill_at is not None and self._status is None:
            due.append(self._kill_at)
        due += [at + POLL for queue in (self._hears, self._attends) for _, at in queue]
        due += [entry[3] + POLL for entry in self._says]
        if self._status is not None and self._hears and not self._silent:
            due.append(now + _TICK)
        if self._exit is None and self._status is None:
            due.append(now + _TICK)
        return max(0.0, min(due, default=now + 60.0) - now)

    def _want(self) -> None:
        """Listen for exactly what somebody waits for."""
        for fd, wanted, listen in (
            (self._stdout, bool(self._hears) and not self._silent, self._ready.read),
            (self._stdin, bool(self._says), self._ready.write),
        ):
            if fd < 0:
                continue
            if wanted and fd not in self._ready.wanted:
                listen(fd)
            elif not wanted:
                self._ready.drop(fd)

    def _look(self, process: Process, now: float) -> None:
        """Whether the leader has ended, and whether it has to."""
        pid = process.pid
        if self._status is None:
            found = status(process)
            if found is not None:
                self._status, self._ended_at = found, now
                if self._exit is not None:
                    self._ready.drop(self._exit)
                if self._kill_at is not None:
                    send(pid, signal.SIGKILL)  # the leader heeded SIGTERM, its children may not have
                self._drop_stdin()
            elif self._kill_at is None and now >= self._deadline:
                self._timed_out = True
                self._stop(now, TERM_GRACE)
            elif self._kill_at is not None and now >= self._kill_at:
                send(pid, signal.SIGKILL)
                self._kill_at = now + 0.2

    def _stop(self, now: float, grace: float) -> None:
        assert self._leader is not None
        self._kill_at = now + grace
        send(self._leader, signal.SIGTERM if grace > 0 else signal.SIGKILL)

    def _take(self) -> None:
        try:
            os.read(self._bell[0], 4096)
        except BlockingIOError:
            return
        now = time.monotonic()
        while self._inbox:
            header, payload = self._inbox.popleft()
            operation, number = header["op"], header["id"]
            if operation == "say":
                self._says.append([number, memoryview(payload), 0, now])
            elif operation == "hear":
                self._hears.append((number, now))
            elif operation == "attend":
                self._attends.append((number, now))
            elif operation == "eof":
                self._says.append([number, None, 0, now])
            elif operation == "end":
                self._ends.append(number)
                if self._status is None and self._kill_at is None:
                    self._stop(now, header["grace"])

    def _move(self, now: float) -> None:
        """Answer whatever can be answered."""
        while self._says and self._write(self._says[0], now):
            self._says.popleft()
        while self._hears and self._hear(*self._hears[0], now):
            self._hears.popleft()
        while self._attends:
            number, since = self._attends[0]
            if self._status is None and now - since < POLL:
                break
            self._say({"id": number, "ok": self._ending()}, b"")
            self._attends.popleft()
            bury()

    def _ending(self) -> dict[str, Any]:
        if self._status is None:
            return {"ended": False}
        return {
            "ended": True,
            "exit_code": None if self._kill_at is not None else self._status,
            "late": self._timed_out,
        }

    def _write(self, entry: list[Any], now: float) -> bool:
        """Pass on what the host says; True once it is answered."""
        number, left, taken, since = entry
        if left is None:
            self._drop_stdin()
            self._say({"id": number, "ok": {}}, b"")
            return True
        broken = self._stdin < 0
        while left and not broken:
            try:
                sent = os.write(self._stdin, left[:_CHUNK])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # the process does not read any more: that is its right
                self._drop_stdin()
                broken = True
                break
            left, taken = left[sent:], taken + sent
        entry[1], entry[2] = left, taken
        if left and not broken and now - since < POLL:
            return False
        self._say({"id": number, "ok": {"taken": taken, "broken": broken}}, b"")
        return True

    def _hear(self, number: int, since: float, now: float) -> bool:
        """Answer with what was printed; True once it is answered."""
        data = bytearray()
        ended = self._silent
        while not ended and len(data) < _HEARD:
            try:
                part = os.read(self._stdout, _CHUNK)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                part = b""
            if not part:
                ended = True
            data += part
        if data and self._status is not None:
            self._ended_at = now  # a child that goes on printing is heard
        if not data and not ended and self._status is not None and now - self._ended_at > _LINGER:
            ended = True  # a child holds the pipe and is silent
        self._silent = self._silent or (ended and not data)
        if not data and not ended and now - since < POLL:
            return False
        self._hear_errors()
        errors, self._errors = bytes(self._errors), bytearray()
        self._say({"id": number, "ok": {"out": len(data), "end": ended and not data}}, bytes(data) + errors)
        return True

    def _hear_errors(self) -> None:
        while self._stderr >= 0:
            try:
                part = os.read(self._stderr, _CHUNK)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                part = b""
            if not part:
                self._ready.drop(self._stderr)
                self._stderr = -1
                return
            self._errors += part
            del self._errors[:-_TAIL]

    def _drop_stdin(self) -> None:
        if self._process is not None and self._stdin >= 0:
            self._ready.drop(self._stdin)
            self._process.close(self._stdin)
            self._stdin = -1

    def _finish(self, process: Process) -> None:
        send(process.pid, signal.SIGKILL)
        end_marked(self._mark)
        collect(process)
        bury()
        ending = self._ending()
        self._close_bell()
        for number in [*(entry[0] for entry in self._says), *(number for number, _ in self._hears)]:
            self._say({"id": number, "ok": {"gone": True}}, b"")
        for number in [*self._ends, *(number for number, _ in self._attends)]:
            self._say({"id": number, "ok": ending}, b"")
        if self._exit is not None:
            os.close(self._exit)
        process.close()

    def _close_bell(self) -> None:
        """No request is taken any more; those that nobody has looked at are told so."""
        with self._bell_lock:
            self.over = True
            for end in self._bell:
                os.close(end)
            left, self._inbox = list(self._inbox), deque()
        for header, _ in left:
            self._say({"id": header["id"], "ok": {"gone": True}}, b"")
