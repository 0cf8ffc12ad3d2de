"""Root's deck that was left without the right to look into other processes, as in a container: it keeps sandboxes
apart, blames no agent for what it cannot see, and says that it is weaker there."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from quarterdeck.testing.sandbox_conformance import LIMITS, opened
from quarterdeck.workplace.bubblewrap import Bubblewrap
from quarterdeck.workplace.callers import Callers, Connection
from quarterdeck.workplace.ground import Ground
from quarterdeck.workplace.port import Spec
from quarterdeck.workplace.proxy import Indexes, Proxies
from quarterdeck.workplace.watchdog import Watchdog
from quarterdeck.workplace.workspaces import Workspaces

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0, reason="an ordinary user may look into its agents"
    ),
]

_LESS = """
import ctypes, os, sys
assert ctypes.CDLL(None).prctl(24, 19, 0, 0, 0) == 0  # PR_CAPBSET_DROP, CAP_SYS_PTRACE
os.execv(sys.executable, sys.argv[1:])
"""
_ASK = """
import os, socket
one = socket.create_connection(("127.0.0.1", 3128))
one.sendall(b"CONNECT a.example:443 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
assert b" 403 " in one.recv(100)
kept = os.open("gone", os.O_RDWR | os.O_CREAT)
os.unlink("gone")
os.write(kept, bytes(1 << 20))
open("begun", "w").write("x")
open("go").read()
"""


class Noting(Callers):
    """Notes whom it let in."""

    names: list[str | None]

    def enter(self, connection: Connection | None) -> str | None:
        self.names = [*getattr(self, "names", []), super().enter(connection)]
        return self.names[-1]


def _unknown(ground: Ground, name: str) -> int:
    """What the watchdog of a sandbox could not look into, in two looks."""
    occupation = Workspaces(ground).occupation(name)
    assert occupation is not None
    watchdog = Watchdog(occupation.root.pid, ground.place(name) / "w", LIMITS)
    for _ in range(2):
        watchdog.stats()
    return watchdog.look().unknown


async def look_around() -> None:
    """Two sandboxes, each with a connection and a file that it has deleted and keeps open."""

    async def indexes() -> Indexes:
        return Indexes(())

    below = Path(tempfile.mkdtemp(prefix="qd-less-"))
    ground = Ground(below / "home").prepare()
    proxies = Proxies(ground.sockets, indexes)
    try:
        proxy = await proxies.proxy(("b.example",))
        proxy._callers = noting = Noting()
        specs = [Spec(name, proxy_socket=proxy.path, limits=LIMITS) for name in ("one", "two")]
        async with opened(Bubblewrap(ground), specs[0]) as one, opened(Bubblewrap(ground), specs[1]) as two:
            asking = []
            for sandbox in (one, two):
                await sandbox.exec("mkfifo begun go", timeout=20)
                asking.append(asyncio.create_task(sandbox.exec(["python3", "-c", _ASK], timeout=60)))
                await sandbox.exec("read x < begun", timeout=60)
            unknown = [await asyncio.to_thread(_unknown, ground, spec.id) for spec in specs]
            for sandbox in (one, two):
                await sandbox.exec(": > go", timeout=20)
            ended = [(await task).exit_code for task in asking]
        probe = await Bubblewrap(ground).probe()
        print(ended, unknown, len(set(noting.names)), "gone" in noting.names, probe.ok, len(probe.warnings))
    finally:
        await proxies.close()
        ground.destroy()
        shutil.rmtree(below)


@pytest.mark.parametrize(("less", "warnings"), [(True, 1), (False, 0)])
def test_a_deck_of_root_that_may_not_look_into_processes(less: bool, warnings: int) -> None:
    code = "import asyncio, test_less_rights; asyncio.run(test_less_rights.look_around())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        [sys.executable, "-c", _LESS, *command] if less else command,
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"[0, 0] [0, 0] 2 False True {warnings}\n", done.stderr
