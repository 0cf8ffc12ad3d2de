"""Where the merge gate of one target branch stands: the pure fold of its stream.

Rules
- Verdicts hold for one tree and one set of checks. A tree that failed once is doubtful, twice red; once it passed, it
  is green for good, unless it is the tip, checked again, and red twice.
- Red verdicts are forgotten when the queue is empty.
- What a checked tree was made of is known while one of its changes waits, what passed on which tip while any change
  waits; both until somebody else moves the target.
- A result for a check that was dropped is no result.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeVar

from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Change
from quarterdeck.kernel.events import Outcome

TRIES: Final = 2
"""Failures of one tree before it counts as red."""

PAUSE: Final = (2.0, 60.0)
"""Shortest and longest pause before a check that could not be run is tried again, seconds."""

REMEMBERED: Final = 4000
"""Verdicts of each colour that are kept."""

K = TypeVar("K")
V = TypeVar("V")

Key = tuple[str, str]
"""A tree and the checks (`checks_key`, `with_commands`) that it was, or has to be, checked with."""

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
    """Attempt to the commit that landed."""
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
    stood: Mapping[Stood, bool] = field(default_factory=dict)
    """Stacks that passed on a tip."""
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

    def colour(self, key: Key) -> Colour:
        if key in self.green:
            return Colour.GREEN
        failing = self.failing.get(key)
        if failing is None:
            return Colour.UNKNOWN
        return Colour.RED if failing.times >= TRIES else Colour.DOUBTFUL

    def find(self, attempt: str) -> Queued | None:
        return next((queued for queued in self.queue if queued.attempt == attempt), None)


def fold(records: Iterable[Record], state: GateState | None = None) -> GateState:
    """The state after `records`, which follow those of `state`."""
    state = state or GateState()
    for record in records:
        state = replace(_apply(state, record.event, record.at), seq=record.seq)
    return state


def _apply(state: GateState, event: e.EventBase, at: float) -> GateState:
    match event:
        case e.GateOpened():
            tip = state.tip if state.landed else event.base
            tips = frozenset((tip,))
            opened = replace(state, repository=event.repository, reach=event.runs_on, branch=event.branch)
            return replace(opened, base=event.base, tip=tip, tips=tips)
        case e.ChangeQueued():
            return replace(state, queue=(*state.queue, _queued(event, at)))
        case e.GateCheckStarted():
            running = _with(state.running, event.check, event)
            return replace(state, running=running, checks=state.checks + 1, stall=None)
        case e.GateCheckFinished():
            return _checked(state, event, at)
        case e.LandingIntended():
            return replace(state, intent=event)
        case e.ChangeLanded():
            queued = state.find(event.attempt)
            state = _landed(state, event, queued)
            if queued is not None:
                state = replace(state, settled=_with(state.settled, queued.task, queued))
            return _without(state, event.attempt)
        case e.ChangeReturned():
            intent = None if state.intent and event.attempt in dict(state.intent.landing) else state.intent
            blamed = int(event.outcome is Outcome.FAILED)
            state = replace(state, intent=intent, failed=state.failed + blamed, row=state.row + blamed)
            return _without(state, event.attempt)
        case e.MergeResolved():
            return replace(state, resolved=_with(state.resolved, event.attempt, event))
        case e.ChangeClashed():
            rest = {attempt: against for attempt, against in state.clashing.items() if attempt != event.attempt}
            return replace(state, clashing={**rest, event.attempt: event.against} if event.against else rest)
        case e.TipMoved():
            return replace(state, tip=event.new, tips=frozenset((event.new,)), intent=None, row=0, tested={}, stood={})
        case e.GateDelayed():
            since = state.stall.since if state.stall is not None and event.number > 1 else at
            return replace(state, stall=Trouble(since, at, event.reason, event.number))
        case e.NoteFailed() | e.NoteWritten():
            return replace(state, unnoted=_unnoted(state, event))
        case _:
            return state


def _landed(state: GateState, event: e.ChangeLanded, queued: Queued | None) -> GateState:
    steps = state.intent.landing if state.intent is not None else ()
    # Several changes land in one step: it is over with the last of them.
    places = [attempt for attempt, _ in steps]
    together = event.attempt in places
    intent = state.intent if together and event.attempt != places[-1] else None
    before = state.last_landed if together and event.attempt != places[0] else ()
    last = (*before, (queued, event.new)) if queued is not None else state.last_landed
    landed = {**state.landed, event.attempt: event.new}
    tips = state.tips | {event.new}
    return replace(state, landed=landed, last_landed=last, tip=event.new, tips=tips, intent=intent, stall=None)


def _queued(event: e.ChangeQueued, at: float) -> Queued:
    return Queued(
        event.change,
        event.title,
        event.agent,
        event.checks,
        event.config_blob,
        event.checkout,
        at,
        event.reverts,
        event.verify_blob,
        event.intent_blob,
        event.runs_on,
    )


def _unnoted(state: GateState, event: e.NoteFailed | e.NoteWritten) -> Mapping[str, tuple[Queued, str]]:
    if isinstance(event, e.NoteWritten):
        return {attempt: landed for attempt, landed in state.unnoted.items() if attempt != event.attempt}
    landing = next((landing for landing in state.last_landed if landing[0].attempt == event.attempt), None)
    return state.unnoted if landing is None else _with(state.unnoted, event.attempt, landing)


def _checked(state: GateState, event: e.GateCheckFinished, at: float) -> GateState:
    started = state.running.get(event.check)
    if started is None:
        return state
    state = replace(state, running={check: s for check, s in state.running.items() if check != event.check})
    key = (started.tree, started.checks)
    if event.cancelled:
        return state
    if event.infrastructure:
        before = state.trouble or Trouble(at, at, "", 0)
        return replace(state, trouble=Trouble(before.since, at, event.reason, before.number + 1))
    state = replace(state, trouble=None)
    if started.stack and started.tip in state.tips:
        tested = {of: what for of, what in state.tested.items() if of != key}
        state = replace(state, tested=_with(tested, key, started))
        if event.passed:
            stood: Stood = (started.tip, frozenset(started.stack), started.checks)
            state = replace(state, stood=_with(state.stood, stood, True))
    if started.gate_checks not in ("", started.checks) and (event.passed or event.verify):
        state = _passed(state, (started.tree, started.gate_checks))  # they ran first
    if event.passed:
        return replace(_passed(state, key), row=0)
    times = state.failing[key].times + 1 if key in state.failing else 1
    failing = Failing(times, event.reason, event.results_blob, event.verify)
    if times >= TRIES and not started.stack:
        state = replace(state, green={of: True for of in state.green if of != key})
    return replace(state, failing=_with(state.failing, key, failing))


def _passed(state: GateState, key: Key) -> GateState:
    failing = {k: v for k, v in state.failing.items() if k != key}
    return replace(state, green=_with(state.green, key, True), failing=failing)


def _without(state: GateState, attempt: str) -> GateState:
    queue = tuple(queued for queued in state.queue if queued.attempt != attempt)
    if not queue:
        tips = frozenset((state.tip,))
        state = replace(state, queue=(), clashing={}, failing={}, tips=tips, tested={}, stood={})
        return replace(state, trouble=None, stall=None)
    waiting = {queued.attempt for queued in queue}
    tested = {key: started for key, started in state.tested.items() if not waiting.isdisjoint(started.stack)}
    clashing = {name: against for name, against in state.clashing.items() if name != attempt}
    return replace(state, queue=queue, tested=tested, clashing=clashing)


def _with(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    grown = {**mapping, key: value}
    if len(grown) > REMEMBERED:
        del grown[next(iter(grown))]
    return grown
