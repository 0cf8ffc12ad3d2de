"""What a bubblewrap sandbox consists of, as the arguments of one call. Pure.

Rules
- Everything is unshared, every capability dropped, and no user namespace can be made inside.
- The worker is process 1 inside: bubblewrap's own process there would hold the worker's pipes too, and every agent
  could write into it. As process 1 the worker is also out of reach of signals from inside.
- Read-only: /usr, single files of /etc, the mirror's objects, the worker. Of the host's /run, /var, /tmp and home
  directories nothing is there: a read-only mount does not stop a connection to a socket in it.
- Every writable file system but the workspace, and a home that is kept, is a tmpfs of bounded size.
- /proc/sys is mounted read-only over itself: its files are otherwise writable by what runs as the host's uid.
- The workspace is mounted last, a home that is kept just before it, and nothing is ever mounted below a directory that
  the agent can write (CVE-2026-87766); then the root is made read-only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from quarterdeck.workplace.port import ENVIRONMENT, HOME, WORKSPACE

PROGRAM: Final = "/opt/quarterdeck"
"""Where the worker's files are seen inside."""
PROXY: Final = "/proxy"
BRIDGES: Final = "/bridges"
"""Where the sockets of bridges are seen inside, each under its port's number."""

_UID: Final = "1000"
_MEBIBYTE: Final = 1024 * 1024

_ISOLATION: Final = (
    *("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try"),
    *("--as-pid-1", "--disable-userns", "--assert-userns-disabled", "--die-with-parent", "--new-session"),
    *("--cap-drop", "ALL"),
    *("--uid", _UID, "--gid", _UID, "--hostname", "sandbox", "--clearenv"),
)

ETC: Final = ("ld.so.cache", "ssl/certs", "ca-certificates", "ca-certificates.conf", "alternatives", "localtime")
"""Taken from the host, where they are there."""

OWN_ETC: Final[Mapping[str, str]] = {
    "passwd": f"root:x:0:0:root:/:/bin/sh\nagent:x:{_UID}:{_UID}:agent:{HOME}:/bin/sh\n",
    "group": f"root:x:0:\nagent:x:{_UID}:\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
"""Written by us: names for the only user there is, and for the loopback."""


@dataclass(frozen=True, slots=True)
class System:
    """What the host offers, found out by the provider."""

    links: Mapping[str, str]
    """Symbolic links at the root that lead into /usr, such as `bin` -> `usr/bin`."""
    directories: Sequence[str]
    """The same names where they are directories (a system without merged /usr)."""
    etc: Sequence[str]
    """Those of `ETC` that are there."""
    own_etc: Path
    """Directory that holds the files of `OWN_ETC`."""
    program: Path
    """The worker's files."""
    python_prefix: Path | None = None
    """An interpreter outside of /usr, seen inside at its own path."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """What one sandbox gets."""

    workspace: Path
    home: Path | None = None
    """None = an empty one that ends with the sandbox."""
    objects: Sequence[Path] = ()
    environment: Path | None = None
    environment_writable: bool = False
    proxy: Path | None = None
    """Directory that holds nothing but a proxy's socket."""
    bridges: Mapping[int, Path] = field(default_factory=dict)
    """Port to its socket."""
    given: Mapping[str, Path] = field(default_factory=dict)
    """Path inside to what is seen there, read-only."""
    tmp_bytes: int = 512 * _MEBIBYTE
    env: Mapping[str, str] = field(default_factory=dict)


def arguments(system: System, mounts: Mounts, *, seccomp_fd: int, info_fd: int) -> list[str]:
    """Everything that stands between `bwrap` and the command."""
    return [
        *_ISOLATION,
        *("--seccomp", str(seccomp_fd), "--info-fd", str(info_fd)),
        *_system(system),
        *_scratch(mounts.tmp_bytes, private_home=mounts.home is None),
        *_given(mounts),
        *(part for name, value in mounts.env.items() for part in ("--setenv", name, value)),
        *(() if mounts.home is None else ("--bind", str(mounts.home), HOME)),
        *("--bind", str(mounts.workspace), WORKSPACE),
        *("--remount-ro", "/", "--chdir", WORKSPACE),
        "--",
    ]


def _system(system: System) -> list[str]:
    args = ["--ro-bind", "/usr", "/usr"]
    for name, target in system.links.items():
        args += ["--symlink", target, f"/{name}"]
    for name in (*system.directories, *(f"etc/{part}" for part in system.etc)):
        args += ["--ro-bind", f"/{name}", f"/{name}"]
    for name in OWN_ETC:
        args += ["--ro-bind", str(system.own_etc / name), f"/etc/{name}"]
    if system.python_prefix is not None:
        args += ["--ro-bind", str(system.python_prefix), str(system.python_prefix)]
    args += ["--ro-bind", str(system.program), PROGRAM]
    return [*args, "--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys", "--dev", "/dev"]


def _scratch(tmp_bytes: int, *, private_home: bool) -> list[str]:
    args = []
    places = [("/dev/shm", "1777", 4), ("/tmp", "1777", 1)]
    for place, mode, size in (*places, *([(HOME, "0700", 2)] if private_home else [])):
        args += ["--perms", mode, "--size", str(max(tmp_bytes // size, _MEBIBYTE)), "--tmpfs", place]
    return [*args, "--remount-ro", "/dev"]


def _given(mounts: Mounts) -> list[str]:
    args = []
    for number, directory in enumerate(mounts.objects):
        args += ["--ro-bind", str(directory), f"/objects/{number}"]
    if mounts.environment is not None:
        args += ["--bind" if mounts.environment_writable else "--ro-bind", str(mounts.environment), ENVIRONMENT]
    if mounts.proxy is not None:
        args += ["--ro-bind", str(mounts.proxy), PROXY]
    for port, socket in sorted(mounts.bridges.items()):
        args += ["--ro-bind", str(socket), f"{BRIDGES}/{port}"]
    for inside, source in sorted(mounts.given.items()):
        args += ["--ro-bind", str(source), inside]
    return args
