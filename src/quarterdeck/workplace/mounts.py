"""What of the host a sandbox may see beyond its own: read-only trees, and sockets behind a loopback port.

Rules
- A tree is named by whoever makes the sandbox, never by an agent. Places that hold sockets and secrets of the machine
  (/run, /var, /tmp, home directories as a whole) are refused, and so is a tree with a socket in it: a read-only mount
  does not stop a connection.
- A tree that the agents' uid cannot reach (below root's own home) is copied into the ground once, under the name of
  what it holds; its files are linked where that is possible. Copies that nobody used for a week are removed.
- Nothing is seen below a directory that the agent can write.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.workplace.ground import Ground, worker_uid
from quarterdeck.workplace.port import ENVIRONMENT, HOME, WORKSPACE
from quarterdeck.workplace.removal import remove_tree

_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Seen by every sandbox as they are."""
_TAKEN: Final = (
    *("/proc", "/dev", "/sys", "/etc", "/tmp", "/run", "/objects", "/proxy", "/bridges", "/opt/quarterdeck"),
    *(WORKSPACE, ENVIRONMENT, HOME, *_SYSTEM),
)
_NEVER: Final = (
    "/",
    "/run",
    "/var",
    "/var/lib",
    "/var/run",
    "/tmp",
    "/var/tmp",
    "/home",
    "/root",
    "/etc",
    "/opt",
    "/mnt",
    "/srv",
)
_NEVER_BELOW: Final = ("/run", "/var/run", "/proc", "/sys", "/dev")
_ENTRIES: Final = 300_000
_UNUSED: Final = 7 * 86400.0
_FRESH: Final = 60.0
_PORTS: Final = range(1024, 65536)


def check_bridges(bridges: Mapping[int, Path]) -> None:
    """Raises SandboxFailed where a port cannot be had or a socket is none."""
    for port, socket in bridges.items():
        if port not in _PORTS:
            raise SandboxFailed("a sandbox cannot have that port", why=f"{port} is not from 1024 to 65535")
        if not socket.is_socket():
            raise SandboxFailed("there is no socket behind a port of the sandbox", why=str(socket))


class HostTrees:
    """What of the host one provider's sandboxes see. A tree is looked through once in `_FRESH` seconds."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._seen: dict[Path, tuple[float, Path]] = {}

    def reachable(self, mounts: Mapping[str, Path]) -> dict[str, Path]:
        """What to mount where, so that the agents' uid can reach it; without what is seen anyway. Blocking.

        Raises SandboxFailed for what is refused or missing.
        """
        found = {}
        for inside, source in mounts.items():
            if inside == str(source) and _within(inside, _SYSTEM) and source.exists():
                continue
            _check_inside(inside)
            at, offered = self._seen.get(source, (0.0, source))
            now = time.monotonic()
            if source not in self._seen or now - at > _FRESH or not offered.exists():
                offered = _offered(self._ground, source)
                self._seen[source] = (now, offered)
            found[inside] = offered
        return found


def _check_inside(inside: str) -> None:
    path = PurePosixPath(inside)
    if not path.is_absolute() or ".." in path.parts or str(path) != inside or inside == "/":
        raise _refused(inside, "it is not a plain absolute path")
    if _within(inside, _TAKEN) or any(taken.startswith(f"{inside}/") for taken in _TAKEN):
        raise _refused(inside, "that place inside the sandbox is taken")


def _offered(ground: Ground, source: Path) -> Path:
    """The tree itself, or its copy."""
    try:
        real = source.resolve(strict=True)
    except OSError as error:
        raise _refused(source, error.strerror or str(error)) from error
    if str(real) in _NEVER or real == Path.home() or real in Path.home().parents:
        raise _refused(source, "no agent may see the whole of it")
    if _within(str(real), _NEVER_BELOW):
        raise _refused(source, "it may hold sockets of this machine")
    key = _fingerprint(real)
    return real if _can_reach(real) else _copy(ground, real, key)


def _fingerprint(tree: Path) -> str:
    """Names what the tree holds, by sizes and times."""
    digest = hashlib.sha256(os.fsencode(tree))
    for number, (path, info) in enumerate(_walk(tree)):
        if number >= _ENTRIES:
            raise _refused(tree, f"it holds more than {_ENTRIES} files")
        if stat.S_ISSOCK(info.st_mode) or stat.S_ISFIFO(info.st_mode) or _is_device(info.st_mode):
            raise _refused(tree, f"{path} is neither a file nor a directory")
        size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
        digest.update(b"%s\0%d %d %d\n" % (os.fsencode(path), info.st_mode, size, info.st_mtime_ns))
    return digest.hexdigest()[:32]


def _walk(tree: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every entry, in order, without following links."""
    info = tree.lstat()
    yield tree, info
    if stat.S_ISDIR(info.st_mode):
        for entry in sorted(tree.iterdir()):
            yield from _walk(entry)


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _can_reach(real: Path) -> bool:
    """Whether the agents' uid can read it, by the rights that everybody has."""
    if worker_uid() is None:
        return True
    wanted = 0o5 if real.is_dir() else 0o4
    return real.stat().st_mode & wanted == wanted and all(parent.stat().st_mode & 0o1 for parent in real.parents)


def _copy(ground: Ground, real: Path, key: str) -> Path:
    target = ground.mounts / key
    if target.exists():
        os.utime(target.parent / f"{key}.used")
        return target
    _prune(ground.mounts)
    new = Path(tempfile.mkdtemp(dir=ground.mounts, prefix="new-"))
    try:
        copied = new / "tree"
        if real.is_dir():
            shutil.copytree(real, copied, symlinks=True, copy_function=_link)
            for path, info in _walk(copied):
                if stat.S_ISDIR(info.st_mode):
                    path.chmod(0o755)
        else:
            _link(str(real), str(copied))
        (ground.mounts / f"{key}.used").touch()
        try:
            copied.rename(target)
        except OSError:  # another process was faster
            if not target.exists():
                raise
    except OSError as error:
        raise _refused(real, f"it cannot be copied: {error}") from error
    finally:
        remove_tree(new)
    return target


def _link(source: str, target: str) -> str:
    """A second name where everybody may read the file, else a copy that everybody may."""
    mode = Path(source).stat().st_mode
    if mode & 0o4:
        with contextlib.suppress(OSError):  # another file system, or too many names already: then it is copied
            Path(target).hardlink_to(source)
            return target
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if mode & 0o100 else 0o644)
    return target


def _prune(folder: Path) -> None:
    for record in folder.glob("*.used"):
        if time.time() - record.stat().st_mtime > _UNUSED:
            tree = record.with_suffix("")
            if tree.is_dir():
                remove_tree(tree)
            else:
                tree.unlink(missing_ok=True)
            record.unlink(missing_ok=True)


def _within(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _refused(what: object, why: str) -> SandboxFailed:
    return SandboxFailed(f"{what} cannot be shown to a sandbox", why=why)
