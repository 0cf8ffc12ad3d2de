"""What can be configured, as values. Reading files and the environment is `quarterdeck.settings`'s work alone.

Rules
- Every key has a default; an unknown key is an error.
- A run freezes its configuration when it is created: jobs read the frozen value, never the files.
"""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from quarterdeck.kernel.entities import Agent, Value

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: Any) -> Any:
    """`"90s"`, `"10m"`, `"1h"` or a plain number of seconds, as float seconds."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
        if match is None:
            raise ValueError("a duration looks like 90s, 10m or 1h")
        return float(match[1]) * _UNITS[match[2]]
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0)]


class DeckSection(Value):
    into: str = "quarterdeck/{run}"
    max_parallel: int = Field(default=4, ge=1, le=1000)


class ChecksSection(Value):
    gate: tuple[str, ...] = ()
    timeout: Duration = 600.0
    parallel: int = Field(default=2, ge=1, le=256)
    """How many merged trees are checked at the same time."""


class ReviewSection(Value):
    agent: str | None = None
    rounds: int = Field(default=2, ge=0, le=10)


class BudgetSection(Value):
    """USD."""

    run: float = Field(default=5.0, ge=0)
    user_day: float = Field(default=50.0, ge=0)
    deck_day: float = Field(default=200.0, ge=0)


class LimitsSection(Value):
    turns: int = Field(default=60, ge=1, le=10_000)
    wall: Duration = 1800.0
    attempts: int = Field(default=3, ge=1, le=100)
    tokens: int = Field(default=2_000_000, ge=1)
    change_bytes: int = Field(default=2_000_000, ge=1)
    change_files: int = Field(default=500, ge=1, le=500)


class Price(Value):
    """USD per million tokens."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cache_read: float | None = Field(default=None, ge=0)
    """None = the price of input."""
    cache_write: float | None = Field(default=None, ge=0)
    """None = the price of input."""


class SandboxSection(Value):
    backend: str = "bubblewrap"
    network: tuple[str, ...] = ()
    setup: tuple[str, ...] | None = None
    """None = detect; () = build no environment."""
    setup_network: tuple[str, ...] = ("default",)
    setup_timeout: Duration = 900.0
    memory_mb: int = Field(default=2048, ge=64)
    disk_mb: int = Field(default=2048, ge=16)
    processes: int = Field(default=256, ge=8)
    cpu_seconds: int = Field(default=3600, ge=1)


class ModelSection(Value):
    """Facts about one model that cannot be asked from its server."""

    context: int | None = Field(default=None, ge=1024)
    max_output: int | None = Field(default=None, ge=16)
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
