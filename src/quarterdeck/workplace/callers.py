"""How many connections each sandbox has to a socket of ours.

Rules
- A connection is its sandbox's, whichever of its processes made it: that is told by the process namespace of who
  connected, as the kernel noted it. Nothing that is said on the connection counts.
- A sandbox has no more than its worker's bridge would ever make: no agent takes all descriptors of this process.
- Processes that ended and left a connection to others are taken for one sandbox; those in none have a bound in common.
"""

import socket
import struct
import sys
from collections import Counter
from typing import Final, Protocol

from quarterdeck.workplace.namespaces import first_of
from quarterdeck.workplace.worker_bridge import CONNECTIONS

EACH: Final = CONNECTIONS + 8
"""Connections of one sandbox: what its bridge makes, and a few that are just ending."""
OTHERS: Final = 16_384
"""Of all that are in no sandbox."""
_GONE: Final = "gone"
_CREDENTIALS: Final = struct.Struct("3i")


class Connection(Protocol):
    """A socket, or what asyncio shows of one."""

    def getsockopt(self, level: int, name: int, length: int, /) -> bytes: ...


class Callers:
    """Who is connected to one socket."""

    def __init__(self, each: int = EACH, others: int = OTHERS) -> None:
        self._each = each
        self._others = others
        self._count: Counter[str] = Counter()

    def enter(self, connection: Connection | None) -> str | None:
        """Count a connection; the name to `leave` under, or None where there are too many already."""
        name = caller(connection)
        if self._count[name] >= (self._each if name else self._others):
            return None
        self._count[name] += 1
        return name

    def leave(self, name: str) -> None:
        """It has ended."""
        self._count[name] -= 1
        if self._count[name] <= 0:
            del self._count[name]


def caller(connection: Connection | None) -> str:
    """The sandbox that a connection on a unix socket comes from; empty = none."""
    if sys.platform != "linux" or connection is None:
        return ""
    try:
        said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:  # no unix socket
        return ""
    first = first_of(_CREDENTIALS.unpack(said)[0])
    return _GONE if first is None else str(first or "")
