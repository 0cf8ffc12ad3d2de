"""What goes wrong with a fleet, one fault at a time and several at once.

Rules
- A fault counts as injected only where it was seen to take effect: a process died of the signal, stood still, a server
  has another process, connections of the database were open and are not, a disk takes no byte more, a clock was asked
  while it was off, nothing came through a network although the worker would have spoken.
- Each mends by itself within seconds, and two of them never hit the same worker at once.
"""

import asyncio
import errno
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from quarterdeck.testing.chaos.fleet import Member

_CHUNKS: Final = (1024 * 1024, 4096)
_HOUR: Final = 3600.0
_LONG: Final = (1.0, 2.0, 6.0)
"""Seconds; a worker gives a sign of life every half second and is struck off after two."""
DISK: Final = 160
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
    begun: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    """Those without effect included."""
    at: list[tuple[float, Kind]] = field(default_factory=list)
    """When each began, by the loop's clock."""

    @property
    def total(self) -> int:
        return sum(self.injected.values())


class Faults:
    """Injects faults into a fleet.

    `restart`: restarts the database's server and returns whether another one answers. `small`: members whose home lies
    on a disk of `DISK` MiB.
    """

    def __init__(
        self,
        members: Sequence[Member],
        small: Sequence[Member],
        restart: Callable[[], Awaitable[bool]],
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
        self.told.begun[kind] += 1
        try:
            if await self._ways[kind](member):
                self.told.injected[kind] += 1
                self.told.at.append((began, kind))
        finally:
            self._busy.discard(member.scene.name)

    async def _kill(self, member: Member) -> bool:
        return await member.kill(tree=self._rng.random() < 0.4)

    async def _stop(self, member: Member) -> bool:
        return await member.pause(self._rng.choice(_LONG))

    async def _server(self, _member: Member) -> bool:
        self._restarting = True
        try:
            return await self._restart()
        finally:
            self._restarting = False

    async def _cut(self, member: Member) -> bool:
        return member.ways.cut() > 0

    async def _partition(self, member: Member) -> bool:
        return await member.part(self._rng.choice(_LONG))

    async def _clock(self, member: Member) -> bool:
        return await member.step(self._rng.choice((_HOUR, -_HOUR)), self._rng.uniform(0.8, 3.0))

    async def _disk(self, member: Member) -> bool:
        heap = member.scene.home / "full"
        full = await asyncio.to_thread(fill, heap)
        try:
            await asyncio.sleep(self._rng.uniform(0.5, 3.0))
        finally:
            heap.unlink(missing_ok=True)
        return full


def fill(heap: Path) -> bool:
    """Write until not one block more fits; whether it came to that."""
    full = False
    with suppress(FileNotFoundError), heap.open("wb", buffering=0) as file:
        for chunk in _CHUNKS:
            full = False
            try:
                while file.tell() < 4 * DISK * 1024 * 1024:
                    file.write(b"\0" * chunk)
            except OSError as error:
                full = error.errno == errno.ENOSPC
        full = full and os.fstatvfs(file.fileno()).f_bavail == 0
    return full


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A disk of `DISK` MiB below a home and below the ground that belongs to it."""

    home: Path
    ground: Path

    def mount(self) -> bool:
        """Mount it, before anything is there; False where that is not allowed here."""
        if sys.platform != "linux":
            return False
        self.home.mkdir(parents=True)
        if not _mounted("-t", "tmpfs", "-o", f"size={DISK}m,mode=755", "quarterdeck-chaos", str(self.home)):
            return False
        if self.home not in self.ground.parents:
            (self.home / "ground").mkdir(mode=0o711)
            self.ground.mkdir(parents=True, exist_ok=True)
            if not _mounted("--bind", str(self.home / "ground"), str(self.ground)):
                self.unmount()
                return False
        return True

    def unmount(self) -> None:
        """Take it away again. What lies on it is lost."""
        for place in (self.ground, self.home):
            subprocess.run(["umount", "--lazy", str(place)], capture_output=True)


def _mounted(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0
