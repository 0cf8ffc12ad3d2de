"""Both sandbox providers: the conformance suite, and what concerns their workspaces."""

# Small processes of the test itself may block it.
# ruff: noqa: ASYNC220, ASYNC221

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TypedDict

import pytest

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.testing.sandbox_conformance import LIMITS, checks, opened
from quarterdeck.workplace import watchdog
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground, share, socket_folder, worker_uid
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import HOME, WORKSPACE, Limits, Provider, Spec
from quarterdeck.workplace.workspaces import Process, Workspaces

CHECKS = checks()


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    """pytest's directories are 0700, so that root's home lies below a directory agents cannot enter."""
    made = Ground(tmp_path / "home").prepare() if os.geteuid() == 0 else Ground(_home(tmp_path)).prepare()
    yield made
    made.destroy()


def _home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture(params=["none", pytest.param("bubblewrap", marks=pytest.mark.sandbox)])
async def provider(request: pytest.FixtureRequest, ground: Ground) -> AsyncIterator[Provider]:
    made: Provider = Plain(ground) if request.param == "none" else Bubblewrap(ground)
    yield made
    await made.reap(frozenset())


@pytest.mark.parametrize("name", CHECKS)
async def test_conformance(provider: Provider, name: str) -> None:
    async with opened(provider, Spec("one", limits=LIMITS)) as sandbox:
        await CHECKS[name](sandbox)


async def test_whoever_is_cancelled_while_closing_leaves_it_closed(provider: Provider) -> None:
    for later in range(6):
        name = f"cancelled-{later}"
        sandbox = await provider.create(Spec(name))
        closing = asyncio.create_task(sandbox.close())
        for _ in range(later):
            await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        if later == 0:  # it had not begun
            await sandbox.close()
        await provider.discard(name)


async def test_probe_launches_and_leaves_nothing(provider: Provider, ground: Ground) -> None:
    found = await provider.probe(anew=True)
    assert found.ok, found
    assert list(ground.workspaces.iterdir()) == []
    assert bool(found.warnings) is (provider.name == "none")


async def test_attach_finds_the_files_and_removes_stale_locks(provider: Provider) -> None:
    spec = Spec("kept", limits=LIMITS)
    first = await provider.create(spec)
    await first.write("file", b"kept")
    await first.write(".git/index.lock", b"")
    with pytest.raises(FileExistsError):
        await provider.create(spec)
    with pytest.raises(SandboxFailed):
        await provider.attach(spec)
    with pytest.raises(SandboxFailed):
        await provider.discard(spec.id)
    await first.close()
    second = await provider.attach(spec)
    assert second is not None
    assert await second.read("file") == b"kept"
    with pytest.raises(FileNotFoundError):
        await second.read(".git/index.lock")
    await second.close()
    await provider.discard(spec.id)
    await provider.discard(spec.id)
    assert await provider.attach(spec) is None


async def test_reap_keeps_what_it_is_told_and_what_is_open(provider: Provider, ground: Ground) -> None:
    for name in ("keep", "drop"):
        sandbox = await provider.create(Spec(name, limits=LIMITS))
        await sandbox.exec("mkdir -p ro/deep && echo x > ro/deep/f && chmod 0 ro/deep/f ro/deep ro", timeout=20)
        await sandbox.close()
    async with opened(provider, Spec("live", limits=LIMITS)) as live:
        assert await provider.reap(frozenset({"keep"})) == ["drop"]
        assert (await live.exec("true", timeout=20)).exit_code == 0
    assert [place.name for place in ground.workspaces.iterdir()] == ["keep"]


