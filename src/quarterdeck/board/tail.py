"""What is recorded, over all streams, in the order in which it was committed.

Rules
- Reading goes on after a mark, in pages: however long nobody read, memory stays bounded.
- A record is not decoded before somebody wants to know more than its kind.
"""

from dataclasses import dataclass
from typing import Final

from quarterdeck.kernel.events import EventBase, decode
from quarterdeck.store.port import Row, Store

PAGE: Final = 5_000
"""Most records that are read at once."""

_KIND_AT: Final = len(b'{"kind":"')


@dataclass(slots=True)
class Raw:
    """One record, decoded when it is looked at."""

    id: int
    """Order of commits over all streams."""
    stream: str
    seq: int
    at: float
    kind: str
    body: bytes
    decoded: EventBase | None = None

    @property
    def event(self) -> EventBase:
        if self.decoded is None:
            self.decoded = decode(self.body)
        return self.decoded


def kind_of(body: bytes) -> str:
    """The kind of an encoded event: it stands first."""
    return body[_KIND_AT : body.index(b'"', _KIND_AT)].decode("ascii")


def raw(row: Row) -> Raw:
    """The record of a row of `tail_events` or `tail_of`."""
    body: bytes = row["body"]
    return Raw(row["id"], row["stream"], row["seq"], row["at"], kind_of(body), body)


class Tail:
    """Reads what comes after a mark (`after`: an id of `events`), each record once."""

    def __init__(self, store: Store, after: int) -> None:
        self._store = store
        self._mark = 0
        self.after = after
        """Id of the last record that was read."""

    async def read(self) -> list[Raw]:
        """What has come since the last call, at most `PAGE`; empty = nothing. Raises StoreUnavailable."""
        rows = await self._store.read("tail_events", after=self.after, limit=PAGE)
        if rows:
            self.after = rows[-1]["id"]
        return [raw(row) for row in rows]

    async def wait(self, timeout: float) -> None:
        """Until anything was committed since the last `wait`, or `timeout` seconds have passed."""
        self._mark = await self._store.changed(self._mark, timeout)
