"""On which workers a run's jobs are performed. Pure.

Rules
- A node of an attempt is performed where its task and its agent can be: on a worker that has the labels of both. Its
  check needs those of `[checks]` besides.
- A merged tree is checked where `[checks]` says, and where verify commands of tasks are run with it, on a worker that
  has the labels of those tasks too.
- Whatever touches a repository that is a path of one machine is performed on that machine.
- What is to run without a sandbox is performed by workers whose machines do that.
- Everything else (deciding, merging, reporting) needs no labels.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from quarterdeck.delivery.jobs import WORK
from quarterdeck.engine.port import Job
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Plan
from quarterdeck.kernel.events import Node
from quarterdeck.kernel.states import RunState

BARE: Final = "sandbox=none"
"""The label of workers whose machines perform runs without a sandbox."""
_PLACED = (Node.PLAN, Node.IMPLEMENT, Node.CHECK, Node.REVIEW)


def routed(found: Iterable[Job], state: RunState, plan: Plan | None, config: RunConfig) -> tuple[Job, ...]:
    """The jobs with the labels that they need."""
    tasks = {task.id: task for task in plan.tasks} if plan is not None else {}

    def labels(job: Job) -> tuple[str, ...]:
        if job.kind != WORK:
            return ()
        if job.payload["node"] not in _PLACED:
            return config.runs_on
        name = ids.split_attempt(str(job.payload["attempt"]))[1]
        task = tasks.get(name)
        current = state.tasks.get(name)
        agent = config.agents.get(str(job.payload["agent"] or (current.agent if current else "") or ""))
        checks = config.deck.checks.runs_on if job.payload["node"] == Node.CHECK else ()
        parts = (
            config.runs_on,
            _fenceless(config),
            checks,
            task.runs_on if task else (),
            agent.runs_on if agent else (),
        )
        return tuple(sorted({label for part in parts for label in part}))

    return tuple(replace(job, runs_on=needed) if (needed := labels(job)) else job for job in found)


def checked_on(config: RunConfig, verifying: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The labels that the check of a merged tree needs. config: of the run whose checks are run. verifying: the labels
    of the tasks whose verify commands are run too."""
    parts = (config.runs_on, _fenceless(config), config.deck.checks.runs_on, *verifying)
    return tuple(sorted({label for part in parts for label in part}))


def _fenceless(config: RunConfig) -> tuple[str, ...]:
    return (BARE,) if config.deck.sandbox.backend == "none" else ()