async def test_reap_follows_no_link(provider: Provider, ground: Ground, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    sandbox = await provider.create(Spec("links", limits=LIMITS))
    await sandbox.exec(f"ln -s {outside} a; mkdir d; ln -s {outside} d/a; ln -s / root", timeout=20)
    await sandbox.close()
    assert await provider.reap(frozenset()) == ["links"]
    assert (outside / "precious").read_text() == "x"


async def test_very_deep_directories_are_removed(provider: Provider, ground: Ground) -> None:
    deep = "import os\nfor _ in range(1500):\n os.mkdir('d' * 50); os.chdir('d' * 50)"
    sandbox = await provider.create(Spec("deep", limits=LIMITS))
    assert (await sandbox.exec(["python3", "-c", deep], timeout=30)).exit_code == 0
    await sandbox.close()
    await provider.discard("deep")
    assert list(ground.workspaces.iterdir()) == []


async def test_ids_are_plain_names(provider: Provider) -> None:
    for bad in ("../x", "", ".", "..", "a/b", ".hidden"):
        with pytest.raises(ValueError, match="not a workspace id"):
            await provider.create(Spec(bad))


async def test_a_living_owner_keeps_its_workspace(provider: Provider, ground: Ground) -> None:
    """The record names another process that lives: neither reaped nor attached."""
    sandbox = await provider.create(Spec("theirs", limits=LIMITS))
    await sandbox.close()
    owner = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        other = Process.of(owner.pid)
        assert other is not None
        record = ground.place("theirs") / "owner.json"
        fields = f'{{"pid": {other.pid}, "started": {other.started}, "boot": "{other.boot}"}}'
        record.write_text(f"[{fields}, {fields}]")
        assert await provider.reap(frozenset()) == []
        with pytest.raises(SandboxFailed, match="in use"):
            await provider.attach(Spec("theirs"))
        stale = fields.replace(f'"started": {other.started}', '"started": 1')
        record.write_text(f"[{stale}, {stale}]")
        assert await provider.reap(frozenset()) == ["theirs"]
        assert owner.poll() is None, "a process with a recycled id must not be killed"
    finally:
        owner.communicate()


async def test_thirty_five_sandboxes_at_once(provider: Provider) -> None:
    async def one(number: int) -> bytes:
        async with opened(provider, Spec(f"s{number}", limits=LIMITS)) as sandbox:
            return (await sandbox.exec(f"echo {number}", timeout=60)).stdout

    assert await asyncio.gather(*map(one, range(35))) == [f"{number}\n".encode() for number in range(35)]


# -- bridges and mounts ------------------------------------------------------------------------------------------------

_CONNECT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20) as connection:
    connection.sendall(b"hello")
    connection.shutdown(socket.SHUT_WR)
    print(connection.recv(100).decode())
"""


async def _shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write((await reader.read(100)).upper())
    await writer.drain()
    writer.close()


async def test_a_bridged_socket_is_reached_and_nothing_else(provider: Provider, ground: Ground) -> None:
    folder = socket_folder(ground.sockets)
    servers = [await asyncio.start_unix_server(_shout, path=folder / name) for name in ("wanted", "other")]
    share(folder / "wanted", 0o660)
    listening = await asyncio.start_server(_shout, "127.0.0.1", 0)
    try:
        async with opened(provider, Spec("b", limits=LIMITS, bridges={4100: folder / "wanted"})) as sandbox:
            port = sandbox.port(4100)
            said = await sandbox.exec(["python3", "-c", _CONNECT, str(port)], timeout=30)
            assert said.stdout == b"HELLO\n", said
            with pytest.raises(KeyError):
                sandbox.port(4101)
            if provider.name == "none":
                return  # its loopback is the machine's
            assert port == 4100
            for closed in (4101, listening.sockets[0].getsockname()[1]):
                refused = await sandbox.exec(["python3", "-c", _CONNECT, str(closed)], timeout=30)
                assert b"ConnectionRefusedError" in refused.stderr
            assert (await sandbox.exec(f"ls /bridges; ls {folder}", timeout=20)).stdout == b"4100\n"
    finally:
        for server in (*servers, listening):
            server.close()
            await server.wait_closed()
        shutil.rmtree(folder)


async def test_a_proxy_is_not_in_the_way_to_a_bridge(provider: Provider, ground: Ground) -> None:
    folder = socket_folder(ground.sockets)
    server = await asyncio.start_unix_server(_shout, path=folder / "s")
    share(folder / "s", 0o660)
    ask = "import urllib.request as u; print(bool(u.getproxies()), u.proxy_bypass('127.0.0.1'), u.proxy_bypass('x.y'))"
    try:
        spec = Spec("p", limits=LIMITS, bridges={4100: folder / "s"}, proxy_socket=folder / "s")
        async with opened(provider, spec) as sandbox:
            said = await sandbox.exec(["python3", "-c", ask], timeout=30)
            assert said.stdout.split() == [b"True", b"True", b"False"], said
    finally:
        server.close()
        await server.wait_closed()
        shutil.rmtree(folder)


async def test_a_bridge_without_a_socket_is_refused(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxFailed, match="no socket"):
        await provider.create(Spec("b", bridges={4100: tmp_path / "file"}))


@pytest.fixture
def closed() -> Iterator[Path]:
    """A directory that the agents' uid cannot enter. On a disk: of what lies below /dev a sandbox is shown nothing."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-test-", dir="/var/tmp") as name:
        yield Path(name)


