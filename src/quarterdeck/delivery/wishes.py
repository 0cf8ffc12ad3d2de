"""What becomes of a wish of a person where the run stands by the time that it is heard. Pure.

Rules
- A wish is acknowledged before it is heard, and others may have said something meanwhile: what has no meaning any more
  changes nothing.
- Nothing takes a cancel back but a word that asks for it: to go on, or to try a task again. A pause does not, nor does
  more money.
- Who says no again to a run that was cancelled and paused ends it.
- A wish that has to wait is not overtaken, whichever process hears it: the last word counts.
"""

from typing import Final

from quarterdeck.delivery.approval import retriable, short
from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import Node, RunStatus, TaskStatus
from quarterdeck.kernel.states import RunState

WAIT: Final = 0.5
"""Seconds after which a wish that has to wait is looked at again."""


def pausable(state: RunState) -> bool:
    """Whether a pause has a meaning. A cancelled run ends, which a paused one does not. Pure."""
    return state.finished is None and not state.paused and not state.cancelled


def cancellable(state: RunState) -> bool:
    """Whether a cancel has a meaning. Pure."""
    return state.finished is None and (not state.cancelled or state.paused)


def resumable(state: RunState) -> bool:
    """Whether there is anything to go on with: of a run that is done there is nothing. Pure."""
    return state.finished is None or state.finished.status is not RunStatus.DONE


def ends(state: RunState, action: str) -> bool:
    """Whether the run is just ending, and what a person wants has to wait for that. Pure."""
    ending = state.node_running and state.node in (Node.REPORT, Node.RETROSPECTIVE)
    return ending and (action != "budget" or state.exhausted)


def funded(event: e.BudgetRaised, state: RunState) -> e.BudgetRaised | e.RunResumed | None:
    """What more money comes to where the run stands; one that has ended for want of it meanwhile goes on. Pure."""
    if event.budget_nusd <= state.budget_nusd:
        return None
    if state.finished is not None:
        goes_on = state.exhausted and not state.cancelled
        return e.RunResumed(by=event.by, budget_nusd=event.budget_nusd) if goes_on else None
    return event.model_copy(update={"tasks": short(state)})


def granted(event: e.EventBase, state: RunState) -> bool:
    """Whether what a person wants still has a meaning where the run stands by now. Pure."""
    match event:
        case e.QuestionAnswered():
            return state.finished is None
        case e.TaskRetried():
            return retriable(state, event.task)
        case e.TaskReverted():
            task = state.tasks.get(event.task)
            # Also of a run that has ended: what it may go on from later is not there any more.
            return task is not None and task.status is TaskStatus.MERGED and task.commit == event.commit
        case _:
            return False
