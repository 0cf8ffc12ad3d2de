"""Where the merge gate of one target branch stands: the values that `posting` folds its stream to. Pure.

Rules
- Verdicts hold for one tree and one set of checks. A tree that failed once is doubtful, twice red; once it passed, it
  is green for good, unless it is the tip, checked again, and red twice.
- Red verdicts are forgotten when the queue is empty.
- What a checked tree was made of is known while one of its changes waits, what passed on which tip while any change
  waits; both until somebody else moves the target.
- A tip is sure when its tree passed more than once: in the check of a change on top of it, or checked by itself.
- A tip is in doubt when its tree had failed before it passed, or when somebody else moved the target there. It is no
  longer when it passes, or when something that passed lands on it.
- Two changes that are red together, each of which has passed without the other, or that do not merge with each other,
  are a pair: that is remembered for their tasks, until a tree with both has passed.
- A result for a check that was dropped is no result.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from quarterdeck.delivery.gate.culprits import Search
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Change

TRIES: Final = 2
"""Failures of one tree before it counts as red."""

PAUSE: Final = (2.0, 60.0)
"""Shortest and longest pause before a check that could not be run is tried again, seconds."""

FLAKED: Final = "its check had failed before it passed"
MOVED: Final = "somebody else moved the target"
"""Reasons for doubt."""

Key = tuple[str, str]
"""A tree and the checks (`checks_key`, `with_commands`) that it was, or has to be, checked with."""

Pair = frozenset[tuple[str, str]]
"""Two tasks, each with its run."""

Stood = tuple[str, frozenset[str], str]
"""A tip, the changes on it, and the checks that they passed there."""


def checks_key(config: RunConfig) -> str:
    """Everything of a run's configuration on which the verdict about a tree depends."""
    checks = config.deck.checks
    # All of the sandbox but its network, which checks do not get: a tree that is red under tight limits is not red.
    sandbox = config.deck.sandbox.model_dump(mode="json", exclude={"network"})
    parts = [checks.gate, checks.timeout, sandbox]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def with_commands(checks: str, commands: Sequence[str]) -> str:
    """The key of these checks with further commands after them."""
    if not commands:
        return checks
    return hashlib.sha256(json.dumps([checks, *commands]).encode()).hexdigest()[:16]


class Colour(StrEnum):
    UNKNOWN = "unknown"
    DOUBTFUL = "doubtful"
    """It failed once."""
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True)
class Queued:
    """A change in the queue."""

    change: Change
    title: str
    agent: str
    checks: str
    config_blob: str
    checkout: str | None
    at: float
    reverts: str = ""
    """The landed commit that it takes back."""
    verify_blob: str | None = None
    """List of the task's verify commands."""
    intent_blob: str | None = None
    """What the task asks for."""
    runs_on: tuple[str, ...] = ()
    """Labels that a worker needs to run the task's verify commands."""

    @property
    def task(self) -> tuple[str, str]:
        """The run and the task: what its commit is known by."""
        return self.change.run, self.change.task

    @property
    def attempt(self) -> str:
        return self.change.attempt


@dataclass(frozen=True, slots=True)
class Failing:
    """What is known about a tree that did not pass."""

    times: int
    reason: str
    results_blob: str | None
    verify: bool = False
    """What failed is a verify command of a task: the checks of the gate itself passed."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """The machine stands in the way at the moment."""

    since: float
    last: float
    reason: str
    number: int = 1
    """How often in a row."""

    def due(self, now: float) -> float:
        """Seconds until the next try; the pauses double."""
        pause = min(max(self.last - self.since, PAUSE[0]), PAUSE[1])
        return min(max(0.0, self.last + pause - now), PAUSE[1])


@dataclass(frozen=True, slots=True)
class GateState:
    """The fold of a gate's stream."""

    seq: int = 0
    repository: str = ""
    reach: tuple[str, ...] = ()
    """Labels that a worker needs to reach the repository."""
    branch: str = ""
    base: str = ""
    """Where the branch is created, where it does not exist."""
    tip: str = ""
    """Where the target is as far as the gate knows."""
    queue: tuple[Queued, ...] = ()
    running: Mapping[str, e.GateCheckStarted] = field(default_factory=dict)
    green: Mapping[Key, bool] = field(default_factory=dict)
    failing: Mapping[Key, Failing] = field(default_factory=dict)
    checks: int = 0
    """How many checks were ever started."""
    intent: e.LandingIntended | None = None
    landed: Mapping[str, str] = field(default_factory=dict)
    """Attempt to the commit that landed, of those that are remembered."""
    landings: int = 0
    """How many ever landed."""
    last_landed: tuple[tuple[Queued, str], ...] = ()
    """What landed in the last step, with the commits."""
    failed: int = 0
    """How many changes ever went back because of a red tree."""
    row: int = 0
    """How many of them in a row, with no check that passed in between."""
    tested: Mapping[Key, e.GateCheckStarted] = field(default_factory=dict)
    """What the trees with a verdict were made of, the newest verdict last."""
    tips: frozenset[str] = frozenset()
    """Where the target was since somebody else last moved it."""
    stood: Mapping[Stood, str] = field(default_factory=dict)
    """Stacks that passed on a tip, with their last commit."""
    clashing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Attempts to those ahead of them that they do not merge with, and wait for."""
    trouble: Trouble | None = None
    """Checks cannot be run."""
    stall: Trouble | None = None
    """The gate itself cannot work."""
    unnoted: Mapping[str, tuple[Queued, str]] = field(default_factory=dict)
    """Attempts that landed without a note, with the commit."""
    settled: Mapping[tuple[str, str], Queued] = field(default_factory=dict)
    """(run, task) to the change that landed."""
    resolved: Mapping[str, e.MergeResolved] = field(default_factory=dict)
    """Attempts to the way by which they were merged last."""

    sure: Mapping[Key, bool] = field(default_factory=dict)
    """Trees of the target, with the checks of the gate, that passed when they had landed."""
    flaked: Mapping[str, bool] = field(default_factory=dict)
    """Trees that failed and then passed."""
    doubt: str = ""
    """Why the tip is to be checked once more; empty = no reason."""
    doubted_at: float = 0.0
    """Since when, seconds since the epoch."""
    looked: str = ""
    """The tip that was last found red. The search for its culprit is not repeated."""
    search: Search | None = None
    """It goes on, or what it found is being taken back."""
    told: e.CulpritFound | None = None
    """What people were told about a red target that still stands there."""
    reverted: Mapping[str, str] = field(default_factory=dict)
    """Attempts that landed and were taken back, with the commit that did it."""
    pairs: Mapping[Pair, bool] = field(default_factory=dict)
    """Tasks whose changes do not go together."""

    def colour(self, key: Key) -> Colour:
        if key in self.green:
            return Colour.GREEN
        failing = self.failing.get(key)
        if failing is None:
            return Colour.UNKNOWN
        return Colour.RED if failing.times >= TRIES else Colour.DOUBTFUL

    def find(self, attempt: str) -> Queued | None:
        return next((queued for queued in self.queue if queued.attempt == attempt), None)