async def test_a_tree_below_a_closed_directory_is_seen_but_not_written(provider: Provider, closed: Path) -> None:
    """What is seen is a copy."""
    tree = closed / "node"
    (tree / "bin").mkdir(parents=True)
    (tree / "lib").mkdir(mode=0o700)
    (tree / "lib" / "tool").write_text("#!/bin/sh\necho ran $0\n")
    (tree / "lib" / "tool").chmod(0o755)
    (tree / "lib" / "secretive").write_text("read me\n")
    (tree / "lib" / "secretive").chmod(0o600)
    (tree / "bin" / "tool").symlink_to("../lib/tool")
    for _ in range(2):
        async with opened(provider, Spec("m", limits=LIMITS, mounts={"/opt/node": tree})) as sandbox:
            place = sandbox.where("/opt/node")
            ran = await sandbox.exec([f"{place}/bin/tool"], timeout=20)
            assert ran.stdout == f"ran {place}/bin/tool\n".encode(), ran
            assert (await sandbox.exec(f"cat {place}/lib/secretive", timeout=20)).stdout == b"read me\n"
            if provider.name != "none" or os.geteuid() == 0:
                refused = await sandbox.exec(f"echo x > {place}/new || rm {place}/bin/tool", timeout=20)
                assert refused.exit_code != 0
    assert (tree / "bin" / "tool").exists()


@pytest.mark.parametrize(
    ("inside", "source"),
    [
        *(("/opt/x", place) for place in ("/", "/run", "/var", "/tmp", "/home", "/proc/1", "/no/such/place", "~")),
        *((place, "tree") for place in ("/tmp/x", f"{WORKSPACE}/x", f"{HOME}/x", "/home", "/usr/x", "/a/../b", "opt")),
        ("/opt/x", "socket"),
    ],
)
async def test_what_no_sandbox_may_see(provider: Provider, tmp_path: Path, inside: str, source: str) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "socket").mkdir()
    places = {"~": Path.home(), "tree": tmp_path / "tree", "socket": tmp_path / "socket"}
    with socket.socket(socket.AF_UNIX) as own:
        own.bind(str(tmp_path / "socket" / "s"))
        with pytest.raises(SandboxFailed, match="cannot be shown"):
            await provider.create(Spec("m", mounts={inside: places.get(source, Path(source))}))


