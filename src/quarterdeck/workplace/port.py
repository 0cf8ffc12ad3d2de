"""The port to sandboxes.

Rules
- A sandbox is one workspace directory plus processes that see nothing else of the machine and no network.
- The host never follows a path inside a workspace and never runs git in it: reading, writing, searching and exporting
  are done by a worker process inside the sandbox, spoken to over stdio.
- An exec is never retried here: only the caller knows whether it may run twice.
- `close` is idempotent, ends every process of the sandbox, and keeps the workspace directory; `discard` removes it.
- What is inside is called by inside paths: the workspace is `/workspace`, the environment `/env`, the home
  `/home/agent`. Programs inside must be told paths and ports through `where` and `port`: not every provider has a
  view of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

WORKSPACE: Final = "/workspace"
ENVIRONMENT: Final = "/env"
HOME: Final = "/home/agent"
"""Private to one sandbox, empty at its start unless `Spec.home` keeps it, and not below /tmp: some agents refuse to
live there."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether this machine can run the provider, found by a real launch."""

    ok: bool
    detail: str
    fix: str = ""
    """The exact command or setting that mends it."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """Per sandbox. Enforced by rlimits where the kernel can, by a watchdog otherwise."""

    memory_bytes: int = 2048 * 1024 * 1024
    disk_bytes: int = 2048 * 1024 * 1024
    processes: int = 256
    open_files: int = 4096
    cpu_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class Spec:
    """What to create."""

    id: str
    """Unique name of the sandbox: attempt id and incarnation. Also the workspace's directory name."""
    objects: tuple[Path, ...] = ()
    """Git object directories mounted read-only (the mirror's), at `/objects/0`, `/objects/1`, …"""
    environment: Path | None = None
    """Built environment, mounted at `/env`, read-only unless `environment_writable`."""
    environment_writable: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables inside; nothing is inherited from the host."""
    limits: Limits = Limits()
    proxy_socket: Path | None = None
    """Unix socket of an allow-list proxy; inside, HTTP(S)_PROXY point to a loopback bridge to it, and
    NO_PROXY spares the loopback. None = no network."""
    bridges: Mapping[int, Path] = field(default_factory=dict)
    """Loopback TCP port inside (1024 to 65535) -> unix socket outside. The socket must lie where the agents' uid can
    reach it (`Ground.sockets`) and be one that it may connect to."""
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """Absolute path inside -> directory or file of the host, read-only (see `mounts`)."""
    home: bool = False
    """Keep the home beside the workspace: who attaches to this one finds it again. It counts as disk then."""


@dataclass(frozen=True, slots=True)
class Gear:
    """What whoever works in a sandbox needs of it, beyond what the run gives every agent."""

    bridges: Mapping[int, Path] = field(default_factory=dict)
    mounts: Mapping[str, Path] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    """Hosts that must be reached, through the allow-list proxy."""
    memory_bytes: int = 0
    """Limits that it cannot do without; the larger of these and the run's hold."""
    processes: int = 0
    open_files: int = 0
    home: bool = False
    """Its home has to outlive a sandbox that dies: its memory is there."""


NO_GEAR: Final = Gear()


@dataclass(frozen=True, slots=True)
class ExecResult:
    """One finished command."""

    exit_code: int | None
    """None = it was killed (see `flags`). A signal is 128 + its number, as in a shell."""
    stdout: bytes
    stderr: bytes
    seconds: float
    flags: tuple[str, ...] = ()
    """`timeout`, `memory`, `disk`, `stdout-truncated`, `stderr-truncated`, `died`."""

    @property
    def died(self) -> bool:
        """Whether the sandbox ended under the command without having exceeded a limit: nobody knows by whose fault."""
        return "died" in self.flags and not {"memory", "disk", "timeout"} & {*self.flags}


@dataclass(frozen=True, slots=True)
class Stats:
    memory_bytes: int
    disk_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Exported:
    """What an attempt changed, as one commit on top of its base."""

    commit: str
    tree: str
    pack: bytes
    """Thin pack with the new objects, to be imported with `index-pack --strict --fix-thin`."""


