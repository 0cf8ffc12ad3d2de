"""What of everything that happens needs a person. Pure.

Rules
- One cause, one message: its id is a hash of the cause. The same question of one attempt, the same incident within six
  hours, one end of one run.
- A message holds what to do about it: the command to type next.
- A text is bounded, and nothing in it is anybody's secret: it stands in the journal too.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from quarterdeck.engine.port import Job
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as ev
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.events import RunStatus, outside
from quarterdeck.kernel.triggers import NeedKind
from quarterdeck.triggers.port import BACKGROUND, NOTICES, NOTIFY

INCIDENT_SECONDS: Final = 6 * 3600.0
_TITLE: Final = 300
_DETAIL: Final = 4_000

E = TypeVar("E", bound=ev.EventBase)


class Need(Value):
    """Something that needs a person, as it is sent."""

    v: int = 1
    id: str
    """One cause has one id: a receiver that knows it already may leave the message."""
    kind: NeedKind
    run: str = ""
    task: str = ""
    attempt: str = ""
    trigger: str = ""
    title: str
    detail: str = ""
    next: str
    """The command to type."""
    at: float
    """Seconds since the epoch."""


def _need(kind: NeedKind, record: Record, cause: str, title: str, detail: str, next: str, **about: str) -> Need:
    return Need(
        id=ids.digest(f"{kind}/{cause}".encode())[:24],
        kind=kind,
        title=" ".join(title.split())[:_TITLE],
        detail=detail[:_DETAIL],
        next=next,
        at=record.at,
        **about,
    )


def _question(record: Record, event: ev.QuestionAsked) -> Need:
    attempt = record.stream.partition("/")[2]
    run, task, _ = ids.split_attempt(attempt)
    cause = f"{attempt}/{ids.digest(event.question.encode())[:16]}"
    answer = f'quarterdeck resume {run} --answer "…"'
    return _need(
        "question", record, cause, f"{attempt} asks", event.question, answer, run=run, task=task, attempt=attempt
    )


def _escalated(record: Record, event: ev.TaskEscalated) -> Need:
    run = record.stream.partition("/")[2]
    answer = f'quarterdeck resume {run} --answer "…"'
    title = f"{event.agent} gives up {event.task} of {run}"
    about = {"run": run, "task": event.task, "attempt": event.attempt}
    return _need("question", record, f"{event.attempt}/escalated", title, event.question, answer, **about)


def _approval(record: Record, event: ev.ApprovalAsked) -> Need:
    detail = "\n".join((f"risk: {event.risk}", *event.why))
    look = f"quarterdeck inbox, then quarterdeck approve {event.approval}"
    about = {"run": event.run, "task": event.task or "", "attempt": event.attempt or ""}
    return _need("approval", record, event.approval, event.title, detail, look, **about)


def _incident(record: Record, event: ev.IncidentOpened) -> Need:
    attempt = record.stream.partition("/")[2]
    run = attempt.partition(".")[0]
    cause = f"{event.failure}/{event.subject}/{int(record.at // INCIDENT_SECONDS)}"
    detail = f"{event.reason}\n{event.fix}".strip()
    title = f"{event.subject}: {event.failure}"
    return _need("incident", record, cause, title, detail, f"quarterdeck show {run}", run=run, attempt=attempt)


def _red(record: Record, event: ev.CulpritFound) -> Need | None:
    if event.action != "tell":
        return None
    title = f"a target is red at {event.tip[:12]}"
    cause = f"{record.stream}/{event.tip}"
    return _need("incident", record, cause, title, event.reason, event.fix, run=event.run)


def _waits(record: Record, event: ev.RunWaiting) -> Need:
    run = record.stream.partition("/")[2]
    answer = f"quarterdeck inbox (answer or approve what waits), then quarterdeck resume {run}"
    return _need("waiting", record, f"{run}/{record.seq}", f"{run} waits for you", event.reason, answer, run=run)


def _finished(record: Record, event: ev.RunFinished) -> Need | None:
    run = record.stream.partition("/")[2]
    if event.status not in (RunStatus.FAILED, RunStatus.PARTIAL):
        return None
    title, retry = f"{run} ended {event.status}", f"quarterdeck show {run}"
    return _need("failed", record, f"{run}/{record.seq}", title, event.reason, retry, run=run)


def _refused(record: Record, event: outside.TriggerRefused) -> Need | None:
    if event.code not in ("order", "gone"):
        return None
    title = f"the trigger {event.trigger} could not start its run"
    cause = f"{event.trigger}/{ids.digest(event.reason.encode())[:16]}/{int(record.at // INCIDENT_SECONDS)}"
    return _need("trigger", record, cause, title, event.reason, "quarterdeck triggers", trigger=event.trigger)


def _unpublished(record: Record, event: outside.OutboxFailed) -> Need | None:
    if not record.stream.startswith("publish/"):
        return None
    run = record.stream.partition("/")[2]
    detail = f"{event.reason}\n{event.fix}".strip()
    title, cause = f"the result of {run} could not be published", f"{run}/{record.seq}"
    return _need("trigger", record, cause, title, detail, f"quarterdeck triggers publish {run}", run=run)


def _reader(kind: type[E], read: Callable[[Record, E], Need | None]) -> Callable[[Record], Need | None]:
    def need(record: Record) -> Need | None:
        return read(record, record.event) if isinstance(record.event, kind) else None

    return need


READERS: Final[dict[type[ev.EventBase], Callable[[Record], Need | None]]] = {
    ev.QuestionAsked: _reader(ev.QuestionAsked, _question),
    ev.TaskEscalated: _reader(ev.TaskEscalated, _escalated),
    ev.ApprovalAsked: _reader(ev.ApprovalAsked, _approval),
    ev.IncidentOpened: _reader(ev.IncidentOpened, _incident),
    ev.CulpritFound: _reader(ev.CulpritFound, _red),
    ev.RunWaiting: _reader(ev.RunWaiting, _waits),
    ev.RunFinished: _reader(ev.RunFinished, _finished),
    outside.TriggerRefused: _reader(outside.TriggerRefused, _refused),
    outside.OutboxFailed: _reader(outside.OutboxFailed, _unpublished),
}


def notify(need: Need, number: int = 1, delay: float = 0.0) -> Job:
    """Tell the operator's webhook. `number`: which try this is."""
    return Job(
        kind=NOTIFY,
        key=f"notice/{need.id}/{number}",
        lock=ids.notice_stream(need.id),
        run="",
        payload={"need": need.model_dump_json(), "number": number},
        delay=delay,
        priority=BACKGROUND,
        wants=NOTICES,
    )
