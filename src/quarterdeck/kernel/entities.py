"""The values that travel between rooms: plans, tasks, agents, handoffs, usage.

Rules
- Values are frozen and closed: an unknown key is an error, at every border.
- Money is an integer number of nano-USD (`nusd`, 1e-9 USD), so that sums are exact; USD appear only at borders.
- Tokens are counted in the four kinds that are priced differently and never overlap.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from quarterdeck.kernel.labels import Labels

NUSD_PER_USD = 1_000_000_000


def to_nusd(usd: float) -> int:
    """USD to nano-USD, rounded to the nearest."""
    return round(usd * NUSD_PER_USD)


def to_usd(nusd: int) -> float:
    """Nano-USD to USD."""
    return nusd / NUSD_PER_USD


class Value(BaseModel):
    """Base of all values: frozen, no unknown keys."""

    # Built when it is first used: a process meets a part of all values, and starts sooner without the rest.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


# --- tokens and money -------------------------------------------------------------------------------------


class Usage(Value):
    """Tokens of one or several model calls; the four counts do not overlap."""

    input: int = 0
    """Input tokens billed at the full price (neither read from nor written to a cache)."""
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    long_write: int = 0
    """How many of `cache_write` are kept for an hour rather than minutes, and cost more."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            output=self.output + other.output,
            long_write=self.long_write + other.long_write,
        )

    @property
    def prompt(self) -> int:
        """All input tokens, cached or not: what fills the context window."""
        return self.input + self.cache_read + self.cache_write


# --- plans ------------------------------------------------------------------------------------------------

Usd = Annotated[float, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]
"""An amount of money where people write it; as nano-USD it fits into 64 bits."""

YEAR: Final = 31_536_000.0
"""Seconds; nothing is waited for longer."""

TaskId = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]


class Task(Value):
    """One node of the plan: what changes, where, and how it is verified."""

    id: TaskId
    """`a-z`, `0-9` and `-`; unique."""
    title: str = Field(min_length=1, max_length=200)
    """One line; becomes the commit's subject."""
    instructions: str = Field(default="", max_length=200_000)
    """What to do."""
    paths: tuple[str, ...] = Field(min_length=1)
    """Gitignore-style globs of what may change; anything outside is rejected."""
    needs: tuple[TaskId, ...] = ()
    """Ids of tasks that must be merged before this one starts; no cycles."""
    agent: str | None = None
    """Name of an agent; otherwise the run's."""
    verify: tuple[str, ...] = ()
    """Shell commands, run at the workspace root inside the sandbox; each must exit 0."""
    budget_usd: Usd | None = None
    """What this task may spend at most, over all its attempts."""
    design: str = ""
    """Requirements and notes for the agents that work on it."""
    runs_on: Labels = ()
    """Labels that a worker has to have which works on it."""


class Plan(Value):
    """A run's dependency graph of tasks."""

    v: Literal[1] = 1
    """Version of the format."""
    goal: str = Field(min_length=1, max_length=100_000)
    """What the whole is for."""
    tasks: tuple[Task, ...] = Field(min_length=1, max_length=1000)
    """What is to be done."""
    design: str = ""
    """Requirements and notes for the agents of all tasks."""

    def task(self, task_id: str) -> Task:
        """The task of that id. Raises KeyError."""
        for task in self.tasks:
            if task.id == task_id:
                return task
        raise KeyError(task_id)


# --- agents -----------------------------------------------------------------------------------------------


class Harness(StrEnum):
    """What executes an agent."""

    NATIVE = "native"
    ACP = "acp"
    COMMAND = "command"


class AgentLimits(Value):
    """Bounds of one attempt; None = the deck's default."""

    turns: int | None = Field(default=None, ge=1, le=10_000)
    wall: float | None = Field(default=None, gt=0, le=YEAR, allow_inf_nan=False)
    """Seconds."""
    usd: Usd | None = None
    tokens: int | None = Field(default=None, ge=1)
    context: int | None = Field(default=None, ge=1024)
    """Context window to use, in tokens."""