# -- git ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(ground: Ground, tmp_path: Path) -> tuple[Path, str]:
    """(objects, head) of a small repository."""
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    (source / "src" / "a.py").write_text("a = 1\n")
    (source / "kept.log").write_text("tracked although ignored\n")
    (source / "crlf.txt").write_bytes(b"one\r\ntwo\r\n")
    (source / ".gitignore").write_text("*.log\n")
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    _git(source, "init", "-q", "-b", "main")
    _git(source, "add", "-A")
    _git(source, "add", "-f", "kept.log")
    _git(source, "commit", "-q", "-m", "first")
    (source / ".gitattributes").write_text("*.txt text\n")  # crlf.txt is now stored against its attributes
    _git(source, "add", ".gitattributes")
    _git(source, "commit", "-q", "-m", "second")
    target = ground.mirrors / "m.git"
    _git(tmp_path, "clone", "-q", "--bare", "--no-hardlinks", str(source), str(target))
    return target / "objects", _git(target, "rev-parse", "HEAD")


def _git(place: Path, *arguments: str) -> str:
    git = shutil.which("git")
    assert git is not None
    names = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    done = subprocess.run([git, "-C", str(place), *names, *arguments], capture_output=True, check=True, text=True)
    return done.stdout.strip()


class _Export(TypedDict):
    author: tuple[str, str]
    when: int
    max_bytes: int


EXPORT: _Export = {"author": ("Agent", "agent@localhost"), "when": 1_700_000_000, "max_bytes": 1_000_000}


