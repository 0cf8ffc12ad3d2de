"""What goes wrong with a fleet, one fault at a time and several at once.

Rules
- A fault counts as injected only where it met something: a process, a connection, a disk that then was full.
- Each mends by itself within seconds, and two of them never hit the same worker at once.
"""

import asyncio
import errno
import random
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from quarterdeck.testing.chaos.fleet import Member
from quarterdeck.testing.chaos.stepped import step

_FILL: Final = 256 * 1024
_HOUR: Final = 3600.0
DISK: Final = 96
"""MiB of the disk that can be full."""


class Kind(StrEnum):
    """What can go wrong."""

    KILL = "SIGKILL"
    STOP = "SIGSTOP and SIGCONT"
    RESTART = "restart of PostgreSQL"
    CUT = "connections cut"
    DISK = "disk full"
    CLOCK = "clock step of an hour"
    PARTITION = "network partition"


@dataclass(slots=True)
class Told:
    """What was injected."""

    injected: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    at: list[tuple[float, Kind]] = field(default_factory=list)
    """When each began, by the loop's clock."""

    @property
    def total(self) -> int:
        return sum(self.injected.values())


class Faults:
    """Injects faults into a fleet.

    `restart`: restarts the database's server and returns when it answers again. `small`: members whose ground lies on a
    disk of `DISK` MiB.
    """

    def __init__(
        self,
        members: Sequence[Member],
        small: Sequence[Member],
        restart: Callable[[], Awaitable[None]],
        rng: random.Random,
    ) -> None:
        self.told = Told()
        self._members = members
        self._small = small
        self._restart = restart
        self._rng = rng
        self._busy: set[str] = set()
        self._going: set[asyncio.Task[None]] = set()
        self._restarting = False
        self._ways: dict[Kind, Callable[[Member], Awaitable[bool]]] = {
            Kind.KILL: self._kill,
            Kind.STOP: self._stop,
            Kind.RESTART: self._server,
            Kind.CUT: self._cut,
            Kind.DISK: self._disk,
            Kind.CLOCK: self._clock,
            Kind.PARTITION: self._partition,
        }

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What can be injected here."""
        return tuple(kind for kind in Kind if kind is not Kind.DISK or self._small)

    def begin(self, kind: Kind) -> None:
        """Begin such a fault, where a member is free for it."""
        among = self._small if kind is Kind.DISK else self._members
        free = [member for member in among if member.scene.name not in self._busy and member.pid is not None]
        if not free or (kind is Kind.RESTART and self._restarting):
            return
        member = self._rng.choice(free)
        task = asyncio.create_task(self._one(kind, member))
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def settle(self) -> None:
        """Until every fault has mended."""
        while self._going:
            await asyncio.gather(*self._going)

    async def _one(self, kind: Kind, member: Member) -> None:
        if kind is not Kind.RESTART:
            self._busy.add(member.scene.name)
        began = asyncio.get_running_loop().time()
        try:
            if await self._ways[kind](member):
                self.told.injected[kind] += 1
                self.told.at.append((began, kind))
        finally:
            self._busy.discard(member.scene.name)

    async def _kill(self, member: Member) -> bool:
        return member.kill(tree=self._rng.random() < 0.4)

    async def _stop(self, member: Member) -> bool:
        if not member.signal(signal.SIGSTOP):
            return False
        try:
            await asyncio.sleep(self._rng.choice((0.5, 2.0, 6.0)))
        finally:
            member.signal(signal.SIGCONT)
        return True

    async def _server(self, _member: Member) -> bool:
        self._restarting = True
        try:
            await self._restart()
        finally:
            self._restarting = False
        return True

    async def _cut(self, member: Member) -> bool:
        return member.proxy.cut() > 0

    async def _partition(self, member: Member) -> bool:
        member.proxy.lose()
        try:
            await asyncio.sleep(self._rng.choice((0.5, 2.0, 6.0)))
        finally:
            member.proxy.find()
        return True

    async def _clock(self, member: Member) -> bool:
        step(member.clock, self._rng.choice((_HOUR, -_HOUR)))
        await asyncio.sleep(self._rng.uniform(0.5, 3.0))
        step(member.clock, 0.0)
        return True

    async def _disk(self, member: Member) -> bool:
        heap = member.scene.ground.root / "full"
        full = await asyncio.to_thread(fill, heap)
        try:
            await asyncio.sleep(self._rng.uniform(0.5, 3.0))
        finally:
            heap.unlink(missing_ok=True)
        return full


def fill(heap: Path) -> bool:
    """Write until nothing more fits; whether it came to that."""
    with suppress(FileNotFoundError), heap.open("wb", buffering=0) as file:
        try:
            while file.tell() < 4 * DISK * 1024 * 1024:
                file.write(b"\0" * _FILL)
        except OSError as error:
            return error.errno == errno.ENOSPC
    return False


def small_disk(place: Path) -> bool:
    """Mount a disk of `DISK` MiB at that directory, which is made; False where that is not allowed here."""
    if sys.platform != "linux":
        return False
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=711", "quarterdeck-chaos", str(place)], capture_output=True
    )
    return done.returncode == 0


def unmount(place: Path) -> None:
    """Take the small disk away again."""
    subprocess.run(["umount", "--lazy", str(place)], capture_output=True)
