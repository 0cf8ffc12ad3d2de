"""Removing a directory tree that an agent has filled.

Rules
- No symbolic link is ever followed: every step is relative to a descriptor opened with O_NOFOLLOW.
- Read-only directories are made writable first (through their descriptor, never through their path).
- Depth does not matter: a nested directory is first moved up to the top, so neither descriptors nor the stack run out.
- Idempotent; what is already gone is no error, also when another removal of the same tree takes it away meanwhile.
- The system's `rm`, which follows no link either, goes first: it takes a tenth of the time, and none of ours. What it
  cannot remove is taken apart here.
"""

import errno
import itertools
import os
import secrets
import stat
import subprocess
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

_RM: Final = Path("/bin/rm")
_PATIENCE: Final = 600.0
"""Seconds."""
_NULL: Final = subprocess.DEVNULL
_DIRECTORY: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ROUNDS: Final = 1_000
"""More than one is needed only where two remove the same tree; bounded, should anybody go on filling it."""
_HANDLE: Final = _DIRECTORY | (getattr(os, "O_PATH", 0) or os.O_RDONLY)


def remove_tree(path: Path) -> None:
    """Remove the directory `path` and all below it. Raises OSError where the system refuses (not our files)."""
    if path.is_absolute() and _by_program(path):
        return
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove(parent, path.name)
    finally:
        os.close(parent)


def _by_program(path: Path) -> bool:
    """Whether `rm` has removed it all."""
    command = (str(_RM), "-rf", "--one-file-system", "--", str(path))
    try:
        done = subprocess.run(command, stdin=_NULL, stdout=_NULL, stderr=_NULL, env={}, cwd="/", timeout=_PATIENCE)
    except (OSError, ValueError, subprocess.TimeoutExpired):  # ValueError: a name that no file can have
        return False
    return done.returncode == 0


def _remove(parent: int, name: str) -> None:
    for rounds_left in reversed(range(_ROUNDS)):
        with suppress(FileNotFoundError):
            kind = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(kind):
                os.unlink(name, dir_fd=parent)
                return
            top = _open(parent, name)
            try:
                _empty(top)
            finally:
                os.close(top)
        try:
            os.rmdir(name, dir_fd=parent)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            # Another removal has moved something to the top since this one listed it.
            if error.errno != errno.ENOTEMPTY or not rounds_left:
                raise


def _empty(top: int) -> None:
    """Flatten and delete: directories found on the way wait at the top under a name that nobody can have guessed."""
    prefix = f".removed-{secrets.token_hex(8)}-"
    waiting: deque[str] = deque()
    serial = itertools.count()

    def dispose(directory: int, name: str) -> None:
        with suppress(FileNotFoundError):
            kind = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
            if not stat.S_ISDIR(kind):
                os.unlink(name, dir_fd=directory)
                return
            _writable(directory, name)  # moving a directory to another parent writes its `..`
            moved = f"{prefix}{next(serial)}"
            os.rename(name, moved, src_dir_fd=directory, dst_dir_fd=top)
            waiting.append(moved)

    for entry in _names(top):
        dispose(top, entry)
    while waiting:
        name = waiting.popleft()
        with suppress(FileNotFoundError):
            directory = _open(top, name)
            try:
                for entry in _names(directory):
                    dispose(directory, entry)
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=top)


def _names(directory: int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries]


def _open(parent: int, name: str) -> int:
    _writable(parent, name)
    return os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=parent)


def _writable(parent: int, name: str) -> None:
    """Give the owner all rights over the directory, without following a link put in its place."""
    handle = os.open(name, _HANDLE, dir_fd=parent)
    try:
        mode = os.fstat(handle).st_mode
        if mode & stat.S_IRWXU == stat.S_IRWXU:
            return
        if sys.platform == "linux":
            Path(f"/proc/self/fd/{handle}").chmod(0o700)  # fchmod refuses an O_PATH descriptor
        else:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)
