"""How a process of ours ends: with all that Python does at an end, but for taking apart what was loaded.

Rules
- Threads are waited for, what was registered for the end is called, what was printed is flushed, and the exit code is
  what it would have been.
- Then the process is over: what it had loaded is not taken apart value by value, which takes a tenth of a short command
  and gives nothing that the kernel does not give back by itself. So a file is closed by whoever opened it.
- What does not come to an exit code, because an error or a signal leaves the program, ends as Python has it.
"""

import atexit
import logging
import os
import sys
from collections.abc import Callable
from typing import NoReturn

UNWRITTEN = 120
"""Python's exit code where a standard stream could not be flushed."""


class _Ending:
    code: int | None = None
    """None = the program has not come to one."""

    def leave(self) -> None:
        """Called when threads have ended, after everything that was registered later."""
        if self.code is None:
            return
        logging.shutdown()  # it was registered when it was loaded, so its turn would be only now
        os._exit(self.code if _flushed() else UNWRITTEN)


def promptly(program: Callable[[], int]) -> NoReturn:
    """Run a program as this process, and end the process with its exit code."""
    ending = _Ending()
    atexit.register(ending.leave)
    ending.code = program()
    sys.exit(ending.code)


def _flushed() -> bool:
    """Whether all that was printed is out."""
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                stream.flush()
    except (OSError, ValueError):
        return False
    return True
