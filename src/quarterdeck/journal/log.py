"""The journal over a `Store`: append with fencing and group commit, read, follow, verify.

Rules
- Commits that wait while another one is being written go together into the next transaction; each still succeeds or
  fails alone. A commit's `also` runs before its events are added: where it raises, nothing of the commit is kept.
- Heads of streams are remembered between transactions. Moving a head fails where it is not as remembered or the stream
  has a newer claim; the batch is then undone and done again with the heads as they are. So `also` may run twice, and
  the fence is checked inside the transaction either way.
- hash = SHA-256(previous hash, stream, seq, at, epoch, event bytes). The first record follows 32 zero bytes.
- A blob that could not be written stays in line and is written before any later event, so an event never names a blob
  that is not there.
- A commit whose caller is cancelled may still happen, as with any answer that is lost on its way.
"""

import asyncio
import functools
import hashlib
import json
import struct
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from quarterdeck.journal.port import Also, ChainFault, Claim, Entry, Record, Verification
from quarterdeck.journal.projections import Changes, plans_of, project
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events import MAX_EVENT_BYTES, DeckAnchored, EventBase, decode, encode
from quarterdeck.kernel.failures import BadInput, NotFound, StaleClaim, StoreUnavailable
from quarterdeck.store.blobs import pack, unpack
from quarterdeck.store.port import Row, Store, Tx

GENESIS: Final = bytes(32)

_BATCH: Final = 2000
"""Most commits in one transaction."""
_BLOB_BATCH: Final = 256
_BLOB_BACKLOG: Final = 64 * 1024 * 1024
"""Bytes of blobs that may wait; beyond, `put` waits too."""
_KNOWN: Final = 65_536
"""How many digests are remembered as stored."""
_HEADS: Final = 20_000
"""How many heads are remembered."""
_PAGE: Final = 10_000
_FOLLOW_SECONDS: Final = 60.0
_META: Final = struct.Struct(">QdQ")


def chain(previous: bytes, stream: str, seq: int, at: float, epoch: int, body: bytes) -> bytes:
    """The hash of one record."""
    return hashlib.sha256(b"".join((previous, stream.encode(), b"\0", _META.pack(seq, at, epoch), body))).digest()


@dataclass(slots=True)
class _Line:
    """One event on its way into the journal."""

    claim: Claim
    event: EventBase
    body: bytes


@dataclass(slots=True)
class _Commit:
    lines: list[_Line]
    also: Also | None
    at: float
    future: "asyncio.Future[None]"
    error: BaseException | None = None


@dataclass(slots=True)
class _Head:
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


def _lines(entries: Iterable[Entry]) -> list[_Line]:
    lines: list[_Line] = []
    for entry in entries:
        for event in entry.events:
            body = encode(event)
            if len(body) > MAX_EVENT_BYTES:
                raise BadInput(
                    f"The event {event.kind} is too large",
                    why=f"{len(body)} bytes, at most {MAX_EVENT_BYTES} are allowed",
                    fix="put its body into a blob",
                )
            lines.append(_Line(entry.claim, event, body))
    return lines


