"""Environments built for real, without a network: once, by whoever comes first, and never half."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from quarterdeck.kernel.config import SandboxSection
from quarterdeck.kernel.failures import BadConfiguration, SandboxFailed
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.environment import Environments, telling
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.packages import Packages
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Provider, Spec
from quarterdeck.workplace.proxy import Indexes, Proxies

# An editable install as build back ends make it: a path file that points to the workspace.
SETUP = (
    'python3 -m venv --without-pip "$QUARTERDECK_ENV"',
    'pwd > "$(echo "$QUARTERDECK_ENV"/lib/python3*/site-packages)/project.pth"',
    'date +%s%N > "$QUARTERDECK_ENV/built"',
)


@dataclass
class Place:
    environments: Environments
    again: Environments
    provider: Provider
    mirror: Mirror
    repository: Path
    ground: Ground
    proxies: Proxies


def git(where: Path, *arguments: str) -> str:
    environment = {"PATH": os.defpath, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"} | {
        f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(["git", "-C", str(where), *arguments], env=environment, capture_output=True, check=True)
    return done.stdout.decode().strip()


def open_folder() -> Path:
    # Where agents run under another uid, it must be able to pass: pytest's own directories are closed to it.
    folder = Path(tempfile.mkdtemp(prefix="qd-test-"))
    folder.chmod(0o711)
    return folder


async def no_indexes() -> Indexes:
    return Indexes(())


@pytest.fixture(params=["none", pytest.param("bubblewrap", marks=pytest.mark.sandbox)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    folder = open_folder()
    ground = Ground(folder / "home", folder / "shared").prepare()
    provider: Provider = Plain(ground) if request.param == "none" else Bubblewrap(ground)
    if not (await provider.probe()).ok:
        pytest.skip("this machine has no bubblewrap")
    repository = folder / "repository"
    repository.mkdir()
    git(repository, "init", "-q", "-b", "main")
    (repository / "thing.py").write_text("VALUE = 1\n")
    (repository / "requirements.txt").write_text("")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "Start")
    proxies = Proxies(ground.sockets, no_indexes)
    try:
        mirror = await Mirror.open(ground.mirrors, repository)
        one, two = (Environments(ground.environments, proxies, Packages({})) for _ in range(2))
        yield Place(one, two, provider, mirror, repository, ground, proxies)
    finally:
        await proxies.close()
        ground.destroy()
        shutil.rmtree(folder)


async def commit_of(place: Place) -> str:
    commit = await place.mirror.resolve("HEAD")
    await place.mirror.fetch(commit)
    return commit


async def test_it_is_built_once_and_sees_the_workspace_of_whoever_uses_it(place: Place) -> None:
    commit = await commit_of(place)
    section = SandboxSection(setup=SETUP, setup_network=())
    results = await asyncio.gather(
        *(e.get(place.mirror, commit, section, place.provider) for e in (place.environments, place.again) * 2)
    )
    assert len(set(results)) == 1
    path = results[0]
    assert path is not None
    spec = Spec(id="user", objects=place.mirror.objects, environment=path)
    sandbox = await place.provider.create(spec)
    try:
        await sandbox.import_(commit)
        await sandbox.write("/workspace/thing.py", b"VALUE = 2\n")
        used = await sandbox.exec("python -I -c 'import thing, sys; print(thing.VALUE, sys.prefix)'", timeout=60)
        assert used.stdout.split()[:1] == [b"2"], used
        if place.provider.name != "none":
            assert (await sandbox.exec("touch /env/x", timeout=60)).exit_code != 0
    finally:
        await sandbox.close()
        await place.provider.discard("user")


async def test_what_is_installed_does_not_say_how_much_it_is(place: Place) -> None:
    """A limit of 64 MB holds while a command runs, and afterwards, whatever programs it has brought."""
    commit = await commit_of(place)
    fill = (
        'mkdir -p "$QUARTERDECK_ENV/bin"; printf "#!/bin/sh\\necho 1\\n" > "$QUARTERDECK_ENV/bin/du"; '
        'chmod +x "$QUARTERDECK_ENV/bin/du"; '
        'for n in 1 2 3 4 5 6 7 8; do head -c 10000000 /dev/zero > "$QUARTERDECK_ENV/$n"; done'
    )
    for command, said in (
        (fill, r"takes 76 MB, more than 64|ended \(disk\)"),
        (f"{fill}; sleep 600", r"ended \(disk\)"),
    ):
        section = SandboxSection(setup=(command,), setup_network=(), disk_mb=16)
        with pytest.raises(BadConfiguration, match=said):
            await place.environments.get(place.mirror, commit, section, place.provider)


async def test_another_lock_file_or_command_is_another_environment(place: Place) -> None:
    commit = await commit_of(place)
    section = SandboxSection(setup=("true",), setup_network=())
    one = await place.environments.get(place.mirror, commit, section, place.provider)
    (place.repository / "thing.py").write_text("VALUE = 3\n")
    git(place.repository, "commit", "-qam", "Source")
    assert await place.environments.get(place.mirror, await commit_of(place), section, place.provider) == one
    (place.repository / "requirements.txt").write_text("# changed\n")
    git(place.repository, "commit", "-qam", "Lock")
    commit = await commit_of(place)
    two = await place.environments.get(place.mirror, commit, section, place.provider)
    other = SandboxSection(setup=("true #",), setup_network=())
    assert len({one, two, await place.environments.get(place.mirror, commit, other, place.provider)}) == 3
    assert await place.environments.get(place.mirror, commit, SandboxSection(setup=()), place.provider) is None
    assert len(place.environments.prune(1, idle_seconds=0)) == 2
    assert place.environments.prune(0) == []
    assert len(list(one.parent.glob("*.lock")) if one else ()) == 1


async def test_what_was_built_with_code_that_is_not_merged_serves_nobody_else(place: Place) -> None:
    """A change that says as much of its packages as another one does not run on what the other's code has built."""
    await commit_of(place)
    section = SandboxSection(setup=('cp *.py "$QUARTERDECK_ENV/"',), setup_network=())

    async def built(branch: str, start: str, text: str) -> tuple[Path, str]:
        git(place.repository, "switch", "-qC", branch, start)
        (place.repository / "requirements.txt").write_text("# one more\n")
        (place.repository / "thing.py").write_text(text)
        git(place.repository, "commit", "-qam", text)
        path = await place.environments.get(place.mirror, await commit_of(place), section, place.provider)
        assert path is not None
        return path, (path / "thing.py").read_text()

    hostile, _ = await built("hostile", "main", "HOOK = 1\n")
    sound, text = await built("sound", "main", "VALUE = 2\n")
    assert sound != hostile
    assert text == "VALUE = 2\n"
    assert await built("later", "sound", "VALUE = 3\n") == (sound, text)
    git(place.repository, "switch", "-q", "hostile")
    for one in (place.environments, place.again):  # nor does one who was told of neither
        assert await one.get(place.mirror, await commit_of(place), section, place.provider) == hostile


