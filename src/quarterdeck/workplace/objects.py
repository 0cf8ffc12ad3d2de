"""What objects of a repository of ours hold, read by one git process that stays.

Rules
- Starting a process costs more than the look: `git cat-file --batch-command` answers every look at a repository.
- It is asked on a thread, one question at a time; each answer has a deadline. What does not answer in time, or whose
  answer was not read to its end, is ended before anybody else asks it.
- Few stay: the one that was not asked for longest goes first, `end_all` ends them with their deck, and each ends when
  the process that asks it does.
- A repository that another one has replaced gets a process of its own: the old one still sees what is gone.
"""

import asyncio
import atexit
import os
import select
import subprocess
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from quarterdeck.kernel.failures import GitFailed
from quarterdeck.workplace.descriptors import see_room
from quarterdeck.workplace.git import Git, encode, git_environment, options

T = TypeVar("T")

MOST: Final = 8
"""Processes that stay, of all repositories."""
ANSWER: Final = 120.0
"""Seconds that an answer may take."""
_AT_ONCE: Final = 16 * 1024
"""Bytes of questions that are sent before their answers, which may repeat them, are read: those fit into a pipe."""
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Object:
    """What git says of an object."""

    id: str
    kind: str
    """`blob`, `tree`, `commit` or `tag`."""
    size: int
    """Bytes."""


class Objects:
    """Looks at the objects of one repository. `path`: its git directory. Names are whatever git takes for one object;
    those with a line feed name nothing."""

    def __init__(self, git: Git, path: Path) -> None:
        self._git = git
        self._path = path

    async def look(self, *names: str) -> tuple[Object | None, ...]:
        """What is there under these names. Raises GitFailed."""
        return await self._ask(lambda reader: reader.look(names))

    async def contents(self, name: str, limit: int) -> bytes | None:
        """What an object holds; None = there is none, or it is larger than `limit` bytes. Raises GitFailed."""
        return (await self.all_contents((name,), limit))[0]

    async def all_contents(self, names: Sequence[str], limit: int) -> tuple[bytes | None, ...]:
        """The same of several; `limit` is of each."""
        return await self._ask(lambda reader: reader.contents(names, limit))

    async def _ask(self, question: "Callable[[_Reader], T]") -> T:
        return await asyncio.to_thread(self._answered, question)

    def _answered(self, question: "Callable[[_Reader], T]") -> T:
        tried = False
        while True:
            reader = _readers.of(self._git, self._path)
            with reader.lock:
                if reader.over:  # whoever asked before did not get their answer: it is not ours
                    continue
                try:
                    return question(reader)
                except _Silent as error:
                    reader.end()
                    if tried:
                        raise GitFailed(f"the objects of {self._path} cannot be read", why=str(error)) from error
                    tried = True  # the process that stayed may have ended
                except BaseException:
                    reader.end()
                    raise


def end_all() -> None:
    """End the processes that stayed. Who asks again gets new ones."""
    _readers.end_all()


class _Silent(Exception):
    """No answer, and none to come."""


