"""How far the journal has been told: a number in a file of the deck's home.

Rules
- It is written whole or not at all, and never stands before what was delivered is settled. Where it is lost or wrong,
  telling begins with what happens from now on.
"""

from pathlib import Path
from typing import Final

FILE: Final = "telemetry.position"


def read_position(home: Path) -> int | None:
    """The last record that was told, None where that is not known."""
    try:
        return int((home / FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def write_position(home: Path, position: int) -> None:
    """Keep it. Raises OSError."""
    fresh = home / f"{FILE}.new"
    fresh.write_text(str(position), encoding="ascii")
    fresh.replace(home / FILE)
