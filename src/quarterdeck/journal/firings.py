"""What came from outside and what became of it: the read tables about triggers, as values.

Rules
- As of the last commit and never behind the journal; times are seconds since the epoch.
"""

from dataclasses import dataclass

from quarterdeck.store.port import Row, Store


@dataclass(frozen=True, slots=True)
class FiringView:
    """What became of one message."""

    trigger: str
    delivery: str
    subject: str
    status: str
    """`fired` (its run is being stored), `ordered`, `held`, `refused`."""
    run: str
    code: str
    reason: str
    order_blob: str
    at: float
    until: float
    """When one that is held is looked at again."""


class Firings:
    """Queries of these tables."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def firing(self, trigger: str, delivery: str) -> FiringView | None:
        """What became of that message; None = it is not known."""
        rows = await self._store.read("firing", trigger=trigger, delivery=delivery)
        return _view(rows[0]) if rows else None

    async def same(self, trigger: str, delivery: str, fingerprint: str) -> str:
        """Another message of that body; empty = there is none."""
        rows = await self._store.read("firing_same", trigger=trigger, delivery=delivery, fingerprint=fingerprint)
        return str(rows[0]["delivery"]) if rows else ""

    async def last(self, trigger: str) -> FiringView | None:
        """The newest message that a run came of."""
        rows = await self._store.read("firing_last", trigger=trigger, status="ordered", limit=1)
        return _view(rows[0]) if rows else None

    async def refused(self, trigger: str) -> FiringView | None:
        """The newest refusal."""
        rows = await self._store.read("firing_refused", trigger=trigger)
        return _view(rows[0]) if rows else None

    async def waiting(self, trigger: str, but: str = "") -> int:
        """How many messages wait for their turn, without `but`."""
        return int((await self._store.read("firings_waiting", trigger=trigger, delivery=but))[0]["n"])

    async def unfinished(self, trigger: str) -> int:
        """Runs of the trigger that have not ended."""
        return int((await self._store.read("origins_unfinished", trigger=trigger))[0]["n"])

    async def live(self, subject: str, trigger: str = "", delivery: str = "") -> str:
        """The unfinished run about that; empty = there is none. `trigger`, `delivery`: the message that asks."""
        rows = await self._store.read("origin_live", subject=subject, trigger=trigger, delivery=delivery)
        return str(rows[0]["run"]) if rows else ""


def _view(row: Row) -> FiringView:
    return FiringView(
        trigger=row["trigger"],
        delivery=row["delivery"],
        subject=row["subject"],
        status=row["status"],
        run=row["run"],
        code=row["code"],
        reason=row["reason"],
        order_blob=row["order_blob"],
        at=row["at"],
        until=row["till"],
    )