class _Appender:
    """One transaction's appends; runs on the store's thread."""

    def __init__(self, tx: Tx, heads: dict[str, _Head], commits: list[_Commit]) -> None:
        self._tx = tx
        self._plans = plans_of(tx)
        self._heads = heads
        self._events: list[dict[str, Any]] = []
        self._moved: dict[int, _Head] = {}
        self._changes = Changes()
        self._last: int = tx.run("event_last")[0]["last"]
        streams = {line.claim.stream for commit in commits for line in commit.lines}
        if missing := [stream for stream in streams if stream not in heads]:
            for row in tx.run("stream_heads_of", names=json.dumps(missing)):
                heads[row["name"]] = _Head(row["id"], row["name"], row["epoch"], row["seq"], row["hash"], row["last"])

    def add(self, commit: _Commit) -> None:
        """Take the commit in. Raises what is wrong with it; then nothing of it is kept."""
        for line in commit.lines:
            head = self._heads.get(line.claim.stream)
            if head is None or head.epoch != line.claim.epoch:
                raise StaleClaim(
                    f"The stream {line.claim.stream} has a newer owner",
                    why=f"claim {line.claim.epoch}, newest {head.epoch if head else 'none'}",
                )
        projected = [project(line.claim.stream, commit.at, line.event, self._plans) for line in commit.lines]
        if commit.also is not None:
            self._tx.alone(commit.also)
        for line, ops in zip(commit.lines, projected, strict=True):
            self._append(self._heads[line.claim.stream], line, commit.at)
            if ops:
                self._changes.add(ops)

    def _append(self, head: _Head, line: _Line, at: float) -> None:
        if head.id not in self._moved:
            self._moved[head.id] = head
            head.before = head.seq
        previous, self._last = head.last, self._last + 1
        head.last = self._last
        head.seq += 1
        head.hash = chain(head.hash, head.name, head.seq, at, head.epoch, line.body)
        head.at = at
        head.step = getattr(line.event, "step", head.step)
        self._events.append(
            {
                "id": head.last,
                "stream": head.id,
                "seq": head.seq,
                "prev": previous,
                "at": at,
                "epoch": head.epoch,
                "hash": head.hash,
                "body": line.body,
            }
        )

    def finish(self) -> None:
        if self._events:
            self._tx.run_many("event_add", self._events)
            self._tx.run_many("stream_advance", [_moved(head) for head in self._moved.values()])
            self._changes.apply(self._tx)


def _moved(head: _Head) -> dict[str, Any]:
    return {
        "id": head.id,
        "before": head.before,
        "epoch": head.epoch,
        "seq": head.seq,
        "hash": head.hash,
        "last": head.last,
        "at": head.at,
        "step": head.step,
    }


def _store_batch(tx: Tx, heads: dict[str, _Head], commits: list[_Commit], blobs: dict[str, bytes]) -> None:
    """Blobs first, then the commits that hold."""
    if blobs:
        tx.run_many("blob_put", [_blob_row(digest, data) for digest, data in blobs.items()])
    if not commits:
        return
    appender = _Appender(tx, heads, commits)
    for commit in commits:
        commit.error = None
        try:
            appender.add(commit)
        except Exception as error:  # noqa: BLE001 - raised again at the commit's caller
            commit.error = error
    appender.finish()


def _store_one(commit: _Commit, blobs: dict[str, bytes], tx: Tx) -> None:
    _store_batch(tx, {}, [commit], blobs)


def _blob_row(digest: str, data: bytes) -> dict[str, Any]:
    codec, body = pack(data)
    return {"digest": bytes.fromhex(digest), "codec": codec, "body": body}


@dataclass(slots=True)
class _Digests:
    """Digests known to be stored; the oldest are forgotten."""

    seen: dict[str, None] = field(default_factory=dict)

    def __contains__(self, digest: str) -> bool:
        return digest in self.seen

    def add(self, digests: Iterable[str]) -> None:
        self.seen.update(dict.fromkeys(digests))
        if len(self.seen) > _KNOWN:
            for old in list(islice(self.seen, len(self.seen) - _KNOWN)):
                del self.seen[old]


@dataclass(slots=True)
class _Walk:
    """The check of one stream, record after record, up to the head that it had when the check began."""

    stream: str
    until: int
    anchor: tuple[int, str] | None
    seq: int = 0
    last: int = 0
    hash: bytes = GENESIS
    faults: list[ChainFault] = field(default_factory=list)

    def step(self, row: Row) -> None:
        if self.faults or self.seq == self.until:
            return
        if row["seq"] != self.seq + 1 or row["prev"] != self.last:
            self._fault(self.seq + 1, "the record is missing")
            return
        self.seq, self.last = self.seq + 1, row["id"]
        if _rehash(self.hash, self.stream, self.seq, row) != row["hash"]:
            self._fault(self.seq, "the hash does not match the record")
            return
        self.hash = row["hash"]
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


