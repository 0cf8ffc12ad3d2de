"""Refs: reading them, moving them by compare-and-swap, and the locks that a killed git leaves behind.

Rules
- A lock in a repository of ours is removed once git has waited for it in vain.
- Where a ref's own file says where it is, no process is started for it.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from quarterdeck.workplace.git import Completed, Git, encode
from quarterdeck.workplace.history import ID

_LARGEST: Final = 4 * 1024 * 1024
"""Bytes of packed refs that are read rather than asked for."""


def stands_in(loose: Path, commit: str) -> bool:
    """Whether a ref's own file says so: true for nearly every pin, and no process has to be started for it."""
    try:
        return loose.read_text(encoding="ascii") == f"{commit}\n"
    except (OSError, ValueError):
        return False  # packed, or kept in another way: git knows


def loose(path: Path) -> str | None:
    """The commit that a ref's own file names: no process has to be started for it. None = git has to be asked.

    Only where two names that differ in case are two files: elsewhere the file may be another ref's.
    """
    if sys.platform != "linux":
        return None
    try:
        found = path.read_text(encoding="ascii").removesuffix("\n")
    except (OSError, ValueError):
        return None
    return found if ID.fullmatch(found) else None


def absent(repository: Path, ref: str) -> bool:
    """Whether a ref is surely not there: it has no file of its own, and is not kept in another way. To be asked after
    `loose`: packing writes a ref among the others before it takes its own file away."""
    others = (repository / "reftable", repository / ref)
    if sys.platform != "linux" or not (repository / "refs").is_dir() or any(other.exists() for other in others):
        return False
    return not _may_be_packed(repository / "packed-refs", ref)


def _may_be_packed(file: Path, ref: str) -> bool:
    try:
        return file.stat().st_size > _LARGEST or b" %s\n" % encode(ref) in file.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True


async def read(git: Git, ref: str) -> str | None:
    """The commit of a ref; None = no such ref."""
    # for-each-ref, because its exit code tells "no such ref" from "cannot read".
    listing = await git.text("for-each-ref", "--format=%(refname) %(objectname)", ref)
    for line in listing.splitlines():
        name, commit = line.rsplit(" ", 1)
        if name == ref:
            return commit
    return None


async def update(git: Git, ref: str, new: str, old: str | None, *arguments: str) -> Completed:
    """Move a ref from `old` (None = it must not exist) to `new`; any exit code is an answer."""
    expected = old if old is not None else "0" * len(new)
    return await git.run("update-ref", *arguments, ref, new, expected, ok=range(256))


async def despite_the_dead(lock: Path, act: Callable[[], Awaitable[Completed]]) -> Completed:
    """`act`, and again without the lock file where that was left behind: git holds one for milliseconds, and has just
    waited for this one for seconds."""
    before = _identity(lock)
    done = await act()
    if done.exit_code == 0 or before is None or before != _identity(lock):
        return done
    _remove(lock)
    return await act()


def _remove(lock: Path) -> None:
    lock.unlink(missing_ok=True)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except FileNotFoundError:
        return None
    return info.st_ino, info.st_mtime_ns
