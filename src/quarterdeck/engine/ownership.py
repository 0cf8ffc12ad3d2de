"""Ownership of the embedded queue: a lock on a file, which dies with the process that holds it."""

import fcntl
import os
from pathlib import Path


class OwnersLock:
    """The lock of one queue, as this process sees it. path: the file whose lock means ownership."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: int | None = None

    def take(self) -> bool:
        """Get it, or have it already; False while another process has it. Raises OSError."""
        if self._held is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        except BaseException:
            os.close(lock)
            raise
        self._held = lock
        return True

    def drop(self) -> None:
        """Give it up. Idempotent."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def taken(self) -> bool:
        """Whether a living process has it, this one or another. Raises OSError."""
        if self._held is not None:
            return True
        # Asked with a shared lock, which a living owner's exclusive one refuses: nothing is taken from anybody.
        try:
            lock = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False
