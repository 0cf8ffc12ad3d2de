"""The directories of workspaces, and the record of who works in them.

Rules
- In `<workspaces>/<id>/`, `w` is the workspace and `home` the home where it is kept. Both belong to the uid that agents
  run as; the folder does not, where that is another one than ours, and nobody but that one may pass through it. So the
  record beside them cannot be forged, nor what we write there be led elsewhere, also without a sandbox.
- A process is named by its id, its start time and the boot it belongs to; a bare process id is never killed.
- A workspace whose owner lives is nobody else's to end or to remove. Where the machine does not let us look whether it
  lives, that is an error, never a no.
"""

import contextlib
import json
import os
import secrets
import signal
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import UNWELL
from quarterdeck.workplace.ground import Ground, worker_uid
from quarterdeck.workplace.removal import remove_tree

_RECORD: Final = "owner.json"


@cache
def _boot() -> str:
    """The id of this boot of the machine. Raises OSError."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one boot."""

    pid: int
    started: int
    """Clock ticks after boot."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The process that has this id now; None where there is none (or no /proc to tell). Raises OSError where the
        machine is too unwell to tell."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            boot = _boot()
        except OSError as error:
            if error.errno in UNWELL:
                raise
            return None
        if fields[0] in (b"Z", b"X"):
            return None
        return cls(pid, int(fields[19]), boot)

    @property
    def alive(self) -> bool:
        return Process.of(self.pid) == self

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it the signal, if it is still the same process."""
        if sys.platform != "linux":
            return
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:  # ended
            return
        try:
            if self.alive:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class Occupation:
    """Who works in a workspace."""

    owner: Process
    """The deck's process."""
    root: Process
    """The process whose end ends the sandbox."""
    also: tuple[Process, ...] = ()

    @property
    def foreign(self) -> bool:
        """Whether it belongs to another process that lives."""
        return self.owner.pid != os.getpid() and self.owner.alive

    @property
    def in_use(self) -> bool:
        """Whether that process has a sandbox there that has not ended."""
        return self.foreign and any(process.alive for process in (self.root, *self.also))


class Workspaces:
    """All workspaces of one ground."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def directory(self, id: str) -> Path:
        """The workspace itself. Raises ValueError for an id that is not a plain name."""
        return self._ground.place(id) / "w"

    def scratch(self, id: str) -> Path:
        """Beside the workspace, for a provider that has no private /tmp and home to give."""
        return self._ground.place(id) / "scratch"

    def home(self, id: str) -> Path:
        """The home that is kept with the workspace, made where it is missing."""
        home = self._ground.place(id) / "home"
        _own(home)
        return home

    def exists(self, id: str) -> bool:
        return self.directory(id).is_dir()

    def create(self, id: str) -> Path:
        """Make it. Raises FileExistsError."""
        place = self._ground.place(id)
        place.mkdir(mode=0o700)
        _keep(place)
        for directory in (place / "w", place / "scratch"):
            _own(directory)
        return place / "w"

    def occupy(self, id: str, root: int, also: tuple[int, ...] = ()) -> None:
        """Record that this process runs `root` (and `also`) in it."""
        processes = [Process.of(pid) for pid in (os.getpid(), root, *also)]
        if processes[0] is None or processes[1] is None:
            return  # no /proc: nothing could be recognised later
        text = json.dumps([asdict(process) for process in processes if process is not None])
        record = self._ground.place(id) / _RECORD
        _keep(record.parent)
        new = record.with_suffix(".new")
        new.unlink(missing_ok=True)
        new.write_text(text, encoding="utf-8")
        new.replace(record)

    def occupation(self, id: str) -> Occupation | None:
        """Who works, or worked, in it. Raises OSError where the machine is too unwell to tell."""
        try:
            found = json.loads((self._ground.place(id) / _RECORD).read_text(encoding="utf-8"))
            owner, root, *also = (Process(entry["pid"], entry["started"], entry["boot"]) for entry in found)
        except OSError as error:
            if error.errno in UNWELL:
                raise
            return None  # never written
        except (ValueError, KeyError, TypeError):  # cut by a crash: nobody is named
            return None
        return Occupation(owner, root, tuple(also))

    def ids(self) -> list[str]:
        """All ids that have a directory."""
        if not self._ground.workspaces.is_dir():
            return []
        return sorted(entry.name for entry in self._ground.workspaces.iterdir() if entry.is_dir())

    def remove(self, id: str) -> None:
        """Remove the directory and all in it; idempotent. Its name is free at once: what somebody makes under it
        meanwhile is not touched."""
        going = self._ground.place(f"going-{secrets.token_hex(8)}")
        try:
            self._ground.place(id).rename(going)
        except FileNotFoundError:
            return
        remove_tree(going)


def _keep(place: Path) -> None:
    """Have the folder of a workspace be ours, and let the agents' uid pass through."""
    dropped = worker_uid()
    if dropped is not None:
        os.chown(place, 0, dropped[1])
        place.chmod(0o710)


def _own(directory: Path) -> None:
    """Make a directory for the uid that agents run as, where it is missing."""
    if directory.is_symlink():  # of before, when its parent belonged to that uid: nothing of ours may be led elsewhere
        directory.unlink()
    directory.mkdir(mode=0o700, exist_ok=True)
    dropped = worker_uid()
    if dropped is not None:
        os.chown(directory, *dropped, follow_symlinks=False)
