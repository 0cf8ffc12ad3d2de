"""What can be configured, as values. Reading files and the environment is `quarterdeck.settings`'s work alone.

Rules
- Every key has a default; an unknown key is an error.
- A run freezes its configuration when it is created: jobs read the frozen value, never the files.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from quarterdeck.kernel.durations import Duration
from quarterdeck.kernel.entities import YEAR, Agent, Usd, Value
from quarterdeck.kernel.labels import Labels
from quarterdeck.kernel.merging import MergeSection
from quarterdeck.kernel.servers import McpSection
from quarterdeck.kernel.triggers import GithubSection, NotifySection, TriggerName, TriggerSection

_MANY = 1_000_000_000_000


def _command(text: str) -> str:
    # An empty command succeeds, and nothing may land on the word of a check that checks nothing.
    if not text.strip():
        raise ValueError("a command must not be empty")
    if "\0" in text:
        raise ValueError("a command cannot hold a NUL character")
    return text


Command = Annotated[str, AfterValidator(_command)]


def _branch(text: str) -> str:
    if set("{}") & set(text.replace("{run}", "")):
        raise ValueError("the only placeholder is {run}")
    return text


class DeckSection(Value):
    """How runs are carried out."""

    into: Annotated[str, Field(min_length=1), AfterValidator(_branch)] = "quarterdeck/{run}"
    """Branch that a run lands on; `{run}` stands for the run's id."""
    max_parallel: int = Field(default=4, ge=1, le=1000)
    """Attempts of one run at the same time."""
    remote: str | None = Field(default=None, max_length=2_000)
    """Where workers get the repository and where work lands: the name of a git remote of the repository, a URL, or
    `none` for the repository itself. Unset = `origin`, where the deck is in PostgreSQL and there is one; else the
    repository itself. Only the operator's file sets it."""


class ChecksSection(Value):
    """What a merged tree has to pass."""

    gate: tuple[Command, ...] = ()
    """Shell commands that a merged tree has to pass before it lands. Without any, no run is started."""
    timeout: Duration = 600.0
    """Time for each command, of the gate and of a task's `verify`."""
    parallel: int = Field(default=2, ge=1, le=256)
    """How many merged trees are checked at the same time."""
    runs_on: Labels = ()
    """Labels that a worker needs to check attempts and merged trees. Verify commands need those of their tasks too."""


class ReviewSection(Value):
    """Review of changes by another agent."""

    agent: str | None = None
    """Agent that reviews each change; unset = nobody does."""
    rounds: int = Field(default=2, ge=0, le=10)
    """How often a reviewer may send one change back."""


Level = Literal["off", "warn", "block"]
"""What is done about a finding: nothing; it is named in the report and to the reviewer; the change is sent back."""


class ValidationSection(Value):
    """What validation does about what it finds in a change."""

    new_tests: Level = "block"
    """New tests that pass without the rest of the change."""
    weakened_tests: Level = "block"
    """Existing tests that vanish, are skipped, hold less than before or are bent to fit; a patched test framework."""
    unrelated_hunks: Level = "block"
    """Formatting that has nothing to do with the change."""
    invented_symbols: Level = "warn"
    """Names that resolve nowhere (Python)."""
    needless_abstraction: Level = "warn"
    """Classes, functions and interfaces that abstract from nothing (Python)."""
    not_looked_at: Level = "block"
    """Code, tests and configurations of tests of which nothing can be said, because looking at them failed."""


class BudgetSection(Value):
    """USD."""

    run: Usd = 5.0
    """What one run may spend at most."""
    user_day: Usd = 50.0
    """What one person's runs may spend in a day (UTC). The operator's present value holds, also for runs that exist; of
    several machines' files, the least."""
    deck_day: Usd = 200.0
    """What all runs may spend in a day (UTC). The operator's present value holds, also for runs that exist; of several
    machines' files, the least."""


class DayBudget(Value):
    """USD that a repository's own deck.toml allows in a day; None = it says nothing."""

    user_day: Usd | None = None
    deck_day: Usd | None = None


Bound = Annotated[int, Field(ge=1, le=1_000_000)] | Literal["none"]
"""How many at the same time; `none` = as many as there are."""