class TestGit:
    async def test_import_then_nothing_changed(self, provider: Provider, mirror: tuple[Path, str]) -> None:
        objects, head = mirror
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head, identity=('A "B" \\', "a@b"))
            log = await sandbox.exec(
                "git status --porcelain src run; git log --format=%s; git symbolic-ref HEAD", timeout=20
            )
            assert log.stdout == b"second\nfirst\nrefs/heads/work\n"
            assert (await sandbox.exec("git config user.name", timeout=20)).stdout == b'A "B" \\\n'
            assert await sandbox.export(head, "m", **EXPORT) is None

    async def test_touched_but_unchanged_is_nothing(self, provider: Provider, mirror: tuple[Path, str]) -> None:
        """Also a file whose attributes would normalise its line ends."""
        objects, head = mirror
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head)
            await sandbox.exec("touch -d '2 hours ago' $(git ls-files)", timeout=20)
            assert await sandbox.export(head, "m", **EXPORT) is None

    async def test_export_holds_everything_and_is_deterministic(
        self, provider: Provider, mirror: tuple[Path, str], ground: Ground
    ) -> None:
        objects, head = mirror
        commits = []
        for name, script in {
            "uncommitted": "true",
            "committed": "git add -A && git commit -qm x",
            "squashed": "git checkout -q --orphan o && git add -A && git commit -qm x && git branch -D work",
        }.items():
            async with opened(provider, Spec(name, objects=(objects,), limits=LIMITS)) as sandbox:
                await sandbox.import_(head)
                await sandbox.write("src/a.py", b"a = 2\n")
                await sandbox.write("new/b.py", b"b = 1\n")
                await sandbox.write("kept.log", b"changed\n")
                await sandbox.write("other.log", b"ignored\n")
                done = await sandbox.exec(f"rm run; ln -s src link; {script}", timeout=20)
                assert done.exit_code == 0, done
                exported = await sandbox.export(head, "Title\n\nBody", **EXPORT)
                assert exported is not None
                commits.append(exported)
        assert len({(one.commit, one.tree) for one in commits}) == 1
        bare = objects.parent
        subprocess.run(
            ["git", "-C", str(bare), "index-pack", "--stdin", "--strict", "--fix-thin"],
            input=commits[0].pack,
            check=True,
            capture_output=True,
        )
        changed = _git(bare, "diff", "--name-status", head, commits[0].commit).splitlines()
        assert changed == ["M\tkept.log", "A\tlink", "A\tnew/b.py", "D\trun", "M\tsrc/a.py"]
        assert _git(bare, "log", "-1", "--format=%an <%ae> %at %B", commits[0].commit) == (
            "Agent <agent@localhost> 1700000000 Title\n\nBody"
        )

    async def test_forced_file_of_the_agents_head(self, provider: Provider, mirror: tuple[Path, str]) -> None:
        objects, head = mirror
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head)
            await sandbox.exec("echo x > forced.log; git add -f forced.log; git commit -qm x", timeout=20)
            exported = await sandbox.export(head, "m", **EXPORT)
            assert exported is not None
            excluded = await sandbox.export(head, "m", exclude=["*.log"], **EXPORT)
            assert excluded is None

    async def test_exclude(self, provider: Provider, mirror: tuple[Path, str]) -> None:
        objects, head = mirror
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head)
            await sandbox.exec("mkdir .q; echo 1 > .q/task.json; echo 2 >> src/a.py; rm run", timeout=20)
            none = await sandbox.export(head, "m", exclude=[".q", "src/a.py", "run"], **EXPORT)
            assert none is None

    async def test_nested_repository_is_an_error(self, provider: Provider, mirror: tuple[Path, str]) -> None:
        objects, head = mirror
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head)
            await sandbox.exec("git init -q sub; echo x > sub/f", timeout=20)
            with pytest.raises(ValueError, match="repository lies inside"):
                await sandbox.export(head, "m", **EXPORT)
            await sandbox.exec("cd sub; git add -A; git -c user.name=a -c user.email=b commit -qm x", timeout=20)
            with pytest.raises(ValueError, match="repository lies inside"):
                await sandbox.export(head, "m", **EXPORT)

    @pytest.mark.parametrize("mode", ["000", "444", "300", "100", "200"])
    async def test_what_the_agent_made_unreadable_belongs_to_the_change(
        self, provider: Provider, mirror: tuple[Path, str], mode: str
    ) -> None:
        objects, head = mirror
        script = (
            "mkdir -p lib/deep forced.log; echo important > lib/deep/f; echo 1 > part1; echo 2 > shut; ln -s /etc etc;"
            "echo forced > forced.log/f; git add -f forced.log && git commit -qm x; echo 2 >> src/a.py;"
            f"chmod {mode} lib/deep lib shut src/a.py src forced.log ."
        )
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head)
            done = await sandbox.exec(script, timeout=20)
            assert done.exit_code == 0, done
            exported = await sandbox.export(head, "m", **EXPORT)
            assert exported is not None
        bare = objects.parent
        subprocess.run(
            ["git", "-C", str(bare), "index-pack", "--stdin", "--fix-thin"],
            input=exported.pack,
            check=True,
            capture_output=True,
        )
        changed = _git(bare, "diff", "--name-status", head, exported.commit).splitlines()
        assert changed == ["A\tetc", "A\tforced.log/f", "A\tlib/deep/f", "A\tpart1", "A\tshut", "M\tsrc/a.py"]

    async def test_max_bytes(self, provider: Provider, mirror: tuple[Path, str]) -> None:
        objects, head = mirror
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head)
            await sandbox.write("noise", os.urandom(2_000_000))
            with pytest.raises(ValueError, match="larger than 1000000"):
                await sandbox.export(head, "m", **EXPORT)

    async def test_many_files_are_refused_before_they_are_read(
        self, provider: Provider, mirror: tuple[Path, str]
    ) -> None:
        objects, head = mirror
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head)
            made = "for n in $(seq 100); do truncate -s 900000 $n.bin; done"
            assert (await sandbox.exec(made, timeout=20)).exit_code == 0
            with pytest.raises(ValueError, match=r"larger than 1000000 bytes: [0-9]+ changed files of 9[0-9]+ bytes"):
                await sandbox.export(head, "m", **EXPORT)
            assert (await sandbox.exec("echo '*.bin' > .gitignore", timeout=20)).exit_code == 0
            assert await sandbox.export(head, "m", **EXPORT) is not None

    async def test_another_tree_than_the_commits(self, provider: Provider, mirror: tuple[Path, str]) -> None:
        objects, head = mirror
        tree = _git(objects.parent, "rev-parse", "HEAD~1^{tree}")
        async with opened(provider, Spec("g", objects=(objects,), limits=LIMITS)) as sandbox:
            await sandbox.import_(head, tree=tree)
            assert (await sandbox.exec("ls -A", timeout=20)).stdout.split() == [
                *(b".git", b".gitignore", b"crlf.txt", b"kept.log", b"run", b"src")
            ]
            exported = await sandbox.export(head, "m", **EXPORT)
            assert exported is not None
            assert exported.tree == tree

    async def test_shallow_mirror(self, provider: Provider, mirror: tuple[Path, str], ground: Ground) -> None:
        objects, head = mirror
        shallow = ground.mirrors / "shallow.git"
        _git(ground.mirrors, "clone", "-q", "--bare", "--depth", "1", f"file://{objects.parent}", str(shallow))
        async with opened(provider, Spec("g", objects=(shallow / "objects",), limits=LIMITS)) as sandbox:
            await sandbox.import_(head)
            assert (await sandbox.exec("git log --format=%s", timeout=20)).stdout == b"second\n"
            await sandbox.write("x", b"1")
            assert await sandbox.export(head, "m", **EXPORT) is not None


