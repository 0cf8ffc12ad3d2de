"""How an attempt ends, as far as its record tells. Pure, so that a resumed attempt ends in the same way.

Rules
- Only a handoff that was accepted is a success; a text is not.
- At a bound, what is complete is reported, so that a human or another agent can decide.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from quarterdeck.agents import handoffs
from quarterdeck.agents.limits import Reached
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.reminders import ENDS_REPEATS
from quarterdeck.agents.transcript import Transcript
from quarterdeck.kernel.entities import Feedback
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models.factory import key_variable

SILENT_TURNS: Final = 3
EMPTY_TURNS: Final = 2


def ended(state: Transcript, assignment: Assignment) -> Finished | None:
    """How the attempt has ended, or None."""
    if state.handoff is not None:
        found = handoffs.parse(assignment.agent.expects, state.handoff, goal=assignment.goal)
        if not isinstance(found, handoffs.Refused):
            return Finished(Outcome.OK, handoff=found)
    if state.question:
        return Finished(Outcome.WAITING, reason=state.question[:2000])
    if state.limit is not None:
        return _at_limit(*state.limit)
    if in_vain := refused_too_often(state.refused_submits, assignment):
        return in_vain
    if state.empty >= EMPTY_TURNS:
        return failed("its answers were empty", FailureClass.HANDOFF)
    if state.silent >= SILENT_TURNS:
        return failed(f"it stopped calling tools and did not submit a {assignment.agent.expects}", FailureClass.HANDOFF)
    if state.repeats() >= ENDS_REPEATS:
        return failed(f"it made the same call {state.repeats()} times with the same result", FailureClass.TOOL)
    return None


def refused_too_often(times: int, assignment: Assignment) -> Finished | None:
    """The ending of an agent whose handoff was refused so often that it is not asked again."""
    agent, config = assignment.agent, assignment.config
    if not times or isinstance(handoffs.recovery(times, agent, config.agents, config.deck), handoffs.AskAgain):
        return None
    return failed(f"its {agent.expects} was refused {times} times", FailureClass.HANDOFF)


def failed(reason: str, failure: FailureClass, detail: str = "") -> Finished:
    """An ending by the agent's own fault."""
    feedback = Feedback(source="agent", reason=reason[:2000], detail=detail)
    return Finished(Outcome.FAILED, reason=reason[:2000], failure=failure, feedback=(feedback,))


def model_failed(error: ModelFailed, fix: str) -> Finished:
    """An ending because no model could be asked. `fix`: what a person can do about it; no agent is told that."""
    ending = failed(f"the model call failed ({error.kind}): {error}", error.kind)
    return replace(ending, reason=f"{ending.reason[:1500]} ({fix})") if fix else ending


def fix(error: ModelFailed, model: str, assignment: Assignment) -> str:
    """What a person can do where nothing else helps."""
    provider, retry = model.partition(":")[0], f"quarterdeck resume {assignment.run} --retry"
    again = f"then: {retry}"
    match error.kind:
        case FailureClass.AUTH:
            variable = key_variable(model, assignment.config.deck.models.get(model))
            return f"give {variable} a key that {provider} accepts for {model}, {again}"
        case FailureClass.QUOTA:
            return f"raise the spend limit or add credit at {provider}, {again}"
        case FailureClass.CONFIGURATION:
            # A run keeps the configuration that it began with.
            return f"{error.fix}, and order a new run; where no file had to be corrected: {retry}"
        case _:
            return f"{error.fix}, {again}" if error.fix else ""


def complete(state: Transcript, reached: Reached, files: str) -> bytes:
    """What is complete at a bound, as it is stored."""
    document = {
        "reason": reached.reason,
        "exhausted": reached.exhausted,
        "final": reached.final,
        "todo": [item.model_dump() for item in state.todo],
        "notes": state.notes,
        "files": files,
        "turns": state.turns,
        "last": state.messages[-1].text[-2000:] if state.messages and state.messages[-1].role == "assistant" else "",
    }
    return json.dumps(document).encode()


def _at_limit(event: Any, document: Mapping[str, Any]) -> Finished:
    reason = str(document.get("reason", ""))[:2000]
    todo = "\n".join(f"- [{item['status']}] {item['text']}" for item in document.get("todo", ()))
    detail = (
        f"Limit: {event.limit}, used {event.used:g} of {event.allowed:g}, after {document.get('turns', 0)} turns.\n"
        f"Todo list:\n{todo or '(none)'}\n"
        f"Files changed in the workspace:\n{document.get('files') or '(none)'}"
    )
    feedback = (Feedback(source="limit", reason=reason, detail=detail[:24_000]),)
    if document.get("exhausted"):
        return Finished(Outcome.EXHAUSTED, reason, FailureClass.BUDGET, feedback=feedback)
    return Finished(Outcome.FAILED, reason, FailureClass.BUDGET if document.get("final") else None, feedback=feedback)
