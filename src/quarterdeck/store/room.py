"""Room in SQLite's write-ahead log: its file is kept longer than what is written in it.

Rules
- A commit that makes the file longer waits for the file system's own journal too; one that writes into what is there
  waits for its data alone, which takes half the time and half the work.
- Room is zeros behind the end, and it is made inside of a write transaction only: nobody else writes into the log then.
  SQLite reads a log up to the first frame that is not of it ("WAL File Format" of its documentation), as it does where
  it has begun a longer log again from the start.
- There is as much room as was used so far, and no more than a log grows to before it begins again. Commits so large
  that to make it longer is a small part of them need none. Where none can be made, that is nobody's fault: what is
  wrong with the disk, the commit finds out.
"""

import os
from pathlib import Path
from typing import Final

CHECKPOINT_PAGES: Final = 4000
"""Pages in the log after which SQLite moves them into the database, and begins the log again."""

_LOG: Final = "-wal"
_GRAIN: Final = 256 * 1024
"""Bytes of which a length with room is a multiple. One that SQLite has made, of a head and whole frames, is none."""
_MOST: Final = 64 * _GRAIN
"""Bytes of a log as it begins again, of pages of 4 KiB."""

_ZEROS: Final = memoryview(bytes(64 * 1024))


def length(before: int, size: int) -> int:
    """How long the log should be that has `size` bytes now, and had `before` at the last look; `size` where it need not
    be longer. Pure."""
    if size % _GRAIN == 0 or size >= _MOST or size - before > _GRAIN:
        return size
    return min(-(-2 * size // _GRAIN) * _GRAIN, _MOST)


def _zeros(size: int) -> list[memoryview]:
    """So many bytes of zeros, again and again the same few: one large piece would be memory to fill and to read."""
    whole, rest = divmod(size, len(_ZEROS))
    return [_ZEROS] * whole + [_ZEROS[:rest]] * (rest > 0)


class Room:
    """For one connection that writes into the database at that path; it is closed before the connection is."""

    def __init__(self, database: Path) -> None:
        self._path = f"{database}{_LOG}"
        self._file: int | None = None
        self._seen = 0
        """Its length at the last look."""
        self._none = False
        """None can be made."""

    def make(self) -> None:
        """Inside of a write transaction: see that there is room."""
        if self._none:
            return
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            size = os.fstat(self._file).st_size
            missing = length(self._seen, size) - size
            self._seen = size + (os.pwritev(self._file, _zeros(missing), size) if missing else 0)
        except OSError:
            self._none = True

    def close(self) -> None:
        """Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)
