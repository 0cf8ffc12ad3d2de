"""One event as one line for a person. The only place that words events.

Rules
- Pure: a record in, a line out. Every kind of event has its words; an event of a newer version shows its kind.
- `detail` marks what only a log shows: a progress view leaves it out.
- The node's end is in the attempt's stream first and then taken over by the run's; both lines say the same.
"""

from dataclasses import dataclass
from typing import Protocol

from quarterdeck.cli import beside_lines, outside_lines
from quarterdeck.cli.amounts import duration, plural, size, tokens, usd
from quarterdeck.cli.text import Tone, clean, fit
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import EventBase, Node, Outcome, RunStatus

_REASON = 300
_PROGRAM = 100
_WARNINGS = 2
_SHA = 10


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
    text, tone, detail = words or (event.kind, Tone.QUIET, True)
    return Line(record.at, who(record), clean(text), tone, detail)


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


_Words = tuple[str, Tone, bool] | None


def _say(text: str, tone: Tone = Tone.PLAIN) -> _Words:
    return text, tone, False


def _detail(text: str, tone: Tone = Tone.QUIET) -> _Words:
    return text, tone, True


def _because(text: str, reason: str) -> str:
    return f"{text}: {fit(clean(reason), _REASON)}" if reason else text


def _beside(event: EventBase) -> _Words | None:
    found = beside_lines.words(event)
    if found is None:
        return None
    text, detail = found
    return (text, Tone.QUIET, True) if detail else (text, Tone.WARN, False)


def _outside_world(event: EventBase) -> _Words | None:
    text = outside_lines.words(event)
    return None if text is None else _detail(text)


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


def _run(event: EventBase) -> _Words:
    match event:
        case e.RunCreated():
            reverts = f", reverts {event.reverts}" if event.reverts else ""
            config = f", with the configuration of {event.config_of}" if event.config_of else ""
            goal = fit(clean(event.goal), 120)
            return _say(f"{event.run} ordered by {event.user}{reverts}{config}, onto {event.into}: {goal}")
        case e.RunPlanned():
            shown = event.warnings if len(event.warnings) <= _WARNINGS else event.warnings[:1]
            warned = "".join(f"; {fit(clean(warning), _REASON)}" for warning in shown)
            if left := len(event.warnings) - len(shown):
                warned += f"; {plural(left, 'more warning')} about the plan, all of them in the run's report"
            return _say(f"plan of {plural(event.tasks, 'task')}{warned}", Tone.WARN if warned else Tone.PLAIN)
        case e.RunPaused():
            return _say(f"paused by {event.by}", Tone.WARN)
        case e.RunResumed():
            budget = "" if event.budget_nusd is None else f", with a budget of {usd(event.budget_nusd)}"
            return _say(f"resumed by {event.by}{budget}{', with an answer' if event.answer_blob else ''}")
        case e.RunCancelled():
            return _say(f"cancelled by {event.by}", Tone.WARN)
        case e.RunWaiting():
            return _say(_because("waits for a human", event.reason), Tone.WARN)
        case e.WorkHeld():
            return _held(event)
        case e.WorkReleased():
            return _detail("goes on")
        case e.SpendNoticed():
            return _say(noticed(event), Tone.WARN)
        case e.RunReported():
            return _detail("report stored")
        case e.RunFinished():
            tone = _RUN_TONE.get(event.status, Tone.WARN)
            return _say(_because(f"{event.status}, target at {event.sha[:_SHA]}", event.reason), tone)
        case e.NodeStarted() | e.NodeFinished() | e.NodeDelayed():
            return _node(event)
        case e.QuestionAnswered():
            return _say(f"answered by {event.by}")
        case e.BudgetRaised():
            return _say(f"{event.by} raised the budget to {usd(event.budget_nusd)}")
        case _:
            return _word(event) or _task(event)


def _word(event: EventBase) -> _Words:
    """A person's word, asked for and given."""
    match event:
        case e.ApprovalAsked():
            words = f"waits for {event.approval} (risk {event.risk})"
            return _say(_because(words, event.title), Tone.WARN)
        case e.ApprovalDecided():
            verdict = {"approve": "approved", "deny": "denied", "expired": "expired"}[event.verdict]
            tone = Tone.GOOD if event.verdict == "approve" else Tone.WARN
            return _say(_because(f"{event.approval} is {verdict} by {event.by}", event.reason), tone)
        case _:
            return None


def _held(event: e.WorkHeld) -> _Words:
    section = "approve" if event.limit == "inbox" else "limits"
    return _say(_because(f"held by [{section}] {event.limit}", event.reason), Tone.WARN)