class Log:
    """A `Journal` over `store`. `clock.wall` stamps the records."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._commits: list[_Commit] = []
        self._blobs: dict[str, bytes] = {}
        self._backlog = 0
        self._known = _Digests()
        self._heads: dict[str, _Head] = {}
        self._flushing: asyncio.Task[None] | None = None

    # --- writing --------------------------------------------------------------------------------------------

    async def claim(self, stream: str) -> Claim:
        rows = await self._store.write(lambda tx: tx.run("stream_claim", stream=stream))
        self._heads.pop(stream, None)
        return Claim(stream, rows[0]["epoch"])

    async def commit(self, *entries: Entry, also: Also | None = None) -> None:
        future = asyncio.get_running_loop().create_future()
        self._commits.append(_Commit(_lines(entries), also, self._clock.wall(), future))
        self._flush_soon()
        await future

    async def append(self, claim: Claim, *events: EventBase, also: Also | None = None) -> None:
        await self.commit(Entry(claim, events), also=also)

    async def put(self, data: bytes) -> str:
        digest = ids.digest(data)
        if digest in self._known or digest in self._blobs:
            return digest
        self._blobs[digest] = data
        self._backlog += len(data)
        task = self._flush_soon()
        while self._backlog > _BLOB_BACKLOG:
            await asyncio.shield(task)
            if self._backlog > _BLOB_BACKLOG:
                if self._flushing is None:
                    raise StoreUnavailable("The database does not take what is to be stored", fix="see `doctor`")
                task = self._flushing
        return digest

    def _flush_soon(self) -> "asyncio.Task[None]":
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
        return self._flushing

    async def _flush(self) -> None:
        try:
            while self._commits or self._blobs:
                if not await self._flush_once():
                    return
                # Whoever was answered just now may have more to say: let it join the next transaction.
                await asyncio.sleep(0)
        finally:
            self._flushing = None

    async def _flush_once(self) -> bool:
        """Write what waits; False where the store is unavailable (blobs then stay in line)."""
        blobs = dict(islice(self._blobs.items(), _BLOB_BATCH))
        commits: list[_Commit] = []
        if len(blobs) == len(self._blobs):  # else an event could come before its blob
            commits = [commit for commit in self._commits[:_BATCH] if not commit.future.done()]
            del self._commits[:_BATCH]
        try:
            await self._write(commits, blobs)
        except BaseException as error:
            commits += self._commits
            self._commits = []
            for commit in commits:
                _answer(commit, error)
            if isinstance(error, Exception):
                return False
            raise
        for digest, data in blobs.items():
            del self._blobs[digest]
            self._backlog -= len(data)
        self._known.add(blobs)
        for commit in commits:
            _answer(commit, commit.error)
        return True

    async def _write(self, commits: list[_Commit], blobs: dict[str, bytes]) -> None:
        """One transaction; again with fresh heads where they had moved; at last one by one, so that a fault of ours in
        one commit spares the others."""
        if len(self._heads) > _HEADS:
            self._heads.clear()
        try:
            await self._store.write(lambda tx: _store_batch(tx, self._heads, commits, blobs))
            stale = any(isinstance(commit.error, StaleClaim) for commit in commits)
            if not stale:
                return
            commits = [commit for commit in commits if isinstance(commit.error, StaleClaim)]
        except StoreUnavailable:
            self._heads.clear()
            raise
        except BaseException as error:
            self._heads.clear()
            if not isinstance(error, Exception):
                raise
        await self._write_again(commits, blobs)

    async def _write_again(self, commits: list[_Commit], blobs: dict[str, bytes]) -> None:
        self._heads.clear()
        try:
            await self._store.write(lambda tx: _store_batch(tx, {}, commits, blobs))
            return
        except StoreUnavailable:
            raise
        except Exception:
            if len(commits) < 2:
                raise
        for commit in commits:
            try:
                await self._store.write(functools.partial(_store_one, commit, blobs))
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - raised again at the commit's caller
                commit.error = error

    # --- reading --------------------------------------------------------------------------------------------

    async def read(self, stream: str, after: int = 0, limit: int = 10_000) -> list[Record]:
        rows = await self._store.read("events_of", stream=stream, after=after, limit=limit)
        return [_record(stream, row) for row in rows]

    async def last(self, stream: str) -> Record | None:
        rows = await self._store.read("event_newest", stream=stream)
        return _record(stream, rows[0]) if rows else None

    async def follow(self, stream: str, after: int = 0) -> AsyncIterator[Record]:
        mark = 0
        while True:
            mark = await self._store.changed(mark, _FOLLOW_SECONDS)
            while records := await self.read(stream, after, _PAGE):
                for record in records:
                    after = record.seq
                    yield record

    async def streams(self, prefix: str = "") -> list[str]:
        return [row["name"] for row in await self._store.read("stream_names", prefix=prefix)]

    async def get(self, digest: str) -> bytes:
        waiting = self._blobs.get(digest)
        if waiting is not None:
            return waiting
        try:
            key = bytes.fromhex(digest)
        except ValueError:
            key = b""
        rows = await self._store.read("blob_get", digest=key)
        if not rows:
            raise NotFound(f"There is no blob {digest}")
        return unpack(rows[0]["codec"], rows[0]["body"])

    # --- proof ----------------------------------------------------------------------------------------------

    async def anchor(self, claim: Claim) -> None:
        rows = await self._store.read("stream_heads", prefix="")
        heads = {row["name"]: [row["seq"], row["hash"].hex()] for row in rows if row["seq"]}
        blob = await self.put(json.dumps(heads, sort_keys=True).encode())
        await self.append(claim, DeckAnchored(heads_blob=blob, streams=len(heads)))

    async def verify(self, prefix: str = "") -> Verification:
        faults: list[ChainFault] = []
        heads = {row["name"]: row for row in await self._store.read("stream_heads", prefix=prefix)}
        anchored = {name: head for name, head in (await self._anchored(faults)).items() if name.startswith(prefix)}
        walks = {name: _Walk(name, head["seq"], anchored.get(name)) for name, head in heads.items()}
        after = 0
        while rows := await self._store.read("events_all", prefix=prefix, after=after, limit=500):
            after = rows[-1]["id"]
            for row in rows:
                if row["stream"] in walks:
                    walks[row["stream"]].step(row)
        for name, walk in walks.items():
            walk.end(heads[name])
            faults += walk.faults
        faults += [
            ChainFault(stream, seq, "the stream is gone, but an anchor names it")
            for stream, (seq, _) in anchored.items()
            if stream not in heads
        ]
        if not prefix:
            faults += await self._verify_blobs()
        return Verification(len(heads), sum(walk.seq for walk in walks.values()), tuple(faults))

    async def _anchored(self, faults: list[ChainFault]) -> dict[str, tuple[int, str]]:
        """The heads of the newest anchor."""
        newest: Record | None = None
        after = 0
        try:
            while records := await self.read(ids.DECK_STREAM, after, _PAGE):
                after = records[-1].seq
                newest = next((r for r in reversed(records) if isinstance(r.event, DeckAnchored)), newest)
            if newest is None or not isinstance(newest.event, DeckAnchored):
                return {}
            heads = json.loads(await self.get(newest.event.heads_blob))
        except (NotFound, ValueError) as error:
            faults.append(ChainFault(ids.DECK_STREAM, after, f"the anchored heads cannot be read: {error}"))
            return {}
        return {name: (seq, digest) for name, (seq, digest) in heads.items()}

    async def _verify_blobs(self) -> list[ChainFault]:
        faults: list[ChainFault] = []
        after = 0
        while rows := await self._store.read("blobs_all", after=after, limit=100):
            after = rows[-1]["id"]
            faults += [
                ChainFault("blobs", row["id"], f"the blob {row['digest'].hex()} holds something else")
                for row in rows
                if not _holds(row)
            ]
        return faults


def _answer(commit: _Commit, error: BaseException | None) -> None:
    if commit.future.done():
        return
    if error is None:
        commit.future.set_result(None)
    elif isinstance(error, asyncio.CancelledError):
        commit.future.cancel()
    else:
        commit.future.set_exception(error)


def _holds(row: Row) -> bool:
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


def _record(stream: str, row: Row) -> Record:
    return Record(stream, row["seq"], row["at"], row["epoch"], decode(row["body"]), row["hash"].hex())
