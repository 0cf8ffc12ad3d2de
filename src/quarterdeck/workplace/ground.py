"""Where workspaces, mirrors and environments lie.

Rules
- Agents never run as root. Started by root, a deck drops to a uid that owns nothing else, and everything that uid must
  reach lies in a root-owned directory it can traverse: a home below root's own 0700 directory could not be entered.
- Started by anybody else, everything lies in the deck's home and belongs to that user.
- The programs that all decks of this machine run alike are there once for all of root's.
- A workspace is `<workspaces>/<id>/w`; nobody but the uid that agents run as passes through `<id>`, so that a setuid
  file that an agent leaves in it is of no use to anybody on the host.
- A root-owned ground remembers the home it belongs to, so that it can be removed when that home is gone.
"""

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.removal import remove_tree

SHARED_ROOT: Final = Path("/var/lib/quarterdeck")
_WORKER_UID: Final = 65533
_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_DAY: Final = 86400.0
_SOCKET_PATH_LIMIT: Final = 100


def worker_uid() -> tuple[int, int] | None:
    """(uid, gid) that agents run as when the deck is root's; None = they run as the deck's own user.

    Not `nobody` (65534): daemons that run as nobody could read and change the workspaces. 65533 belongs to the range
    that Debian and the Linux Standard Base leave unused, and needs no entry in the user database.
    """
    return (_WORKER_UID, _WORKER_UID) if os.geteuid() == 0 else None


@cache
def _root(home: Path, shared: Path, own: bool) -> Path:
    # Asked for with every workspace, and following a path to its end takes a call of the system for each of its parts.
    real = home.resolve()
    return real / "work" if own else shared / hashlib.sha256(str(real).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Ground:
    """The directories of one deck. Naming them touches nothing; `prepare` makes them."""

    home: Path
    """Home of the deck."""
    shared: Path = SHARED_ROOT
    """Where grounds of root's decks lie."""
    programs: Mapping[str, bytes] = field(default_factory=dict, compare=False)
    """Files that sandboxes find beside the worker's own, below the same directory."""

    @property
    def root(self) -> Path:
        return _root(self.home, self.shared, worker_uid() is None)

    @property
    def workspaces(self) -> Path:
        return self.root / "workspaces"

    @property
    def mirrors(self) -> Path:
        return self.root / "mirrors"

    @property
    def environments(self) -> Path:
        return self.root / "environments"

    @property
    def bin(self) -> Path:
        """Worker program and sandbox binary, each in a directory named after its content."""
        return (self.root if worker_uid() is None else self.shared) / "bin"

    @property
    def sockets(self) -> Path:
        """Sockets of proxies and of the gateway, each in a directory of its own."""
        return self.root / "sockets"

    @property
    def mounts(self) -> Path:
        """Copies of trees of the host that agents could not reach where they lie."""
        return self.root / "mounts"

    def prepare(self) -> "Ground":
        """Make the directories, idempotent. Raises SandboxFailed where they cannot be made."""
        dropped = worker_uid()
        try:
            if dropped is None:
                self._make_own()
            else:
                self._make_shared(dropped[1])
        except OSError as error:
            raise SandboxFailed(
                f"the directory for workspaces cannot be made: {self.root}",
                why=error.strerror or str(error),
                fix=f"make {self.shared if dropped else self.home} writable, or start Quarterdeck as an ordinary user",
            ) from error
        return self

    def _make_own(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in self._parts():
            directory.mkdir(mode=0o700, exist_ok=True)

    def _make_shared(self, gid: int) -> None:
        self.shared.mkdir(parents=True, exist_ok=True)
        for directory in (self.shared, self.root, *self._parts()):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o711)
        for directory in (self.mirrors, self.environments):
            os.chown(directory, 0, gid)  # sources are for the agents' group, not for every user of the machine
            directory.chmod(0o750)
        record = self.root / "home"
        if not record.exists():
            _write_whole(record, str(self.home.resolve()))

    def _parts(self) -> tuple[Path, ...]:
        return (self.workspaces, self.mirrors, self.environments, self.bin, self.sockets, self.mounts)

    def place(self, id: str) -> Path:
        """The directory that holds the workspace of `id` and its record. Raises ValueError for an id that is not a
        plain name."""
        if _ID.fullmatch(id) is None:
            raise ValueError(f"not a workspace id: {id!r}")
        return self.workspaces / id

    def left(self) -> tuple[str, ...]:
        """The ids of all workspaces that lie here."""
        return tuple(sorted(entry.name for entry in self.workspaces.iterdir()))

    def destroy(self) -> None:
        """Remove everything. Only for a deck that is being removed, and for tests."""
        remove_tree(self.root)


def sweep(*, shared: Path = SHARED_ROOT, idle_seconds: float = _DAY) -> list[Path]:
    """Remove root-owned grounds whose home is gone; returns the homes they belonged to.

    A home on a disk that is not mounted looks gone too: its parent must exist, and the ground must have been idle.
    """
    removed = []
    try:
        roots = sorted(shared.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []  # there are none, or they are root's and this deck is not
    for root in roots:
        record = root / "home"
        if not record.is_file():
            continue
        home = Path(record.read_text(encoding="utf-8"))
        idle = time.time() - (root / "workspaces").stat().st_mtime if (root / "workspaces").is_dir() else idle_seconds
        if not home.exists() and home.parent.is_dir() and idle >= idle_seconds:
            remove_tree(root)
            removed.append(home)
    return removed


def share(path: Path, mode: int) -> None:
    """Let the agents' uid have the group's rights of `mode` over a file, socket or directory of ours."""
    dropped = worker_uid()
    if dropped is not None:
        os.chown(path, 0, dropped[1])
    path.chmod(mode)


def socket_folder(root: Path) -> Path:
    """A new directory for sockets that the agents' uid can reach, below `root` where the path is short enough."""
    # The path of a socket is short by law (108 bytes on Linux): a deep home gets its sockets elsewhere.
    root.mkdir(parents=True, exist_ok=True)
    deep = len(os.fsencode(root)) + 20 > _SOCKET_PATH_LIMIT
    folder = Path(tempfile.mkdtemp(prefix="qd-", dir=None if deep else root))
    share(folder, 0o750)
    return folder


def _write_whole(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(name).replace(path)
