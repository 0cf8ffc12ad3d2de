"""Reads a plan file as it was named: a file, a pipe, standard input.

Rules
- No more than the limit is read, and a pipe into which nobody writes is not waited for without end.
- What cannot be a plan file is refused with what it is.
"""

import asyncio
import os
import select
import stat
from pathlib import Path

from quarterdeck.kernel.failures import BadInput

PATIENCE = 30.0
"""Seconds without a byte after which a pipe is given up."""

_POLL_SECONDS = 0.05
_FIX = 'name another file with --plan (quarterdeck plan "GOAL" prints a plan)'


async def read_plan_file(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of the file. Raises BadInput."""
    try:
        # Else opening a named pipe would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(f"{path} cannot be read", why=error.strerror or str(error), fix=_FIX) from error
    try:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise BadInput(f"{path} is a directory, not a plan file", fix=_FIX)
        return await _read(handle, path, limit)
    except OSError as error:
        raise BadInput(f"{path} cannot be read", why=error.strerror or str(error), fix=_FIX) from error
    finally:
        os.close(handle)


async def _read(handle: int, path: Path, limit: int) -> bytes:
    data = b""
    while len(data) < limit:
        await _ready(handle, path)
        try:
            more = os.read(handle, limit - len(data))
        except BlockingIOError:
            continue  # another reader of the same pipe was faster
        if not more:
            break
        data += more
    return data


async def _ready(handle: int, path: Path) -> None:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    try:
        async with asyncio.timeout(PATIENCE):
            while not poll.poll(0):
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError as error:
        raise BadInput(
            f"{path} stays empty", why=f"nobody wrote into this pipe for {PATIENCE:g} s", fix=_FIX
        ) from error