class LimitsSection(Value):
    """Bounds of attempts and changes."""

    turns: int = Field(default=60, ge=1, le=10_000)
    """Model calls of one attempt."""
    wall: Duration = 1800.0
    """Time of one attempt."""
    attempts: int = Field(default=3, ge=1, le=100)
    """Attempts at one task that fail by their own fault; then a person has to look."""
    tokens: int = Field(default=2_000_000, ge=1, le=_MANY)
    """Tokens of one attempt."""
    change_bytes: int = Field(default=2_000_000, ge=1, le=_MANY)
    """Bytes of the files that one change touches."""
    change_files: int = Field(default=500, ge=1, le=500)
    """Files of one change."""
    spawn_per_minute: int = Field(default=120, ge=1, le=100_000)
    """Attempts, reviews and sub-agents that may start within any minute, over the whole deck; the rest waits."""
    runs_per_hour: int = Field(default=60, ge=1, le=100_000)
    """Runs of one person or trigger that may start within any hour; the rest waits."""
    agents_at_once: Bound = 100
    """Attempts and planners at work at the same time, over the whole deck; the rest waits. `none` = no bound."""
    one_agent_at_once: Bound = "none"
    """Attempts of one and the same agent at work at the same time, over the whole deck; the rest waits."""
    repository_at_once: Bound = "none"
    """Attempts and planners at work in one repository at the same time, over the whole deck; the rest waits."""
    delegation_depth: int = Field(default=2, ge=0, le=2)
    """How far below an attempt a sub-agent may stand; 0 = nobody delegates."""
    fan_out: int = Field(default=8, ge=0, le=8)
    """Sub-agents of one attempt, and of each of them."""


class LongPrice(Value):
    """USD per million tokens of a call whose prompt is long: all of its tokens, not only those beyond the mark."""

    above: Annotated[int, Field(ge=1)]
    """Tokens; a longer prompt costs this."""
    until: Annotated[int, Field(ge=1)]
    """Tokens of the longest prompt that the model takes."""
    input: Usd
    output: Usd
    cache_read: Usd | None = None
    """Unset = the price of input."""
    cache_write: Usd | None = None
    """Unset = the price of input."""


class Price(Value):
    """USD per million tokens."""

    input: Usd
    """Input tokens that come from no cache."""
    output: Usd
    """Output tokens."""
    cache_read: Usd | None = None
    """Unset = the price of input."""
    cache_write: Usd | None = None
    """Unset = the price of input."""
    long: LongPrice | None = None
    """What a call with a long prompt costs; unset = the same."""


class SandboxSection(Value):
    """What agents and checks run in."""

    backend: str = "bubblewrap"
    """`bubblewrap`; `none` isolates nothing."""
    network: tuple[str, ...] = ()
    """Hosts that an attempt may reach."""
    setup: tuple[Command, ...] | None = None
    """Commands that build the environment, in a sandbox of their own; unset = detected, empty = none is built."""
    setup_network: tuple[str, ...] = ("default",)
    """Hosts that `setup` may reach; `default` stands for the configured package indexes."""
    setup_timeout: Duration = 900.0
    """Time for `setup`."""
    memory_mb: int = Field(default=2048, ge=64, le=16_777_216)
    """Memory of one sandbox, MiB."""
    disk_mb: int = Field(default=2048, ge=16, le=1_073_741_824)
    """What one sandbox may write, MiB."""
    processes: int = Field(default=256, ge=8, le=1_000_000)
    """Processes in one sandbox."""
    cpu_seconds: int = Field(default=3600, ge=1, le=int(YEAR))
    """Processor time of each process, seconds."""


class RoutingSection(Value):
    """How work finds its model."""

    order: tuple[str, ...] = ("hands", "brain")
    """Tiers from the lowest to the highest: an attempt after one that failed by its own fault gets the next one."""


class ModelSection(Value):
    """Facts about one model that cannot be asked from its server."""

    context: int | None = Field(default=None, ge=1024, le=_MANY)
    """Its context window, tokens."""
    max_output: int | None = Field(default=None, ge=16, le=_MANY)
    """The longest reply to ask for, tokens."""
    base_url: str | None = None
    """Where its server is. Another one than the provider's is sent no key, unless `api_key_env` names one."""
    api_key_env: str | None = None
    """Name of the environment variable that holds its key."""


class DeadlinesSection(Value):
    """How long a model call may take."""

    connect: Duration = 10.0
    """Until the connection stands."""
    first_byte: Duration = 120.0
    """Until the first sign of life."""
    idle: Duration = 60.0
    """Between two signs of life."""
    total: Duration = 900.0
    """From the request to the end of the reply."""


Asking = Literal["never", "risky", "always"]
"""When a person is asked, from the least to the strictest."""


class ApproveSection(Value):
    """What waits for a person's word. A repository may only ask for more."""

    plan: Asking = "never"
    """Whether a plan is approved before anything of it is begun; `risky` = where its risk is not low."""
    merge: Asking = "never"
    """Whether a change is approved before it goes to the merge gate; `risky` = where its risk is not low."""
    tools: tuple[str, ...] = ()
    """Globs of names of tools; each use of such a tool is approved. `mcp:*` = all tools of outside servers."""
    inbox: int = Field(default=10, ge=0, le=100_000)
    """While more than so many approvals and questions are open, new work starts one attempt a minute."""
    expires: Duration = 86_400.0
    """How long an approval may be given."""


