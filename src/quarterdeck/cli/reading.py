"""What happened in a run, read from the journal: everything so far, in the order of time.

Rules
- A run's records are its own stream, its attempts' and, of the gate it shares with others, what is about its changes.
- Selecting by task or attempt is pure.
"""

from collections.abc import Iterable

from quarterdeck.journal.port import Journal, Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.ids import attempt_stream, gate_stream, run_stream

_PAGE = 5_000


async def history(journal: Journal, run: str, target: str) -> list[Record]:
    """All records of a run up to now. `target`: id of its gate."""
    streams = [run_stream(run), *await journal.streams(attempt_stream(f"{run}."))]
    records = [record for stream in streams for record in await _all(journal, stream)]
    records += [record for record in await _all(journal, gate_stream(target)) if concerns(record, run)]
    # Streams are ordered by the clock among each other, each within itself by its numbers.
    return sorted(records, key=lambda record: (record.at, record.stream, record.seq))


async def _all(journal: Journal, stream: str) -> list[Record]:
    records: list[Record] = []
    while page := await journal.read(stream, after=records[-1].seq if records else 0, limit=_PAGE):
        records += page
        if len(page) < _PAGE:
            break
    return records


def concerns(record: Record, id: str) -> bool:
    """Whether a record is about the run, task or attempt of that full id."""
    return any(name == id or name.startswith(f"{id}.") for name in _names(record))


def _names(record: Record) -> Iterable[str]:
    """Ids of runs, tasks and attempts that a record is about."""
    room, _, name = record.stream.partition("/")
    event = record.event
    if room == "attempt":
        yield name
    elif room == "run":
        yield name
        if isinstance(task := getattr(event, "task", None), str):
            yield f"{name}.{task}"
        if isinstance(attempt := getattr(event, "attempt", None), str):
            yield attempt
    elif room == "gate":
        if isinstance(event, e.ChangeQueued):
            yield event.change.attempt
        elif isinstance(event, e.GateCheckStarted):
            yield from event.stack
        elif isinstance(attempt := getattr(event, "attempt", None), str):
            yield attempt