def _task(event: EventBase) -> _Words:
    match event:
        case e.TaskDispatched():
            again = f", attempt {event.number}" if event.number > 1 else ""
            tier = f", with the tier {event.tier}" if event.tier is not None else ""
            return _say(_because(f"given to {event.agent}{again}{tier}", event.why), Tone.BUSY)
        case e.TaskEscalated():
            return _say(_because(f"{event.agent} asks a human", event.question), Tone.WARN)
        case e.TaskMerged():
            return _say(f"merged as {event.commit[:_SHA]}", Tone.GOOD)
        case e.TaskRetried():
            whom = f", by {event.agent}" if event.agent else ""
            return _say(f"{event.by} wants it tried again{whom}")
        case e.TaskFailed():
            return _say(_because("failed", event.reason), Tone.BAD)
        case e.TaskBlocked():
            return _say(_because("blocked", event.reason), Tone.WARN)
        case e.TaskCancelled():
            return _say("cancelled", Tone.QUIET)
        case _:
            return None


_DOING = {
    Node.PLAN: "planning",
    Node.DISPATCH: "dispatching",
    Node.IMPLEMENT: "implementing",
    Node.CHECK: "checking",
    Node.REVIEW: "in review",
    Node.APPROVE: "waiting for a person's word",
    Node.GATE: "at the merge gate",
    Node.REPORT: "writing the report",
    Node.RETROSPECTIVE: "looking back",
}

_OUTCOME = {
    Outcome.CHANGE: ("sent back by the reviewer", Tone.WARN),
    Outcome.CONFLICT: ("conflicts with what landed first", Tone.WARN),
    Outcome.HELD: ("held", Tone.WARN),
    Outcome.WAITING: ("waits for a human", Tone.WARN),
    Outcome.EXHAUSTED: ("stopped by the budget", Tone.WARN),
    Outcome.CANCELLED: ("cancelled", Tone.QUIET),
}
"""The others name the node."""


def _node(event: e.NodeStarted | e.NodeFinished | e.NodeDelayed) -> _Words:
    doing = _DOING[event.node]
    if isinstance(event, e.NodeStarted):
        quiet = event.node in (Node.IMPLEMENT, Node.REPORT, Node.RETROSPECTIVE)
        return (_detail if quiet else _say)(doing, Tone.BUSY)
    if isinstance(event, e.NodeDelayed):
        return _say(_because(f"{doing} is tried again in {duration(event.seconds)}", event.reason), Tone.WARN)
    if event.outcome is Outcome.OK:
        return _detail(_because(f"{doing}: ok", event.reason), Tone.GOOD)
    words, tone = _OUTCOME.get(event.outcome, (f"{doing}: {event.outcome}", Tone.BAD))
    if event.node is Node.APPROVE and event.outcome is Outcome.CHANGE:
        words = "denied"
    return _say(_because(words, event.reason), tone)


# --- an attempt's stream ------------------------------------------------------------------------------------


def _attempt(event: EventBase) -> _Words:
    match event:
        case e.AttemptStarted():
            again = ", anew in a fresh workspace" if event.incarnation > 1 else ""
            by = event.agent if event.harness is None else f"{event.agent} ({event.harness})"
            routed = f"; {event.routed}" if event.routed else ""
            say = _say if again or routed else _detail
            return say(f"{by} starts from {event.base[:_SHA]}{again}{routed}", Tone.PLAIN)
        case e.EnvironmentBuilding():
            return _say(_because("waits for its environment to be built", "; ".join(event.commands)), Tone.BUSY)
        case e.HarnessStarted():
            return _detail(f"agent started: {fit(clean(event.detail), _PROGRAM)}" if event.detail else "agent started")
        case e.HandoffRefused():
            return _say(_because(f"its {event.expects} is refused, it is asked again", event.reason), Tone.WARN)
        case e.HarnessFinished():
            if event.ok:
                return _detail("agent finished")
            code = "" if event.exit_code is None else f" (exit {event.exit_code})"
            return _detail(_because(f"agent failed{code}", event.reason), Tone.BAD)
        case e.NodeStarted() | e.NodeFinished() | e.NodeDelayed():
            return _node(event)
        case e.ChangeExported():
            return _detail(f"change of {plural(len(event.change.files), 'file')}, {size(event.pack_bytes)}", Tone.PLAIN)
        case e.CheckRan():
            verdict = "passed" if event.passed else "failed"
            return _detail(f"checks {verdict} in {duration(event.seconds)}", Tone.GOOD if event.passed else Tone.BAD)
        case e.ChangeInspected():
            words = plural(event.blocking or event.warnings, "blocking finding" if event.blocking else "finding")
            return _say(_because(words, event.first), Tone.BAD if event.blocking else Tone.WARN)
        case e.LimitReached():
            return _say(f"limit of {event.limit} reached: {event.used:g} of {event.allowed:g}", Tone.WARN)
        case e.QuestionAsked():
            return _detail(_because("asks", event.question), Tone.WARN)
        case e.NoteRecorded():
            return _say(_because("noted", event.text))
        case e.MessageSent():
            return _say(_because(f"told by {event.by}", event.text))
        case e.MessageDelivered():
            return _detail(_because("has been told", event.text), Tone.PLAIN)
        case e.WorkHeld():
            return _held(event)
        case e.WorkReleased():
            return _detail("goes on")
        case e.ApprovalAsked() | e.ApprovalDecided():
            # What the run takes over is said there.
            return _word(event) if event.kind == "approval.asked" and event.what == "tool" else _detail("asks a person")
        case e.Delegated():
            return _detail(f"delegated to {event.agent} ({event.child})", Tone.PLAIN)
        case _:
            return _step(event)


