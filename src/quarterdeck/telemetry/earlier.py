"""What happened before a process began to tell: folded, so that what is open then ends as what it was.

Rules
- Only runs that had not ended at that place count, of their attempts only those that may still go on, and of their
  gates only what is younger than the oldest of these runs; the rest is passed over without being decoded.
- A record of a kind that this version does not know is passed over.
"""

from typing import Final

from pydantic import ValidationError

from quarterdeck.journal.port import Record
from quarterdeck.journal.views import RunView, Views
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import decode
from quarterdeck.store.port import Row, Store
from quarterdeck.telemetry.mapping import Fold

_PAGE: Final = 500


def record_of(row: Row) -> Record | None:
    """The record of a row; None where this version cannot read it."""
    try:
        event = decode(row["body"])
    except ValidationError:
        return None
    return Record(row["stream"], row["seq"], row["at"], row["epoch"], event, row["hash"].hex())


async def catch_up(fold: Fold, store: Store, views: Views, until: int) -> None:
    """Fold what was recorded up to `until` and may still go on, in the order of the commits."""
    if not until:
        return
    at = (await store.read("events_all", prefix="", after=until - 1, limit=1))[0]["at"]
    runs = [run for run in await views.runs() if run.finished_at is None or run.finished_at >= at]
    wanted, first = await _wanted(store, runs, until)
    after = first - 1
    while rows := await store.read("events_all", prefix="", after=after, limit=_PAGE):
        after = rows[-1]["id"]
        for row in rows:
            if row["id"] <= until and row["stream"] in wanted and (record := record_of(row)) is not None:
                fold.take(record.stream, record.seq, record.at, record.event)
        if after >= until:
            return


async def _wanted(store: Store, runs: list[RunView], until: int) -> tuple[set[str], int]:
    """The streams to read, and the record to begin with."""
    scratch, first = Fold(), until + 1
    wanted = {ids.gate_stream(run.target) for run in runs}
    for run in runs:
        stream = ids.run_stream(run.run)
        wanted.add(stream)
        for row in await store.read("events_until", stream=stream, until=until):
            first = min(first, row["id"])
            if (record := record_of(row)) is not None:
                scratch.take(record.stream, record.seq, record.at, record.event)
    for run in runs:
        for row in await store.read("stream_names", prefix=ids.attempt_stream(f"{run.run}.")):
            if scratch.working(row["name"].partition("/")[2]):
                wanted.add(row["name"])
    return wanted, first
