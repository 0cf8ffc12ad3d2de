"""Which engine a deck has: the one in its own file, or the one for many workers in PostgreSQL.

Rules
- The database decides: on PostgreSQL every process that performs jobs is one worker among others.
- Every worker has a label that tells its machine from others: what needs that machine's files is performed there. One
  whose machine performs runs without a sandbox says so by another.
"""

import os
import re
import socket
from pathlib import Path
from typing import Final

from quarterdeck import __version__
from quarterdeck.assembly import late
from quarterdeck.assembly.bare import bare_labels
from quarterdeck.assembly.configured import offering
from quarterdeck.assembly.reacting import OperatorsFile
from quarterdeck.engine.embedded import EmbeddedEngine
from quarterdeck.engine.port import Engine
from quarterdeck.engine.seats import Pace, Place, Seat
from quarterdeck.kernel.clock import Clock
from quarterdeck.settings import Settings, read_secret
from quarterdeck.store.port import Store
from quarterdeck.triggers.port import GITHUB

_MACHINE: Final = Path("/etc/machine-id")


def own_label() -> str:
    """The label that every worker on this machine has, and no other: machines may well have the same name."""
    try:
        machine = _MACHINE.read_text(encoding="ascii").strip()[:8]
    except (OSError, ValueError):  # in containers, which have names of their own
        machine = ""
    name = "-".join(filter(None, (socket.gethostname(), machine)))
    return f"host={re.sub(r'[^A-Za-z0-9._-]', '-', name)[-63:] or 'unnamed'}"


async def make_engine(settings: Settings, store: Store, owner: str, clock: Clock, place: Place | None) -> Engine:
    """The engine over that store. place: None = all of it. Raises MissingPart, BadConfiguration, StoreUnavailable."""
    place, configured = place or Place(), OperatorsFile(settings.home)
    if settings.database_url is None or store.dialect == "sqlite":
        lock = _beside(settings) / "owner.lock"
        return EmbeddedEngine(store, lock, owner, clock, concurrency=place.capacity)
    seat = Seat(
        owner=owner,
        host=socket.gethostname()[:200],
        pid=os.getpid(),
        version=__version__,
        queues=place.queues,
        labels=tuple(sorted({*place.labels, own_label(), *bare_labels(settings)})),
        capacity=place.capacity,
        offers=offering(configured, read_secret),
        labelled=frozenset({GITHUB}),  # what landed in a repository of one machine is taken from there
    )
    pace = Pace(configured().workers.takeover)
    workers = late.many_workers()
    await workers.prepare(store)
    return workers.ProcrastinateEngine(store, settings.database_url, seat, clock, pace)


def _beside(settings: Settings) -> Path:
    """Where the SQLite file lies: in the home, or where several homes share it."""
    return settings.home if settings.database_url is None else Path(settings.database_url).parent
