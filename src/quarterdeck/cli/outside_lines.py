"""What comes from outside and what goes out, as one line for a person: triggers, pushed branches, messages, and what
workers hand each other.

Rules
- Pure, as `lines`, which asks here for what stands in `trigger/…`, `publish/…` and `notice/…`, and for what it has no
  words for itself.
"""

from quarterdeck.cli.amounts import duration, size
from quarterdeck.kernel.events import EventBase
from quarterdeck.kernel.events import outside as te
from quarterdeck.kernel.events import packs as pe

_SHA = 10


def words(event: EventBase) -> str | None:
    """What happened; None for an event of another kind."""
    match event:
        case te.TriggerScheduled():
            return f"{event.trigger} fires at {event.schedule} ({event.timezone})"
        case te.TriggerFired():
            return f"{event.trigger} starts {event.run}"
        case te.TriggerOrdered():
            return f"{event.trigger}: {event.run} is ordered"
        case te.TriggerHeld():
            return f"{event.trigger} waits: {event.reason}"
        case te.TriggerRefused():
            return f"{event.trigger} is refused ({event.code}): {event.reason}"
        case _:
            return _out(event)


def _out(event: EventBase) -> str | None:
    match event:
        case te.BranchPushed():
            return f"{event.branch} is pushed to {event.repository} at {event.commit[:_SHA]}"
        case te.PullOpened():
            return f"pull request {event.url} {'is found again' if event.found else 'is opened'}"
        case te.IssueCommented():
            return f"issue {event.issue} is told: {event.about}"
        case te.NoticeSent():
            return f"told: {event.title} (HTTP {event.status})"
        case te.OutboxDelayed():
            return f"{event.about} is tried again in {duration(event.seconds)}: {event.reason}"
        case te.OutboxFailed():
            return f"{event.about} is given up: {event.reason}"
        case _:
            return _between(event)


def _between(event: EventBase) -> str | None:
    match event:
        case pe.PackKept():
            return f"what leads to {event.commit[:_SHA]} is kept for other workers ({size(event.pack_bytes)})"
        case pe.WorkspaceKept(commit=""):
            return f"what {event.workspace} holds could not be kept for other workers"
        case pe.WorkspaceKept():
            return f"what {event.workspace} holds is kept for other workers ({size(event.pack_bytes)})"
        case _:
            return None
