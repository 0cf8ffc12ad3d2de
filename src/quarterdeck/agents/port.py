"""The port to harnesses.

Rules
- A harness gets an assignment and a sandbox, journals every intent and outcome under the attempt's claim, and returns
  how it ended. It never decides whether the work is good: that is validation's work.
- Called again after a crash with the same assignment, it goes on from what is on record (native) or says that it
  cannot (`resumable = False`), and is then given a fresh workspace.
- Cancelling it ends what it started.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from quarterdeck.govern.port import Chain
from quarterdeck.journal.port import Claim
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Answer, Feedback, Note, Plan, Review, Submission, Task
from quarterdeck.kernel.events import EventBase, Outcome
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.kernel.ids import PLANNER_TASK
from quarterdeck.workplace.port import Gear, Sandbox

Handoff = Submission | Review | Plan | Answer

Keep = Callable[[], Awaitable[tuple[EventBase, ...]]]


async def nothing_kept() -> tuple[EventBase, ...]:
    """Of the workspace nothing is kept: it stays where the agent works."""
    return ()


@dataclass(frozen=True, slots=True)
class Sibling:
    """What an agent is told about another task of its run."""

    task: str
    title: str
    status: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meeting:
    """Another task that may change the same files."""

    task: str
    title: str
    status: str
    paths: tuple[str, ...]
    """Where the plan lets both change something."""
    about: str
    """What it is to do, bounded; empty = it is another run's."""
    doing: tuple[str, ...]
    """What it has changed by now in files that this one may change, in words."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One agent's work order."""

    run: str
    attempt: str
    number: int
    incarnation: int
    agent: Agent
    claim: Claim
    sandbox: Sandbox
    config: RunConfig
    goal: str
    task: Task | None = None
    """None for a planner."""
    plan: Plan | None = None
    feedback: tuple[Feedback, ...] = ()
    siblings: tuple[Sibling, ...] = ()
    notes: tuple[Note, ...] = ()
    meetings: tuple[Meeting, ...] = ()
    diff: str = ""
    """For a reviewer: the change under review, bounded."""
    evidence: str = ""
    """For a reviewer: what the checks said."""
    chain: Chain = ()
    """The purses that its calls are paid from; without any, no call leaves."""
    apart_from: str = ""
    """Provider whose models are asked last: the author's, for a reviewer."""
    ancestors: tuple[str, ...] = ()
    """Names of the agents above a sub-agent, the outermost first; empty = dispatched by the run."""
    owners: str = ""
    """For a planner: who owns what, one agent a line."""
    judges: str = ""
    """For a planner: the files that decide what the gate checks, one a line; empty = there are none."""
    taken_up: bool = False
    """An earlier process of this incarnation worked in this workspace."""
    session: str = ""
    """The session that it held with the agent; empty = none is known."""
    base: str = ""
    """The commit that the workspace began with."""
    keep: Keep = nothing_kept
    """Called after what may have changed the workspace: events that belong into the commit of its outcome. Nothing may
    be waited for between this call and that commit, so that snapshots stand in the journal in their order."""
    remade: bool = False
    """The workspace was made anew from a snapshot, because another worker was given the attempt."""
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def task_id(self) -> str:
        """The id of what it works on; a planner works on the plan."""
        return self.task.id if self.task is not None else PLANNER_TASK

    @property
    def depth(self) -> int:
        """0 = dispatched by the run; n = delegated n times."""
        return len(self.ancestors)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a harness ended."""

    outcome: Outcome
    """OK (there is a handoff), FAILED, WAITING (a human has to answer), EXHAUSTED."""
    reason: str = ""
    failure: FailureClass | None = None
    handoff: Handoff | None = None
    feedback: tuple[Feedback, ...] = ()
    """For whoever tries next."""


class HarnessAdapter(Protocol):
    @property
    def resumable(self) -> bool:
        """Whether `work` can go on in the workspace that a killed process left behind."""
        ...

    def prepare(self, agent: Agent, config: RunConfig) -> None:
        """The agent will be put to work: begin, without waiting, to load what takes long."""
        ...

    async def gear(self, agent: Agent, config: RunConfig) -> Gear:
        """What the sandbox must have for that agent. Raises BadConfiguration, SandboxFailed."""
        ...

    async def work(self, assignment: Assignment) -> Finished:
        """Raises SandboxFailed, StoreUnavailable, StaleClaim (nothing is blamed on the agent); any other failure is a
        `Finished`."""
        ...
