"""What an agent at work is doing: the fold of its attempt's newest records. Pure.

Rules
- Progress is evidence: a model's reply, a tool's result, something said, a change. That a process lives is none; nor is
  a call that was refused or only repeated.
- Each agent is held against itself: it is silent after one and a half times its own longest silence, never before
  `FLOOR`, and where it has shown too little of itself yet, after `FIRST`.
- Time in which a person is waited for is nobody's silence, nor is that in which a sub-agent works: it has its own row.
- Only what is looked at is decoded.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.board.tail import Raw
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids

FLOOR: Final = 60.0
"""Seconds without evidence that are never silence."""
FIRST: Final = 600.0
"""Seconds without evidence that are, where its own cadence is not known."""
FACTOR: Final = 1.5
SAMPLES: Final = 3
"""Gaps that have to be known before an agent is held against itself."""
REMEMBERED: Final = 32
"""Newest gaps that count."""

PERSON: Final = frozenset({"approval", "question"})
_PATIENT: Final = PERSON | {"environment"}
"""What has a deadline of its own, or none."""
_NO_EVIDENCE: Final = frozenset({"denied", "repeated"})
_UNREAD: Final = frozenset({"transcript.extended", "message.delivered", "agent.prompted", "tools.given"})
"""Frequent kinds that say no more here than that something was recorded."""
_WORDS: Final = 120


@dataclass(slots=True)
class AgentCell:
    """What is known about one attempt at which an agent works."""

    attempt: str
    run: str
    task: str
    agent: str
    harness: str
    number: int
    incarnation: int = 1
    started_at: float = 0.0
    last_at: float = 0.0
    last_id: int = 0
    """The newest record that is taken over."""
    steps: int = 0
    turns: int = 0
    model: str = ""
    useful_at: float = 0.0
    useful: str = ""
    gaps: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    cadence: float = 0.0
    """Its usual time between two pieces of evidence, seconds; 0 = not known."""
    longest: float = 0.0
    """The longest of `gaps`."""
    excused: bool = False
    """A person was waited for since the last evidence."""
    waits_on: str = ""
    waits_since: float | None = None
    trouble: str = ""
    """Why it has to try again."""
    machine: bool = False
    """It is the machine that makes it wait."""
    context_tokens: int = 0
    spent_nusd: int = 0
    aside: bool = False
    """The call under way is no turn: a summary."""
    ended: bool = False
    tail_from: int = 1
    """From which record of its stream on it is known."""
    role: str = field(init=False)
    parent: str | None = field(init=False)
    base: str = field(init=False)
    """The attempt at the task that it is part of: itself, or whom it works for."""

    def __post_init__(self) -> None:
        self.role, self.parent = role_of(self.attempt), parent_of(self.attempt)
        self.base = ids.attempt_id(*ids.split_attempt(self.attempt))

    @property
    def silent_after(self) -> float | None:
        """When it counts as silent, if nothing comes; None = not while it waits like this."""
        if self.waits_on in _PATIENT or self.waits_on.startswith("sub-agent "):
            return None
        if len(self.gaps) < SAMPLES:
            return self.useful_at + FIRST
        return self.useful_at + max(FLOOR, FACTOR * self.longest)

    def silent(self, now: float) -> bool:
        """Whether it has been silent for too long at `now`, seconds since the epoch."""
        after = self.silent_after
        return after is not None and now > after


def role_of(attempt: str) -> str:
    """What an attempt is there for: `plan`, `implement`, `review`, `delegated`."""
    parts = attempt.split(".")
    if len(parts) > 3:
        return "review" if parts[-1].startswith("review") else "delegated"
    return "plan" if parts[1] == ids.PLANNER_TASK else "implement"


def parent_of(attempt: str) -> str | None:
    """The attempt that it works for; None = none, it is an attempt at a task."""
    above, _, _ = attempt.rpartition(".")
    return above if above.count(".") >= 2 else None


def begun(raw: Raw) -> AgentCell | None:
    """The agent of an `attempt.started`; None where no agent works."""
    event = raw.event
    if not isinstance(event, e.AttemptStarted) or event.harness is None or raw.stream.count(".") < 2:
        return None
    attempt = raw.stream.removeprefix("attempt/")
    return AgentCell(
        attempt=attempt,
        run=event.run,
        task=event.task,
        agent=event.agent,
        harness=event.harness.value,
        number=event.number,
    )


def take(cell: AgentCell, raw: Raw) -> None:
    """Take one record of the attempt's stream over. One that is taken over already changes nothing."""
    if raw.id <= cell.last_id:
        return
    cell.last_id, cell.last_at = raw.id, raw.at
    if raw.kind in _UNREAD:
        if raw.kind == "agent.prompted":
            _waits(cell, "", raw.at)
        return
    _apply(cell, raw.event, raw.at)


