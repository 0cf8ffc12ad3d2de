"""One transaction's appends: fence, project, chain, and write with few statements. Runs on the store's thread.

Rules
- A commit is taken in whole or not at all; what is wrong with it is kept for its caller and harms no neighbour. Only
  where nobody waited for it (`soon`), what its claim has queued behind it fails with it: it builds on it.
- A commit's `also` runs before its events are added.
- What follows from an event comes after it, in the order of the events.
- An `also` costs a savepoint only where it has to: one that fails after it has changed something makes the whole batch
  be done again, `careful`ly.
- Moving a stream's head fails in the database where the head is not where this process remembers it.
"""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from quarterdeck.journal.changes import Changes, Op
from quarterdeck.journal.port import Also, Claim, Reactions, Record
from quarterdeck.journal.projections import plans_of, project
from quarterdeck.journal.proof import chain
from quarterdeck.kernel.events import MAX_EVENT_BYTES, EventBase, encode
from quarterdeck.kernel.failures import BadInput, StaleClaim
from quarterdeck.store.blobs import pack
from quarterdeck.store.port import Torn, Tx


@dataclass(slots=True)
class Line:
    """One event on its way into the journal."""

    claim: Claim
    event: EventBase
    body: bytes


@dataclass(slots=True)
class Commit:
    lines: list[Line]
    also: Also | None
    at: float
    future: "asyncio.Future[None]"
    soon: bool = False
    """More was queued without waiting for it."""
    error: Exception | None = None


@dataclass(slots=True)
class Head:
    """A stream's end, as it moves during one transaction."""

    id: int
    name: str
    epoch: int
    seq: int
    hash: bytes
    last: int
    at: float = 0.0
    step: int = 0
    before: int = 0
    """`seq` as this transaction found it."""


class Faults:
    """What went wrong with commits that others build on, by claim."""

    def __init__(self) -> None:
        self._by_claim: dict[Claim, Exception] = {}

    def before(self, commit: Commit) -> Exception | None:
        """Why the commit cannot be taken, whatever it says."""
        if not self._by_claim:
            return None
        return next((self._by_claim[line.claim] for line in commit.lines if line.claim in self._by_claim), None)

    def add(self, commit: Commit, error: Exception) -> None:
        commit.error = error
        if commit.soon:
            self._by_claim.update((line.claim, error) for line in commit.lines)

    def clear(self) -> None:
        """What was queued behind them is answered: whoever brings more can know what went wrong."""
        self._by_claim.clear()

    def forget(self, commits: Iterable[Commit]) -> None:
        """The commits are tried again."""
        for commit in commits:
            for line in commit.lines if commit.soon else ():
                self._by_claim.pop(line.claim, None)


def line_of(claim: Claim, event: EventBase) -> Line:
    """The event as it is stored. Raises BadInput where it is too large."""
    body = encode(event)
    if len(body) > MAX_EVENT_BYTES:
        raise BadInput(
            f"The event {event.kind} is too large",
            why=f"{len(body)} bytes, at most {MAX_EVENT_BYTES} are allowed",
            fix="put its body into a blob",
        )
    return Line(claim, event, body)


class _Appender:
    """One transaction's appends; runs on the store's thread."""

    def __init__(
        self, tx: Tx, heads: dict[str, Head], commits: list[Commit], reactions: Reactions, *, careful: bool
    ) -> None:
        self._tx = tx
        self._alone = tx.alone if careful else tx.lightly
        self._reactions = reactions
        self._follow: list[Record] = []
        self._plans = plans_of(tx)
        self._heads = heads
        self._events: list[tuple[Any, ...]] = []
        self._moved: dict[int, Head] = {}
        self._changes = Changes()
        self._last: int = tx.run("event_last")[0]["last"]
        streams = {line.claim.stream for commit in commits for line in commit.lines}
        if missing := [stream for stream in streams if stream not in heads]:
            for row in tx.run("stream_heads_of", names=json.dumps(missing)):
                heads[row["name"]] = Head(row["id"], row["name"], row["epoch"], row["seq"], row["hash"], row["last"])

    def add(self, commit: Commit) -> None:
        """Take the commit in. Raises what is wrong with it; then nothing of it is kept."""
        ops: list[Op] = []
        for line in commit.lines:
            head = self._heads.get(line.claim.stream)
            if head is None or head.epoch != line.claim.epoch:
                raise StaleClaim(
                    f"The stream {line.claim.stream} has a newer owner",
                    why=f"claim {line.claim.epoch}, newest {head.epoch if head else 'none'}",
                )
            ops += project(head.name, commit.at, line.event, self._plans)
        if commit.also is not None:
            self._alone(commit.also)
        for line in commit.lines:
            self._append(self._heads[line.claim.stream], line, commit.at)
        if ops:
            self._changes.add(ops)

    def _append(self, head: Head, line: Line, at: float) -> None:
        if head.id not in self._moved:
            self._moved[head.id] = head
            head.before = head.seq
        previous, self._last = head.last, self._last + 1
        head.last = self._last
        head.seq += 1
        head.hash = chain(head.hash, head.name, head.seq, at, head.epoch, line.body)
        head.at = at
        if _has_step(type(line.event)):
            head.step = getattr(line.event, "step")  # noqa: B009 - not every event has one
        self._events.append((head.last, head.id, head.seq, previous, at, head.epoch, head.hash, line.body))
        if type(line.event) in self._reactions:
            self._follow.append(Record(head.name, head.seq, at, head.epoch, line.event, head.hash.hex()))

    def finish(self) -> None:
        if self._events:
            self._tx.run_many("event_add", self._events)
            self._tx.run_many("stream_advance", [_moved(head) for head in self._moved.values()])
            self._changes.apply(self._tx)
        for record in self._follow:
            self._reactions[type(record.event)](self._tx, record)


def _moved(head: Head) -> tuple[Any, ...]:
    return head.id, head.before, head.epoch, head.seq, head.hash, head.last, head.at, head.step


@cache
def _has_step(kind: type[EventBase]) -> bool:
    """Remembered, because asking an event for a field that it has not got is slow."""
    return "step" in kind.model_fields


def store_batch(
    tx: Tx,
    heads: dict[str, Head],
    commits: list[Commit],
    blobs: dict[str, bytes],
    faults: Faults,
    reactions: Reactions,
    *,
    careful: bool,
) -> None:
    """Blobs first, then the commits that hold. Raises Torn, never where it is `careful`."""
    if blobs:
        tx.run_many("blob_put", [_blob_row(digest, data) for digest, data in blobs.items()])
    if not commits:
        return
    appender = _Appender(tx, heads, commits, reactions, careful=careful)
    for commit in commits:
        commit.error = faults.before(commit)
        if commit.error is None:
            try:
                appender.add(commit)
            except Torn:
                raise
            except Exception as error:  # noqa: BLE001 - raised again at the commit's caller
                faults.add(commit, error)
    appender.finish()


def _blob_row(digest: str, data: bytes) -> tuple[bytes, int, bytes]:
    codec, body = pack(data)
    return bytes.fromhex(digest), codec, body
