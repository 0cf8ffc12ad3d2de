"""Room for the pipes of a process that is started.

Rules
- Python before 3.11.4 leaves the pipes that it had made open for ever, where it runs out of descriptors half-way
  through a start (CPython 87474). So whether there is room for all of them is seen before.
"""

import contextlib
import os
from typing import Final

_PIPES: Final = 4
"""Three streams, and the one that says whether the program could be started."""


def see_room() -> None:
    """Raises OSError where a start would run out of descriptors."""
    with contextlib.ExitStack() as taken:
        for _ in range(_PIPES):
            for end in os.pipe():
                taken.callback(os.close, end)
