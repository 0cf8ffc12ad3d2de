"""What can be configured, as values. Reading files and the environment is `quarterdeck.settings`'s work alone.

Rules
- Every key has a default; an unknown key is an error.
- A run freezes its configuration when it is created: jobs read the frozen value, never the files.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from quarterdeck.kernel.entities import YEAR, Agent, Usd, Value

_MANY = 1_000_000_000_000
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> Any:
    """`"90s"`, `"10m"`, `"1h"` or a plain number of seconds, as float seconds."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
        if match is None:
            raise ValueError("a duration looks like 90s, 10m or 1h")
        return float(match[1]) * _UNITS[match[2]]
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0, le=YEAR, allow_inf_nan=False)]


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
    into: Annotated[str, Field(min_length=1), AfterValidator(_branch)] = "quarterdeck/{run}"
    max_parallel: int = Field(default=4, ge=1, le=1000)


class ChecksSection(Value):
    gate: tuple[Command, ...] = ()
    timeout: Duration = 600.0
    parallel: int = Field(default=2, ge=1, le=256)
    """How many merged trees are checked at the same time."""


class ReviewSection(Value):
    agent: str | None = None
    rounds: int = Field(default=2, ge=0, le=10)


Level = Literal["off", "warn", "block"]
"""What is done about a finding: nothing; it is named in the report and to the reviewer; the change is sent back."""


class ValidationSection(Value):
    """What validation does about what it finds in a change."""

    new_tests: Level = "block"
    """New tests that pass without the rest of the change."""
    weakened_tests: Level = "block"
    """Existing tests that vanish, are skipped, or hold less than before."""
    unrelated_hunks: Level = "block"
    """Formatting that has nothing to do with the change."""
    invented_symbols: Level = "warn"
    """Names that resolve nowhere (Python)."""
    needless_abstraction: Level = "warn"
    """Classes, functions and interfaces that abstract from nothing (Python)."""


class BudgetSection(Value):
    """USD."""

    run: Usd = 5.0
    user_day: Usd = 50.0
    deck_day: Usd = 200.0


class LimitsSection(Value):
    turns: int = Field(default=60, ge=1, le=10_000)
    wall: Duration = 1800.0
    attempts: int = Field(default=3, ge=1, le=100)
    tokens: int = Field(default=2_000_000, ge=1, le=_MANY)
    change_bytes: int = Field(default=2_000_000, ge=1, le=_MANY)
    change_files: int = Field(default=500, ge=1, le=500)


class Price(Value):
    """USD per million tokens."""

    input: Usd
    output: Usd
    cache_read: Usd | None = None
    """None = the price of input."""
    cache_write: Usd | None = None
    """None = the price of input."""


class SandboxSection(Value):
    backend: str = "bubblewrap"
    network: tuple[str, ...] = ()
    setup: tuple[Command, ...] | None = None
    """None = detect; () = build no environment."""
    setup_network: tuple[str, ...] = ("default",)
    setup_timeout: Duration = 900.0
    memory_mb: int = Field(default=2048, ge=64, le=16_777_216)
    disk_mb: int = Field(default=2048, ge=16, le=1_073_741_824)
    processes: int = Field(default=256, ge=8, le=1_000_000)
    cpu_seconds: int = Field(default=3600, ge=1, le=int(YEAR))


class ModelSection(Value):
    """Facts about one model that cannot be asked from its server."""

    context: int | None = Field(default=None, ge=1024, le=_MANY)
    max_output: int | None = Field(default=None, ge=16, le=_MANY)
    base_url: str | None = None
    api_key_env: str | None = None
    """Name of the environment variable that holds its key."""


class DeadlinesSection(Value):
    """How long a model call may take."""

    connect: Duration = 10.0
    first_byte: Duration = 120.0
    """Until the first sign of life."""
    idle: Duration = 60.0
    """Between two signs of life."""
    total: Duration = 900.0


class DeckConfig(Value):
    """deck.toml."""

    deck: DeckSection = DeckSection()
    checks: ChecksSection = ChecksSection()
    review: ReviewSection = ReviewSection()
    validation: ValidationSection = ValidationSection()
    budget: BudgetSection = BudgetSection()
    limits: LimitsSection = LimitsSection()
    tiers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    prices: dict[str, Price] = Field(default_factory=dict)
    models: dict[str, ModelSection] = Field(default_factory=dict)
    deadlines: DeadlinesSection = DeadlinesSection()
    sandbox: SandboxSection = SandboxSection()


class RunConfig(Value):
    """Everything a run depends on, frozen when it is created and stored as one blob."""

    deck: DeckConfig
    agents: dict[str, Agent] = Field(default_factory=dict)
    default_agent: str = "implementer"
    blueprint: str = "default"
    guide: str = ""
    """The repository's AGENTS.md at the base commit, for agents."""
    origin: tuple[str, ...] = ()
    """Where each part came from, for people: `checks.gate: detected from pyproject.toml`, ..."""
