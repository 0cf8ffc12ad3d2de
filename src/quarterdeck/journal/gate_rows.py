"""What the events of a merge gate's stream change in the read tables. Pure.

Rules
- A red target stands among the incidents of the run whose people were told, until it does not stand there any more.
- What a gate asks is an approval like any other.
"""

from typing import Final

from quarterdeck.journal import attempt_rows, touches
from quarterdeck.journal.changes import Op, Set
from quarterdeck.kernel import events as ev
from quarterdeck.kernel import ids

RED: Final = "red"
"""What incidents are called that are about a red target."""


def changed(target: str, at: float, event: ev.EventBase) -> list[Op]:
    """What an event of `gate/…` changes."""
    match event:
        case ev.ChangeLanded():
            return [touches.landed(target, at, event)]
        case ev.ApprovalAsked():
            return [attempt_rows.approval_asked(at, event)]
        case ev.CulpritFound(action="tell"):
            about = {"run": event.run, "attempt": ids.gate_stream(target), "failure": RED, "subject": event.tip[:12]}
            return [Set("project_incident", {**about, "reason": event.reason, "fix": event.fix, "at": at})]
        case ev.TipMended():
            return [Set("project_red_over", {"run": event.run, "attempt": ids.gate_stream(target)})]
        case _:
            return []