# -- limits that only a watchdog keeps ---------------------------------------------------------------------------------

SMALL = Limits(memory_bytes=128 * 1024 * 1024, disk_bytes=16 * 1024 * 1024, processes=64)
_HOLD = "import time, sys; b = bytearray(40 << 20); b[::4096] = b'x' * len(b[::4096]); time.sleep(600)"


class TestWatchdog:
    async def test_six_processes_together(self, provider: Provider) -> None:
        async with opened(provider, Spec("m", limits=SMALL)) as sandbox:
            result = await sandbox.exec(
                ["sh", "-c", 'for i in 1 2 3 4 5 6; do python3 -c "$1" & done; wait', "sh", _HOLD], timeout=60
            )
            assert (result.exit_code, result.flags) == (None, ("memory",))
            after = await sandbox.exec("true", timeout=20)
            assert (after.exit_code, after.flags) == (0, ())

    async def test_one_process_within_the_limit_is_left_alone(self, provider: Provider) -> None:
        async with opened(provider, Spec("m", limits=SMALL)) as sandbox:
            result = await sandbox.exec(["python3", "-c", _HOLD.replace("600", "1.5")], timeout=60)
            assert (result.exit_code, result.flags) == (0, ())

    async def test_many_small_files(self, provider: Provider) -> None:
        script = "import itertools\nfor n in itertools.count():\n open(f'f{n}', 'w').write('x' * 4096)"
        async with opened(provider, Spec("d", limits=SMALL)) as sandbox:
            result = await sandbox.exec(["python3", "-c", script], timeout=60)
            assert (result.exit_code, result.flags) == (None, ("disk",))
            await sandbox.exec("ls | head -c 100000 | xargs rm -f; true", timeout=20)

    def test_what_was_hidden_before_a_strike_is_not_held_against_what_comes_after(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(watchdog, "nameless", lambda *_, **__: (0, 1))
        monkeypatch.setattr(watchdog, "should_walk", lambda **_: True)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as childless:
            looking = watchdog.Watchdog(childless.pid, tmp_path, SMALL)
            assert [looking.look().unknown, looking.look().unknown] == [0, 1], "it has to be seen twice"
            assert looking.kill(frozenset())
            assert [looking.look().unknown, looking.look().unknown] == [0, 1]
            childless.communicate()


# -- what is given to a sandbox ----------------------------------------------------------------------------------------


async def test_the_proxy_is_reached_by_a_loopback_port(provider: Provider, ground: Ground) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    place = ground.sockets / "p"
    place.mkdir(mode=0o711)
    server = await asyncio.start_unix_server(answer, place / "proxy.sock")
    (place / "proxy.sock").chmod(0o666)
    code = "import urllib.request; print(urllib.request.urlopen('http://allowed.example/x', timeout=20).read())"
    async with server, opened(provider, Spec("p", limits=LIMITS, proxy_socket=place / "proxy.sock")) as sandbox:
        result = await sandbox.exec(["python3", "-c", code], timeout=30)
        assert result.stdout == b"b'hello'\n", result
    assert seen[0].startswith(b"GET http://allowed.example/x ")


@pytest.mark.parametrize("writable", [False, True])
async def test_an_environment_comes_first_in_the_path(ground: Ground, writable: bool) -> None:
    place = ground.environments / "e"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "tool").write_text("#!/bin/sh\necho tool\n")
    (place / "bin" / "tool").chmod(0o755)
    dropped = worker_uid()
    if dropped is not None:
        os.chown(place, *dropped)
    spec = Spec("e", limits=LIMITS, environment=place, environment_writable=writable, env={"GIVEN": "1"})
    async with opened(Bubblewrap(ground), spec) as sandbox:
        result = await sandbox.exec("tool; echo $GIVEN $PATH", timeout=20)
        assert result.stdout == b"tool\n1 /env/bin:/usr/local/bin:/usr/bin:/bin\n"
        assert ((await sandbox.exec("echo x > /env/new", timeout=20)).exit_code == 0) is writable
        assert await sandbox.read("/env/bin/tool", limit=2) == b"#!"
    assert (place / "new").exists() is writable


