"""Directories of programs that all decks of a machine run alike, each named after its content: who uses one holds it,
and what nobody holds is removed.

Rules
- Holding is a lock of the kernel on the directory itself: it ends with the process, however that ends.
- Only who has a directory alone takes its name away, and only then does anything in it go. Who came to hold it at that
  moment finds that it has lost its name, and makes it anew.
- Only names with the ending of this are looked at: what an earlier version put beside them is held by nobody, whoever
  uses it.
"""

import errno
import fcntl
import os
import secrets
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Final

from quarterdeck.workplace.removal import remove_tree

HELD: Final = ".held"
"""Ending of the names."""
_NEW: Final = ".new"
"""Ending of what is being made or removed, or was when its process died."""
_LEFT: Final = 86400.0
"""Seconds after which that counts as left behind."""
_TRIES: Final = 200
_PAUSE: Final = 0.01
_READ: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Held:
    """A directory that stays for as long as this value does."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.end = weakref.finalize(self, os.close, lock)
        """Hold it no longer. Idempotent."""


def hold(path: Path) -> Held | None:
    """Hold the directory of that name; None = there is none. Raises OSError."""
    for _ in range(_TRIES):
        try:
            lock = os.open(path, _READ)
        except FileNotFoundError:
            return None
        if _locked(lock, fcntl.LOCK_SH) and _is(path, lock):
            return Held(path, lock)
        os.close(lock)
        time.sleep(_PAUSE)
    raise BlockingIOError(errno.EAGAIN, "it is being removed", str(path))


def being_made(place: Path) -> Path:
    """A new directory, in which one is made before it gets its name. Raises OSError."""
    new = _unnamed(place)
    new.mkdir(mode=0o700)
    return new


def clear(place: Path) -> list[Path]:
    """Remove what nobody holds, and what was left behind half-made; returns what it was. Raises OSError."""
    removed = []
    for entry in sorted(place.iterdir()):
        going = None
        if entry.name.endswith(HELD):
            going = _without_name(entry)
        elif entry.name.endswith(_NEW) and _is_left(entry):
            going = entry
        if going is not None:
            remove_tree(going)
            removed.append(entry)
    return removed


def _unnamed(place: Path) -> Path:
    return place / f"{secrets.token_hex(8)}{_NEW}"


def _without_name(path: Path) -> Path | None:
    """Where the directory is now, without its name; None where somebody holds it, or it is gone."""
    try:
        lock = os.open(path, _READ)
    except OSError:
        return None
    try:
        if _locked(lock, fcntl.LOCK_EX, otherwise=False) and _is(path, lock):
            return path.rename(_unnamed(path.parent))
        return None
    finally:
        os.close(lock)


def _locked(lock: int, how: int, *, otherwise: bool = True) -> bool:
    """Whether the lock was given. `otherwise`: where the file system has no locks."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return otherwise
    return True


def _is(path: Path, lock: int) -> bool:
    """Whether what was opened has that name still."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.lstat(), os.fstat(lock))
    return False


def _is_left(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - path.lstat().st_mtime > _LEFT
    return False