class Session(Protocol):
    """A process inside that is spoken to while it runs. Whoever opened it calls `kill` in the end."""

    @property
    def flags(self) -> tuple[str, ...]:
        """`timeout`, `memory`, `disk`, `died`; complete once `wait` has returned."""
        ...

    @property
    def ended(self) -> bool:
        """Whether the process has ended, as far as is known here."""
        ...

    async def write(self, data: bytes) -> None:
        """Everything to its standard input; waits while it does not read. Raises BrokenPipeError where it does not read
        any more, SandboxFailed. A cancelled write may have been taken in part."""
        ...

    async def close_stdin(self) -> None:
        """After what was written, the end of its input. Idempotent."""
        ...

    async def read(self) -> bytes:
        """What it has printed since the last call, at least one byte, bounded; b"" = nothing will come any more."""
        ...

    def stderr_tail(self) -> bytes:
        """The last of its standard error, at most 16 KiB; up to seconds old while it prints nothing else."""
        ...

    async def wait(self) -> int | None:
        """Its exit code, 128 + number for a signal; None = it was killed (see `flags`)."""
        ...

    async def kill(self, grace: float = 2.0) -> None:
        """SIGTERM to its process group, SIGKILL after `grace` seconds, and to what is left of it; then forget it.
        Idempotent; also the way to be done with one that has ended by itself."""
        ...


class Sandbox(Protocol):
    @property
    def id(self) -> str: ...

    def where(self, path: str) -> str:
        """The path by which processes inside know an inside path."""
        ...

    def port(self, wanted: int) -> int:
        """The loopback port that stands for `wanted` of `Spec.bridges`. Raises KeyError."""
        ...

    async def open(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = WORKSPACE,
        timeout: float,
    ) -> Session:
        """Start a process that is spoken to while it runs, for at most `timeout` seconds. Raises OSError and its kinds
        where it cannot be started, ValueError where there are too many, SandboxFailed."""
        ...

    async def exec(
        self,
        command: str | Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        timeout: float,
        output_limit: int = 64 * 1024,
        cwd: str = WORKSPACE,
        ours: bool = False,
    ) -> ExecResult:
        """Run `sh -c command` (str) or an argv (sequence) and wait for it. Output beyond `output_limit` bytes a stream
        is cut in the middle (head and tail are kept) and flagged. At the timeout the whole process group is killed.
        `ours`: its programs are the machine's, also where the environment has brought others of the same names.
        Raises SandboxFailed only where the sandbox itself is gone, or a command failed and the machine's disk is full.
        """
        ...

    async def read(self, path: str, *, offset: int = 0, limit: int = 1024 * 1024) -> bytes:
        """Bytes of a regular file. Raises FileNotFoundError, IsADirectoryError, PermissionError, ValueError."""
        ...

    async def write(self, path: str, data: bytes, *, mode: int | None = None) -> None:
        """Create or replace a file (parents are created). Atomic."""
        ...

    async def call(self, operation: str, /, **arguments: object) -> dict[str, object]:
        """One operation of the worker beyond those above: `list`, `search`, `stat`. Arguments and result are JSON."""
        ...

    async def import_(
        self, commit: str, *, tree: str | None = None, identity: tuple[str, str] = ("agent", "agent@localhost")
    ) -> None:
        """Fill the empty workspace: a private `.git` with alternates to `/objects/*`, HEAD at `commit` on a branch
        `work`, files of `tree` (default: the commit's)."""
        ...

    async def export(
        self,
        base: str,
        message: str,
        *,
        author: tuple[str, str],
        when: int,
        max_bytes: int,
        exclude: Sequence[str] = (),
    ) -> Exported | None:
        """Everything that differs from `base` in the workspace, committed or not, as one commit; None = no difference.
        Independent of the workspace's own `.git`. Raises ValueError where the pack would exceed `max_bytes`."""
        ...

    async def stats(self) -> Stats: ...

    async def close(self) -> None:
        """End everything inside. Idempotent; the workspace directory stays."""
        ...


class Provider(Protocol):
    """One way to sandbox."""

    @property
    def name(self) -> str: ...

    async def probe(self, *, anew: bool = False) -> Probe:
        """Try it for real. What passed is not tried again by anybody for a day, as long as nothing has changed that it
        depends on; `anew`: but now."""
        ...

    async def create(self, spec: Spec) -> Sandbox:
        """A new, empty workspace and a running worker in it. Raises SandboxFailed; FileExistsError where the id has a
        workspace already (use `attach`)."""
        ...

    async def attach(self, spec: Spec) -> Sandbox | None:
        """A fresh sandbox over the workspace that this id left behind; None where there is none."""
        ...

    async def reap(self, keep: frozenset[str]) -> list[str]:
        """End what dead processes left behind and remove the workspaces whose id is not in `keep`.

        Returns the removed ids.
        """
        ...

    async def discard(self, id: str) -> None:
        """Remove the workspace directory of a closed sandbox. Idempotent."""
        ...
