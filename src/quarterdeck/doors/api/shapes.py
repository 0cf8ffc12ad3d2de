"""What the API takes and gives beside the rows of the board: closed values, so that an unknown key is refused.

Rules
- Money is in USD, times are seconds since the epoch, paths are absolute.
- Texts and lists are bounded here, before anything looks at them.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from quarterdeck.delivery.order import Check, Cli
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.entities import Agent, Usd, Value


class Shape(Value):
    """Built at once: the framework reads it when the routes are made."""

    model_config = ConfigDict(defer_build=False)


def _sound(text: str) -> str:
    if "\0" in text:
        raise ValueError("a text cannot hold a NUL character")
    text.encode()  # half a surrogate pair is no text; the error is a ValueError
    return text


Text = Annotated[str, Field(max_length=16_000), AfterValidator(_sound)]
Name = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_sound)]
Place = Annotated[str, Field(pattern=r"^/", max_length=4096), AfterValidator(_sound)]
"""A path on the server's machine."""


class NewRun(Shape):
    """A run as it is ordered: a goal, or a plan that carries one."""

    goal: Annotated[str, Field(max_length=100_000), AfterValidator(_sound)] | None = None
    plan: Annotated[str, Field(max_length=8 * 1024 * 1024), AfterValidator(_sound)] | None = None
    """A plan file's text, YAML or JSON; it skips the planner."""
    plan_name: Name = "the plan"
    """What errors call the plan."""
    repository: Place
    base: Name | None = None
    """Revision to start from; null = HEAD."""
    into: Name | None = None
    """Branch to land on; null = as configured."""
    agent: Name | None = None
    budget_usd: Usd | None = None
    max_parallel: int | None = Field(default=None, ge=1, le=1000)
    sandbox: Name | None = None
    """`none` needs the role admin."""
    plan_only: bool = False
    config_of: Name | None = None
    """The run whose configuration is used."""


class Started(Shape):
    """A run that exists now."""

    run: str


class Asked(Shape):
    """What was asked for is on record; whoever works on the run obeys shortly."""

    run: str
    action: str


class Nothing(Shape):
    """No wishes."""


class Resuming(Shape):
    """How to go on."""

    retry: bool = False
    """Try again what did not merge in a run that has ended."""


class Answering(Shape):
    """An answer to what an agent, or a run, asked."""

    text: Text = Field(min_length=1)
    attempt: Text | None = None
    """Which attempt asked; null = the only one that does."""


class Budgeting(Shape):
    """A larger budget; the run goes on if it was out of money."""

    usd: Usd


class Reverting(Shape):
    """What is to be taken back of a run."""

    task: Name | None = None
    """Only this task's commit; null = everything that the run landed."""
    with_dependents: bool = False
    into: Name | None = None
    sandbox: Name | None = None


class Retrying(Shape):
    """A task that is to be tried again."""

    agent: Name | None = None
    """By another agent; null = as before."""


class Message(Shape):
    """Something that an agent should know."""

    text: Text = Field(min_length=1)


class RunMessage(Shape):
    """Something that an agent of a run should know."""

    text: Text = Field(min_length=1)
    task: Name | None = None
    """Null = whoever is at work, if it is one."""


class Told(Shape):
    """Who will read it before its next step."""

    attempt: str
    agent: str
    message: str


class Comment(Shape):
    """A remark on a change."""

    path: Text = Field(default="", max_length=1_000)
    """A file of it; empty = the change as a whole."""
    line: int | None = Field(default=None, ge=1, le=10_000_000)
    """In the new file; null = the file as a whole."""
    text: Text = Field(min_length=1)


class Commented(Shape):
    """The remark is on record; the agent hears of it."""

    attempt: str
    path: str
    line: int | None


class Verdict(Shape):
    """A person's decision on what was asked for."""

    verdict: Literal["approve", "deny"]
    action_hash: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    """The hash of exactly what was looked at: another action is not decided by this."""
    reason: Text = ""


class Decided(Shape):
    """The decision is on record."""

    approval: str
    verdict: Literal["approve", "deny"]


class PlanText(Shape):
    """A run's plan."""

    run: str
    yaml: str


class ReportText(Shape):
    """A run's report and retrospective."""

    run: str
    markdown: str


class Configured(Shape):
    """What a run has, or a new one would have; without what is secret."""

    config: DeckConfig
    origin: tuple[str, ...]
    """Where its parts come from."""
    agents: tuple[Agent, ...]
    default_agent: str


class Definitions(Shape):
    """Who could work, and on which of this machine's command lines."""

    agents: tuple[Agent, ...]
    clis: tuple[Cli, ...]


class Doctor(Shape):
    """What was looked at on this machine."""

    ok: bool
    checks: tuple[Check, ...]


class Tool(Shape):
    """A tool server that is declared for a repository."""

    name: str
    fingerprint: str
    origin: str
    approved: bool
    env: tuple[str, ...]
    """Names of the operator's variables that it is given."""
    flaw: str


class Me(Shape):
    """Who is asking, as the server sees it."""

    name: str
    role: Literal["viewer", "operator", "admin"]
    deck: str
    """The version of the server."""
    session: bool = False
    """Whether it came in by a session, which can be ended."""


class Verifying(Shape):
    """What is to be checked."""

    run: Annotated[str, Field(pattern=r"^r-[0-9a-z]+$", max_length=64)] | None = None
    """Only this run; null = everything."""


class Entering(Shape):
    """A browser's way in."""

    token: str = Field(min_length=1, max_length=400)
