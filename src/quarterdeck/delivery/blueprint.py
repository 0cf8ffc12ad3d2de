"""The blueprint of a run, as data: which nodes, in which order, by whom, and what each outcome leads to.

Rules
- The order is enforced here, in code: an agent cannot skip a node, and a node that is not in the blueprint never runs.
- Every pair of node and outcome has exactly one turn; a pair that is not listed is a bug and stops the task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.events import Node, Outcome


class Turn(StrEnum):
    """What follows the outcome of a node."""

    NEXT = "next"
    """The next node of the blueprint; after the last one the task is merged."""
    RETRY = "retry"
    """Another attempt with the feedback; counts against `limits.attempts`."""
    RETURN = "return"
    """Another attempt on the new base; not the author's fault, counted apart."""
    WAIT = "wait"
    """Until a human has answered."""
    FAIL = "fail"
    """The task is over; a human sees it in the report."""
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Step:
    """One node of the blueprint."""

    node: Node
    by: Literal["code", "agent"]
    scope: Literal["run", "task"]
    turns: Mapping[Outcome, Turn]
    needs: Literal["nothing", "reviewer", "no plan file", "approval"] = "nothing"
    """When it is skipped otherwise."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The ordered nodes of a run."""

    name: str
    steps: tuple[Step, ...]

    def step(self, node: Node) -> Step:
        """The step of that node. Raises KeyError."""
        for step in self.steps:
            if step.node is node:
                return step
        raise KeyError(node)

    def turn(self, node: Node, outcome: Outcome) -> Turn:
        """What that outcome leads to."""
        return self.step(node).turns.get(outcome, Turn.FAIL)

    def after(self, node: Node, config: RunConfig) -> Node | None:
        """The task's next node under this configuration; None after the last."""
        seen = False
        for step in self.steps:
            if seen and step.scope == "task" and not _skipped(step, config):
                return step.node
            seen = seen or step.node is node
        return None


def _skipped(step: Step, config: RunConfig) -> bool:
    return (step.needs == "reviewer" and config.deck.review.agent is None) or (
        step.needs == "approval" and config.deck.approve.merge == "never"
    )


_COMMON: Final = {
    Outcome.OK: Turn.NEXT,
    Outcome.FAILED: Turn.RETRY,
    Outcome.WAITING: Turn.WAIT,
    Outcome.EXHAUSTED: Turn.FAIL,
    Outcome.CANCELLED: Turn.CANCEL,
}

DEFAULT: Final = Blueprint(
    "default",
    (
        Step(Node.PLAN, "agent", "run", _COMMON, needs="no plan file"),
        Step(Node.DISPATCH, "code", "run", {Outcome.OK: Turn.NEXT}),
        Step(Node.IMPLEMENT, "agent", "task", _COMMON),
        Step(Node.CHECK, "code", "task", _COMMON),
        # A reviewer that fails is not its author's fault: after its own tries a human has to look.
        Step(
            Node.REVIEW,
            "agent",
            "task",
            {**_COMMON, Outcome.CHANGE: Turn.RETRY, Outcome.FAILED: Turn.FAIL},
            needs="reviewer",
        ),
        # Nor is it the author's fault that nobody decides in time: the task is over until a person has it go on.
        Step(
            Node.APPROVE,
            "code",
            "task",
            {**_COMMON, Outcome.CHANGE: Turn.RETRY, Outcome.FAILED: Turn.FAIL, Outcome.HELD: Turn.FAIL},
            needs="approval",
        ),
        Step(Node.GATE, "code", "task", {**_COMMON, Outcome.CONFLICT: Turn.RETURN, Outcome.HELD: Turn.FAIL}),
        Step(Node.REPORT, "code", "run", {Outcome.OK: Turn.NEXT, Outcome.FAILED: Turn.NEXT}),
        Step(Node.RETROSPECTIVE, "code", "run", {Outcome.OK: Turn.NEXT, Outcome.FAILED: Turn.NEXT}),
    ),
)

REVERT: Final = Blueprint(
    "revert",
    (
        # git makes the change, so another try would make the same one: whatever stops it, a person has to look.
        Step(Node.IMPLEMENT, "code", "task", {Outcome.OK: Turn.NEXT}),
        Step(Node.GATE, "code", "task", {Outcome.OK: Turn.NEXT, Outcome.CANCELLED: Turn.CANCEL}),
        Step(Node.REPORT, "code", "run", {Outcome.OK: Turn.NEXT, Outcome.FAILED: Turn.NEXT}),
        Step(Node.RETROSPECTIVE, "code", "run", {Outcome.OK: Turn.NEXT, Outcome.FAILED: Turn.NEXT}),
    ),
)
"""Takes back what landed: through the same gate, without any agent."""

BLUEPRINTS: Final = {blueprint.name: blueprint for blueprint in (DEFAULT, REVERT)}
