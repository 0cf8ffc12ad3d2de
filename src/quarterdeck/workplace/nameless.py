"""Files that have no name any more and are still open: they occupy the disk, and no directory tells of them.

Rules
- Every open file without a name on the file system in question counts once, whoever holds it.
- Where one may be that cannot be measured (on its way through a socket, mapped and closed, of a process that does not
  let us look), that is said as unknown: it is not assumed to be empty.
- A machine that does not let us look (no descriptor left) is an OSError.
- Root's deck may have been left without the right to look into the processes of agents, as it is in a container. That
  is no agent's doing: then nobody looks, and the probe says so.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import UNWELL
from quarterdeck.workplace.ground import worker_uid
from quarterdeck.workplace.namespaces import status

_SYS_PTRACE: Final = 19
"""Its number in linux/capability.h."""
_PASSED = b"scm_fds:"
"""In what /proc says of a socket: how many descriptors wait in it."""


def may_look() -> bool:
    """Whether this process may see what agents' processes have open."""
    if worker_uid() is None:  # they are its own user's, or below a namespace of that user
        return True
    held = int((status(os.getpid(), "CapEff") or ["0"])[0], 16)
    return bool(held >> _SYS_PTRACE & 1)


def nameless(pids: Iterable[int], device: int, *, mapped: bool) -> tuple[int, int]:
    """(bytes of the nameless files of these processes, how many places could not be measured). `device`: of the file
    system, as `stat` has it. `mapped`: look at mapped files too, which takes longer. Raises OSError."""
    found: dict[int, int] = {}
    unknown = 0
    for pid in pids:
        unknown += _open_files(pid, device, found)
    if mapped:
        for pid in pids:
            unknown += _mapped_files(pid, device, found)
    return sum(found.values()), unknown


def _open_files(pid: int, device: int, found: dict[int, int]) -> int:
    """Add those that a process has open, by inode; how many places could not be measured."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208 -- one object for each of thousands would take longer
    except OSError as error:
        return _hidden(error)
    unknown = 0
    for name in names:
        try:
            info = os.stat(f"/proc/{pid}/fd/{name}")  # noqa: PTH116 -- as above
            if stat.S_ISREG(info.st_mode) and info.st_nlink == 0 and info.st_dev == device:
                found[info.st_ino] = info.st_blocks * 512
            elif stat.S_ISSOCK(info.st_mode) and _waiting(Path(f"/proc/{pid}/fdinfo/{name}").read_bytes()):
                unknown += 1
        except OSError as error:
            unknown += _hidden(error)
    return unknown


def _waiting(about: bytes) -> bool:
    """Whether descriptors wait in a socket, by what /proc says of it."""
    return any(line.startswith(_PASSED) and line.split()[1:] != [b"0"] for line in about.splitlines())


def _mapped_files(pid: int, device: int, found: dict[int, int]) -> int:
    """Add those that a process has mapped and nobody has open; how many could not be measured."""
    wanted = b"%02x:%02x" % (os.major(device), os.minor(device))
    try:
        lines = Path(f"/proc/{pid}/maps").read_bytes().splitlines()
    except OSError as error:
        return _hidden(error)
    unknown: set[int] = set()
    for line in lines:
        fields = line.split(None, 5)
        if not line.endswith(b" (deleted)") or len(fields) != 6 or fields[3] != wanted or int(fields[4]) in found:
            continue
        start, end = (int(part, 16) for part in fields[0].split(b"-"))
        try:
            info = os.stat(f"/proc/{pid}/map_files/{start:x}-{end:x}")  # noqa: PTH116 -- as above
            found[info.st_ino] = info.st_blocks * 512 if info.st_nlink == 0 else 0
        except OSError as error:  # only root may look
            if _hidden(error):
                unknown.add(int(fields[4]))
    return len(unknown - found.keys())


def _hidden(error: OSError) -> int:
    """What cannot be looked at: 1 where it is kept from us, 0 where it has ended meanwhile. Raises what the machine's
    own trouble looks like."""
    if error.errno in UNWELL:
        raise error
    return int(isinstance(error, PermissionError))
