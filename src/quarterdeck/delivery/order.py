"""What a person orders and what a person gets back: the values between the command line and a deck.

Rules
- Frozen and closed. What is printed by `--json` is one of these values, so a script may rely on its keys.
- Money is USD here: this is a border. Paths are absolute and resolved before they get here.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from quarterdeck.kernel.entities import Usage, Usd, Value
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.triggers import Origin


class Order(Value):
    """One run, as ordered. None = the configuration decides."""

    goal: str | None = Field(default=None, max_length=100_000)
    """None where the plan file carries the goal."""
    plan_path: Path | None = None
    plan_text: str | None = None
    """What stands in the plan file, where it was read already: then the file is not."""
    repository: Path
    base: str | None = None
    """Revision to start from; None = HEAD."""
    into: str | None = None
    """Branch to land on; None = `[deck] into`."""
    agent: str | None = None
    """Agent of every task that names none."""
    budget_usd: Usd | None = None
    max_parallel: int | None = Field(default=None, ge=1, le=1000)
    sandbox: str | None = None
    plan_only: bool = False
    config_of: str | None = None
    """The run whose configuration is used, exactly as it was; None = the one that holds at the base."""
    user: str
    origin: Origin | None = None
    """Where it comes from and where its result goes, where that is outside of this machine."""


class RevertOrder(Value):
    """What landed and is to be taken back, as ordered."""

    of: str
    """Full id of a run, or of a task (`RUN.TASK`)."""
    with_dependents: bool = False
    """Also take back the tasks that need what is taken back."""
    into: str | None = None
    """Branch to take it back on; None = the one it landed on."""
    sandbox: str | None = None
    user: str


class Target(Value):
    """Where a run's work landed."""

    branch: str
    sha: str
    """Where the branch stood at the run's end; before that the last change of the run that landed, or its base."""
    remote: str = ""
    """Address of the repository that has the branch; empty = the one of this machine that the run was given."""


class TaskResult(Value):
    """How one task ended."""

    id: str
    status: TaskStatus
    attempts: int = 0
    commit: str | None = None
    reason: str = ""


class RunResult(Value):
    """The last line of `run --json`."""

    v: Literal[1] = 1
    kind: Literal["run.finished"] = "run.finished"
    run: str
    status: RunStatus
    reason: str = ""
    target: Target
    tasks: tuple[TaskResult, ...] = ()
    limitations: tuple[str, ...] = ()
    cost_usd: float = 0.0
    tokens: Usage = Usage()
    wall_s: float = 0.0
    reverts: str = ""
    """The run or task that this run took back; empty = it carried out a goal."""
    exit_code: int


class Check(Value):
    """One thing that `doctor` looked at."""

    name: str
    ok: bool
    detail: str = ""
    """What was found."""
    fix: str = ""
    """The exact command or change that repairs it; empty where `ok`."""
    level: Literal["error", "warning", "info"] = "error"
    """What it means when it is not ok: nothing works, a part does not work, good to know."""


class Cli(Value):
    """A command line of an agent that is known here."""

    profile: str
    title: str
    installed: bool = False
    version: str = ""
    """Empty where it is not known."""
    login: bool = False
    """Files of its user's own login are there."""
    missing: str = ""
    """Why it cannot be started; empty where it is installed."""
    fix: str = ""

    @property
    def label(self) -> str:
        """For people: what it is, and in which version."""
        return f"{self.title} {self.version}".strip() if self.installed else f"{self.title}, not installed"
