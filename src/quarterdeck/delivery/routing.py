"""On which workers a run's jobs are performed. Pure.

Rules
- A node of an attempt is performed where its task and its agent can be: on a worker that has the labels of both.
- Everything else (deciding, merging, reporting) needs no labels.
"""

from collections.abc import Iterable
from dataclasses import replace

from quarterdeck.delivery.jobs import WORK
from quarterdeck.engine.port import Job
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Plan
from quarterdeck.kernel.events import Node
from quarterdeck.kernel.states import RunState

_PLACED = (Node.PLAN, Node.IMPLEMENT, Node.CHECK, Node.REVIEW)


def routed(found: Iterable[Job], state: RunState, plan: Plan | None, config: RunConfig) -> tuple[Job, ...]:
    """The jobs with the labels that they need."""
    tasks = {task.id: task for task in plan.tasks} if plan is not None else {}

    def labels(job: Job) -> tuple[str, ...]:
        if job.kind != WORK or job.payload["node"] not in _PLACED:
            return ()
        name = ids.split_attempt(str(job.payload["attempt"]))[1]
        task = tasks.get(name)
        current = state.tasks.get(name)
        agent = config.agents.get(str(job.payload["agent"] or (current.agent if current else "") or ""))
        return tuple(sorted({*(task.runs_on if task else ()), *(agent.runs_on if agent else ())}))

    return tuple(replace(job, runs_on=needed) if (needed := labels(job)) else job for job in found)