async def test_a_commit_that_nobody_knows_any_more_serves_nobody(place: Place) -> None:
    commit = await commit_of(place)
    section = SandboxSection(setup=("true",), setup_network=())
    path = await place.environments.get(place.mirror, commit, section, place.provider)
    assert path is not None
    gone = path.with_name(f"{path.name.partition('.')[0]}.{'1' * 40}")
    for end in ("", ".json"):
        path.with_name(path.name + end).rename(gone.with_name(gone.name + end))
    assert await place.again.get(place.mirror, commit, section, place.provider) == path


async def test_a_build_that_fails_says_why_and_leaves_nothing(place: Place) -> None:
    commit = await commit_of(place)
    section = SandboxSection(
        setup=('echo half > "$QUARTERDECK_ENV/half"', "echo the reason >&2; exit 3"), setup_network=()
    )
    for _ in range(2):
        with pytest.raises(BadConfiguration, match="ended with 3") as caught:
            await place.environments.get(place.mirror, commit, section, place.provider)
        assert "the reason" in caught.value.why
        assert caught.value.fix
    assert await place.provider.reap(frozenset()) == []


async def test_what_has_just_failed_is_not_built_again_for_each_who_asks(place: Place) -> None:
    commit, clock, builds = await commit_of(place), [100.0], list[tuple[str, ...]]()
    environments = Environments(place.ground.environments, place.proxies, Packages({}), lambda: clock[0])
    section = SandboxSection(
        setup=("echo 'ERROR: no such package'; echo 'notice: update me'; exit 3",), setup_network=()
    )

    async def announce(commands: tuple[str, ...]) -> None:
        builds.append(commands)

    async def ask(section: SandboxSection = section) -> BadConfiguration:
        with pytest.raises(BadConfiguration, match="ended with 3: ERROR: no such package") as caught:
            await environments.get(place.mirror, commit, section, place.provider, announce)
        return caught.value

    first, *others = await asyncio.gather(ask(), ask(), ask())
    assert len(builds) == 1
    assert {(str(error), error.fix) for error in others} == {(str(first), first.fix)}
    await ask(section.model_copy(update={"disk_mb": 4096}))
    assert len(builds) == 2, "with other settings it may be built"
    clock[0] += 61.0
    await ask()
    assert len(builds) == 3, "what was wrong may be over"


FETCH = "python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:%d/\", timeout=20)'"


async def test_what_cannot_be_reached_now_is_no_mistake_of_the_configuration(place: Place) -> None:
    commit, clock = await commit_of(place), [100.0]
    environments = Environments(place.ground.environments, place.proxies, Packages({}), lambda: clock[0])
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))  # nobody listens
        port = kept.getsockname()[1]
        section = SandboxSection(
            setup=(f"env -u no_proxy -u NO_PROXY {FETCH % port}",), setup_network=(f"127.0.0.1:{port}",)
        )
        for _ in range(2):
            with pytest.raises(SandboxFailed, match="cannot be built now") as caught:
                await environments.get(place.mirror, commit, section, place.provider)
            assert caught.value.why.startswith("127.0.0.1 cannot be reached\n")
            assert "HTTP Error 502" in caught.value.why, "and what the command said"
    served = await asyncio.start_server(_answer, "127.0.0.1", port)
    async with served:
        clock[0] += 61.0
        assert await environments.get(place.mirror, commit, section, place.provider) is not None


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("Obtaining x\nERROR: No matching distribution found for y\n\n[notice] A new release of pip", "No matching"),
        ("fatal: bad object\n", "fatal: bad object"),
        ("make: one\nmake: two\n \n", "make: two"),
        ("terrorise\nthe last", "the last"),
        ("", ""),
    ],
)
def test_the_line_that_says_why_is_found(output: str, line: str) -> None:
    assert line in telling(output)


async def test_what_a_killed_build_left_behind_is_not_used(place: Place) -> None:
    commit = await commit_of(place)
    section = SandboxSection(setup=('test ! -e "$QUARTERDECK_ENV/half"',), setup_network=())
    path = await place.environments.get(place.mirror, commit, section, place.provider)
    assert path is not None
    path.with_name(f"{path.name}.json").unlink()
    (path / "half").write_text("")
    assert await place.again.get(place.mirror, commit, section, place.provider) == path
    assert not (path / "half").exists()
