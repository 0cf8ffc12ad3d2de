"""What happens in an attempt, as one line for a person: the attempt itself, the steps of a native agent, and what an
outside one says of itself.

Rules
- Pure, as `lines`, which asks here for what stands in `attempt/…` and `mail/…`.
- A step is for the log alone, unless it is in trouble.
"""

from quarterdeck.cli.amounts import duration, plural, size, tokens, usd
from quarterdeck.cli.saying import SHA, Words, because, detail, held, node, say, word
from quarterdeck.cli.text import Tone, clean, fit
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import EventBase

_PROGRAM = 100
"""Characters of a program's name that are shown."""


def words(event: EventBase) -> Words:
    """What happened; None for an event of another kind."""
    match event:
        case e.AttemptStarted():
            again = ", anew in a fresh workspace" if event.incarnation > 1 else ""
            by = event.agent if event.harness is None else f"{event.agent} ({event.harness})"
            routed = f"; {event.routed}" if event.routed else ""
            shown = say if again or routed else detail
            beside = event.parent if not event.base else ""  # a sub-agent's, which works where its parent does
            where = f"beside {beside}" if beside else f"from {event.base[:SHA]}"
            return shown(f"{by} starts {where}{again}{routed}", Tone.PLAIN)
        case e.EnvironmentBuilding():
            return say(because("waits for its environment to be built", "; ".join(event.commands)), Tone.BUSY)
        case e.HarnessStarted():
            return detail(f"agent started: {fit(clean(event.detail), _PROGRAM)}" if event.detail else "agent started")
        case e.HandoffRefused():
            return say(because(f"its {event.expects} is refused, it is asked again", event.reason), Tone.WARN)
        case e.HarnessFinished():
            if event.ok:
                return detail("agent finished")
            code = "" if event.exit_code is None else f" (exit {event.exit_code})"
            return detail(because(f"agent failed{code}", event.reason), Tone.BAD)
        case e.NodeStarted() | e.NodeFinished() | e.NodeDelayed():
            return node(event)
        case e.ChangeExported():
            return detail(f"change of {plural(len(event.change.files), 'file')}, {size(event.pack_bytes)}", Tone.PLAIN)
        case e.CheckRan():
            verdict = "passed" if event.passed else "failed"
            return detail(f"checks {verdict} in {duration(event.seconds)}", Tone.GOOD if event.passed else Tone.BAD)
        case e.ChangeInspected():
            words = plural(event.blocking or event.warnings, "blocking finding" if event.blocking else "finding")
            return say(because(words, event.first), Tone.BAD if event.blocking else Tone.WARN)
        case e.LimitReached(limit="usd"):
            spent = f"${event.used:,.2f} of ${event.allowed:,.2f}"
            return say(f"its budget does not pay the next call: {spent} spent", Tone.WARN)
        case e.LimitReached():
            used, allowed = (f"{value:,.1f}".removesuffix(".0") for value in (event.used, event.allowed))
            return say(f"limit of {event.limit} reached: {used} of {allowed}", Tone.WARN)
        case e.QuestionAsked():
            return detail(because("asks", event.question), Tone.WARN)
        case e.NoteRecorded():
            return say(because("noted", event.text))
        case e.MessageSent():
            return say(because(f"told by {event.by}", event.text))
        case e.MessageDelivered():
            return detail(because("has been told", event.text), Tone.PLAIN)
        case e.WorkHeld():
            return held(event)
        case e.WorkReleased():
            return detail("goes on")
        case e.ApprovalAsked() | e.ApprovalDecided():
            # What the run takes over is said there.
            return word(event) if event.kind == "approval.asked" and event.what == "tool" else detail("asks a person")
        case e.Delegated():
            return detail(f"delegated to {event.agent} ({event.child})", Tone.PLAIN)
        case _:
            return _step(event)


