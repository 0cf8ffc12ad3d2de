"""A wall clock that a test steps, for one worker.

Rules
- What is off is told in a file: the seconds, and how often somebody asked while it was off.
- Where there is a C compiler, a library put before libc (`skew.c`) steps the clock of everything in the worker's
  process (Python, libpq, procrastinate) and of the git that it starts. Elsewhere `SystemClock.wall` alone is stepped,
  by starting the command line as `python -m quarterdeck.testing.chaos.stepped FILE ARGUMENTS…`.
- Not stepped: sandboxes, times of files, and every deadline and lease, which are kept by the monotonic clock.
"""

import mmap
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from quarterdeck.cli.main import main
from quarterdeck.kernel.clock import SystemClock

_SOURCE: Final = Path(__file__).with_name("skew.c")
_OFF: Final = struct.Struct("=d")
_ASKED: Final = struct.Struct("=Q")


class Clock:
    """By how much a wall clock is off, shared with the process that has it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        if not file.exists():
            file.write_bytes(bytes(_OFF.size + _ASKED.size))
        with file.open("r+b") as opened:
            self._view = mmap.mmap(opened.fileno(), _OFF.size + _ASKED.size)

    def step(self, seconds: float) -> None:
        """From now on it is off by so many whole seconds."""
        _OFF.pack_into(self._view, 0, seconds)

    @property
    def asked(self) -> int:
        """How often it was asked while it was off."""
        return int(_ASKED.unpack_from(self._view, _OFF.size)[0])

    def now(self) -> float:
        """What time it is for whoever has this clock."""
        seconds = float(_OFF.unpack_from(self._view, 0)[0])
        if seconds:
            _ASKED.pack_into(self._view, _OFF.size, self.asked + 1)
        return time.time() + seconds


def skewing(folder: Path) -> Path | None:
    """The library that steps a whole process, built below `folder`; None where there is no compiler for it."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "skew.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"]
    return library if subprocess.run(command, capture_output=True).returncode == 0 else None


def _run(file: Path, arguments: Sequence[str]) -> int:
    clock = Clock(file)

    def wall(_clock: SystemClock) -> float:
        return clock.now()

    setattr(SystemClock, "wall", wall)  # noqa: B010 - a type checker may not know, because that is not done elsewhere
    return main(arguments)


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1]), sys.argv[2:]))
