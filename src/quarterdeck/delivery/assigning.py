"""Who works on a task next. Pure.

Rules
- A task begins with the agent that the plan names, its owner, or the run's agent (`delivery.ownership`), and stays with
  it until that agent has used up its attempts by its own fault.
- Then it goes to whom that agent escalates to, with all that was learnt so far. Each agent has its turn once; one that
  cannot work here (no model for its tier) is passed over to whom it escalates to itself. At the end stands a person,
  who is asked, or nobody: then the task has failed.
- A handoff that was refused as often as it may be does not wait for the attempts to be used up: asking the same agent a
  fourth time is no better than asking it a third time.
- A change that comes back from the merge gate because no way of merging it passes goes to the integrator at once, if
  there is one; else back to its author. Where the integrator has had its turn too, and nobody is named after it, a
  person is asked, and shown what the integrator was shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from quarterdeck.agents import handoffs
from quarterdeck.agents.escalation import successor
from quarterdeck.agents.roster import HUMAN
from quarterdeck.agents.routing import equipped
from quarterdeck.delivery.plans.ownership import agent_of_task, owner_of, works
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Feedback, Task
from quarterdeck.kernel.events import Node
from quarterdeck.kernel.failures import OWN_FAULT, FailureClass
from quarterdeck.kernel.states import TaskState
from quarterdeck.tools.bounds import bounded

PLANNER: Final = "planner"
INTEGRATOR: Final = "integrator"
QUESTION: Final = 8_000
"""Characters of a question."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """An agent for the next attempt, and why it is this one."""

    agent: str
    why: str = ""


def assigned(task: Task, current: TaskState, config: RunConfig) -> Assigned:
    """Who has the task, or gets it first."""
    if current.chosen is not None:
        return Assigned(current.chosen, "a person chose it")
    if current.agent is not None:
        return Assigned(current.agent)
    name = agent_of_task(task, config)
    owned = task.agent is None and not config.agent_named and owner_of(task, config.agents) == name
    return Assigned(name, f"owns {', '.join(config.agents[name].owns)}"[:1000] if owned else "")


def integrator(current: TaskState, config: RunConfig) -> Assigned | None:
    """Who gets a change that no way of merging fits, where that is somebody who has not had it."""
    agent = config.agents.get(INTEGRATOR)
    if agent is None or INTEGRATOR in current.tried or not works(agent) or not equipped(agent, config.deck):
        return None
    return Assigned(INTEGRATOR, "no way of merging the change with what has landed passes")


def next_agent(current: TaskState, config: RunConfig) -> str | None:
    """Who is next when an agent has had its attempts: a name, `HUMAN`, or None = the task has failed."""
    to = successor(current.agent or "", current.tried, config.agents, config.deck)
    joined = INTEGRATOR in current.tried and current.conflicts > 0
    return HUMAN if to is None and joined else to


def speaks_in_vain(last: e.NodeFinished, current: TaskState, config: RunConfig) -> bool:
    """Whether what the agent hands in does not get its form although it was asked again, and another one is there."""
    agent = config.agents.get(current.agent or "")
    if agent is None or last.node is not Node.IMPLEMENT or last.failure is not FailureClass.HANDOFF:
        return False
    next_way = handoffs.recovery(handoffs.TRIES, agent, config.agents, config.deck, current.tried)
    return isinstance(next_way, handoffs.OtherAgent)


def escalation(name: str, reason: str) -> str:
    """Why the task goes to another agent."""
    return f"{name} escalates: {reason}"[:1000]


def question(run: str, task: Task, current: TaskState, reason: str) -> str:
    """What a person is asked who has to decide about a task: what was tried, what can be done, how to answer."""
    tried = ", ".join(current.tried) or (current.agent or "nobody")
    attempts = "1 attempt" if current.number == 1 else f"{current.number} attempts"
    return (
        f"The task {task.id} ({task.title}) is not done after {attempts} by {tried}. The last one: {reason[:3000]}\n"
        f"You can say what to do differently, and it is tried anew with your answer: "
        f'quarterdeck resume {run} --answer "..."\n'
        f"Once its cause is gone, it is tried anew: quarterdeck retry {run}.{task.id}\n"
        f"You can look at what was tried: quarterdeck show {run}.{task.id}\n"
        f"You can end the run; what is merged stays: quarterdeck cancel {run}"
    )


def with_pieces(asked: str, pieces: Sequence[Feedback]) -> str:
    """The question with what the integrator was shown: both sides of the conflict, the ways tried, what failed."""
    shown = [piece for piece in pieces if piece.source == "conflict" and piece.detail]
    if not shown:
        return asked[:QUESTION]
    text = f"{shown[-1].reason}\n{shown[-1].detail}"
    return f"{asked}\n\n{bounded(text, QUESTION - len(asked) - 2)[0]}"[:QUESTION]


def planners_question(run: str, tries: int, last: e.NodeFinished) -> str:
    """The same where there is no plan. What a provider or a machine did is not mended by other words for the goal."""
    worded = last.failure is None or last.failure in OWN_FAULT
    other = f'; or say how the goal is meant: quarterdeck resume {run} --answer "..."' if worded else ""
    return (
        f"There is no plan after {tries} attempts. The last one: {last.reason[:2000]}\n"
        f"Once the cause is gone, it is planned anew: quarterdeck resume {run}{other}; "
        f"or end the run: quarterdeck cancel {run}"
    )