def _step(event: EventBase) -> Words:
    """The loop of a native agent: model calls, tool calls, its context."""
    match event:
        case e.ModelAsked():
            again = f", try {event.number}" if event.number > 1 else ""
            return detail(f"step {event.step}: asks {event.model}{again}")
        case e.ModelAnswered():
            about = "about " if event.estimated else ""
            used = f"{tokens(event.usage.prompt)} in, {tokens(event.usage.output)} out, {about}{usd(event.cost_nusd)}"
            return detail(f"step {event.step}: answer ({event.stop}) after {duration(event.seconds)}, {used}")
        case e.ModelErred():
            after = "" if event.retry_after is None else f", asked to wait {duration(event.retry_after)}"
            # Shown while it happens: an agent that waits for its provider would look as if nothing was wrong.
            return say(because(f"step {event.step}: {event.failure}{after}", event.reason), Tone.WARN)
        case e.ToolIntended():
            if event.decision == "allow":
                return detail(f"step {event.step}: {event.tool}")
            rules = ", ".join(event.rules)
            return detail(because(f"step {event.step}: {event.tool} {event.decision}", rules), Tone.WARN)
        case e.ToolDone():
            flags = f" [{', '.join(event.flags)}]" if event.flags else ""
            verdict = "ok" if event.ok else "failed"
            tone = Tone.QUIET if event.ok else Tone.WARN
            return detail(f"step {event.step}: {event.tool} {verdict} after {duration(event.seconds)}{flags}", tone)
        case e.ToolsGiven():
            given = f"{event.shown} tools of outside servers, {event.found} more to be found"
            return detail(because(given, "; ".join(event.unavailable)), Tone.WARN if event.unavailable else Tone.QUIET)
        case e.ToolFellBack():
            back = f"step {event.step}: {event.tool} failed, {event.to} instead"
            return detail(because(back, event.reason), Tone.WARN)
        case e.IncidentOpened():
            todo = f"; {event.fix}" if event.fix else ""
            return say(because(f"needs a person: {event.failure} of {event.subject}{todo}", event.reason), Tone.BAD)
        case e.ContextCompacted():
            return detail(f"context compacted, {tokens(event.before_tokens)} to {tokens(event.after_tokens)} tokens")
        case e.TranscriptExtended():
            return detail(because("told", event.why))
        case e.TodoChanged():
            return detail("todo list changed")
        case _:
            return _outside(event)


def _outside(event: EventBase) -> Words:
    """An agent that is not our loop: what it says of itself, and what it was answered."""
    match event:
        case e.AgentConnected():
            who = f"{event.name or event.profile} {event.version}".strip()
            if event.login == "own":
                return say(
                    f"{who} uses your own login: no call of it is metered or capped in money here; turns and wall time "
                    "bound it, and what it costs is what it says, unverified",
                    Tone.WARN,
                )
            again = ", takes its session up again" if event.resumed else ""
            again = f", begins a new session ({event.forgot})" if event.forgot else again
            return detail(f"{who} connected, asks for {event.model or 'no model'}{again}")
        case e.AgentPrompted():
            return detail(f"turn {event.number}: {_PROMPTED[event.why]}")
        case e.AgentTurned():
            unverified = "" if event.verified else f", {usd(event.cost_nusd)} by its own account (unverified)"
            return detail(f"turn {event.number}: {event.stop} after {duration(event.seconds)}{unverified}")
        case e.AgentSaid():
            return detail("thinks" if event.thought else "says something")
        case e.AgentActing():
            return detail(because(event.tool_kind or "acts", event.title))
        case e.AgentActed():
            flags = f" [{', '.join(event.flags)}]" if event.flags else ""
            verdict = "ok" if event.ok else "failed"
            tone = Tone.QUIET if event.ok else Tone.WARN
            return detail(because(f"{event.tool_kind or 'call'} {verdict}{flags}", event.title), tone)
        case e.PermissionDecided():
            said = f"asked whether it may {event.tool}: {event.answer.replace('_', ' ')}"
            tone = Tone.QUIET if event.answer.startswith("allow") else Tone.WARN
            return detail(because(said, ", ".join(event.rules)), tone)
        case _:
            return None


_PROMPTED = {
    "task": "is given its task",
    "message": "is told what a person says",
    "nudge": "is reminded to hand in",
    "refused": "is told what was refused",
    "resumed": "is told to go on where its process ended",
}
