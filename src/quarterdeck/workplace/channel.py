"""The host's side of the worker protocol.

Rules
- What comes out of a sandbox is bounded and checked before it is used; nonsense ends the sandbox.
- Every request has a deadline above the one it gave the worker: a worker that was stopped or subverted by what runs
  beside it is ended, not waited for.
- A cancelled request is cancelled inside too.
- When the worker is gone, every request in flight and every later one fails with `ChannelClosed`.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace import wire

_STDERR_KEPT: Final = 8192
_CHUNK: Final = 256 * 1024
_LAST_SECONDS: Final = 1.0
_CLASSES: Final[dict[str, type[OSError]]] = {
    "FileNotFoundError": FileNotFoundError,
    "IsADirectoryError": IsADirectoryError,
    "NotADirectoryError": NotADirectoryError,
    "PermissionError": PermissionError,
    "FileExistsError": FileExistsError,
    "TimeoutError": TimeoutError,
}


class ChannelClosed(SandboxFailed):
    """The worker inside the sandbox is gone."""


class Channel:
    """Requests to one worker process. Made by `Channel.open`, ended by `close`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._waiting: dict[int, asyncio.Future[tuple[dict[str, Any], bytes]]] = {}
        self._next = 0
        self._reason = ""
        self._closed = asyncio.Event()
        self.closed_at = float("inf")
        """Monotonic seconds."""
        self._stderr = b""
        self._writing = asyncio.Lock()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._listen())]

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    @property
    def diagnosis(self) -> str:
        """What the worker, or what should have started it, last said on standard error."""
        return self._stderr.decode("utf-8", "replace").strip()

    async def request(
        self, operation: str, arguments: Mapping[str, object], payload: bytes = b"", *, deadline: float
    ) -> tuple[dict[str, Any], bytes]:
        """The answer's header and payload.

        Raises what the worker raised (OSError and its kinds, ValueError), ChannelClosed, and SandboxFailed after
        `deadline` seconds without an answer, when the channel is closed too.
        """
        if self.closed:
            raise self._gone()
        self._next += 1
        number = self._next
        future: asyncio.Future[tuple[dict[str, Any], bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            async with asyncio.timeout(deadline):
                await self._send({**arguments, "op": operation, "id": number}, payload)
                header, data = await future
        except TimeoutError as error:
            self._fail(f"no answer to {operation} within {deadline:.0f} s")
            raise self._gone() from error
        except asyncio.CancelledError:
            if not self.closed:
                await self._cancel(number)
            raise
        finally:
            self._waiting.pop(number, None)
        if "error" in header:
            raise _raised(header)
        result = header.get("ok")
        if not isinstance(result, dict):
            self._fail("an answer without a result")
            raise self._gone()
        return result, data

    async def _send(self, header: dict[str, Any], payload: bytes) -> None:
        writer = self.process.stdin
        assert writer is not None
        try:
            async with self._writing:
                writer.write(wire.pack(header, payload))
                await writer.drain()
        except (BrokenPipeError, ConnectionResetError, RuntimeError) as error:
            self._fail("the worker does not read any more")
            raise self._gone() from error

    async def _cancel(self, number: int) -> None:
        with contextlib.suppress(SandboxFailed, TimeoutError):  # already ending: nothing is left to cancel
            async with asyncio.timeout(1.0):
                await self._send({"op": "cancel", "id": 0, "target": number}, b"")

    async def _read(self) -> None:
        reader = self.process.stdout
        assert reader is not None
        try:
            while True:
                header_size, payload_size = wire.lengths(await reader.readexactly(wire.LENGTHS.size))
                header = wire.header_of(await reader.readexactly(header_size))
                payload = await reader.readexactly(payload_size)
                future = self._waiting.get(header.get("id", 0))
                if future is not None and not future.done():
                    future.set_result((header, payload))
        except asyncio.IncompleteReadError:
            self._fail("the worker has ended")
        except (wire.BadFrame, TypeError, OSError) as error:
            self._fail(f"the worker does not speak the protocol: {error}")

    async def _listen(self) -> None:
        reader = self.process.stderr
        assert reader is not None
        while data := await reader.read(_CHUNK):
            self._stderr = (self._stderr + data)[-_STDERR_KEPT:]

    def _fail(self, reason: str) -> None:
        if self.closed:
            return
        self._reason = reason
        self._closed.set()
        self.closed_at = time.monotonic()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(self._gone())
                future.exception()  # a caller that was cancelled meanwhile does not fetch it

    def _gone(self) -> ChannelClosed:
        return ChannelClosed(why="; ".join(part for part in (self._reason, self.diagnosis[-500:]) if part))

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def abandon(self) -> None:
        """Fail what is in flight and whatever is asked later."""
        self._fail("the sandbox was closed")

    async def close(self) -> None:
        """End the protocol and wait for the process, which the caller has killed, and its pipes. Idempotent."""
        self.abandon()
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.process.wait()
        # Who held the other ends of the pipes is gone; once that has been read, ours are closed too.
        await asyncio.wait(self._tasks, timeout=_LAST_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await self.process.stdin.wait_closed()


def _raised(header: dict[str, Any]) -> Exception:
    name, message = str(header.get("error")), str(header.get("message", ""))[:4000]
    if name == "ValueError":
        return ValueError(message)
    if name == "Bug":
        return SandboxFailed("the worker inside the sandbox failed", why=message)
    number = header.get("errno")
    path = str(header.get("path", ""))
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 4096:
        return _CLASSES.get(name, OSError)(number, message or os.strerror(number), path)
    return _CLASSES.get(name, OSError)(message)
