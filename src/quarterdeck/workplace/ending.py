"""How a sandbox by namespaces is ended, for certain.

Rules
- The sandbox's first process is killed: the kernel ends all others of its process namespace before that process counts
  as ended, so that once it has, nothing is left.
- What ending needs is held from the beginning: a process that is out of descriptors must still be able to end one.
- A process is only signalled through a descriptor of it, or while its id cannot have passed to another.
- It is ended once, whoever asks: one that is cancelled meanwhile leaves nobody behind who believes that it is over.
"""

import asyncio
import contextlib
import os
import signal
import sys

from quarterdeck.workplace.watchdog import descendants
from quarterdeck.workplace.workspaces import Process


class NamespaceEnder:
    """Ends the sandbox of a launched bubblewrap."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._outer = _hold(process.pid)
        self._init: int | None = None
        self._ending: asyncio.Task[None] | None = None

    def hold(self, pid: int | None) -> None:
        """Get hold of the first process, while it certainly still has its id."""
        if pid is not None and pid in descendants(self._process.pid) and sys.platform == "linux":
            with contextlib.suppress(ProcessLookupError):
                self._init = os.pidfd_open(pid)

    async def end(self) -> None:
        """SIGKILL everything inside and wait until it is gone. Idempotent."""
        if self._ending is None or (self._ending.done() and not _well(self._ending)):
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        init, self._init = self._init, None
        try:
            if init is None:
                self._end_launch()
            elif sys.platform == "linux":
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(init, signal.SIGKILL)
                try:
                    await _ended(init)
                finally:
                    os.close(init)
        finally:
            self._signal(signal.SIGKILL)
            await self._process.wait()
            outer, self._outer = self._outer, None
            if outer is not None:
                os.close(outer)

    def _end_launch(self) -> None:
        """The child that bwrap is still making does not die with it (see `strays`)."""
        if self._process.returncode is None:
            self._signal(signal.SIGSTOP)  # so that it makes none while they are looked for
            for child in [Process.of(pid) for pid in descendants(self._process.pid)]:
                if child is not None:
                    child.kill()

    def _signal(self, number: signal.Signals) -> None:
        """asyncio's own way to signal reaps the process behind its watcher's back."""
        if self._process.returncode is not None or sys.platform != "linux":
            return
        with contextlib.suppress(ProcessLookupError):
            if self._outer is not None:
                signal.pidfd_send_signal(self._outer, number)
            else:
                os.kill(self._process.pid, number)  # a child of ours that nobody has waited for keeps its id


def _well(ending: asyncio.Task[None]) -> bool:
    return not ending.cancelled() and ending.exception() is None


def _hold(pid: int) -> int | None:
    """A descriptor of that process; None where there is none to be had."""
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


async def _ended(handle: int) -> None:
    """Wait until the process behind a descriptor has ended."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        await gone.wait()
    finally:
        loop.remove_reader(handle)
