"""The journal over a `Store`: append with fencing and group commit, read, follow, verify.

Rules
- Commits that wait while another one is being written go together into the next transaction; each still succeeds or
  fails alone. A commit's `also` runs before its events are added: where it raises, nothing of the commit is kept.
- Heads of streams are remembered between transactions. Moving a head fails where it is not as remembered or the stream
  has a newer claim; the batch is then undone and done again with the heads as they are. So `also` may run twice, and
  the fence is checked inside the transaction either way.
- What may wait for company waits no longer than a moment; whatever is queued takes it along.
- A blob that could not be written stays in line and is written before any later event, so an event never names a blob
  that is not there.
- A commit whose caller is cancelled may still happen, as with any answer that is lost on its way.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from quarterdeck.journal.anchors import anchor
from quarterdeck.journal.batch import Commit, Faults, Head, Line, line_of, store_batch
from quarterdeck.journal.port import Also, ChainFault, Claim, Entry, Reactions, Record, Verification
from quarterdeck.journal.proof import grounds, verify
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.events import EventBase, decode
from quarterdeck.kernel.failures import NotFound, StaleClaim, StoreUnavailable
from quarterdeck.store.blobs import unpack
from quarterdeck.store.port import Row, Store, Tx

_BATCH: Final = 2000
"""Most commits in one transaction."""
_BLOB_BATCH: Final = 2000
"""Most blobs in one transaction."""
_BLOB_ROOM: Final = 8 * 1024 * 1024
"""Bytes of blobs after which a transaction takes no more of them."""
_BLOB_BACKLOG: Final = 64 * 1024 * 1024
"""Bytes of blobs that may wait; beyond, `put` waits too."""
_PATIENCE: Final = 0.1
"""Seconds that what nobody waits for is kept back for company."""
_KNOWN: Final = 65_536
"""How many digests are remembered as stored."""
_HEADS: Final = 20_000
"""How many heads are remembered."""
_PAGE: Final = 10_000
_FOLLOW_SECONDS: Final = 60.0


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


class _Kept(asyncio.Future[None]):
    """Is done when what it stands for is, and never before: who is cancelled while waiting for it goes on waiting. A
    shield would do the same, and wake its waiter a turn of the loop later."""

    def cancel(self, msg: object = None) -> bool:
        return False


class Log:
    """A `Journal` over `store`. `clock.wall` stamps the records; `reactions`: what follows from which event; `fence`:
    raises where this process may claim nothing."""

    def __init__(
        self, store: Store, clock: Clock, reactions: Reactions | None = None, fence: Also | None = None
    ) -> None:
        self._store = store
        self._reactions = reactions or {}
        self._fence = fence
        self._clock = clock
        self._commits: list[Commit] = []
        self._patient: list[Commit] = []
        """Behind them, waiting for company."""
        self._blobs: dict[str, bytes] = {}
        self._backlog = 0
        self._known = _Digests()
        self._heads: dict[str, Head] = {}
        self._faults = Faults()
        self._flushing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Ends the patience; set while something waits for company."""

    # --- writing --------------------------------------------------------------------------------------------

    async def claim(self, stream: str) -> Claim:
        def work(tx: Tx) -> int:
            if self._fence is not None:
                self._fence(tx)
            return int(tx.run("stream_claim", stream=stream)[0]["epoch"])

        epoch = await self._store.write(work)
        self._heads.pop(stream, None)
        return Claim(stream, epoch)

    async def commit(self, *entries: Entry, also: Also | None = None) -> None:
        await self._queued([line_of(entry.claim, event) for entry in entries for event in entry.events], also)

    def append(
        self, claim: Claim, *events: EventBase, also: Also | None = None, kept: bool = False
    ) -> "asyncio.Future[None]":
        future: asyncio.Future[None] | None = _Kept() if kept else None
        return self._queued([line_of(claim, event) for event in events], also, future=future)

    def append_soon(self, claim: Claim, *events: EventBase, also: Also | None = None) -> "asyncio.Future[None]":
        return self._queued([line_of(claim, event) for event in events], also, soon=True)

    def append_patiently(self, claim: Claim, *events: EventBase, also: Also | None = None) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._patient.append(Commit([line_of(claim, event) for event in events], also, self._clock.wall(), future))
        self._flush_later()
        return future

    def hurry(self) -> None:
        if self._patient:
            self._flush_soon()

    def _queued(
        self,
        lines: list[Line],
        also: Also | None,
        *,
        soon: bool = False,
        future: "asyncio.Future[None] | None" = None,
    ) -> "asyncio.Future[None]":
        future = future or asyncio.get_running_loop().create_future()
        self._join()
        self._commits.append(Commit(lines, also, self._clock.wall(), future, soon))
        self._flush_soon()
        return future

    def _join(self) -> None:
        """What waited for company has some."""
        if self._patient:
            self._commits += self._patient
            self._patient = []

    async def put(self, data: bytes, *, patiently: bool = False) -> str:
        digest = ids.digest(data)
        if digest in self._known or digest in self._blobs:
            return digest
        self._blobs[digest] = data
        self._backlog += len(data)
        if patiently and self._backlog < _BLOB_ROOM:
            self._flush_later()
            return digest
        task = self._flush_soon()
        while self._backlog > _BLOB_BACKLOG:
            await asyncio.shield(task)
            if self._backlog > _BLOB_BACKLOG:
                if self._flushing is None:
                    raise StoreUnavailable("The database does not take what is to be stored", fix="see `doctor`")
                task = self._flushing
        return digest

    def _flush_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self._flush_soon)

    def _flush_soon(self) -> "asyncio.Task[None]":
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._join()
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())
            self._flushing.add_done_callback(self._flushed)
        return self._flushing

    def _flushed(self, flushing: "asyncio.Task[None]") -> None:
        """A loop that ends cancels it, also before it began or between two transactions: nobody else answers what is in
        line then."""
        if self._flushing is flushing:
            self._flushing = None
        if flushing.cancelled() and self._commits:
            self._flush_soon()

    async def _flush(self) -> None:
        try:
            while self._commits or (self._blobs and self._timer is None):
                if not await self._flush_once():
                    return
                for commit in self._commits:
                    if (error := self._faults.before(commit)) is not None:
                        _answer(commit, error)
                self._faults.clear()
                # Whoever was answered just now may have more to say: let it join the next transaction.
                await asyncio.sleep(0)
        finally:
            self._flushing = None

    async def _flush_once(self) -> bool:
        """Write what waits; False where the store is unavailable (blobs then stay in line)."""
        self._join()
        blobs = _portion(self._blobs)
        commits: list[Commit] = []
        if len(blobs) == len(self._blobs):  # else an event could come before its blob
            commits = [commit for commit in self._commits[:_BATCH] if not commit.future.done()]
            del self._commits[:_BATCH]
        try:
            await self._write(commits, blobs)
        except BaseException as error:
            commits += self._commits
            self._commits = []
            self._faults.clear()  # the store's fault is nobody's, and everybody in line hears of it
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

    async def _write(self, commits: list[Commit], blobs: dict[str, bytes]) -> None:
        """One transaction; again with fresh heads where they had moved; at last one by one, so that a fault of ours in
        one commit spares the others."""
        if len(self._heads) > _HEADS:
            self._heads.clear()
        try:
            await self._store.write(lambda tx: self._store_batch(self._heads, commits, blobs, tx, careful=False))
            stale = [commit for commit in commits if isinstance(commit.error, StaleClaim)]
            if not stale:
                return
            for commit in commits:
                if not isinstance(commit.error, StaleClaim):
                    _answer(commit, commit.error)
            commits = stale
        except StoreUnavailable:
            self._heads.clear()
            raise
        except BaseException as error:
            self._heads.clear()
            if not isinstance(error, Exception):  # else a head had moved, or it is torn, or one commit is at fault
                raise
        await self._write_again(commits, blobs)

    async def _write_again(self, commits: list[Commit], blobs: dict[str, bytes]) -> None:
        self._heads.clear()
        self._faults.forget(commits)
        try:
            await self._store.write(lambda tx: self._store_batch({}, commits, blobs, tx))
            return
        except StoreUnavailable:
            raise
        except Exception:
            if not commits:  # else whose fault it is comes out when each is written alone
                raise
        self._faults.forget(commits)
        await self._store.write(lambda tx: self._store_batch({}, [], blobs, tx))
        for commit in commits:
            try:
                await self._store.write(functools.partial(self._store_batch, {}, [commit], {}))
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - raised again at the commit's caller
                self._faults.add(commit, error)
            _answer(commit, commit.error)

    def _store_batch(
        self, heads: dict[str, Head], commits: list[Commit], blobs: dict[str, bytes], tx: Tx, *, careful: bool = True
    ) -> None:
        store_batch(tx, heads, commits, blobs, self._faults, self._reactions, careful=careful)

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

    async def lengths(self, prefix: str) -> dict[str, int]:
        return {row["name"]: row["seq"] for row in await self._store.read("stream_lengths", prefix=prefix)}

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
        await anchor(self._store, self, claim, self._clock.wall)

    async def verify(self, prefix: str = "") -> Verification:
        faults: list[ChainFault] = []
        heads, gone = await grounds(self._store, faults)
        return await verify(self._store, prefix, heads, faults, gone)

    def forget(self) -> None:
        """Bodies may have been removed: none is known to be stored any more."""
        self._known = _Digests()


def _portion(waiting: dict[str, bytes]) -> dict[str, bytes]:
    """The first of the waiting blobs, as many as go into one transaction."""
    taken: dict[str, bytes] = {}
    room = _BLOB_ROOM
    for digest, data in islice(waiting.items(), _BLOB_BATCH):
        taken[digest] = data
        room -= len(data)
        if room <= 0:
            break
    return taken


def _answer(commit: Commit, error: BaseException | None) -> None:
    if commit.future.done():
        return
    if error is None:
        commit.future.set_result(None)
    elif isinstance(error, asyncio.CancelledError):
        asyncio.Future.cancel(commit.future)  # also one that is kept: it will not be written
    else:
        commit.future.set_exception(error)
        if commit.soon:
            commit.future.exception()  # where nobody asks any more, nothing is to be said about it


def _record(stream: str, row: Row) -> Record:
    return Record(stream, row["seq"], row["at"], row["epoch"], decode(row["body"]), row["hash"].hex())