class _Reader:
    """One process. Whoever asks holds `lock`, and whoever ends it."""

    def __init__(self, git: Git, path: Path) -> None:
        self.lock = threading.Lock()
        self.over = False
        """It has ended, or is about to: nobody asks it any more."""
        self.identity = _identity(path)
        self._left = b""
        see_room()
        self._process = subprocess.Popen(
            ("git", *options(), *git.place, "cat-file", "--batch-command", "-z"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=git_environment(git.environment),
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )

    def look(self, names: Sequence[str]) -> tuple[Object | None, ...]:
        asked = list(dict.fromkeys(encode(name) for name in names if "\n" not in name and "\0" not in name))
        answers: dict[bytes, Object | None] = {}
        while some := _together(asked[len(answers) :]):
            self._send(*(b"info " + name for name in some))
            answers |= {name: self._head() for name in some}
        return tuple(answers.get(encode(name)) for name in names)

    def contents(self, names: Sequence[str], limit: int) -> tuple[bytes | None, ...]:
        return tuple(self._contents(found, limit) for found in self.look(names))

    def _contents(self, found: Object | None, limit: int) -> bytes | None:
        if found is None or found.size > limit:
            return None
        self._send(b"contents " + found.id.encode("ascii"))
        if self._head() is None:
            raise _Silent("an object is gone")
        data = self._take(found.size)
        self._take(1)
        return data

    def end(self) -> None:
        """Its input ends, and so does it; what has not by then is killed. Idempotent."""
        self.over = True
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, *lines: bytes) -> None:
        assert self._process.stdin is not None
        data = memoryview(b"".join(line + b"\0" for line in lines))
        try:
            while data:
                data = data[os.write(self._process.stdin.fileno(), data) :]
        except (OSError, ValueError) as error:
            raise _Silent(f"git has ended: {error}") from error

    def _head(self) -> Object | None:
        """The answer's first line."""
        deadline = time.monotonic() + ANSWER
        while b"\n" not in self._left:
            self._left += self._read(deadline)
        line, _, self._left = self._left.partition(b"\n")
        words = line.split(b" ")
        if len(words) != 3 or not words[2].isdigit():
            return None  # `NAME missing`, and the like
        return Object(words[0].decode("ascii"), words[1].decode("ascii"), int(words[2]))

    def _take(self, size: int) -> bytes:
        deadline = time.monotonic() + ANSWER
        parts, there = [self._left], len(self._left)
        while there < size:
            parts.append(self._read(deadline))
            there += len(parts[-1])
        data = b"".join(parts)
        self._left = data[size:]
        return data[:size]

    def _read(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        try:
            place = self._process.stdout.fileno()
            poll = select.poll()
            poll.register(place, select.POLLIN | select.POLLHUP)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise _Silent(f"git has said nothing for {ANSWER:g} s")
            data = os.read(place, _CHUNK)
        except (OSError, ValueError) as error:
            raise _Silent(f"git has ended: {error}") from error
        if not data:
            raise _Silent("git has ended")
        return data


def _together(names: Sequence[bytes]) -> Sequence[bytes]:
    """The first of these names that are asked for at once: at least one, where there is any."""
    size = 0
    for number, name in enumerate(names):
        size += len(name) + 64
        if number and size > _AT_ONCE:
            return names[:number]
    return names


class _Readers:
    """The processes that stay, the one not asked for longest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_path: OrderedDict[Path, _Reader] = OrderedDict()
        self._at_exit = False

    def of(self, git: Git, path: Path) -> _Reader:
        """The reader of that repository. Raises GitFailed."""
        gone: list[_Reader] = []
        try:
            with self._lock:
                return self._found(git, path, gone)
        except OSError as error:
            raise GitFailed("git cannot be started", why=str(error)) from error
        finally:
            _end(gone)

    def _found(self, git: Git, path: Path, gone: list[_Reader]) -> _Reader:
        """`gone`: takes those that are to be ended, which may have to be waited for. Raises OSError."""
        reader = self._by_path.get(path)
        if reader is not None and not reader.over and reader.identity == _identity(path):
            self._by_path.move_to_end(path)
            return reader
        if reader is not None:
            gone.append(self._by_path.pop(path))
        idle = [one for one, other in self._by_path.items() if not other.lock.locked()]
        gone += [self._by_path.pop(one) for one in idle[: max(0, len(self._by_path) - MOST + 1)]]
        if not self._at_exit:
            atexit.register(self.end_all)
            self._at_exit = True
        made = self._by_path[path] = _Reader(git, path)
        return made

    def end_all(self) -> None:
        with self._lock:
            gone = list(self._by_path.values())
            self._by_path.clear()
        _end(gone)


def _end(readers: Sequence[_Reader]) -> None:
    for reader in readers:
        with reader.lock:
            reader.end()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_readers = _Readers()