def _step(event: EventBase) -> _Words:
    """The loop of a native agent: model calls, tool calls, its context."""
    match event:
        case e.ModelAsked():
            again = f", try {event.number}" if event.number > 1 else ""
            return _detail(f"step {event.step}: asks {event.model}{again}")
        case e.ModelAnswered():
            about = "about " if event.estimated else ""
            used = f"{tokens(event.usage.prompt)} in, {tokens(event.usage.output)} out, {about}{usd(event.cost_nusd)}"
            return _detail(f"step {event.step}: answer ({event.stop}) after {duration(event.seconds)}, {used}")
        case e.ModelErred():
            after = "" if event.retry_after is None else f", asked to wait {duration(event.retry_after)}"
            # Shown while it happens: an agent that waits for its provider would look as if nothing was wrong.
            return _say(_because(f"step {event.step}: {event.failure}{after}", event.reason), Tone.WARN)
        case e.ToolIntended():
            if event.decision == "allow":
                return _detail(f"step {event.step}: {event.tool}")
            rules = ", ".join(event.rules)
            return _detail(_because(f"step {event.step}: {event.tool} {event.decision}", rules), Tone.WARN)
        case e.ToolDone():
            flags = f" [{', '.join(event.flags)}]" if event.flags else ""
            verdict = "ok" if event.ok else "failed"
            tone = Tone.QUIET if event.ok else Tone.WARN
            return _detail(f"step {event.step}: {event.tool} {verdict} after {duration(event.seconds)}{flags}", tone)
        case e.ToolsGiven():
            given = f"{event.shown} tools of outside servers, {event.found} more to be found"
            return _detail(
                _because(given, "; ".join(event.unavailable)), Tone.WARN if event.unavailable else Tone.QUIET
            )
        case e.ToolFellBack():
            back = f"step {event.step}: {event.tool} failed, {event.to} instead"
            return _detail(_because(back, event.reason), Tone.WARN)
        case e.IncidentOpened():
            todo = f"; {event.fix}" if event.fix else ""
            return _say(_because(f"needs a person: {event.failure} of {event.subject}{todo}", event.reason), Tone.BAD)
        case e.ContextCompacted():
            return _detail(f"context compacted, {tokens(event.before_tokens)} to {tokens(event.after_tokens)} tokens")
        case e.TranscriptExtended():
            return _detail(_because("told", event.why))
        case e.TodoChanged():
            return _detail("todo list changed")
        case _:
            return _outside(event)


def _outside(event: EventBase) -> _Words:
    """An agent that is not our loop: what it says of itself, and what it was answered."""
    match event:
        case e.AgentConnected():
            who = f"{event.name or event.profile} {event.version}".strip()
            if event.login == "own":
                return _say(
                    f"{who} uses your own login: no call of it is metered or capped in money here; turns and wall time "
                    "bound it, and what it costs is what it says, unverified",
                    Tone.WARN,
                )
            again = ", takes its session up again" if event.resumed else ""
            again = f", begins a new session ({event.forgot})" if event.forgot else again
            return _detail(f"{who} connected, asks for {event.model or 'no model'}{again}")
        case e.AgentPrompted():
            return _detail(f"turn {event.number}: {_PROMPTED[event.why]}")
        case e.AgentTurned():
            unverified = "" if event.verified else f", {usd(event.cost_nusd)} by its own account (unverified)"
            return _detail(f"turn {event.number}: {event.stop} after {duration(event.seconds)}{unverified}")
        case e.AgentSaid():
            return _detail("thinks" if event.thought else "says something")
        case e.AgentActing():
            return _detail(_because(event.tool_kind or "acts", event.title))
        case e.AgentActed():
            flags = f" [{', '.join(event.flags)}]" if event.flags else ""
            verdict = "ok" if event.ok else "failed"
            tone = Tone.QUIET if event.ok else Tone.WARN
            return _detail(_because(f"{event.tool_kind or 'call'} {verdict}{flags}", event.title), tone)
        case e.PermissionDecided():
            said = f"asked whether it may {event.tool}: {event.answer.replace('_', ' ')}"
            tone = Tone.QUIET if event.answer.startswith("allow") else Tone.WARN
            return _detail(_because(said, ", ".join(event.rules)), tone)
        case _:
            return None


