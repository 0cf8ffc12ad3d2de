"""Ending tasks that wait inside of a library.

Rules
- A task that was cancelled is over when this returns, also where the library lost the request: before Python 3.12
  `asyncio.wait_for` does, when what it waits for arrives in the same moment. It is told again until it has ended.
- Only for tasks whose ways out are short: telling one again interrupts what it does on its way out.
"""

import asyncio
from typing import Any, Final

_AGAIN_SECONDS: Final = 0.5


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them, and wait until each has ended. What it raised on the way out is dropped."""
    while living := [task for task in tasks if not task.done()]:
        for task in living:
            task.cancel()
        await asyncio.wait(living, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
