"""Where an attempt stands, as far as delivery needs to know: a pure fold over its stream."""

from dataclasses import dataclass, field

from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events import Node


@dataclass(slots=True)
class AttemptState:
    """Where an attempt stands, as far as delivery needs to know."""

    started: e.AttemptStarted | None = None
    started_at: float = 0.0
    harness_started: int = 0
    """Incarnation of the last harness start, 0 = none."""
    session: str = ""
    """The session that an agent of the newest incarnation began; empty = none is known."""
    harness_finished: e.HarnessFinished | None = None
    """How the harness of the newest incarnation ended."""
    exported: Change | None = None
    nodes: dict[Node, e.NodeFinished] = field(default_factory=dict)
    checks_blob: str | None = None
    """What the newest check said."""
    findings_blob: str | None = None
    """What validation named about the change."""
    answered: str | None = None
    """The model that answered last."""
    delays: int = 0
    """Delays in a row."""
    deaths: int = 0
    """Sandboxes that died under the present node."""
    asked: dict[str, e.ApprovalAsked] = field(default_factory=dict)
    """What a person's word was asked for, by approval."""


def apply_attempt(state: AttemptState, event: e.EventBase, at: float) -> None:
    """Take one event of an attempt's stream over; `at` is when it was recorded."""
    match event:
        case e.AttemptStarted():
            state.started, state.harness_finished, state.exported = event, None, None
            state.started_at, state.delays, state.session = at, 0, ""
        case e.HarnessStarted():
            state.harness_started = event.incarnation
        case e.AgentConnected():
            state.session = event.session
        case e.HarnessFinished():
            state.harness_finished = event
        case e.ModelAnswered():
            state.answered = event.model
        case e.ChangeExported():
            state.exported = event.change
        case e.CheckRan():
            state.checks_blob = event.results_blob
        case e.ChangeInspected():
            state.findings_blob = event.findings_blob
        case e.ApprovalAsked():
            state.asked[event.approval] = event
        case e.NodeDelayed():
            state.delays += 1
            state.deaths += event.died
        case e.NodeFinished():
            state.nodes[event.node], state.delays, state.deaths = event, 0, 0
        case _:
            pass
