"""A copy of an SQLite database as one file, also while it is written to.

Rules
- The copy appears under its name when it is whole, and never replaces anything.
- It is readable by the user alone: it holds what the deck holds.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

_PAGES: Final = 1000
_PAUSE: Final = 0.01
"""Writers go on between two portions."""


def beside(file: Path) -> Path:
    """Where a copy is made that is to become `file`."""
    return file.with_name(f".{file.name}.partial")


def discard(partial: Path) -> None:
    """Remove what was begun and is not wanted. Idempotent."""
    for ending in ("", "-wal", "-shm", "-journal"):
        partial.with_name(partial.name + ending).unlink(missing_ok=True)


def settle(partial: Path, file: Path) -> None:
    """Have everything of a database that nobody uses in its one file, and give it its name. Raises OSError, also where
    that name is taken, and sqlite3.Error."""
    with closing(sqlite3.connect(partial)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE")
    os.link(partial, file)  # unlike a rename it never replaces what has appeared meanwhile
    discard(partial)


def copy(database: Path, file: Path) -> None:
    """Copy a database that may be in use. Raises OSError, sqlite3.Error."""
    partial = beside(file)
    discard(partial)
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        deck = closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True))
        with deck as source, closing(sqlite3.connect(partial)) as target:
            source.backup(target, pages=_PAGES, sleep=_PAUSE)
        settle(partial, file)
    finally:
        discard(partial)
