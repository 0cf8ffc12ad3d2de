"""Who uses an SQLite database for writing, and who has it alone: locks on a file beside it.

Rules
- The locks are the kernel's: they end with the process that holds them, however that ends.
- Whoever writes holds it with others, from the first write on until the database is closed.
- The lock is not on the database itself: closing a file gives up what SQLite has locked of it.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import Conflicting, StoreUnavailable

USE: Final = "-use"
"""Ending of the file's name."""


def taken(where: str) -> StoreUnavailable:
    """Somebody has the database alone, whichever kind it is."""
    return StoreUnavailable(
        f"The database {where} cannot be written to now",
        why="somebody has it alone: `quarterdeck import`, `db restore` or `db prune --bodies`",
        fix="wait until that has ended",
    )


def shared(where: str) -> Conflicting:
    """Somebody else uses the database, whichever kind it is."""
    return Conflicting(
        f"Somebody else uses the database {where}",
        why="what was asked for is done only while nobody does",
        fix="end its workers, its server and what else works on it, then the same command again",
    )


class Use:
    """One opening of the database at that path."""

    def __init__(self, path: Path) -> None:
        self._database = path
        self._path = path.with_name(path.name + USE)
        self._file: int | None = None

    def begin(self) -> None:
        """Use it with others. Idempotent. Raises StoreUnavailable where somebody has it alone."""
        if self._file is not None:
            return
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            why = error.strerror or str(error)
            raise StoreUnavailable(f"The database {self._database} cannot be locked", why=why) from error
        if not _locked(file, fcntl.LOCK_SH):
            os.close(file)
            raise taken(str(self._database))
        self._file = file

    def alone(self) -> None:
        """Have it alone from now on; for whoever uses it with others. Raises Conflicting where somebody else does."""
        assert self._file is not None  # it has begun
        if _locked(self._file, fcntl.LOCK_EX):
            return
        if not _locked(self._file, fcntl.LOCK_SH):  # to ask for more gives up what one has
            self.end()
        raise shared(str(self._database))

    def share(self) -> None:
        """Have it with others again. Idempotent."""
        if self._file is not None:
            _locked(self._file, fcntl.LOCK_SH)  # from alone to shared: nobody can be in the way

    def end(self) -> None:
        """Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def _locked(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
