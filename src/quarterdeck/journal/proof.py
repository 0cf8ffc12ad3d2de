"""Proof: the hash chain of a stream, and the check of all chains against the heads and the anchors.

Rules
- hash = SHA-256(previous hash, stream, seq, at, epoch, event bytes). The first record follows 32 zero bytes.
- The check of everything goes once over all records in the order of their commits; that of some streams goes along each
  of them. Both end where the heads were when they began.
- Of a stream whose records were taken out on the record, the end must be the one that is recorded. That may happen
  while the check is under way: what looks broken is held against the record once more.
- What somebody wrote into the database may be of any type: the check finds faults, it does not fail on them.
"""

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.journal.anchors import Heads, anchored
from quarterdeck.journal.ends import Ends, pruned
from quarterdeck.journal.port import ChainFault, Verification
from quarterdeck.kernel import ids
from quarterdeck.store.blobs import unpack
from quarterdeck.store.port import Reads, Row

GENESIS: Final = bytes(32)

_META: Final = struct.Struct(">QdQ")
_PAGE: Final = 500
_BLOB_PAGE: Final = 100


def chain(previous: bytes, stream: str, seq: int, at: float, epoch: int, body: bytes) -> bytes:
    """The hash of one record."""
    return hashlib.sha256(b"".join((previous, stream.encode(), b"\0", _META.pack(seq, at, epoch), body))).digest()


