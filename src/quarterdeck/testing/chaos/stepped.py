"""The command line with a wall clock that a test steps: `python -m quarterdeck.testing.chaos.stepped FILE ARGUMENTS…`.

Rules
- FILE holds the seconds by which the wall clock is off; it is looked at whenever somebody asks what time it is.
- Deadlines and leases are kept by the monotonic clock, which no step moves.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from quarterdeck.cli.main import main
from quarterdeck.kernel.clock import SystemClock


def stepped(file: Path) -> float:
    """What time it is for whoever was started with that file."""
    try:
        return time.time() + float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):  # not written yet
        return time.time()


def step(file: Path, seconds: float) -> None:
    """From now on the clock of who was started with that file is off by so much."""
    new = file.with_suffix(".new")
    new.write_text(str(seconds), encoding="ascii")
    new.replace(file)


def _run(file: Path, arguments: Sequence[str]) -> int:
    def wall(_clock: SystemClock) -> float:
        return stepped(file)

    setattr(SystemClock, "wall", wall)  # noqa: B010 - a type checker may not know, because that is not done elsewhere
    return main(arguments)


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1]), sys.argv[2:]))
