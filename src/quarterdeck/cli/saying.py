"""How an event is put into words, and the words that several streams share.

Rules
- Pure, as `lines`: words are a text, its tone, and whether only a log shows it.
"""

from quarterdeck.cli.amounts import duration
from quarterdeck.cli.text import Tone, clean, fit
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import EventBase, Node, Outcome

REASON = 300
"""Characters of a reason that are shown."""
SHA = 10
"""Digits of a commit that are shown."""

Words = tuple[str, Tone, bool] | None
"""None: there are no words for it here."""


def say(text: str, tone: Tone = Tone.PLAIN) -> Words:
    """What everybody is shown."""
    return text, tone, False


def detail(text: str, tone: Tone = Tone.QUIET) -> Words:
    """What only a log shows."""
    return text, tone, True


def because(text: str, reason: str) -> str:
    """`text`, and why."""
    return f"{text}: {fit(clean(reason), REASON)}" if reason else text


def word(event: EventBase) -> Words:
    """A person's word, asked for and given."""
    match event:
        case e.ApprovalAsked():
            words = f"waits for {event.approval} (risk {event.risk})"
            return say(because(words, event.title), Tone.WARN)
        case e.ApprovalDecided():
            verdict = {"approve": "approved", "deny": "denied", "expired": "expired"}[event.verdict]
            tone = Tone.GOOD if event.verdict == "approve" else Tone.WARN
            return say(because(f"{event.approval} is {verdict} by {event.by}", event.reason), tone)
        case _:
            return None


def held(event: e.WorkHeld) -> Words:
    """What keeps agents from starting."""
    section = "approve" if event.limit == "inbox" else "limits"
    return say(because(f"held by [{section}] {event.limit}", event.reason), Tone.WARN)


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

OUTCOME = {
    Outcome.CHANGE: ("sent back by the reviewer", Tone.WARN),
    Outcome.CONFLICT: ("conflicts with what landed first", Tone.WARN),
    Outcome.HELD: ("held", Tone.WARN),
    Outcome.WAITING: ("waits for a human", Tone.WARN),
    Outcome.EXHAUSTED: ("stopped by the budget", Tone.WARN),
    Outcome.CANCELLED: ("cancelled", Tone.QUIET),
}
"""The others name the node."""


def node(event: e.NodeStarted | e.NodeFinished | e.NodeDelayed) -> Words:
    """A node of the blueprint."""
    doing = _DOING[event.node]
    if isinstance(event, e.NodeStarted):
        # Who works on it, and what a person is asked, is told by the record beside it.
        quiet = event.node in (Node.IMPLEMENT, Node.APPROVE, Node.REPORT, Node.RETROSPECTIVE)
        return (detail if quiet else say)(doing, Tone.BUSY)
    if isinstance(event, e.NodeDelayed):
        return say(because(f"{doing} is tried again in {duration(event.seconds)}", event.reason), Tone.WARN)
    if event.outcome is Outcome.OK:
        return detail(because(f"{doing}: ok", event.reason), Tone.GOOD)
    words, tone = OUTCOME.get(event.outcome, (f"{doing}: {event.outcome}", Tone.BAD))
    if event.node is Node.APPROVE and event.outcome is Outcome.CHANGE:
        words = "denied"
    return say(because(words, event.reason), tone)