async def test_what_we_run_ourselves_is_no_program_of_the_environment(
    provider: Provider, ground: Ground, mirror: tuple[Path, str]
) -> None:
    """To build an environment may run code of the change that is checked with it: it does not fill the checkout."""
    objects, head = mirror
    place = ground.environments / "e"
    (place / "bin").mkdir(parents=True)
    for name in ("git", "python3"):
        (place / "bin" / name).write_text("#!/bin/sh\necho forged; echo forged >a.py\n")
        (place / "bin" / name).chmod(0o755)
    async with opened(provider, Spec("e", objects=(objects,), limits=LIMITS, environment=place)) as sandbox:
        await sandbox.import_(head)
        assert await sandbox.read("src/a.py") == b"a = 1\n"
        for name in ("git", "python3"):
            theirs = await sandbox.exec((name, "--version"), timeout=20, cwd="/workspace/src")
            ours = await sandbox.exec((name, "--version"), timeout=20, ours=True)
            assert (theirs.stdout, b"forged" in ours.stdout, ours.exit_code) == (b"forged\n", False, 0)
        found = await sandbox.export(head, "m", **EXPORT)
        assert found is not None, "what the environment's programs wrote"


async def test_many_commands_at_once_take_little_of_the_memory(provider: Provider) -> None:
    limits = Limits(memory_bytes=128 * 1024 * 1024, processes=400)
    async with opened(provider, Spec("many", limits=limits)) as sandbox:
        await sandbox.exec("mkfifo begun", timeout=20)
        waiting = [asyncio.create_task(sandbox.exec("echo x >begun; exec sleep 600", timeout=900)) for _ in range(40)]
        begun = await sandbox.exec("exec 3<>begun; for n in $(seq 40); do read x <&3; done; echo all", timeout=60)
        assert begun.stdout == b"all\n", [task.result() for task in waiting if task.done()][:1]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