@dataclass(slots=True)
class Walk:
    """The check of one stream, record after record, up to the head that it had when the check began."""

    stream: str
    until: int
    anchor: tuple[int, str] | None
    seq: int = 0
    last: int = 0
    hash: bytes = GENESIS
    faults: list[ChainFault] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Nothing further is looked at."""
        return bool(self.faults) or self.seq == self.until

    def step(self, row: Row) -> None:
        if self.over:
            return
        if row["seq"] != self.seq + 1 or row["prev"] != self.last:
            self.miss(self.seq + 1)
            return
        self.seq, self.last = self.seq + 1, row["id"]
        if _rehash(self.hash, self.stream, self.seq, row) != row["hash"]:
            self._fault(self.seq, "the hash does not match the record")
            return
        self.hash = row["hash"]
        self.meet()

    def miss(self, seq: int) -> None:
        """That record is not there."""
        self._fault(seq, "the record is missing")

    def meet(self) -> None:
        """Hold the record at which the walk stands against the anchor."""
        if self.anchor is not None and self.anchor[0] == self.seq and self.anchor[1] != self.hash.hex():
            self._fault(self.seq, "the record is another one than was anchored")

    def end(self, head: Row) -> None:
        if self.faults:
            return
        if (self.seq, self.hash) != (head["seq"], head["hash"]):
            self._fault(self.seq + 1, f"the stream ends before its head, {head['seq']}")
        elif self.anchor is not None and self.seq < self.anchor[0]:
            self._fault(self.seq + 1, f"the stream ends before its anchored head, {self.anchor[0]}")

    def _fault(self, seq: int, problem: str) -> None:
        self.faults.append(ChainFault(self.stream, seq, problem))


def walk_of(stream: str, until: int, anchor: tuple[int, str] | None, gone: tuple[int, bytes] | None) -> Walk:
    """The check of one stream, from its beginning or from where its records were taken out up to."""
    if gone is None:
        return Walk(stream, until, anchor)
    walk = Walk(stream, until, anchor, seq=gone[0], hash=gone[1])
    walk.meet()
    return walk


async def grounds(store: Reads, faults: list[ChainFault]) -> tuple[Heads, Ends]:
    """What the deck's own stream says of the others: their anchored heads, and where those ended whose records are
    gone. What of it cannot be read is added to the faults."""
    heads: Heads = {}
    gone: Ends = {}
    try:
        heads = await anchored(store)
    except ValueError as error:
        faults.append(ChainFault(ids.DECK_STREAM, 0, f"the anchored heads cannot be read: {error}"))
    try:
        gone = await pruned(store)
    except ValueError as error:
        faults.append(ChainFault(ids.DECK_STREAM, 0, f"what was pruned cannot be read: {error}"))
    return heads, gone


async def verify(store: Reads, prefix: str, anchors: Heads, faults: list[ChainFault], gone: Ends) -> Verification:
    """Check all streams that start with `prefix`, and with an empty one the blobs and the database file too.

    anchors, gone, faults: the grounds; what is found is added to the faults.
    """
    heads = {row["name"]: row for row in await store.read("stream_heads", prefix=prefix)}
    anchors = {name: head for name, head in anchors.items() if name.startswith(prefix)}
    if prefix:
        walks = {name: await prove(store, head, anchors.get(name), gone.get(name)) for name, head in heads.items()}
    else:
        walks = await _all(store, heads, anchors, gone)
    gone = await _gone_meanwhile(store, heads, walks, anchors, gone)
    for walk in walks.values():
        faults += walk.faults
    faults += [
        ChainFault(stream, seq, "the stream is gone, but an anchor names it")
        for stream, (seq, _) in anchors.items()
        if stream not in heads
    ]
    if not prefix:
        faults += await _verify_blobs(store)
        faults += [ChainFault("database", 0, text) for text in await _verify_file(store)]
    taken_out = [gone[name][0] for name in heads if name in gone]
    records = sum(walk.seq for walk in walks.values()) - sum(taken_out)
    return Verification(len(heads) - len(taken_out), records, tuple(faults), len(taken_out), sum(taken_out))


async def prove(store: Reads, head: Row, anchor: tuple[int, str] | None, gone: tuple[int, bytes] | None) -> Walk:
    """Check one stream, along its own chain."""
    walk = walk_of(head["name"], head["seq"], anchor, gone)
    while not walk.over and (rows := await store.read("chain_of", stream=walk.stream, after=walk.seq, limit=_PAGE)):
        if isinstance(first := rows[0]["seq"], int) and first > walk.seq + 1:
            walk.miss(first - 1)  # back from the head, the chain goes no further
        for row in rows:
            walk.step(row)
    walk.end(head)
    return walk


async def _all(store: Reads, heads: dict[str, Row], anchors: Heads, gone: Ends) -> dict[str, Walk]:
    walks = {name: walk_of(name, head["seq"], anchors.get(name), gone.get(name)) for name, head in heads.items()}
    after = 0
    while rows := await store.read("events_all", prefix="", after=after, limit=_PAGE):
        after = rows[-1]["id"]
        for row in rows:
            if row["stream"] in walks:
                walks[row["stream"]].step(row)
    for name, walk in walks.items():
        walk.end(heads[name])
    return walks


async def _gone_meanwhile(
    store: Reads, heads: dict[str, Row], walks: dict[str, Walk], anchors: Heads, gone: Ends
) -> Ends:
    """Where streams ended whose records are gone by now; those that were taken out meanwhile are checked by that."""
    broken = [name for name, walk in walks.items() if walk.faults and name not in gone]
    if not broken:
        return gone
    try:
        now = await pruned(store)
    except ValueError:  # it is among the faults, or was read without any a moment ago
        return gone
    for name in broken:
        if name in now:
            walks[name] = await prove(store, heads[name], anchors.get(name), now[name])
    return gone | {name: now[name] for name in broken if name in now}


async def _verify_blobs(store: Reads) -> list[ChainFault]:
    faults: list[ChainFault] = []
    after = 0
    while rows := await store.read("blobs_all", after=after, limit=_BLOB_PAGE):
        after = rows[-1]["id"]
        faults += [
            ChainFault("blobs", row["id"], f"the blob {row['digest'].hex()} holds something else")
            for row in rows
            if not holds(row)
        ]
    return faults


async def _verify_file(store: Reads) -> list[str]:
    """What is wrong with pages that no record lies on: the indexes and the read tables."""
    found = [str(value) for row in await store.read("database_faults") for value in row.values()]
    return [text for text in found if text != "ok"]


def holds(row: Row) -> bool:
    """Whether a body is what its digest says."""
    try:
        return hashlib.sha256(unpack(row["codec"], row["body"])).digest() == bytes(row["digest"])
    except (ValueError, TypeError):
        return False


def _rehash(previous: bytes, stream: str, seq: int, row: Row) -> bytes | None:
    """The hash that the record should have; None where somebody put values of other types there."""
    try:
        return chain(previous, stream, seq, row["at"], row["epoch"], row["body"])
    except (TypeError, struct.error):
        return None
