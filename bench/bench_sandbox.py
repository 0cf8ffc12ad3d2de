"""Sandboxes: start, file operation, command, and workspaces of a real repository, alone and 35 side by side; bubblewrap
beside no sandbox, a plain directory, a bare subprocess and `git worktree add`, in one run.

usage: [BENCH_DATA=DIR] python -m bench.bench_sandbox [--rounds N] [--side-by-side N]

Rules
- Every round measures each side once, so that what else the machine does hits all of them.
- The repository is `$BENCH_DATA/click`; without it one of the same size (166 files) is made.
- A workspace is ready when its commit is checked out and git knows that nothing is changed; all lie on the same disk.
- Memory is the proportional set size of everything below the sandboxes, bwrap included.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from bench.figures import Figure, Target, show
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.plain import Plain
from quarterdeck.workplace.port import Provider, Sandbox, Spec
from quarterdeck.workplace.watchdog import descendants

FILES: Final = 166
SIDE_BY_SIDE: Final = 35
DATA: Final = b"x" * 4096
TRIES: Final = 50
"""How often a worktree is tried."""

Work = Callable[[], Awaitable[object]]


@dataclass(slots=True)
class Timed:
    """Milliseconds by what was measured and by who did it."""

    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    async def add(self, what: str, who: str, work: Work) -> None:
        began = time.perf_counter()
        await work()
        spent = (time.perf_counter() - began) * 1000
        self.found.setdefault(what, {}).setdefault(who, []).append(spent)

    def median(self, what: str) -> dict[str, float]:
        """By who did it, in the order in which they began."""
        return {who: round(statistics.median(many), 3) for who, many in self.found[what].items()}


@dataclass(frozen=True, slots=True)
class Place:
    """A repository, its mirror and the providers over one ground."""

    repository: Path
    mirror: Mirror
    head: str
    providers: Mapping[str, Provider]
    ground: Ground
    version: str

    async def workspace(self, who: str, name: str) -> Sandbox:
        """A sandbox with the repository checked out."""
        sandbox = await self.providers[who].create(Spec(id=name, objects=self.mirror.objects))
        await sandbox.import_(self.head)
        return sandbox

    async def gone(self, who: str, sandbox: Sandbox) -> None:
        await sandbox.close()
        await self.providers[who].discard(sandbox.id)

    async def worktree(self, name: str) -> int:
        """What a fleet without isolation does. Returns how many tries failed: one may, while git makes another of the
        same repository. Exits where none succeeds."""
        path = str(self.ground.workspaces / name)
        argv = ("git", "-C", str(self.repository), "worktree", "add", "-q", "--detach", path, self.head)
        for failed in range(TRIES):
            process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.DEVNULL)
            if not await process.wait():
                return failed
        raise SystemExit(f"git made no worktree {path}")

    async def drop_worktree(self, name: str) -> None:
        path = str(self.ground.workspaces / name)
        await _run("git", "-C", str(self.repository), "worktree", "remove", "--force", path)


async def _run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv)
    if await process.wait():
        raise SystemExit(f"`{' '.join(argv)}` failed")


def make_repository(where: Path, files: int = FILES) -> None:
    """A repository with files of some kilobytes in a few directories."""
    for number in range(files):
        path = where / f"part{number % 12}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"value_{line} = {line * number}\n" for line in range(300)))
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    for arguments in (("init", "-q"), ("add", "."), (*identity, "commit", "-qm", "Start")):
        subprocess.run(["git", *arguments], cwd=where, check=True)


async def operations(place: Place, rounds: int) -> Timed:
    """File operations and a command, round by round."""
    timed = Timed()
    opened = {who: await place.workspace(who, f"operations-{who}") for who in place.providers}
    with tempfile.TemporaryDirectory(dir=place.ground.workspaces) as folder:
        path = Path(folder) / "file"
        for number in range(rounds):
            for who, sandbox in opened.items():
                await timed.add("write", who, partial(sandbox.write, f"new{number}", DATA))
                await timed.add("read", who, partial(sandbox.read, f"new{number}"))
                await timed.add("command", who, partial(sandbox.exec, ("true",), timeout=60))
            await timed.add("write", "thread and file", lambda: asyncio.to_thread(path.write_bytes, DATA))
            await timed.add("read", "thread and file", lambda: asyncio.to_thread(path.read_bytes))
            await timed.add("command", "bare subprocess", lambda: _run("true"))
    for who, sandbox in opened.items():
        await place.gone(who, sandbox)
    return timed


async def workspaces(place: Place, rounds: int) -> Timed:
    """Sandbox start and workspaces, round by round."""
    timed = Timed()
    for number in range(rounds):
        for who in place.providers:
            name = f"workspace-{who}-{number}"
            spec = Spec(id=name, objects=place.mirror.objects)
            made: list[Sandbox] = []

            async def ready(who: str = who, spec: Spec = spec, made: list[Sandbox] = made) -> None:
                await timed.add("start", who, lambda: _made(place.providers[who], spec, made))
                await made[0].import_(place.head)

            await timed.add("workspace", who, ready)
            await place.gone(who, made[0])
        await timed.add("workspace", place.version, partial(place.worktree, f"tree-{number}"))
        await place.drop_worktree(f"tree-{number}")
        await timed.add("start", "bare subprocess", lambda: _run("true"))
    return timed


async def _made(provider: Provider, spec: Spec, into: list[Sandbox]) -> None:
    into.append(await provider.create(spec))


@dataclass(frozen=True, slots=True)
class Crowd:
    """Many workspaces at once."""

    seconds: float
    megabytes: float


async def crowd(place: Place, who: str, count: int) -> Crowd:
    """`count` workspaces side by side, each ready and each with a command that passed in it. Exits where one fails."""

    async def one(number: int) -> Sandbox:
        sandbox = await place.workspace(who, f"crowd-{who}-{number}")
        result = await sandbox.exec('test -z "$(git status --porcelain)"', timeout=120)
        if result.exit_code != 0:
            raise SystemExit(f"workspace {number} of {count} is not ready: {result}")
        return sandbox

    began = time.perf_counter()
    opened = await asyncio.gather(*map(one, range(count)))
    seconds = time.perf_counter() - began
    megabytes = sum(map(_proportional, descendants(os.getpid()))) / 1024
    await asyncio.gather(*(place.gone(who, sandbox) for sandbox in opened))
    return Crowd(seconds, megabytes)


@dataclass(frozen=True, slots=True)
class Trees:
    """Many worktrees of one repository; no command is run in them."""

    at_once: float
    """Seconds."""
    failed: int
    """Tries that git gave up, since it was making another one; each was made again."""
    in_turn: float
    """Seconds, one after the other."""


async def crowd_of_trees(place: Place, count: int) -> Trees:
    """The same number of worktrees, side by side as ours are, and one after the other."""
    names = [f"crowd-{number}" for number in range(count)]
    began = time.perf_counter()
    failed = sum(await asyncio.gather(*map(place.worktree, names)))
    at_once = time.perf_counter() - began
    for name in names:
        await place.drop_worktree(name)
    began = time.perf_counter()
    for name in names:
        await place.worktree(name)
    in_turn = time.perf_counter() - began
    for name in names:
        await place.drop_worktree(name)
    return Trees(at_once, failed, in_turn)


def _proportional(pid: int) -> int:
    """KiB; 0 where it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def table(timed: Timed, version: str) -> list[Figure]:
    """The figures of single operations."""
    chosen = (
        ("(d) sandbox: write 4 KB", "write", Target("ours", 2.0)),
        ("(d) sandbox: read 4 KB", "read", Target("ours", 2.0)),
        ("(d) sandbox: command", "command", None),
        ("(d) sandbox: start", "start", None),
        ("(d) sandbox: workspace of a click-sized repository", "workspace", Target("ours", 150.0)),
    )
    found = []
    for name, what, target in chosen:
        sides = timed.median(what)
        peers = {_NAMES.get(who, who): value for who, value in sides.items() if who != "bubblewrap"}
        rounds = len(timed.found[what]["bubblewrap"])
        best = min(timed.found[what]["bubblewrap"])
        note = f"median of {rounds}; best {best:.2g}; load {os.getloadavg()[0]:.1f}"
        found.append(Figure(name, "ms", sides["bubblewrap"], peers, target, note))
    return found