_ORPHANS = """
import os, select
for number in range(150):
    while True:
        try:
            child = os.fork()
        except BlockingIOError:  # so many are left
            select.select([], [], [], 0.01)
            continue
        break
    if child == 0:
        try:
            if os.fork() == 0 and number % 2:
                os.setsid()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.sandbox
async def test_orphans_do_not_use_up_the_processes_of_a_sandbox(ground: Ground) -> None:
    """Neither while a command leaves them behind, nor afterwards; and no command is taken for one."""
    limits = Limits(memory_bytes=LIMITS.memory_bytes, processes=40)
    async with opened(Bubblewrap(ground), Spec("o", limits=limits)) as sandbox:
        made, *others = await asyncio.gather(
            sandbox.exec(["python3", "-c", _ORPHANS], timeout=30),
            *(sandbox.exec(f"exit {number}", timeout=30) for number in (1, 2, 3)),
        )
        assert (made.exit_code, made.flags) == (0, ()), made
        assert [done.exit_code for done in others] == [1, 2, 3]
        left = await sandbox.exec("grep -l '^State:.Z' /proc/[0-9]*/status", timeout=30)
        assert left.stdout == b"", "zombies"


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has a niceness of its own on Linux only")
async def test_what_agents_run_gives_way_to_the_deck(provider: Provider, ground: Ground) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    async with opened(provider, Spec("nice", limits=LIMITS)) as sandbox:
        for _ in range(2):
            done = await sandbox.exec("nice; nice -n -5 nice 2>/dev/null", timeout=20)
            assert [int(said) - own for said in done.stdout.split()] == [5, 5]
        session = await sandbox.open(["nice"], timeout=20)
        assert int(await session.read()) - own == 5
        await session.kill()
        occupation = Workspaces(ground).occupation("nice")
        assert occupation is not None
        for process in (occupation.root, *occupation.also):  # the worker is one of them: it answers whatever they do
            assert os.getpriority(os.PRIO_PROCESS, process.pid) == own


@pytest.mark.skipif(sys.platform != "linux", reason="who goes first is Linux's to say")
async def test_a_machine_without_memory_ends_sandboxes_before_anything_else(provider: Provider) -> None:
    own = await asyncio.to_thread(Path("/proc/self/oom_score_adj").read_text)
    async with opened(provider, Spec("first", limits=LIMITS)) as sandbox:
        assert (await sandbox.exec("cat /proc/self/oom_score_adj", timeout=20)).stdout == b"1000\n"
    assert int(own) < 1000, "or this shows nothing"


@pytest.mark.sandbox
async def test_what_passed_is_not_launched_again_by_the_next_process(ground: Ground) -> None:
    real = (await Bubblewrap(ground).probe()).detail.split(" ")[0]
    place, log = ground.root / "counting", ground.root / "log"
    place.mkdir(mode=0o755)
    log.touch()
    log.chmod(0o666)

    def script(then: str) -> None:
        (place / "bwrap").write_text(f'#!/bin/sh\necho "$1" >>{log}\n{then}\n')
        (place / "bwrap").chmod(0o755)

    async def probed(*, anew: bool = False) -> tuple[bool, int]:
        """Whether it works, and how often bwrap was started for that."""
        before = log.read_text().count("\n")
        found = await Bubblewrap(ground, system_path=str(place)).probe(anew=anew)
        assert found.detail
        return found.ok, log.read_text().count("\n") - before

    script(f'exec {real} "$@"')
    assert await probed() == (True, 2), "asked for its version, and launched"
    assert await probed() == (True, 0)
    assert await probed(anew=True) == (True, 1)
    script(f'exec {real} "$@" # another one')
    assert await probed() == (True, 2)
    script('[ "$1" = --version ] && echo bubblewrap 0.11.0 && exit\nexit 1')
    assert await probed() == (False, 2)
    assert await probed() == (False, 1), "only what passed is not tried again"


@pytest.mark.sandbox
@pytest.mark.parametrize("said", ["bwrap: No permissions to create new namespace", "bwrap: something new"])
async def test_a_launch_that_fails_is_no_sandbox_and_names_the_fix(ground: Ground, said: str) -> None:
    """A bwrap that answers `--version` and then cannot do it: only the real launch shows that."""
    place = ground.root / "broken"
    place.mkdir(mode=0o755)
    script = f'[ "$1" = --version ] && echo bubblewrap 0.11.0 && exit\necho "{said}" >&2; exit 1'
    (place / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
    (place / "bwrap").chmod(0o755)
    provider = Bubblewrap(ground, system_path=str(place))
    found = await provider.probe()
    assert not found.ok
    assert said in found.detail
    assert found.fix
    with pytest.raises(SandboxFailed):
        await provider.create(Spec("x"))
    assert list(ground.workspaces.iterdir()) == []
