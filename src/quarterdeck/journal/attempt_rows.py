"""What the events of an attempt's stream, and of the approvals it asked for, change in the read tables. Pure.

Rules
- Spending and questions follow this stream; of a task's status it changes nothing.
- An approval is what its attempt's stream (or a merge gate's) asked and its own stream decided; what the run's stream
  takes over of it changes the run alone.
"""

import json
from typing import Final

from quarterdeck.journal import touches
from quarterdeck.journal.changes import Op, Set, Spend
from quarterdeck.kernel import events as ev
from quarterdeck.kernel import ids


def changed(attempt: str, at: float, event: ev.EventBase) -> list[Op]:
    """What an event of `attempt/…` changes."""

    def status(value: str) -> list[Op]:
        return [Set("project_attempt_status", {"attempt": attempt, "status": value})]

    match event:
        case ev.ModelAnswered():
            return [Spend(attempt, at, event.model, event.usage, event.cost_nusd, event.estimated)]
        case ev.ModelErred():
            return [Spend(attempt, at, event.model, event.usage, event.cost_nusd, event.estimated)]
        case ev.AgentTurned(verified=False):
            return [Spend(attempt, at, event.model, event.usage, event.cost_nusd, True, verified=False)]
        case ev.AttemptStarted():
            values = {
                "attempt": attempt,
                "run": event.run,
                "task": event.task,
                "number": event.number,
                "agent": event.agent,
                "harness": event.harness.value if event.harness is not None else "git",
                "incarnation": event.incarnation,
                "at": at,
            }
            anew = [Set("project_touches_anew", {"attempt": attempt})] if event.incarnation > 1 else []
            return [Set("project_attempt_started", values), *anew]
        case ev.AttemptTouched():
            return [touches.touched(attempt, at, event)]
        case ev.HarnessFinished():
            run, _, _ = ids.split_attempt(attempt)
            ended = closed(run, at, "the attempt that asked has ended", attempt)
            return [*status("finished" if event.ok else "failed"), ended]
        case ev.ApprovalAsked():
            return [approval_asked(at, event)]
        case ev.NodeFinished(node=ev.Node.REVIEW, outcome=ev.Outcome.OK):
            return [*status("finished"), Set("project_reviewed", {"attempt": attempt})]
        case ev.NodeFinished():
            return status("finished" if event.outcome is ev.Outcome.OK else event.outcome.value)
        case ev.QuestionAsked():
            run, task, _ = ids.split_attempt(attempt)
            return [asked(run, task, attempt, event.question, at, "question")]
        case ev.IncidentOpened():
            about = {"run": ids.split_attempt(attempt)[0], "attempt": attempt, "failure": event.failure.value}
            said = {"subject": event.subject, "reason": event.reason, "fix": event.fix, "at": at}
            return [Set("project_incident", {**about, **said})]
        case ev.NoteRecorded():
            run, task, _ = ids.split_attempt(attempt)
            note = {"run": run, "task": task, "attempt": attempt, "text": event.text, "at": at}
            return [Set("project_note", note)]
        case _:
            return []


def approval_asked(at: float, event: ev.ApprovalAsked) -> Op:
    """What a person is asked."""
    values = event.model_dump(exclude={"kind", "why"})
    return Set("project_approval_asked", {**values, "why": json.dumps(event.why, ensure_ascii=False), "at": at})


_VERDICTS: Final = {"approve": "approved", "deny": "denied", "expired": "expired"}


def decided(at: float, event: ev.ApprovalDecided) -> list[Op]:
    """What a person's word changes, from the approval's own stream."""
    verdict = {"approval": event.approval, "status": _VERDICTS[event.verdict]}
    word = Set("project_approval_decided", {**verdict, "by": event.by, "reason": event.reason, "at": at})
    seen: list[Op] = [Set("project_seen", {"approval": event.approval})] if event.verdict == "approve" else []
    return [word, *seen]


def closed(run: str, at: float, reason: str, attempt: str = "") -> Op:
    """Nobody needs to decide any more what that run, or that attempt of it, has asked for."""
    return Set("project_approvals_closed", {"run": run, "attempt": attempt, "reason": reason, "at": at})


def asked(run: str, task: str, attempt: str, question: str, at: float, what: str) -> Op:
    """An agent's question, or why a person has to say how its task goes on."""
    values = {"run": run, "task": task, "attempt": attempt, "question": question, "at": at, "what": what}
    return Set("project_question", values)
