"""What is about to merge: the fold of a merge gate's newest records. Pure.

Rules
- A change is green once a tree with it passed, and red when one failed whose other changes have landed or are green.
  While a tree with it is being checked and it is not green, that is shown.
- A change that clashes with others ahead of it shows that, as long as one of them is in the queue.
- The tip is known to be green when a change landed on it, or when it was checked by itself, and no longer once somebody
  else has moved the branch.
- A landed change that is taken back stands among those that came back, with the reason.
- What the gate decides is `delivery.gate.queue`'s; this is what of it people look at.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from quarterdeck.board.port import (
    RECENT_CHANGES,
    RECENT_CHECKS,
    GateCheck,
    GateRow,
    LandedChange,
    QueuedChange,
    ReturnedChange,
)
from quarterdeck.board.tail import Raw
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids


@dataclass(slots=True)
class _Waiting:
    attempt: str
    run: str
    task: str
    title: str
    agent: str
    since: float
    verdict: Literal["waiting", "green", "red"] = "waiting"
    against: tuple[str, ...] = ()
    """Those ahead of it that it does not merge with."""


@dataclass(slots=True)
class GateCell:
    """What is known about one gate."""

    target: str
    repository: str = ""
    branch: str = ""
    tip: str = ""
    tip_green: bool | None = None
    queue: dict[str, _Waiting] = field(default_factory=dict)
    """By attempt, in the order of the queue."""
    checks: dict[str, tuple[e.GateCheckStarted, float]] = field(default_factory=dict)
    """Those that are running."""
    judged: deque[GateCheck] = field(default_factory=lambda: deque(maxlen=RECENT_CHECKS))
    landed: deque[LandedChange] = field(default_factory=lambda: deque(maxlen=RECENT_CHANGES))
    returned: deque[ReturnedChange] = field(default_factory=lambda: deque(maxlen=RECENT_CHANGES))
    reviewed: frozenset[str] = frozenset()
    """Attempts among `landed` with an accepting review."""
    last_id: int = 0
    merged: dict[str, str] = field(default_factory=dict)
    """Attempts in the queue to how they are merged, in words."""
    landing: dict[str, int] = field(default_factory=dict)
    """Attempts of the newest step to how many land in it."""
    stall: str = ""
    """Why the gate itself cannot work."""
    stalled_at: float = 0.0


def take(cell: GateCell, raw: Raw) -> None:
    """Take one record of the gate's stream over. One that is taken over already changes nothing."""
    if raw.id <= cell.last_id:
        return
    cell.last_id = raw.id
    event, at = raw.event, raw.at
    match event:
        case e.GateOpened():
            cell.repository, cell.branch = event.repository, event.branch
            if not cell.landed:
                cell.tip, cell.tip_green = event.base, None
        case e.ChangeQueued():
            run, task, _ = _of(event.change.attempt)
            waiting = _Waiting(event.change.attempt, run, task, event.title, event.agent, at)
            cell.queue[waiting.attempt] = waiting
        case e.GateCheckStarted():
            cell.checks[event.check] = (event, at)
            if not cell.tip:  # what is checked once more may stand on a tip of before
                cell.tip = event.tip
            cell.stall = ""
        case e.GateCheckFinished():
            _checked(cell, event)
        case e.MergeResolved():
            if event.attempt in cell.queue:
                cell.merged[event.attempt] = event.words
        case e.ChangeClashed():
            if event.attempt in cell.queue:
                cell.queue[event.attempt].against = event.against
        case e.LandingIntended():
            cell.landing = dict.fromkeys((attempt for attempt, _ in event.landing), len(event.landing))
        case e.ChangeLanded():
            _landed(cell, event, at)
        case e.ChangeReturned():
            _returned(cell, event, at)
        case e.ChangeReverted():
            _taken_back(cell, event, at)
        case e.TipFoundRed():
            cell.tip_green = False if event.tip == cell.tip else cell.tip_green
        case e.TipMoved():
            cell.tip, cell.tip_green = event.new, None
        case e.GateDelayed():
            cell.stalled_at = cell.stalled_at if cell.stall and event.number > 1 else at
            cell.stall = event.reason
        case _:
            pass


def _of(attempt: str) -> tuple[str, str, int]:
    """The task that a change belongs to; what takes another one back belongs to that one's."""
    return ids.split_attempt(ids.reverted_attempt(attempt) if ids.is_revert(attempt) else attempt)


