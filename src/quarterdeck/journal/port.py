"""The journal: append with fencing, read, follow, verify.

Rules
- A stream is a sequence of events numbered from 1. Each record's hash covers the one before it.
- Only the holder of the newest claim of a stream may append to it; claiming raises the epoch.
- One commit may append to several streams and defer jobs: all of it happens, or nothing.
- Blobs are stored no later than the event that names them.
- Read tables are brought up to date in the same transaction as the append, and what follows from an event (`Reaction`)
  is deferred in it.
"""

from asyncio import Future
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from quarterdeck.kernel.events import EventBase
from quarterdeck.store.port import Tx


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to append to one stream until somebody claims it anew."""

    stream: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it stands in the journal."""

    stream: str
    seq: int
    at: float
    """Seconds since the epoch, UTC."""
    epoch: int
    event: EventBase
    hash: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit appends to one stream."""

    claim: Claim
    events: tuple[EventBase, ...]


@dataclass(frozen=True, slots=True)
class ChainFault:
    """Where a stream's chain does not hold."""

    stream: str
    seq: int
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check of the chains found."""

    streams: int
    records: int
    faults: tuple[ChainFault, ...] = field(default=())
    pruned_streams: int = 0
    """Streams whose records were taken out; their ends were checked."""
    pruned_records: int = 0


Also = Callable[[Tx], None]
"""More work for the same transaction: deferring jobs, moving money."""


Reaction = Callable[[Tx, Record], None]
"""What follows from an event wherever it is appended, in the same transaction: deferring a job, and nothing that can
fail."""
Reactions = Mapping[type[EventBase], Reaction]


class Journal(Protocol):
    async def claim(self, stream: str) -> Claim:
        """Take over the stream: older claims are refused from now on. Raises Fenced where this process was taken for
        dead: it must not take from its heir what that has claimed."""
        ...

    async def commit(self, *entries: Entry, also: Also | None = None) -> None:
        """Append all entries and run `also` in one transaction. Raises StaleClaim, StoreUnavailable."""
        ...

    def append(self, claim: Claim, *events: EventBase, also: Also | None = None, kept: bool = False) -> "Future[None]":
        """`commit` of one entry: queued at once, in order, also before it is awaited.

        `kept`: it is written whoever leaves. A task that is cancelled while it waits hears of that when it is written,
        or has failed.
        """
        ...

    def append_soon(self, claim: Claim, *events: EventBase, also: Also | None = None) -> "Future[None]":
        """`append` for whoever does not wait: written with what comes next.

        Where it fails, what the claim has queued behind it by then fails too. Look at what it returns before the claim
        brings more, and await it before anything outside the journal relies on it.
        """
        ...

    def append_patiently(self, claim: Claim, *events: EventBase, also: Also | None = None) -> "Future[None]":
        """`append` for what may wait for company: written with whatever is queued next, in its place before that, and
        after a moment where nothing is. A process that dies in that moment has not written it."""
        ...

    def hurry(self) -> None:
        """What waits for company waits no longer."""
        ...

    async def read(self, stream: str, after: int = 0, limit: int = 10_000) -> list[Record]:
        """Records with `seq > after`, in order."""
        ...

    async def last(self, stream: str) -> Record | None:
        """The newest record of the stream, None where it is empty."""
        ...

    def follow(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        """All records with `seq > after`, also those that other processes will write. Never ends by itself."""
        ...

    async def streams(self, prefix: str = "") -> list[str]:
        """Names of all streams that start so."""
        ...

    async def lengths(self, prefix: str) -> dict[str, int]:
        """How many records each stream has that starts so."""
        ...

    async def put(self, data: bytes, *, patiently: bool = False) -> str:
        """Keep `data`; returns its digest. It is durable no later than any event committed after this call.
        `patiently`: it may wait for company, as what is appended so."""
        ...

    async def get(self, digest: str) -> bytes:
        """The blob. Raises NotFound."""
        ...

    async def anchor(self, claim: Claim) -> None:
        """Record in `deck` where all streams stand that have moved since that was done last."""
        ...

    async def verify(self, prefix: str = "") -> Verification:
        """Recompute the chains of all streams that start so, and hold them against the anchored heads."""
        ...
