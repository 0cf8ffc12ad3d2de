"""Worker processes beside each other, each with a home, a host, ways to what it needs and a wall clock of its own.

Rules
- Processes are the shipped ones, save for their wall clock; one that ends is started anew, as an operator's supervisor
  would.
- They share a database, a git remote and the models' server, all of which they reach through a network, and nothing
  else: temporary files, too, lie in a worker's own home.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.testing.chaos.hosts import Host
from quarterdeck.testing.chaos.processes import kill_all
from quarterdeck.testing.chaos.proxy import Proxy
from quarterdeck.testing.chaos.remote import configuration
from quarterdeck.testing.chaos.scene import Scene
from quarterdeck.testing.chaos.stepped import Clock
from quarterdeck.workplace.watchdog import descendants

_AGAIN: Final = 0.5
"""Seconds after which one that ended is started anew."""
_ENDING: Final = 30.0
_SEEN: Final = 2.0
"""Seconds within which a signal shows."""
_LOOK: Final = 0.01

Place = Callable[[], tuple[str, int]]
"""Host and port of a server."""


@dataclass(frozen=True, slots=True)
class Servers:
    """What workers reach through their network."""

    database: Place
    name: str
    """Of the database."""
    remote: Place
    model: Place


class Ways:
    """The ways from one worker to the servers."""

    def __init__(self, servers: Servers, host: str) -> None:
        self.database = Proxy(servers.database, host)
        self.remote = Proxy(servers.remote, host)
        self.model = Proxy(servers.model, host)
        self._all = (self.database, self.remote, self.model)

    async def start(self) -> None:
        """Listen on them."""
        for way in self._all:
            await way.start()

    @property
    def heard(self) -> int:
        """Bytes that came from the worker."""
        return sum(way.heard for way in self._all)

    def cut(self) -> int:
        """End all connections; how many of them led to the database."""
        cut = [way.cut() for way in self._all]
        return cut[0]

    def lose(self) -> None:
        """Hold everything back."""
        for way in self._all:
            way.lose()

    def find(self) -> None:
        """Let it go on."""
        for way in self._all:
            way.find()

    async def close(self) -> None:
        """End them."""
        for way in self._all:
            await way.close()


class Member:
    """One worker, started again whenever it ends. skew: the library that steps its clock; None = there is none."""

    def __init__(self, scene: Scene, host: Host, servers: Servers, capacity: int, skew: Path | None) -> None:
        self.scene = scene
        self.host = host
        self.ways = Ways(servers, host.gateway)
        self.clock = Clock(scene.folder / f"{scene.name}.clock")
        self.starts = 0
        self._name = servers.name
        self._capacity = capacity
        self._skew = skew
        self._process: subprocess.Popen[bytes] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._log = (scene.folder / f"{scene.name}.log").open("ab")

    @property
    def log(self) -> Path:
        """What its processes said."""
        return Path(self._log.name)

    @property
    def pid(self) -> int | None:
        """Of its process; None = it has none now."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    async def start(self) -> None:
        """Keep a process of it alive from now on."""
        await self.ways.start()
        (self.scene.home / "tmp").mkdir(exist_ok=True)
        (self.scene.home / "gitconfig").write_text(configuration(self.host.gateway, self.ways.remote.port))
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self._process = self._started()
            self.starts += 1
            await asyncio.to_thread(self._process.wait)
            await asyncio.sleep(_AGAIN)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._skew is None:
            program = [sys.executable, "-m", "quarterdeck.testing.chaos.stepped", str(self.clock.file)]
        else:
            # By `env`, because what leads into the host must not be the one that the library is put before.
            skewed = [f"LD_PRELOAD={self._skew}", f"CHAOS_CLOCK={self.clock.file}"]
            program = ["env", *skewed, sys.executable, "-m", "quarterdeck.cli.main"]
        command = [*program, "worker", "--capacity", str(self._capacity)]
        return subprocess.Popen(
            self.host.inside(command),
            env=self._environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def _environment(self) -> Mapping[str, str]:
        host, ways = self.host.gateway, self.ways
        environment = self.scene.environment(f"http://{host}:{ways.model.port}")
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
        return environment | {
            "QUARTERDECK_DATABASE_URL": f"postgresql://postgres@{host}:{ways.database.port}/{self._name}",
            "GIT_CONFIG_GLOBAL": str(self.scene.home / "gitconfig"),
            "TMPDIR": str(self.scene.home / "tmp"),
        }

    async def kill(self, *, tree: bool) -> bool:
        """SIGKILL it, with all processes below it where `tree`, as when a machine is lost; whether it died of that."""
        process = self._process
        if process is None or process.poll() is not None:
            return False
        if tree:
            self.signal(signal.SIGSTOP)  # so that it starts nothing while its children are counted
        below = descendants(process.pid) if tree else ()
        self.signal(signal.SIGKILL)
        kill_all(below)
        await asyncio.to_thread(process.wait)
        return process.returncode == -signal.SIGKILL

    async def pause(self, seconds: float) -> bool:
        """Stop it for so long; whether it stood still."""
        pid = self.pid
        if pid is None or not self.signal(signal.SIGSTOP):
            return False
        try:
            stood = await self._seen(lambda: _state(pid) == "T")
            await asyncio.sleep(seconds)
            stood = stood and _state(pid) == "T"
        finally:
            self.signal(signal.SIGCONT)
        return stood and await self._seen(lambda: _state(pid) != "T")

    async def part(self, seconds: float) -> bool:
        """Let nothing through between it and everything else for so long; whether nothing was heard of it, where
        something would have been: each worker gives signs of life."""
        talking = self.pid is not None and self.ways.database.connections > 0
        if not self.host.pull():
            self.ways.lose()
        try:
            await asyncio.sleep(_SEEN / 10)  # what was on its way already
            before = self.ways.heard
            await asyncio.sleep(seconds)
            return talking and self.ways.heard == before
        finally:
            self.host.plug()
            self.ways.find()

    async def step(self, seconds: float, how_long: float) -> bool:
        """Step its wall clock, and back after `how_long` seconds, or later where it did not look at it until then;
        whether it did."""
        before = self.clock.asked
        self.clock.step(seconds)
        await asyncio.sleep(how_long)
        looked = await self._seen(lambda: self.clock.asked > before)
        self.clock.step(0.0)
        return looked

    def signal(self, number: signal.Signals) -> bool:
        """Send it a signal; False = it has no process."""
        pid = self.pid
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    async def end(self) -> None:
        """End it in order, and what it left with force."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, _ENDING)
            except subprocess.TimeoutExpired:
                kill_all((*descendants(process.pid), process.pid))
                await asyncio.to_thread(process.wait)
        self._log.close()

    async def _seen(self, what: Callable[[], bool]) -> bool:
        for _ in range(int(_SEEN / _LOOK)):
            if what():
                return True
            await asyncio.sleep(_LOOK)
        return False


def _state(pid: int) -> str:
    """How the kernel says a process stands (`T` = stopped); empty = there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
