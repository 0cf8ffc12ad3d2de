"""What happens at the merge gate, as one line for a person.

Rules
- Pure, as `lines`, which asks here for what stands in `gate/…` and `check/…`.
"""

from quarterdeck.cli.amounts import duration, plural
from quarterdeck.cli.saying import OUTCOME, SHA, Words, because, detail, say
from quarterdeck.cli.text import Tone
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import EventBase


def words(event: EventBase) -> Words:
    """What happened; None for an event of another kind."""
    match event:
        case e.GateOpened():
            return detail(f"gate of {event.branch} opened at {event.base[:SHA]}")
        case e.ChangeQueued():
            return detail(f"queued: {event.change.attempt.partition('.')[2]}, {event.title}", Tone.PLAIN)
        case e.GateCheckStarted():
            stack = " + ".join(attempt.partition(".")[2] for attempt in event.stack) or "the tip itself"
            again = f", try {event.number}" if event.number > 1 else ""
            text = f"checks the merged tree of {stack} on {event.tip[:SHA]}{again}"
            return detail(because(text, event.why), Tone.PLAIN)
        case e.GateCheckFinished():
            if event.cancelled:
                return detail("the check is no longer wanted")
            if event.infrastructure:
                return say(because("the merged tree could not be checked", event.reason), Tone.WARN)
            if event.passed:
                return detail(f"merged tree {event.tree[:SHA]} is green", Tone.GOOD)
            return say(because(f"merged tree {event.tree[:SHA]} is red", event.reason), Tone.BAD)
        case e.MergeResolved():
            return say("; ".join((event.words, *event.notes)), Tone.PLAIN)
        case e.ChangeClashed():
            others = ", ".join(attempt.partition(".")[2] for attempt in event.against)
            return detail(f"clashes with {others}, and waits for it" if others else "clashes with nothing any more")
        case e.LandingIntended():
            over = f" over {len(event.stack)} changes" if len(event.stack) > 1 else ""
            return detail(f"target is to move{over} from {event.old[:SHA] or 'nothing'} to {event.new[:SHA]}")
        case e.ChangeLanded():
            return detail(f"landed, target at {event.new[:SHA]}", Tone.GOOD)
        case e.ChangeReturned():
            text, tone = OUTCOME.get(event.outcome, (str(event.outcome), Tone.WARN))
            tried = f" (tried: {e.ways_in_words(event.lost)})" if event.lost else ""
            return detail(because(f"returned: {text}", f"{event.reason}{tried}"), tone)
        case e.FlakeSeen():
            text = f"a flaky check: failed, then passed on the same tree ({event.check})"
            return say(because(text, event.reason), Tone.WARN)
        case e.TipMoved():
            return say(f"somebody else moved the target from {event.old[:SHA]} to {event.new[:SHA]}", Tone.WARN)
        case e.TipFoundRed() | e.CulpritFound() | e.ChangeReverted() | e.TipMended():
            return _red(event)
        case e.GateDelayed():
            again = f" ({event.number} times in a row now)" if event.number > 1 else ""
            text = f"the merge gate cannot work and tries again in {duration(event.seconds)}{again}"
            return say(because(text, event.reason), Tone.WARN)
        case e.NoteFailed():
            return say(because(f"landed, but the note of {event.commit[:SHA]} waits", event.reason), Tone.WARN)
        case e.NoteWritten():
            return detail(f"the note of {event.commit[:SHA]} is written")
        case _:
            return None


def _red(event: e.TipFoundRed | e.CulpritFound | e.ChangeReverted | e.TipMended) -> Words:
    """What the gate does about a target that is red."""
    match event:
        case e.TipFoundRed():
            # The first of them is what the others stand on.
            number = plural(max(1, len(event.suspects) - 1), "commit")
            among = f"; what made it so is among {number}" if event.suspects else ""
            return say(because(f"the target is red at {event.tip[:SHA]}{among}", event.reason), Tone.BAD)
        case e.CulpritFound():
            then = {"revert": "it is taken back", "ask": "a person is asked", "tell": event.fix}[event.action]
            return say(f"{event.reason}; {then}" if then else event.reason, Tone.BAD)
        case e.ChangeReverted():
            text = f"{event.attempt.partition('.')[2]} ({event.commit[:SHA]}) is taken back by {event.by[:SHA]}"
            return say(because(text, event.reason), Tone.WARN)
        case _:
            return detail(f"the target is not red any more, at {event.tip[:SHA]}", Tone.GOOD)


def check_words(event: EventBase) -> Words:
    """The same for the stream of a check."""
    if isinstance(event, e.EnvironmentBuilding):
        commands = "; ".join(event.commands)
        return say(because("a check waits for the environment of its merged tree to be built", commands), Tone.BUSY)
    return words(event)
