"""Worker processes beside each other, each with a home, a way to the database and a wall clock of its own.

Rules
- Processes are the shipped ones, save for their wall clock; one that ends is started anew, as an operator's supervisor
  would.
- They share a database and a git remote, and nothing else.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from quarterdeck.testing.chaos.processes import kill_all
from quarterdeck.testing.chaos.proxy import Proxy
from quarterdeck.testing.chaos.scene import Scene
from quarterdeck.workplace.watchdog import descendants

_AGAIN: Final = 0.5
"""Seconds after which one that ended is started anew."""
_ENDING: Final = 30.0

Address = Callable[[int], str]
"""The database's URL, by the loopback port of a way to it."""


class Member:
    """One worker, started again whenever it ends."""

    def __init__(self, scene: Scene, proxy: Proxy, database: Address, model_url: str, capacity: int) -> None:
        self.scene = scene
        self.proxy = proxy
        self.clock = scene.folder / f"{scene.name}.clock"
        self.starts = 0
        self._database = database
        self._model_url = model_url
        self._capacity = capacity
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

    def start(self) -> None:
        """Keep a process of it alive from now on."""
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            self._process = self._started()
            self.starts += 1
            await asyncio.to_thread(self._process.wait)
            await asyncio.sleep(_AGAIN)

    def _started(self) -> subprocess.Popen[bytes]:
        environment = self.scene.environment(self._model_url)
        environment["QUARTERDECK_DATABASE_URL"] = self._database(self.proxy.port)
        command = ["worker", "--capacity", str(self._capacity)]
        return subprocess.Popen(
            [sys.executable, "-m", "quarterdeck.testing.chaos.stepped", str(self.clock), *command],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def kill(self, *, tree: bool) -> bool:
        """SIGKILL it, with all processes below it where `tree`, as the loss of a machine does; False = it has none."""
        pid = self.pid
        if pid is None:
            return False
        below = descendants(pid) if tree else ()
        sent = self.signal(signal.SIGKILL)
        kill_all(below)
        return sent

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
