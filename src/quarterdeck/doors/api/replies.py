"""What was answered to requests that carry a key, durably.

Rules
- A key belongs to a person. With another request it is refused; with the same one it is answered alike, for a week.
- What a living server has under way is not done a second time. What a dead one left is done anew, under the same run
  id: what it had come to is found by that.
- Where several servers share a store, one that took a request on counts as living for `SHARED_SECONDS` from then. What
  takes longer may be taken on by another one as well, under the same run id: it comes to the same run, and what the
  last of them answers is kept.
"""

from dataclasses import dataclass
from typing import Final

from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.store.port import Store, Tx

KEPT_SECONDS: Final = 7 * 86400.0
SHARED_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    status: int
    location: str
    body: bytes


@dataclass(frozen=True, slots=True)
class New:
    """Nothing was answered to it yet."""

    run: str
    """The id that a run gets that it orders."""


class Other(Exception):
    """The key came with another request before."""


class UnderWay(Exception):
    """The same request is being answered now."""


class Replies:
    """The answers in one store. `server`: this process incarnation. `shared`: others may serve the same store."""

    def __init__(self, store: Store, server: str, clock: Clock, *, shared: bool = False) -> None:
        self._shared = shared
        self._store = store
        self._server = server
        self._clock = clock
        self._under_way: set[tuple[str, str]] = set()

    async def begin(self, who: str, key: str, request: str) -> New | Reply:
        """Take a request on. `request`: its digest. Raises Other, UnderWay."""
        if (who, key) in self._under_way:
            raise UnderWay
        self._under_way.add((who, key))
        try:
            found = await self._store.write(lambda tx: self._begin(tx, who, key, request))
        except BaseException:
            self._under_way.discard((who, key))
            raise
        if isinstance(found, Reply):
            self._under_way.discard((who, key))
        return found

    def _begin(self, tx: Tx, who: str, key: str, request: str) -> New | Reply:
        now = self._clock.wall()
        tx.run("replies_expire", before=now - KEPT_SECONDS)
        rows = tx.run("reply_find", who=who, key=key)
        if not rows:
            run = ids.new_run_id(now)
            tx.run("reply_begin", who=who, key=key, request=request, run=run, server=self._server, at=now)
            return New(run)
        row = rows[0]
        if row["request"] != request:
            raise Other
        if row["status"] is not None:
            return Reply(row["status"], row["headers"], row["body"])
        if self._shared and row["server"] != self._server and now - row["at"] < SHARED_SECONDS:
            raise UnderWay
        tx.run("reply_take", who=who, key=key, server=self._server, at=now)
        return New(row["run"])

    async def end(self, who: str, key: str, reply: Reply) -> None:
        """What was answered."""
        try:
            await self._store.write(
                lambda tx: tx.run(
                    "reply_end",
                    who=who,
                    key=key,
                    server=self._server,
                    status=reply.status,
                    headers=reply.location,
                    body=reply.body,
                )
            )
        finally:
            self._under_way.discard((who, key))

    def leave(self, who: str, key: str) -> None:
        """It broke off: whoever repeats it does it anew, under the same run id."""
        self._under_way.discard((who, key))

    async def forget(self, who: str, key: str) -> None:
        """It was not answered for good: it may be made again."""
        try:
            await self._store.write(lambda tx: tx.run("reply_forget", who=who, key=key, server=self._server))
        finally:
            self._under_way.discard((who, key))