_PROMPTED = {
    "task": "is given its task",
    "message": "is told what a person says",
    "nudge": "is reminded to hand in",
    "refused": "is told what was refused",
    "resumed": "is told to go on where its process ended",
}


# --- the gate's and the deck's streams ----------------------------------------------------------------------


def _gate(event: EventBase) -> _Words:
    match event:
        case e.GateOpened():
            return _detail(f"gate of {event.branch} opened at {event.base[:_SHA]}")
        case e.ChangeQueued():
            return _detail(f"queued: {event.change.attempt.partition('.')[2]}, {event.title}", Tone.PLAIN)
        case e.GateCheckStarted():
            stack = " + ".join(attempt.partition(".")[2] for attempt in event.stack) or "the tip itself"
            again = f", try {event.number}" if event.number > 1 else ""
            return _detail(f"checks the merged tree of {stack} on {event.tip[:_SHA]}{again}", Tone.PLAIN)
        case e.GateCheckFinished():
            if event.cancelled:
                return _detail("the check is no longer wanted")
            if event.infrastructure:
                return _say(_because("the merged tree could not be checked", event.reason), Tone.WARN)
            if event.passed:
                return _detail(f"merged tree {event.tree[:_SHA]} is green", Tone.GOOD)
            return _say(_because(f"merged tree {event.tree[:_SHA]} is red", event.reason), Tone.BAD)
        case e.MergeResolved():
            return _say("; ".join((event.words, *event.notes)), Tone.PLAIN)
        case e.ChangeClashed():
            others = ", ".join(attempt.partition(".")[2] for attempt in event.against)
            return _detail(f"clashes with {others}, and waits for it" if others else "clashes with nothing any more")
        case e.LandingIntended():
            over = f" over {len(event.stack)} changes" if len(event.stack) > 1 else ""
            return _detail(f"target is to move{over} from {event.old[:_SHA] or 'nothing'} to {event.new[:_SHA]}")
        case e.ChangeLanded():
            return _detail(f"landed, target at {event.new[:_SHA]}", Tone.GOOD)
        case e.ChangeReturned():
            words, tone = _OUTCOME.get(event.outcome, (str(event.outcome), Tone.WARN))
            tried = f" (tried: {e.ways_in_words(event.lost)})" if event.lost else ""
            return _detail(_because(f"returned: {words}", f"{event.reason}{tried}"), tone)
        case e.FlakeSeen():
            words = f"a flaky check: failed, then passed on the same tree ({event.check})"
            return _say(_because(words, event.reason), Tone.WARN)
        case e.TipMoved():
            return _say(f"somebody else moved the target from {event.old[:_SHA]} to {event.new[:_SHA]}", Tone.WARN)
        case e.GateDelayed():
            again = f" ({event.number} times in a row now)" if event.number > 1 else ""
            words = f"the merge gate cannot work and tries again in {duration(event.seconds)}{again}"
            return _say(_because(words, event.reason), Tone.WARN)
        case e.NoteFailed():
            return _say(_because(f"landed, but the note of {event.commit[:_SHA]} waits", event.reason), Tone.WARN)
        case e.NoteWritten():
            return _detail(f"the note of {event.commit[:_SHA]} is written")
        case _:
            return None


def _check(event: EventBase) -> _Words:
    if isinstance(event, e.EnvironmentBuilding):
        commands = "; ".join(event.commands)
        return _say(_because("a check waits for the environment of its merged tree to be built", commands), Tone.BUSY)
    return _gate(event)


def _deck(event: EventBase) -> _Words:
    match event:
        case e.DeckOwned():
            return _detail(f"owned by process {event.pid} on {event.host}, version {event.version}")
        case e.DeckAnchored():
            return _detail(f"heads of {plural(event.streams, 'stream')} anchored")
        case e.RunsPruned():
            what = f"{plural(event.runs, 'run')}, {plural(event.records, 'record')}"
            return _detail(f"{what} taken out by {event.by}; the ends of their streams are kept")
        case _:
            return None


_ROOMS = {"run": _run, "approval": _run, "attempt": _attempt, "mail": _attempt, "gate": _gate, "check": _check}
"""By the beginning of the stream's name."""
