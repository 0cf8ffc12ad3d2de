"""The first bad step: where a run that stands badly began to go wrong. Pure.

Rules
- Of the tasks that did not merge it is the one that ended first, and of its attempts the newest: earlier ones were made
  good, or tried again.
- What stopped the attempt comes from its record, not from its words: an incident, a bound, a check that failed, what
  the gate or a reviewer said.
- Before that, a row of failing or repeated tool calls that nothing good followed is where it began. A call that failed
  and then worked is no bad step: agents learn from errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from quarterdeck.board.answers import FirstBad
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e

ROW: Final = 2
"""Failing calls one after the other that are a row."""
_WORDS: Final = 500


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt that did not lead to a merge, with what is on record of it and its sub-agents and reviewers."""

    attempt: str
    records: Sequence[tuple[str, Record]]
    """(attempt, record) in the order in which they were recorded."""


def first_bad(tried: Tried) -> FirstBad | None:
    """Where it began to go wrong; None = nothing on record is bad."""
    end = _end(tried)
    if end is None:
        return None
    attempt, stop, what, why = end
    row = _row([record for name, record in tried.records if name == attempt and record.seq < stop.seq])
    if row is not None:
        event = row.event
        assert isinstance(event, e.ToolDone)
        said = "repeated a call" if "repeated" in event.flags else f"{event.tool} failed"
        return _bad(attempt, row, said, f"nothing that it tried after this worked, and then: {what}")
    return _bad(attempt, stop, what, why)


def _bad(attempt: str, record: Record, what: str, why: str) -> FirstBad:
    return FirstBad(attempt=attempt, seq=record.seq, at=record.at, what=what[:_WORDS], why=why[:_WORDS])


def _end(tried: Tried) -> tuple[str, Record, str, str] | None:
    """(attempt, record, what, why) of what stopped it; the first of what followed from each other."""
    found: tuple[str, Record, str, str] | None = None
    for attempt, record in tried.records:
        bad = _stops(record.event)
        if bad is not None:
            found = found or (attempt, record, *bad)
        elif _mends(record.event):
            found = None
    return found


def _limit(event: e.LimitReached) -> tuple[str, str]:
    if event.limit == "usd":  # what is left is less than the next call may cost: the sum itself need not be reached
        return "its budget does not pay the next call", f"${event.used:.2f} of ${event.allowed:.2f} were spent"
    return f"the limit on {event.limit} was reached", f"{event.used:g} of {event.allowed:g} were used"


def _stops(event: e.EventBase) -> tuple[str, str] | None:
    match event:
        case e.IncidentOpened():
            return f"{event.subject}: {event.reason}", "nothing that needs it can go on before a person mends it"
        case e.LimitReached():
            return _limit(event)
        case e.CheckRan(passed=False):
            return "its own checks failed", "a change has to pass the commands of its task"
        case e.ChangeInspected() if event.blocking:
            return f"validation sent it back: {event.first}", f"{event.blocking} findings block it"
        case e.HandoffRefused():
            return f"its {event.expects} was refused: {event.reason}", "what it hands in has to have the agreed form"
        case e.HarnessFinished(ok=False):
            return "the agent ended without a result", event.reason
        case e.QuestionAsked():
            return "it asked a person", event.question
        case e.NodeFinished() if event.outcome is not e.Outcome.OK:
            return f"{event.node} ended: {event.outcome}", event.reason
        case _:
            return None


def _mends(event: e.EventBase) -> bool:
    """Whether what stood in the way before is over."""
    match event:
        case e.AttemptStarted() | e.MessageDelivered() | e.CheckRan(passed=True):
            return True
        case e.HarnessFinished(ok=True):
            return True
        case e.NodeFinished(outcome=e.Outcome.OK):
            return True
        case _:
            return False


def _row(records: Sequence[Record]) -> Record | None:
    """The first of the failing calls at the end, where there are enough of them."""
    row: list[Record] = []
    for record in records:
        event = record.event
        if not isinstance(event, e.ToolDone):
            continue
        if event.ok and "repeated" not in event.flags:
            row.clear()
        else:
            row.append(record)
    return row[0] if len(row) >= ROW else None