class Agent(Value):
    """A versioned definition: role, harness, tier, tools, what it owns, whom it delegates and escalates to."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    description: str = ""
    harness: Harness = Harness.NATIVE
    command: tuple[str, ...] = ()
    profile: str = ""
    """How an agent on the harness `acp` is started; empty = by its `command`."""
    login: Literal["gateway", "own"] = "gateway"
    """Of an agent on the harness `acp`: model calls through the gateway, or by the user's own login of its CLI."""
    tier: str = "hands"
    model: str | None = None
    """A fixed `provider:model`; None = the tier decides."""
    tools: tuple[str, ...] | None = None
    """Names of the tools it may use; None = the default set of its role."""
    owns: tuple[str, ...] = ()
    runs_on: Labels = ()
    """Labels that a worker has to have on which it works."""
    delegates_to: tuple[str, ...] = ()
    escalates_to: str | None = None
    limits: AgentLimits = AgentLimits()
    expects: str = "submission"
    """Name of the handoff it must end with: submission, review, plan, answer."""
    prompt: str = ""


# --- handoffs ---------------------------------------------------------------------------------------------


class Submission(Value):
    """What an implementer hands in with its change."""

    summary: str = Field(min_length=1, max_length=20_000)
    limitations: tuple[str, ...] = Field(default=(), max_length=50)
    """What is weaker than asked, or not done."""


class Finding(Value):
    """One thing a reviewer wants changed."""

    path: str = ""
    line: int | None = None
    problem: str = Field(min_length=1, max_length=4_000)
    blocking: bool = True


class Review(Value):
    """A reviewer's verdict on one change."""

    verdict: Literal["accept", "change"]
    summary: str = Field(min_length=1, max_length=20_000)
    findings: tuple[Finding, ...] = Field(default=(), max_length=100)


class Answer(Value):
    """A bounded summary that a sub-agent returns to whoever delegated to it."""

    summary: str = Field(min_length=1, max_length=8_000)


class TodoItem(Value):
    """One line of an agent's list."""

    text: str = Field(min_length=1, max_length=500)
    status: Literal["open", "doing", "done"] = "open"


class Feedback(Value):
    """Why the previous attempt (or round) was sent back, for whoever tries next."""

    source: Literal["structure", "verify", "review", "gate", "conflict", "others", "agent", "human", "limit"]
    reason: str = Field(max_length=2_000)
    detail: str = Field(default="", max_length=24_000)
    """Bounded evidence: failing output, findings, the other side's intent and diff."""


class Note(Value):
    """A decision or expectation that an agent shares with its siblings in the same run."""

    task: str
    text: str = Field(min_length=1, max_length=2_000)


# --- changes ----------------------------------------------------------------------------------------------


class Change(Value):
    """The commits an attempt produced, on their way through validation and the merge gate."""

    run: str
    task: str
    attempt: str
    base: str
    """Commit the attempt started from."""
    commit: str
    """One commit whose parent is `base`, in the mirror, pinned by a ref."""
    tree: str
    files: tuple[str, ...] = Field(default=(), max_length=500)


class Landed(Value):
    """A commit that a task's change became on its target branch."""

    run: str
    task: str
    commit: str
    parent: str
    """What the target was before."""


class Reverting(Value):
    """What a run takes back: by the task that does it, the commit that it takes back."""

    commits: dict[TaskId, Landed]


class CheckResult(Value):
    """One command of a check."""

    command: str
    exit_code: int | None
    """None = killed by its deadline or a limit."""
    seconds: float
    output: str = ""
    """Bounded head and tail of stdout and stderr together."""
    reason: str = ""
    """Why it counts as failed although it may have exited 0 (`ran no test`, `timeout`, ...)."""

    @property
    def passed(self) -> bool:
        return self.exit_code == 0 and not self.reason
