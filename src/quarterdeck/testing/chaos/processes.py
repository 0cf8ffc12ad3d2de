"""`quarterdeck` processes that are read line by line, and killed.

Rules
- Processes run the shipped command, in a session of their own; what they say is what their `--json` lines say.
- A wait ends by a line, by the process's end or by its own bound; nothing sleeps.
- The same record must look the same to every process that ever prints it.
"""

import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from quarterdeck.testing.chaos.scene import Scene
from quarterdeck.testing.forked import FORKS, MODEL, QUARTERDECK
from quarterdeck.workplace.watchdog import descendants

Line = dict[str, Any]
LONGEST: Final = 120.0
"""Seconds that anything here may take."""


@dataclass(slots=True)
class Seen:
    """The records that processes have printed so far."""

    records: dict[tuple[str, int], Line] = field(default_factory=dict)
    rewritten: list[str] = field(default_factory=list)
    """Records that looked different later: a journal that is only appended to has none."""

    def take(self, line: Line) -> bool:
        """Whether the line is a record that nobody printed before."""
        if line.get("kind") != "event":
            return False
        key = (line["stream"], line["seq"])
        if key not in self.records:
            self.records[key] = line
            return True
        if self.records[key] != line:
            self.rewritten.append(f"{key[0]} {key[1]} looked different before")
        return False


class Worker:
    """One `quarterdeck` process that works on a run."""

    def __init__(
        self, scene: Scene, *arguments: str, seen: Seen, model_url: str = "", probe: str = "", cold: bool = False
    ) -> None:
        """`cold`: it loads everything itself, as whoever types the command has it."""
        self._seen = seen
        self._arguments = arguments
        self._errors = (scene.folder / "stderr").open("ab")
        self._where = self._errors.tell()
        self.process = FORKS.start(
            QUARTERDECK,
            (*arguments, "--json"),
            env=scene.environment(model_url, probe),
            stderr=self._errors,
            text=False,
            new_session=True,
            cold=cold,
        )
        assert self.process.stdout is not None
        self._pipe = self.process.stdout.fileno()
        os.set_blocking(self._pipe, False)
        self._waiting = selectors.DefaultSelector()
        self._waiting.register(self._pipe, selectors.EVENT_READ)
        self._buffer = b""
        self._complete: list[bytes] = []
        self.run = ""
        self.newest: Line = {}
        """The newest record that nobody printed before."""
        self.result: Line | None = None
        """The line `run.finished`."""
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LONGEST)
        self._waiting.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._errors.close()

    def read(self, seconds: float) -> tuple[Line, bool] | None:
        """The next line and whether it is a new record; None when it ended or said nothing for `seconds`."""
        until = time.monotonic() + seconds
        while not self._complete:
            left = until - time.monotonic()
            if self.ended or left <= 0 or not self._waiting.select(left):
                return None
            data = os.read(self._pipe, 1 << 16)
            self.ended = not data
            *self._complete, self._buffer = (self._buffer + data).split(b"\n")
        line: Line = json.loads(self._complete.pop(0))
        self.run = line.get("run") or self.run
        if line.get("kind") == "run.finished":
            self.result = line
        new = self._seen.take(line)
        self.newest = line if new else self.newest
        return line, new

    def until(self, wanted: int = 1, kind: str = "", *, seconds: float = LONGEST) -> bool:
        """Read on to the `wanted`-th new record (of that kind of event); False where it ended or `seconds` passed."""
        bound = time.monotonic() + seconds
        while (left := bound - time.monotonic()) > 0:
            got = self.read(left)
            if got is None:
                return False
            line, new = got
            wanted -= new and line["event"]["kind"].startswith(kind)
            if wanted <= 0:
                return True
        return False

    def finish(self) -> int:
        """Read to its end; its exit code."""
        bound = time.monotonic() + LONGEST
        while not self.ended or self._complete:
            if self.read(bound - time.monotonic()) is None and not self.ended:
                raise TimeoutError(f"it is still there after {LONGEST} s: {' '.join(self._arguments)}")
        return self.process.wait(LONGEST)

    def kill(self, *, tree: bool = False) -> bool:
        """SIGKILL it, with all processes below it where `tree`; False where it had ended by itself."""
        if self.process.poll() is None:
            if tree:
                self.process.send_signal(signal.SIGSTOP)  # so that it starts nothing while its children are counted
                kill_all(descendants(self.process.pid))
            self.process.kill()
        return self.finish() == -signal.SIGKILL

    @property
    def errors(self) -> str:
        """What it said on stderr."""
        text = Path(self._errors.name).read_bytes()[self._where :]
        return text.decode("utf-8", "replace")[-4000:]


def kill_all(pids: Iterable[int]) -> int:
    """SIGKILL these processes; how many there still were."""
    hit = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        hit += 1
    return hit


def ask(scene: Scene, *arguments: str) -> tuple[int, list[Line]]:
    """Run a command to its end: its exit code and its lines."""
    with Worker(scene, *arguments, seen=Seen()) as worker:
        lines = []
        while (got := worker.read(LONGEST)) is not None:
            lines.append(got[0])
        return worker.finish(), lines


@dataclass(slots=True)
class Model:
    """A scripted model server in a process of its own; without an address, none."""

    url: str = ""
    requests: int = 0
    """How many it answered; known when it has ended."""


@contextmanager
def model_server(scene: Scene) -> Iterator[Model]:
    """The scripted model of that scene."""
    arguments = ("--scenario", str(scene.scenario))
    process = FORKS.start(MODEL, arguments, stdin=subprocess.PIPE, env=scene.environment())
    assert process.stdin is not None
    assert process.stdout is not None
    model = Model()
    try:
        model.url = json.loads(process.stdout.readline())["url"]
        yield model
        process.stdin.close()
        model.requests = json.loads(process.stdout.readline())["requests"]
    finally:
        process.kill()
        process.communicate()
