"""What one input may cost.

Rules
- CPU time counts, not wall time: a loaded machine is no bug of a parser.
- Memory is the growth of the process's high-water mark: a corpus that grows slowly is no bug of a parser either.
"""

import resource
import sys
import time
from collections.abc import Callable
from typing import Final

MAX_SECONDS: Final = 1.0
MAX_BYTES: Final = 256 * 1024 * 1024

_UNIT: Final = 1 if sys.platform == "darwin" else 1024


class Costly(AssertionError):
    """An input took more than it may."""


def bounded(one: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """`one`, raising Costly for an input that took too much."""

    def measured(data: bytes) -> None:
        before = _peak()
        begun = time.process_time()
        one(data)
        seconds = time.process_time() - begun
        grown = _peak() - before
        if seconds > MAX_SECONDS:
            raise Costly(f"{seconds:.2f} s of CPU time for {len(data)} bytes")
        if grown > MAX_BYTES:
            raise Costly(f"{grown} bytes of memory for {len(data)} bytes")

    return measured


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
