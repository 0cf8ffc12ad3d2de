"""One event as one line for a person. Events are put into words here, and in the files that are asked here:
`attempt_lines`, `gate_lines`, `beside_lines`, `outside_lines`.

Rules
- Pure: a record in, a line out. Every kind of event has its words; an event of a newer version shows its kind.
- `detail` marks what only a log shows: a progress view leaves it out.
- The node's end is in the attempt's stream first and then taken over by the run's; both lines say the same.
"""

from dataclasses import dataclass
from typing import Protocol

from quarterdeck.cli import attempt_lines, beside_lines, gate_lines, outside_lines
from quarterdeck.cli.amounts import plural, usd
from quarterdeck.cli.saying import REASON, SHA, Words, because, detail, held, node, say, word
from quarterdeck.cli.text import Tone, clean, fit
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import EventBase, RunStatus

_WARNINGS = 2


@dataclass(frozen=True, slots=True)
class Line:
    """What a person reads of one event."""

    at: float
    """Seconds since the epoch."""
    who: str
    """Whom it is about: a task, `task.attempt`, `run`, `gate`, `deck`."""
    text: str
    tone: Tone = Tone.PLAIN
    detail: bool = False


def describe(record: Record) -> Line:
    """The line of that record."""
    event = record.event
    room = record.stream.partition("/")[0]
    words = _ROOMS.get(room, _deck)(event) or _beside(event) or _outside_world(event)
    text, tone, logged = words or (event.kind, Tone.QUIET, True)
    return Line(record.at, who(record), clean(text), tone, logged)


def who(record: Record) -> str:
    """Whom the record is about."""
    room, _, name = record.stream.partition("/")
    if room in ("attempt", "mail"):
        return name.partition(".")[2] or name
    task = getattr(record.event, "task", None)
    attempt = getattr(record.event, "attempt", None)
    if room == "run":
        return task if isinstance(task, str) else "run"
    if room == "gate" and isinstance(attempt, str):
        return attempt.partition(".")[2] or "gate"
    return "gate" if room == "check" else room


def _beside(event: EventBase) -> Words:
    found = beside_lines.words(event)
    if found is None:
        return None
    text, logged = found
    return detail(text) if logged else say(text, Tone.WARN)


def _outside_world(event: EventBase) -> Words:
    text = outside_lines.words(event)
    return None if text is None else detail(text)


class Noticed(Protocol):
    """Spending that left its baseline: the event, or its row."""

    @property
    def about(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def spent_nusd(self) -> int: ...
    @property
    def usual_nusd(self) -> int: ...
    @property
    def bound_nusd(self) -> int: ...
    @property
    def samples(self) -> int: ...


def noticed(notice: Noticed) -> str:
    """What is said about spending that left its baseline."""
    what = {"run": "this run", "agent": f"an attempt of {notice.name}", "day": f"{notice.name} (UTC)"}[notice.about]
    others = {"run": "runs in this repository", "agent": "attempts of it", "day": "days"}[notice.about]
    return (
        f"spending is unusual: {what} has cost {usd(notice.spent_nusd)}, the last {notice.samples} {others} "
        f"{usd(notice.usual_nusd)} in the middle, and {usd(notice.bound_nusd)} is where that ends"
    )


# --- the run's stream ---------------------------------------------------------------------------------------

_RUN_TONE = {RunStatus.DONE: Tone.GOOD, RunStatus.FAILED: Tone.BAD, RunStatus.CANCELLED: Tone.QUIET}


def _run(event: EventBase) -> Words:
    match event:
        case e.RunCreated():
            reverts = f", reverts {event.reverts}" if event.reverts else ""
            config = f", with the configuration of {event.config_of}" if event.config_of else ""
            goal = fit(clean(event.goal), 120)
            return say(f"{event.run} ordered by {event.user}{reverts}{config}, onto {event.into}: {goal}")
        case e.RunPlanned():
            shown = event.warnings if len(event.warnings) <= _WARNINGS else event.warnings[:1]
            warned = "".join(f"; {fit(clean(warning), REASON)}" for warning in shown)
            if left := len(event.warnings) - len(shown):
                warned += f"; {plural(left, 'more warning')} about the plan, all of them in the run's report"
            return say(f"plan of {plural(event.tasks, 'task')}{warned}", Tone.WARN if warned else Tone.PLAIN)
        case e.RunPaused():
            return say(f"paused by {event.by}", Tone.WARN)
        case e.RunResumed():
            budget = "" if event.budget_nusd is None else f", with a budget of {usd(event.budget_nusd)}"
            return say(f"resumed by {event.by}{budget}{', with an answer' if event.answer_blob else ''}")
        case e.RunCancelled():
            return say(f"cancelled by {event.by}", Tone.WARN)
        case e.RunWaiting():
            return say(because("waits for a human", event.reason), Tone.WARN)
        case e.WorkHeld():
            return held(event)
        case e.WorkReleased():
            return detail("goes on")
        case e.SpendNoticed():
            return say(noticed(event), Tone.WARN)
        case e.RunReported():
            return detail("report stored")
        case e.RunFinished():
            tone = _RUN_TONE.get(event.status, Tone.WARN)
            landed = f", target at {event.sha[:SHA]}" if event.status in (RunStatus.DONE, RunStatus.PARTIAL) else ""
            return say(because(f"{event.status}{landed}", event.reason if event.reason != event.status else ""), tone)
        case e.NodeStarted() | e.NodeFinished() | e.NodeDelayed():
            return node(event)
        case e.QuestionAnswered():
            return say(f"answered by {event.by}")
        case e.BudgetRaised():
            return say(f"{event.by} raised the budget to {usd(event.budget_nusd)}")
        case _:
            return word(event) or _task(event)


def _task(event: EventBase) -> Words:
    match event:
        case e.TaskDispatched():
            again = f", attempt {event.number}" if event.number > 1 else ""
            tier = f", with the tier {event.tier}" if event.tier is not None else ""
            return say(because(f"given to {event.agent}{again}{tier}", event.why), Tone.BUSY)
        case e.TaskEscalated():
            return say(because(f"{event.agent} asks a human", event.question), Tone.WARN)
        case e.TaskMerged():
            return say(f"merged as {event.commit[:SHA]}", Tone.GOOD)
        case e.TaskReverted():
            return say(because(f"{event.commit[:SHA]} is taken back by {event.by[:SHA]}", event.reason), Tone.WARN)
        case e.TaskRetried():
            whom = f", by {event.agent}" if event.agent else ""
            return say(f"{event.by} wants it tried again{whom}")
        case e.TaskFailed():
            return say(because("failed", event.reason), Tone.BAD)
        case e.TaskBlocked():
            return say(because("blocked", event.reason), Tone.WARN)
        case e.TaskCancelled():
            return say("cancelled", Tone.QUIET)
        case _:
            return None


# --- the deck's stream --------------------------------------------------------------------------------------


def _deck(event: EventBase) -> Words:
    match event:
        case e.DeckOwned():
            return detail(f"owned by process {event.pid} on {event.host}, version {event.version}")
        case e.DeckAnchored():
            return detail(f"heads of {plural(event.streams, 'stream')} anchored")
        case e.RunsPruned():
            what = f"{plural(event.runs, 'run')}, {plural(event.records, 'record')}"
            return detail(f"{what} taken out by {event.by}; the ends of their streams are kept")
        case _:
            return None


_ROOMS = {
    **dict.fromkeys(("run", "approval"), _run),
    **dict.fromkeys(("attempt", "mail"), attempt_lines.words),
    "gate": gate_lines.words,
    "check": gate_lines.check_words,
}
"""By the beginning of the stream's name."""