def _apply(cell: AgentCell, event: e.EventBase, at: float) -> None:
    match event:
        case e.ModelAsked() | e.ModelAnswered() | e.ModelErred() | e.AgentTurned():
            _model(cell, event, at)
        case e.ToolIntended() | e.ToolDone() | e.ToolFellBack():
            _tool(cell, event, at)
        case e.AgentSaid() | e.AgentActing() | e.AgentActed() | e.PermissionDecided() | e.AgentConnected():
            _outside(cell, event, at)
        case e.AttemptStarted():
            _started(cell, event, at)
        case e.EnvironmentBuilding():
            _waits(cell, "environment", at)
        case e.NodeDelayed():
            cell.trouble, cell.machine = event.reason, True
            _waits(cell, "retry", at)
        case e.HarnessStarted():
            _waits(cell, "", at)
        case e.ApprovalAsked(what="tool"):
            _waits(cell, "approval", at)
        case e.QuestionAsked():
            _evidence(cell, f"asked: {event.question}", at)
            _waits(cell, "question", at)
        case e.Delegated():
            _evidence(cell, f"delegated to {event.agent}", at)
            _waits(cell, f"sub-agent {event.agent}", at)
        case e.NoteRecorded():
            _evidence(cell, f"noted: {event.text}", at)
        case e.TodoChanged():
            _evidence(cell, "changed its list", at)
        case e.AttemptTouched():
            _evidence(cell, f"changed {event.path}", at)
        case e.ChangeExported():
            count = len(event.change.files)
            _evidence(cell, f"a change of {count} file{'s' if count != 1 else ''}", at)
        case e.CheckRan():
            _evidence(cell, f"its checks {'passed' if event.passed else 'failed'}", at)
        case e.HarnessFinished() | e.NodeFinished():
            cell.ended = True
        case _:
            pass


def _started(cell: AgentCell, event: e.AttemptStarted, at: float) -> None:
    cell.agent, cell.incarnation, cell.started_at, cell.ended = event.agent, event.incarnation, at, False
    cell.harness = event.harness.value if event.harness is not None else cell.harness
    cell.useful_at, cell.useful, cell.excused, cell.trouble = at, "", False, ""
    cell.gaps.clear()
    cell.cadence = cell.longest = 0.0
    _waits(cell, "", at)


def _model(cell: AgentCell, event: e.ModelAsked | e.ModelAnswered | e.ModelErred | e.AgentTurned, at: float) -> None:
    match event:
        case e.ModelAsked():
            if cell.turns == 0 and cell.tail_from > 1:
                cell.turns = max(0, event.step - 1)  # what came earlier was not read; each step is about one turn
            cell.model, cell.aside = event.model, event.messages == 0
            cell.steps = max(cell.steps, event.step)
            _waits(cell, "model", at)
        case e.ModelAnswered():
            cell.model, cell.steps = event.model, max(cell.steps, event.step)
            cell.turns += not cell.aside
            if not cell.aside:
                cell.context_tokens = event.usage.prompt + event.usage.output
            cell.spent_nusd += event.cost_nusd
            _evidence(cell, f"a reply of {event.usage.output} tokens", at)
            _waits(cell, "", at)
        case e.ModelErred():
            cell.spent_nusd += event.cost_nusd
            cell.trouble, cell.machine = event.reason, False
            _waits(cell, "retry", at)
        case e.AgentTurned():
            if not event.verified:
                cell.spent_nusd += event.cost_nusd
                cell.turns += 1
            cell.model = event.model or cell.model
            _evidence(cell, f"ended turn {event.number}: {event.stop}", at)
            _waits(cell, "", at)


def _tool(cell: AgentCell, event: e.ToolIntended | e.ToolDone | e.ToolFellBack, at: float) -> None:
    match event:
        case e.ToolIntended():
            cell.steps = max(cell.steps, event.step)
            waits = {"allow": f"tool {event.tool}", "ask": "approval", "deny": ""}[event.decision]
            _waits(cell, waits, at)
        case e.ToolFellBack():
            _waits(cell, f"tool {event.to}", at)
        case e.ToolDone():
            if not _NO_EVIDENCE.intersection(event.flags):
                _evidence(cell, event.tool if event.ok else f"{event.tool} failed", at)
            _waits(cell, "", at)


def _outside(
    cell: AgentCell,
    event: e.AgentSaid | e.AgentActing | e.AgentActed | e.PermissionDecided | e.AgentConnected,
    at: float,
) -> None:
    match event:
        case e.AgentConnected():
            cell.model = event.model or cell.model
            _evidence(cell, f"{event.name} connected", at)
        case e.AgentSaid():
            _evidence(cell, "thought" if event.thought else "said something", at)
        case e.AgentActing():
            _waits(cell, f"tool {event.title or event.tool_kind or event.call}", at)
        case e.AgentActed():
            what = event.title or event.tool_kind or "a tool call"
            _evidence(cell, what if event.ok else f"{what}: failed", at)
            _waits(cell, "", at)
        case e.PermissionDecided():
            if event.decision == "ask" and event.answer == "cancelled":
                _waits(cell, "", at)


def _waits(cell: AgentCell, what: str, at: float) -> None:
    if cell.waits_on in PERSON and what not in PERSON:
        cell.excused = True
    if what != "retry":
        cell.trouble = ""
    if what != cell.waits_on:
        cell.waits_on = what[:_WORDS]
        cell.waits_since = at if what else None


def _evidence(cell: AgentCell, what: str, at: float) -> None:
    waited = cell.excused or cell.waits_on in PERSON
    if not waited and cell.useful_at:
        cell.gaps.append(max(0.0, at - cell.useful_at))
        ordered = sorted(cell.gaps)
        cell.cadence, cell.longest = ordered[len(ordered) // 2], ordered[-1]
    cell.excused = False
    cell.useful_at = at
    cell.useful = what.partition("\n")[0][:_WORDS]
