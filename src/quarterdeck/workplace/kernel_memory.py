"""Memory that the kernel holds for a sandbox beside its processes' shares: page tables, and what waits in sockets.

Rules
- Where there are so many sockets that they could hold more than the sandbox may, what waits in TCP and UDP ones is
  added up: that takes the kernel a while. Of unix sockets it does not say it, and so many that they could hold more
  are taken to hold it. None of these holds more than the machine's default: the system call filter sees to that.
- The sockets of the machine itself are nobody's share.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from quarterdeck.kernel.failures import UNWELL
from quarterdeck.workplace.namespaces import first_of

_KIBIBYTE: Final = 1024
_TABLES: Final = ("tcp", "tcp6", "udp", "udp6")
_DEFAULT: Final = 212_992
"""Bytes that a socket holds at most, where the machine does not say otherwise."""
_MOST_DEFAULT: Final = 1024 * 1024
_LARGEST: Final = 10 * 1024 * 1024
"""Bytes that a TCP socket may come to hold (the kernel's own `tcp_wmem` and `tcp_rmem`)."""


def page_tables(status: bytes) -> int:
    """Bytes, from /proc/PID/status."""
    return _kibibytes(status, b"VmPTE:")


def resident(status: bytes) -> int:
    """Bytes of a process that are in memory, from /proc/PID/status."""
    return _kibibytes(status, b"VmRSS:")


def _kibibytes(status: bytes, name: bytes) -> int:
    _, found, rest = status.partition(b"\n" + name)
    return int(rest.split(None, 1)[0]) * _KIBIBYTE if found else 0


def in_sockets(pids: Iterable[int], limit: int) -> int:
    """Bytes that the sockets hold which these processes of one sandbox share. `limit`: what the sandbox may use. Raises
    OSError where the machine does not let us look."""
    for pid in pids:
        try:
            if first_of(pid) == 0:  # it has no network of its own
                return 0
            number = _number(Path(f"/proc/{pid}/net/sockstat").read_bytes())
            tables = _TABLES if number * _LARGEST > limit else ()
            queued = sum(_queued(Path(f"/proc/{pid}/net/{table}").read_bytes()) for table in tables)
        except OSError as error:
            if error.errno in UNWELL:
                raise
            continue  # it has ended meanwhile; the next one shares them
        could = number * _each()
        return max(queued, could if could > limit else 0)
    return 0


def _number(sockstat: bytes) -> int:
    """How many sockets there are: `sockets: used N`."""
    words = sockstat.split(None, 3)
    return int(words[2]) if len(words) > 2 and words[2].isdigit() else 0


def _queued(table: bytes) -> int:
    """What waits to be sent and to be read: the column `tx_queue:rx_queue`, in hexadecimal digits."""
    total = 0
    for line in table.splitlines()[1:]:
        sent, colon, received = line.split()[4].partition(b":")
        total += int(sent, 16) + int(received, 16) if colon else 0
    return total


def _each() -> int:
    """Bytes that a socket may hold by this machine's default."""
    found = _DEFAULT
    for name in ("wmem_default", "rmem_default"):
        try:
            found = max(found, int(Path(f"/proc/sys/net/core/{name}").read_bytes()))
        except OSError:  # kept from this container
            continue
    return min(found, _MOST_DEFAULT)
