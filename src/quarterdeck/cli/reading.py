"""What happened in a run, read from the journal: everything so far, in the order of time.

Rules
- A run's records are its own stream, its attempts' and, of the gate it shares with others, what is about its changes
  and the checks of trees that hold one of them. What a check tells is in the gate's stream; only that it waits for an
  environment is read from its own.
- Selecting by task or attempt is pure.
"""

from quarterdeck.journal.port import Journal, Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.ids import attempt_stream, gate_stream, mail_stream, run_stream

_PAGE = 5_000


class About:
    """Whether records are about one run, task or attempt. To be asked about every record, in order.

    `id`: its full id.
    """

    def __init__(self, id: str) -> None:
        self._id = id
        self.checks: set[str] = set()
        """Checks of trees that hold a change of it."""

    def __call__(self, record: Record) -> bool:
        room, _, name = record.stream.partition("/")
        event = record.event
        if room == "check":
            return name in self.checks
        if isinstance(event, e.GateCheckStarted) and any(map(self._mine, event.stack)):
            self.checks.add(event.check)
        check = getattr(event, "check", None)
        return check in self.checks if isinstance(check, str) else any(map(self._mine, _names(room, name, event)))

    def _mine(self, name: str) -> bool:
        return name == self._id or name.startswith(f"{self._id}.")


def _names(room: str, name: str, event: e.EventBase) -> list[str]:
    """Ids of runs, tasks and attempts that a record is about."""
    task, attempt = getattr(event, "task", None), getattr(event, "attempt", None)
    names = [attempt] if isinstance(attempt, str) else []
    match room:
        case "attempt" | "mail":
            return [name]
        case "run":
            return [name, *names, *([f"{name}.{task}"] if isinstance(task, str) else [])]
        case "gate":
            return [event.change.attempt] if isinstance(event, e.ChangeQueued) else names
        case _:
            return []


async def history(journal: Journal, run: str, target: str) -> list[Record]:
    """All records of a run up to now. `target`: id of its gate."""
    streams = [run_stream(run)]
    for prefix in (attempt_stream(f"{run}."), mail_stream(f"{run}.")):
        streams += await journal.streams(prefix)
    records = [record for stream in streams for record in await _all(journal, stream)]
    about = About(run)
    records += [record for record in await _all(journal, gate_stream(target)) if about(record)]
    for check in sorted(about.checks):
        told = await _all(journal, f"check/{check}")
        records += [record for record in told if not isinstance(record.event, e.GateCheckFinished)]
    # Streams are ordered by the clock among each other, each within itself by its numbers.
    return sorted(records, key=lambda record: (record.at, record.stream, record.seq))


async def _all(journal: Journal, stream: str) -> list[Record]:
    records: list[Record] = []
    while page := await journal.read(stream, after=records[-1].seq if records else 0, limit=_PAGE):
        records += page
        if len(page) < _PAGE:
            break
    return records
