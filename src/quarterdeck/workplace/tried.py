"""What was tried on this machine and worked, so that the next process need not try it again.

Rules
- A note holds under the circumstances under which it was made: the boot, what the kernel lets this process do, and the
  files that were tried. Where any of them is another one, there is no note.
- Only what worked is noted. It holds for a day; who wants to know whether it works now tries it.
- Notes lie where only the deck's own user can write. Where they cannot be read or written, everything is tried anew.
"""

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from quarterdeck.workplace.ground import worker_uid

_DAY: Final = 86400.0
_PREFIX: Final = "tried-"
_PROC: Final = (
    *("sys/kernel/random/boot_id", "self/attr/current"),
    *("sys/kernel/apparmor_restrict_unprivileged_userns", "sys/kernel/unprivileged_userns_clone"),
    *("sys/kernel/seccomp/actions_avail", "sys/user/max_user_namespaces", "sys/user/max_pid_namespaces"),
    *("sys/user/max_mnt_namespaces", "sys/user/max_net_namespaces", "sys/user/max_ipc_namespaces"),
)
_OWN: Final = (b"Uid:", b"Gid:", b"CapBnd:", b"CapEff:", b"NoNewPrivs:", b"Seccomp:", b"Seccomp_filters:")
"""What `/proc/self/status` says of this process that decides what it may do."""
_SPACES: Final = ("cgroup", "mnt", "pid", "user")


def known(place: Path, what: str, files: Sequence[Path]) -> str | None:
    """What was noted when that worked with these files under the circumstances of now; None = nothing."""
    note = place / _name(what, files)
    with suppress(OSError, UnicodeError):
        if 0 <= time.time() - note.stat().st_mtime < _DAY:
            return note.read_text(encoding="utf-8")
    return None


def note(place: Path, what: str, files: Sequence[Path], text: str = "") -> None:
    """Note that it worked, and forget what is too old to count."""
    target = place / _name(what, files)
    new = target.with_name(f"{target.name}.{os.getpid()}-{os.urandom(4).hex()}")
    with suppress(OSError):
        new.write_text(text, encoding="utf-8")
        new.replace(target)
        for other in place.glob(f"{_PREFIX}*"):
            if time.time() - other.stat().st_mtime >= _DAY:
                other.unlink(missing_ok=True)


def _name(what: str, files: Sequence[Path]) -> str:
    parts = [what.encode(), repr(worker_uid()).encode(), *_circumstances(), *(_identity(file) for file in files)]
    return _PREFIX + hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _circumstances() -> Iterator[bytes]:
    yield repr(os.uname()).encode()
    for name in _PROC:
        yield _read(Path("/proc") / name)
    yield b"\n".join(line for line in _read(Path("/proc/self/status")).splitlines() if line.startswith(_OWN))
    for name in _SPACES:
        with suppress(OSError):
            yield os.fsencode(os.readlink(f"/proc/self/ns/{name}"))  # noqa: PTH115 - its text is no path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # this kernel has no such thing
        return b""


def _identity(file: Path) -> bytes:
    """What changes when the file is replaced or written."""
    try:
        found = file.stat()
    except OSError:
        return os.fsencode(file) + b" is not there"
    return f"{file} {found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_mode}".encode()