_NAMES: Final = {"none": "our worker without a sandbox"}


async def measure(repository: Path, home: Path, version: str, rounds: int, side_by_side: int) -> list[Figure]:
    """All figures. `version`: what worktrees are called, with git's."""
    ground = Ground(home).prepare()
    try:
        mirror = await Mirror.open(ground.mirrors, repository)
        head = await mirror.resolve("HEAD")
        await mirror.fetch(head)
        providers: dict[str, Provider] = {"bubblewrap": Bubblewrap(ground), "none": Plain(ground)}
        place = Place(repository, mirror, head, providers, ground, version)
        for who in providers:  # finds bwrap and python, once for a deck
            await place.gone(who, await place.workspace(who, f"first-{who}"))
        timed = await operations(place, rounds)
        timed.found |= (await workspaces(place, max(3, rounds // 5))).found
        many = {who: await crowd(place, who, side_by_side) for who in providers}
        trees = await crowd_of_trees(place, side_by_side)
    finally:
        ground.destroy()
    name, plain = f"(d) sandbox: {side_by_side} workspaces side by side", _NAMES["none"]
    return [
        *table(timed, version),
        Figure(
            f"{name}, all ready",
            "s",
            round(many["bubblewrap"].seconds, 3),
            {
                plain: round(many["none"].seconds, 3),
                f"{version}, side by side": round(trees.at_once, 3),
                f"{version}, one after the other": round(trees.in_turn, 3),
            },
            note=f"ours all succeeded and ran a command each; {trees.failed} tries of git side by side failed and were"
            f" made again; load {os.getloadavg()[0]:.1f}",
        ),
        Figure(
            f"{name}, memory of all processes",
            "MB",
            round(many["bubblewrap"].megabytes, 1),
            {plain: round(many["none"].megabytes, 1)},
        ),
    ]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--side-by-side", type=int, default=SIDE_BY_SIDE)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = os.environ.get("BENCH_DATA")
        source = Path(data) / "click" if data else None
        repository = Path(folder) / "repository"
        if source is not None and source.is_dir():
            subprocess.run(["git", "clone", "-q", "--no-local", str(source), str(repository)], check=True)
        else:
            repository.mkdir()
            make_repository(repository)
        said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
        version, home = f"git worktree add ({said})", Path(folder) / "home"
        show(asyncio.run(measure(repository, home, version, chosen.rounds, chosen.side_by_side)))


if __name__ == "__main__":
    main()