def _collector(told: bool | str) -> bool | str:
    if isinstance(told, str) and re.fullmatch(r"https?://[^\s/@]+(/\S*)?", told) is None:
        raise ValueError("it is true, false, or an address such as http://127.0.0.1:4318, without a name or password")
    return told


class TelemetrySection(Value):
    """What is told to your own observability. Nothing unless it is set here, by the operator's file only."""

    otlp: Annotated[bool | str, AfterValidator(_collector)] = False
    """Address of an OpenTelemetry collector (OTLP over HTTP) that gets traces and metrics; `true` = the one that
    `OTEL_EXPORTER_OTLP_ENDPOINT` names. Headers, such as a token, come from `OTEL_EXPORTER_OTLP_HEADERS`."""
    prometheus: bool = False
    """Serve `/metrics` beside the dashboard."""
    logs: Literal["off", "json"] = "off"
    """`json` = one JSON object a line for each event and for what the process itself has to say."""
    log_file: str = ""
    """Where those lines go, a path below the deck's home or an absolute one; empty = standard error."""
    content: bool = False
    """Also send what was said: prompts, replies, arguments and results of tools, reasons."""
    interval: Duration = 15.0
    """Time between two deliveries of metrics."""

    @property
    def on(self) -> bool:
        """Whether anything is told to anybody."""
        return bool(self.otlp) or self.prometheus or self.logs != "off"


class DeckConfig(Value):
    """deck.toml."""

    deck: DeckSection = DeckSection()
    checks: ChecksSection = ChecksSection()
    merge: MergeSection = MergeSection()
    review: ReviewSection = ReviewSection()
    approve: ApproveSection = ApproveSection()
    validation: ValidationSection = ValidationSection()
    budget: BudgetSection = BudgetSection()
    limits: LimitsSection = LimitsSection()
    tiers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Tier to its models, `provider:model`: the first is preferred, the rest is failover."""
    routing: RoutingSection = RoutingSection()
    prices: dict[str, Price] = Field(default_factory=dict)
    """Model to its price, where the built-in list does not know it. A model without a price is refused."""
    models: dict[str, ModelSection] = Field(default_factory=dict)
    """Model to facts about it."""
    deadlines: DeadlinesSection = DeadlinesSection()
    sandbox: SandboxSection = SandboxSection()
    mcp: McpSection = McpSection()
    telemetry: TelemetrySection = TelemetrySection()


class WorkersSection(Value):
    """Workers on many machines: how soon the death of one is found, and what they do at once. For decks on
    PostgreSQL, by the operator's file only."""

    takeover: Annotated[Duration, Field(ge=3.0, le=3600.0)] = 30.0
    """Time from a worker's last sign of life until others have its work, at the most."""
    drain: Duration = 60.0
    """Time that a worker which is asked to end gives to what it has begun; the rest is given back."""
    without_sandbox: bool = False
    """This machine performs runs whose sandbox is `none`, with all rights of the worker's user; so does one whose own
    `[sandbox] backend` is that. Read when a worker starts; a deck that lies in its home does not ask."""
    calls_per_minute: dict[str, int] = Field(default_factory=dict)
    """Provider to the model calls that may leave for it in a minute, over the whole deck."""
    calls_at_once: dict[str, int] = Field(default_factory=dict)
    """Provider to the model calls that may be under way there at the same time, over the whole deck; the rest waits."""


class OperatorConfig(DeckConfig):
    """The operator's deck.toml: with what concerns the deck as a whole, and is no part of a run's configuration."""

    triggers: dict[TriggerName, TriggerSection] = Field(default_factory=dict)
    """What may start runs from outside, by name."""
    github: GithubSection = GithubSection()
    notify: NotifySection = NotifySection()
    workers: WorkersSection = WorkersSection()


class RunConfig(Value):
    """Everything a run depends on, frozen when it is created and stored as one blob."""

    deck: DeckConfig
    agents: dict[str, Agent] = Field(default_factory=dict)
    default_agent: str = "implementer"
    agent_named: bool = False
    """A person named the default agent for this run: it also gets what another one owns."""
    blueprint: str = "default"
    guide: str = ""
    """The repository's AGENTS.md at the base commit, for agents."""
    narrowed: DayBudget = DayBudget()
    """What the repository says about days: it still narrows what the operator allows later."""
    runs_on: Labels = ()
    """Labels that a worker needs to reach the repository at all: one that is a path is on one machine."""
    origin: tuple[str, ...] = ()
    """Where each part came from, for people: `checks.gate: detected from pyproject.toml`, ..."""
