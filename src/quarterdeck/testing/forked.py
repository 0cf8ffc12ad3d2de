"""Our own programs as processes forked from one that has loaded everything: whole ones, without the time to load.

Rules
- What runs is the program as it is shipped, in a process of its own with the arguments, environment, directory and
  streams that it is given; it ends, is signalled and is killed like any other.
- Only loading is shared. Before a fork modules were imported and the checks of values built, and nothing else: no
  thread, no open file, no setting.
- Where loading itself is what matters (how long a start takes, what it loads, a kill in the middle of it), a program
  is started the usual way: `cold`.
- The parent of all of them ends when whoever asked for it does.
- A start shows as the audit event `quarterdeck.testing.start` with module and environment; a cold one as
  `subprocess.Popen`.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

from pydantic import BaseModel

from quarterdeck.cli import leaving, registry

QUARTERDECK: Final = "quarterdeck.cli.main"
MODEL: Final = "quarterdeck.models.scripted.__main__"

_LATE: Final = (
    "quarterdeck.assembly",
    "quarterdeck.assembly.serving",
    "quarterdeck.doors.patience",
    "encodings.idna",
)
"""What programs load by name."""
_SERVED: Final = ("quarterdeck.store.postgres", "quarterdeck.engine.procrastinate")
"""What programs of a deck on a server load besides: from the first of them on."""
_REQUEST: Final = 1 << 20
_NUMBER: Final = struct.Struct("=i")


class Process(Protocol):
    """What a started program and `subprocess.Popen` have in common."""

    args: Any
    pid: int
    returncode: int | None
    stdin: IO[Any] | None
    stdout: IO[Any] | None
    stderr: IO[Any] | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]: ...

    def send_signal(self, sig: int) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


# --- whoever asks ---------------------------------------------------------------------------------------------


class Program:
    """One started program. As `subprocess.Popen`, except that its parent is another process."""

    def __init__(
        self, args: Sequence[str], status: socket.socket, streams: tuple[IO[Any] | None, IO[Any], IO[Any] | None]
    ) -> None:
        self.args: Any = list(args)
        self.stdin: IO[Any] | None = streams[0]
        self.stdout: IO[Any] | None = streams[1]
        self.stderr: IO[Any] | None = streams[2]
        self.returncode: int | None = None
        self._status = status
        self._one = threading.Lock()
        """Held by who waits: several threads may."""
        self._readers: dict[str, _Reader] = {}
        number, handles, _, _ = socket.recv_fds(status, _NUMBER.size, 1)
        self.pid: int = _NUMBER.unpack(number)[0]
        self._handle = handles[0]
        weakref.finalize(self, os.close, self._handle)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._one.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        try:
            return self._ended(timeout) if self.returncode is None else self.returncode
        finally:
            self._one.release()

    def _ended(self, timeout: float | None) -> int:
        self._status.settimeout(timeout)
        try:
            told = self._status.recv(_NUMBER.size)
        except (TimeoutError, BlockingIOError):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0) from None
        if not told:
            raise ChildProcessError(f"the parent of {self.pid} has ended")
        self._status.close()
        self.returncode = int(_NUMBER.unpack(told)[0])
        return self.returncode

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Both streams to their end, and the end of the process. Raises subprocess.TimeoutExpired."""
        if self.stdin is not None and not self.stdin.closed:
            if input:
                self.stdin.write(input)
            self.stdin.close()
        for name, stream in (("stdout", self.stdout), ("stderr", self.stderr)):
            if stream is not None and name not in self._readers and not stream.closed:
                self._readers[name] = _Reader(stream)
        for reader in self._readers.values():
            reader.join(timeout)
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        self.wait(timeout)
        said = {name: reader.said for name, reader in self._readers.items()}
        return said.get("stdout"), said.get("stderr")

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, sig)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Reader(threading.Thread):
    """Reads a stream to its end and closes it."""

    def __init__(self, stream: IO[Any]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.said: Any = None
        self.start()

    def run(self) -> None:
        with self._stream:
            self.said = self._stream.read()


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a program is started with."""

    module: str
    arguments: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    session: bool


class Forks:
    """The process that has everything loaded, as soon as the first program is asked for."""

    def __init__(self) -> None:
        self._parent: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._programs: list[Program] = []

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None = None,
        stdin: int = subprocess.DEVNULL,
        stderr: int | IO[Any] = subprocess.PIPE,
        text: bool = True,
        new_session: bool = False,
        cold: bool = False,
    ) -> Process:
        """Start the `main` of `module`, its standard output a pipe. `cold`: the usual way, with everything to load."""
        if cold or sys.platform != "linux":
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=env,
                cwd=cwd,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=text,
                start_new_session=new_session,
            )
        sys.audit("quarterdeck.testing.start", module, env)
        place = str(cwd or Path.cwd())
        asked = _Asked(module, tuple(arguments), dict(env), place, new_session)
        kind = "" if text else "b"
        with contextlib.ExitStack() as given:
            ours_in, first = _pipe(f"w{kind}", given) if stdin == subprocess.PIPE else (None, _nothing(given))
            ours_out, second = _pipe(f"r{kind}", given)
            ours_err, third = _pipe(f"r{kind}", given) if isinstance(stderr, int) else (None, stderr.fileno())
            status, there = socket.socketpair()
            given.enter_context(there)
            fds = [first, second, third, there.fileno()]
            socket.send_fds(self._asking(), [json.dumps(asdict(asked)).encode()], fds)
        program = Program((module, *arguments), status, (ours_in, ours_out, ours_err))
        self._programs.append(program)
        return program

    def _asking(self) -> socket.socket:
        if self._control is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _REQUEST)
            with theirs:
                self._parent = subprocess.Popen(
                    [sys.executable, "-m", "quarterdeck.testing.forked", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        return self._control

    @property
    def parent(self) -> int | None:
        """Its process id; None where nothing was asked for."""
        return self._parent.pid if self._parent is not None else None

    def alive(self) -> list[Program]:
        """What has not ended."""
        self._programs = [program for program in self._programs if program.poll() is None]
        return self._programs

    def end(self) -> None:
        """Let the parent end."""
        if self._control is not None and self._parent is not None:
            self._control.close()
            self._parent.wait()
            self._control = self._parent = None


FORKS: Final = Forks()
"""Of this process."""


def _pipe(mode: str, given: contextlib.ExitStack) -> tuple[IO[Any], int]:
    """Our end of a pipe, opened with `mode`, and the other one, closed with what is `given` away."""
    ours, theirs = os.pipe()
    if mode.startswith("w"):
        ours, theirs = theirs, ours
    given.callback(os.close, theirs)
    return os.fdopen(ours, mode), theirs


def _nothing(given: contextlib.ExitStack) -> int:
    fd = os.open(os.devnull, os.O_RDONLY)
    given.callback(os.close, fd)
    return fd


# --- the parent -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Child:
    pid: int
    handle: int
    status: socket.socket

    def close(self) -> None:
        self.status.close()
        os.close(self.handle)


def serve(control: socket.socket) -> _Asked | None:
    """Fork what is asked for until nobody can ask any more: None. In a child: what was asked for."""
    children: dict[int, _Child] = {}
    with selectors.DefaultSelector() as waiting:
        waiting.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is not control:
                    waiting.unregister(key.fileobj)
                    _told(children.pop(key.fd))
                    continue
                data, fds, _, _ = socket.recv_fds(control, _REQUEST, 4)
                if not data:
                    return None
                asked, status = _Asked(**json.loads(data)), socket.socket(fileno=fds[3])
                if "://" in asked.env.get("QUARTERDECK_DATABASE_URL", ""):
                    _load(_SERVED)
                pid = os.fork()
                if pid == 0:
                    for other in children.values():
                        other.close()
                    control.close()
                    status.close()
                    return _become(asked, fds[:3])
                for fd in fds[:3]:
                    os.close(fd)
                child = _Child(pid, os.pidfd_open(pid), status)
                children[child.handle] = child
                with contextlib.suppress(BrokenPipeError):
                    socket.send_fds(status, [_NUMBER.pack(pid)], [child.handle])
                waiting.register(child.handle, selectors.EVENT_READ)


def _told(child: _Child) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        child.status.send(_NUMBER.pack(code))
    child.close()


def _become(asked: _Asked, streams: Sequence[int]) -> _Asked:
    """The process that was asked for, as far as its start would have made it."""
    if asked.session:
        os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(asked.cwd)
    os.environ.clear()
    os.environ.update(asked.env)
    sys.argv = [asked.module, *asked.arguments]
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False, errors="backslashreplace")
    return asked


def _build(model: type[BaseModel]) -> None:
    """Have pydantic build what it would build at the first use, in each child anew."""
    for each in model.__subclasses__():
        if each.__module__.startswith("quarterdeck."):
            each.model_rebuild()
        _build(each)


def _load(names: Sequence[str]) -> None:
    if all(name in sys.modules for name in names):
        return
    for name in names:
        registry.load(name, "__name__", f"{name} cannot be loaded")
    _build(BaseModel)
    gc.collect()
    gc.freeze()  # what is loaded stays: looking through it would only copy it into each child


def main() -> int:
    """The parent; in its children, the program."""
    _load((QUARTERDECK, MODEL, *_LATE, *(f"quarterdeck.cli.{each.module}" for each in registry.COMMANDS)))
    with socket.socket(fileno=int(sys.argv[1])) as control:
        wanted = serve(control)
    if wanted is not None:
        program = sys.modules[wanted.module].main
        leaving.promptly(lambda: int(program(list(wanted.arguments))))  # as the installed programs end
    return 0


if __name__ == "__main__":
    sys.exit(main())
