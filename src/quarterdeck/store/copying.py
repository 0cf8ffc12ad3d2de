"""A copy of an SQLite database as one file, also while it is written to.

Rules
- The copy is the database as it was at one moment. Writers go on meanwhile, into the write-ahead log.
- The copy appears under its name when it is whole, and never replaces anything.
- It is readable by the user alone: it holds what the deck holds.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from quarterdeck.store.use import USE

_AT_ONCE: Final = -1
"""All pages in one step. With several, whoever commits between two of them has the copy begin anew."""
_FOREIGN: Final = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FORMAT})


def beside(file: Path) -> Path:
    """Where a copy is made that is to become `file`."""
    return file.with_name(f".{file.name}.partial")


def discard(partial: Path) -> None:
    """Remove what was begun and is not wanted. Idempotent."""
    for ending in ("", "-wal", "-shm", "-journal", USE):
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
        _pages(database, partial, "mode=ro")
        settle(partial, file)
    finally:
        discard(partial)


def take(database: Path, file: Path) -> int:
    """Copy a database that nobody may write to, so that the copy can be changed; the version of its schema.

    Raises OSError, sqlite3.Error.
    """
    used = database.with_name(database.name + "-wal").exists()
    _pages(database, file, "mode=ro" if used else "mode=ro&immutable=1")
    with closing(sqlite3.connect(file)) as made:
        return int(made.execute("PRAGMA user_version").fetchone()[0])


def is_foreign(error: sqlite3.Error) -> bool:
    """Whether the file is at fault, which is no database that can be read, and not the machine."""
    code: int = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF in _FOREIGN


def _pages(database: Path, file: Path, how: str) -> None:
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    deck = closing(sqlite3.connect(f"{database.absolute().as_uri()}?{how}", uri=True))
    with deck as source, closing(sqlite3.connect(file)) as target:
        source.backup(target, pages=_AT_ONCE)
