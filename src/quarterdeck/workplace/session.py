"""The host's side of a long-lived process inside a sandbox.

Rules
- What the process prints is fetched ahead, up to a bound; beyond it the process waits, and so does what it writes next.
- A `write` returns when the process's pipe has taken everything; a process that does not read makes it wait.
- Its end is known whether or not anybody reads. A sandbox that dies under it ends it with the flag `died`.
- `kill` ends the process group, and what detached itself from the group but still carries the session's mark.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.channel import Channel, ChannelClosed
from quarterdeck.workplace.watchdog import Verdict
from quarterdeck.workplace.worker_session import POLL

_log = logging.getLogger(__name__)

AHEAD: Final = 1024 * 1024
"""Bytes fetched before anybody asked for them, at most (plus one answer)."""
_CHUNK: Final = 256 * 1024
_TAIL: Final = 16 * 1024
_DEADLINE: Final = POLL + 30.0
_GRACE: Final = 2.0


class WorkerSession:
    """Made by `WorkerSandbox.open`; see the port for what each method does and raises."""

    def __init__(self, channel: Channel, number: int, strikes: set[Verdict], closed: Callable[[], object]) -> None:
        """`strikes`: the watchdog's verdicts, filled by the sandbox; `closed` is called once it is over."""
        self._channel = channel
        self._number = number
        self._strikes = strikes
        self._closed = closed
        self._ahead = bytearray()
        self._changed = asyncio.Condition()
        self._heard_all = False
        self._tail = b""
        self._ending: Mapping[str, object] | None = None
        self._died = False
        self._writing = asyncio.Lock()
        self._ended = asyncio.Event()
        self._killing: asyncio.Task[None] | None = None
        self._tasks = (asyncio.create_task(self._hear()), asyncio.create_task(self._attend()))

    @property
    def flags(self) -> tuple[str, ...]:
        late = ("timeout",) if self._ending is not None and self._ending.get("late") is True else ()
        return (*late, *(("died",) if self._died else ()), *sorted(self._strikes))

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    async def write(self, data: bytes) -> None:
        left = memoryview(data)
        async with self._writing:
            while left:
                answer, _ = await self._ask("say", bytes(left[:_CHUNK]))
                taken = answer.get("taken")
                if answer.get("gone") or answer.get("broken") or not isinstance(taken, int):
                    raise BrokenPipeError("the process does not read any more")
                left = left[max(0, taken) :]

    async def close_stdin(self) -> None:
        async with self._writing:
            with contextlib.suppress(SandboxFailed):
                await self._ask("eof")

    async def read(self) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._ahead) or self._heard_all)
            data = bytes(self._ahead)
            self._ahead.clear()
            self._changed.notify_all()
        return data

    def stderr_tail(self) -> bytes:
        return self._tail

    async def wait(self) -> int | None:
        await self._ended.wait()
        code = None if self._ending is None else self._ending.get("exit_code")
        return code if isinstance(code, int) and 0 <= code < 256 and not self._strikes else None

    async def kill(self, grace: float = _GRACE) -> None:
        if self._killing is None:
            self._killing = asyncio.create_task(self._kill(grace))
        await asyncio.shield(self._killing)

    async def _kill(self, grace: float) -> None:
        try:
            answer, _ = await self._channel.request(
                "end", {"session": self._number, "grace": grace}, deadline=grace + _DEADLINE
            )
            if self._ending is None and answer.get("ended") is True:
                self._ending = answer
        except SandboxFailed:  # it has ended with its sandbox
            self._died = self._died or self._ending is None
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._over()

    async def _ask(self, operation: str, payload: bytes = b"") -> tuple[Mapping[str, object], bytes]:
        return await self._channel.request(operation, {"session": self._number}, payload, deadline=_DEADLINE)

    async def _hear(self) -> None:
        """Fetch what is printed, as long as there is room for it."""
        try:
            while not self._heard_all:
                async with self._changed:
                    await self._changed.wait_for(lambda: len(self._ahead) < AHEAD)
                header, data = await self._ask("hear")
                cut = header.get("out", 0)
                if not isinstance(cut, int) or not 0 <= cut <= len(data):
                    raise SandboxFailed("the worker inside the sandbox gave no proper answer")
                self._tail = (self._tail + data[cut:])[-_TAIL:]
                async with self._changed:
                    self._ahead += data[:cut]
                    self._heard_all = header.get("end") is True or header.get("gone") is True
                    self._changed.notify_all()
        except SandboxFailed as error:
            self._lost(error)
        finally:
            await self._nothing_more()

    async def _attend(self) -> None:
        """Learn how it ends."""
        try:
            while self._ending is None:
                answer, _ = await self._ask("attend")
                if answer.get("gone"):
                    break
                if answer.get("ended") is True:
                    self._ending = answer
        except SandboxFailed as error:
            self._lost(error)
        finally:
            self._ended.set()

    def _lost(self, error: SandboxFailed) -> None:
        self._died = self._died or self._ending is None
        if not isinstance(error, ChannelClosed):
            _log.warning("a session in a sandbox is given up: %s", error)

    async def _nothing_more(self) -> None:
        async with self._changed:
            self._heard_all = True
            self._changed.notify_all()

    async def _over(self) -> None:
        self._ended.set()
        await self._nothing_more()
        self._closed()