def _checked(cell: GateCell, event: e.GateCheckFinished) -> None:
    started = cell.checks.pop(event.check, None)
    if event.infrastructure:
        cell.stall = event.reason
        return
    if started is None or event.cancelled:
        return
    asked = started[0]
    cell.judged.appendleft(_check(asked, started[1], event.passed, event.reason))
    if not asked.stack:
        cell.tip_green = event.passed if asked.tip == cell.tip else cell.tip_green
        return
    waiting = [cell.queue[attempt] for attempt in asked.stack if attempt in cell.queue]
    if event.passed:
        for each in waiting:
            each.verdict = "green"
    elif waiting and all(each.verdict == "green" for each in waiting[:-1]):
        waiting[-1].verdict = "red"


def _landed(cell: GateCell, event: e.ChangeLanded, at: float) -> None:
    waiting = cell.queue.pop(event.attempt, None)
    run, task, _ = _of(event.attempt)
    title = waiting.title if waiting is not None else ""
    cell.landed.appendleft(
        LandedChange(
            attempt=event.attempt,
            run=run,
            task=task,
            title=title,
            commit=event.new,
            at=at,
            reviewed=False,
            merged=cell.merged.pop(event.attempt, ""),
            together=cell.landing.pop(event.attempt, 1),
        )
    )
    cell.tip, cell.tip_green, cell.stall = event.new, True, ""


def _returned(cell: GateCell, event: e.ChangeReturned, at: float) -> None:
    waiting = cell.queue.pop(event.attempt, None)
    cell.merged.pop(event.attempt, None)
    run, task, _ = _of(event.attempt)
    cell.returned.appendleft(
        ReturnedChange(
            attempt=event.attempt,
            run=run,
            task=task,
            title=waiting.title if waiting is not None else "",
            outcome=event.outcome,
            reason=event.reason,
            against=event.against,
            at=at,
            tried=e.ways_in_words(event.lost),
        )
    )


def _taken_back(cell: GateCell, event: e.ChangeReverted, at: float) -> None:
    run, task, _ = ids.split_attempt(event.attempt)
    title = next((change.title for change in cell.landed if change.attempt == event.attempt), "")
    reason = f"taken back as {event.by[:12]}: the branch was red with it: {event.reason}"
    cell.returned.appendleft(
        ReturnedChange(
            attempt=event.attempt,
            run=run,
            task=task,
            title=title,
            outcome=e.Outcome.FAILED,
            reason=reason[:2000],
            against=(),
            at=at,
            tried="",
        )
    )


def _check(asked: e.GateCheckStarted, at: float, passed: bool | None, reason: str) -> GateCheck:
    return GateCheck(
        check=asked.check,
        tip=asked.tip,
        stack=asked.stack,
        number=asked.number,
        started_at=at,
        passed=passed,
        reason=reason,
    )


def _state(
    waiting: _Waiting, queue: Collection[str], on_top: Collection[str]
) -> Literal["waiting", "checking", "green", "red", "conflict"]:
    if waiting.attempt in on_top and waiting.verdict != "green":
        return "checking"
    return "conflict" if any(attempt in queue for attempt in waiting.against) else waiting.verdict


def gate_row(cell: GateCell) -> GateRow:
    """The gate as it is shown."""
    on_top: dict[str, tuple[str, ...]] = {}
    for asked, _ in cell.checks.values():
        for place, attempt in enumerate(asked.stack):
            on_top[attempt] = min(on_top.get(attempt, asked.stack), asked.stack[:place], key=len)
    return GateRow(
        target=cell.target,
        repository=cell.repository,
        branch=cell.branch,
        tip=cell.tip,
        tip_green=cell.tip_green,
        stall=cell.stall,
        queue=tuple(
            QueuedChange(
                attempt=waiting.attempt,
                run=waiting.run,
                task=waiting.task,
                title=waiting.title,
                agent=waiting.agent,
                state=_state(waiting, cell.queue, on_top),
                on_top_of=on_top.get(waiting.attempt, ()),
                against=tuple(attempt for attempt in waiting.against if attempt in cell.queue),
                since=waiting.since,
                merged=cell.merged.get(waiting.attempt, ""),
            )
            for waiting in cell.queue.values()
        ),
        checks=(*(_check(asked, at, None, "") for asked, at in cell.checks.values()), *cell.judged),
        landed=tuple(change.model_copy(update={"reviewed": change.attempt in cell.reviewed}) for change in cell.landed),
        returned=tuple(cell.returned),
    )
