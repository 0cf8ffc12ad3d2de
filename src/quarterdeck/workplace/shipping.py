"""What a sandbox needs from the host: the worker's files and an interpreter to run them.

Rules
- The worker's files, and the programs given with the ground, lie in a directory named after their content, so that two
  versions of Quarterdeck never mix. Those of a version that no living process uses any more are removed.
- The interpreter is found by running it as the uid that agents run as: one below root's own home cannot be executed.
"""

import asyncio
import errno
import hashlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import SandboxUnavailable
from quarterdeck.workplace import tried
from quarterdeck.workplace.descriptors import see_room
from quarterdeck.workplace.ground import Ground, worker_uid
from quarterdeck.workplace.holding import HELD, Held, being_made, clear, hold
from quarterdeck.workplace.removal import remove_tree

FILES: Final = (
    *("wire.py", "worker.py", "worker_bridge.py", "worker_exec.py", "worker_files.py", "worker_git.py"),
    *("worker_git_command.py", "worker_git_directory.py", "worker_mcp.py", "worker_processes.py", "worker_session.py"),
)
_PACKAGE: Final = "quarterdeck/workplace"
MCP_BRIDGE: Final = f"{_PACKAGE}/worker_mcp.py"
"""Below the shipped directory: the MCP server for agents as a program (`python3 FILE`)."""
START: Final = "import sys; sys.path.insert(0, sys.argv[1]); from quarterdeck.workplace.worker import main; main()"
FLAGS: Final = ("-I", "-S", "-B", "-c", START)
"""Isolated, without site packages, writing no byte code; followed by the directory of the worker's files."""

SYSTEM_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_SETPRIV: Final = Path("/usr/bin/setpriv")
"""Of util-linux."""
_STREAM_LIMIT: Final = 1024 * 1024
_CHECK: Final = "import sys; print(*sys.version_info[:2]); raise SystemExit(sys.version_info < (3, 8))"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that the worker can run with."""

    path: Path
    prefix: Path | None
    """Installation that must be made visible inside; None = it belongs to the system's /usr."""


async def ship(ground: Ground, python: Interpreter) -> Held:
    """Put the worker's files where a sandbox can see them, and byte code beside them, so that the start of a sandbox
    need not compile them; idempotent. The directory to start them from, to be held for as long as that is done."""
    source = Path(__file__).parent
    contents = {f"{_PACKAGE}/{name}": (source / name).read_bytes() for name in FILES}
    contents |= {"quarterdeck/__init__.py": b"", f"{_PACKAGE}/__init__.py": b"", **ground.programs}
    parts = (part for name, data in contents.items() for part in (name.encode(), data))
    digest = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    target = ground.bin / f"worker-{digest}{HELD}"
    while (held := hold(target)) is None:
        await _make(target, contents, python)
    with suppress(OSError):  # what cannot be removed now, the next one may be able to
        await asyncio.to_thread(clear, ground.bin)
    return held


async def _make(target: Path, contents: Mapping[str, bytes], python: Interpreter) -> None:
    new = being_made(target.parent)
    for name, data in contents.items():
        file = new / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    await _runs([str(python.path), "-I", "-S", "-m", "compileall", "-q", str(new)], drop=False)
    _open_up(new)
    publish(new, target)


def _open_up(new: Path) -> None:
    for path in new.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def publish(new: Path, target: Path) -> None:
    """Give a finished directory its name; the first of several processes wins. Raises OSError where none does."""
    new.chmod(0o755)
    try:
        new.rename(target)
    except OSError as error:
        remove_tree(new)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


async def find_python(ground: Ground) -> Interpreter:
    """The first interpreter that runs as the agents' uid: the system's, else the one that runs this. The ground is
    prepared.

    Raises SandboxUnavailable where there is none.
    """
    own = _own_installation()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [
        Interpreter(Path("/usr/bin/python3"), None),
        Interpreter(Path("/usr/local/bin/python3"), None),
        Interpreter(own / "bin" / version, own),
    ]
    for candidate in candidates:
        if tried.known(ground.bin, "interpreter", [candidate.path]) is not None:
            return candidate
        if await _runs([str(candidate.path), "-I", "-S", "-c", _CHECK]):
            tried.note(ground.bin, "interpreter", [candidate.path])
            return candidate
    raise SandboxUnavailable(
        "there is no Python that an agent could run",
        why="neither /usr/bin/python3 nor the interpreter of Quarterdeck can be executed by the agents' uid",
        fix="install the system's python3 (3.8 or newer), for example: apt install python3",
    )


def _own_installation() -> Path:
    return Path(sys.base_prefix).resolve()


async def _runs(argv: Sequence[str], *, drop: bool = True) -> bool:
    try:
        process = await spawn(argv, {}, drop=drop)
    except OSError:
        return False
    await process.communicate()
    return process.returncode == 0


async def spawn(
    argv: Sequence[str], env: Mapping[str, str], *, pass_fds: Sequence[int] = (), drop: bool = True
) -> asyncio.subprocess.Process:
    """Start a program with pipes, in a session of its own, with nothing but `env`; as the agents' uid unless `drop` is
    false. Raises OSError."""
    dropped = worker_uid() if drop else None
    prefix = () if dropped is None else _dropping(*dropped)
    if prefix:
        dropped = None
    see_room()
    return await asyncio.create_subprocess_exec(
        *prefix,
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        cwd="/",
        start_new_session=True,
        limit=_STREAM_LIMIT,
        pass_fds=tuple(pass_fds),
        user=None if dropped is None else dropped[0],
        group=None if dropped is None else dropped[1],
        extra_groups=None if dropped is None else [],
        umask=0o022,
    )


@cache
def _dropping(uid: int, gid: int) -> tuple[str, ...]:
    """The program that changes the uid before it becomes another one; empty where the system has none that does.

    Python changes it between fork and exec, and then has to copy its page tables: 200 MB of a busy deck made
    that 14 ms of CPU a start, in which nothing else went on. Without it the child borrows its memory (vfork).
    """
    if not _SETPRIV.exists() or _SETPRIV.resolve().name != _SETPRIV.name:  # Busybox and toybox know none of this
        return ()
    return (str(_SETPRIV), f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--")
