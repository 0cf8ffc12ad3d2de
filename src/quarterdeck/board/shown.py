"""Everything that a deck shows, put together once for each server."""

from collections.abc import Callable
from dataclasses import dataclass

from quarterdeck.board.approvals import Approvals
from quarterdeck.board.audit import Audit
from quarterdeck.board.live import Live, Look
from quarterdeck.board.money import Money
from quarterdeck.board.readings import Mirrors, Readings
from quarterdeck.board.stream import Streams
from quarterdeck.board.timelines import Timelines
from quarterdeck.govern.chain import DayCaps
from quarterdeck.journal.port import Journal
from quarterdeck.kernel.clock import Clock
from quarterdeck.store.port import Store


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown live, and what is read on demand. `live.run()` has to be running for the former."""

    live: Live
    streams: Streams
    readings: Readings
    timelines: Timelines
    approvals: Approvals
    money: Money
    audit: Audit


def shown(
    store: Store, journal: Journal, clock: Clock, look: Look, mirrors: Mirrors, caps: Callable[[], DayCaps]
) -> Shown:
    """Of one deck. look: how its machine and server are; mirrors: the mirror of a repository; caps: what the operator
    allows in a day now."""
    approvals = Approvals(store, journal)
    live = Live(store, journal, clock, look, approvals.open)
    return Shown(
        live=live,
        streams=Streams(live),
        readings=Readings(store, journal, mirrors, approvals.of),
        timelines=Timelines(store),
        approvals=approvals,
        money=Money(store, clock, caps),
        audit=Audit(store),
    )
