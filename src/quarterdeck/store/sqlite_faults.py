"""What SQLite's errors mean for whoever uses the database. Pure, but for a look at the disk.

Rules
- A database that cannot be used now is told from one that is lost for good.
- A full disk is called by its name, also where SQLite says only that a file of its own could not be made.
"""

import shutil
import sqlite3
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import StoreLost, StoreUnavailable

_LEAST_ROOM: Final = 1 << 16
"""Bytes beside the database with less of which there is no room."""

UNAVAILABLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Codes that say that the database itself failed, not the statement."""

_LOST: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


def primary(error: sqlite3.Error) -> int:
    """SQLite's code of the kind of an error; 0 = not known."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return 0 if code is None else code & 0xFF


def unavailable(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    """The same as people read it, with what can be done about it."""
    fixes = {
        sqlite3.SQLITE_FULL: f"free some space on the disk of {path}",
        sqlite3.SQLITE_BUSY: "another process holds the database; look for one that hangs",
        sqlite3.SQLITE_CORRUPT: f"restore {path} from a backup, or move it away to start anew",
        sqlite3.SQLITE_NOTADB: f"{path} is not a database of quarterdeck; move it away",
    }
    kind, code, why = StoreLost if primary(error) in _LOST else StoreUnavailable, primary(error), str(error)
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and _full(path):
        code, why = sqlite3.SQLITE_FULL, f"{why}, because the disk is full"
    return kind(
        f"The database {path} cannot be used",
        why=why,
        fix=fixes.get(code, f"check the disk and the permissions of {path}"),
    )


def _full(path: Path) -> bool:
    """Whether there is no room beside the database: SQLite says only that a file of its own could not be made there."""
    try:
        return shutil.disk_usage(path.parent).free < _LEAST_ROOM
    except OSError:
        return False
