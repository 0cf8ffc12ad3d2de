"""File locks between processes, and between tasks of one process.

Rules
- The lock is the kernel's: it ends with the process that holds it, however that ends.
- Waiting does not occupy a thread, and it has a deadline.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import Conflicting

_FIRST: Final = 0.005
_LONGEST: Final = 0.2


@asynccontextmanager
async def held(path: Path, *, timeout: float) -> AsyncIterator[None]:
    """Hold the lock of that file (made where missing), waiting at most `timeout` seconds. Raises Conflicting."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _take(descriptor, path, timeout)
            if os.fstat(descriptor).st_nlink:  # else it was removed meanwhile, and others lock another file
                yield
                return
        finally:
            os.close(descriptor)


async def _take(descriptor: int, path: Path, timeout: float) -> None:
    pause, waited = _FIRST, 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if waited >= timeout:
                message = f"another process has held {path} for {timeout:g} s"
                raise Conflicting(message, fix=f"see who it is: fuser {path}") from None
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 2, _LONGEST)
