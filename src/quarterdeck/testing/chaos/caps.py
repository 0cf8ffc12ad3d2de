"""Whether limits over a whole fleet held, by what it committed, in the order in which it did.

Rules
- Times are the database's, of the commit: what workers' own clocks say was stepped.
- Who is at work is counted from the events of runs alone, not from the deck's own tables.
- Every finding is a sentence; none is the only good answer.
"""

import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events import Node

MINUTE: Final = 60.0
_ROUNDING: Final = 1e-3
_CLOCKS: Final = 0.2
"""Seconds by which a worker's copy of the database's clock may be off: half the time that an answer takes."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Limits of a deck."""

    agents: int
    """`agents_at_once`."""
    one_agent: int
    repository: int
    starts: int
    """`spawn_per_minute`."""
    calls: int
    """`calls_per_minute` of the scripted provider."""
    run_usd: float = 50.0
    """`[budget] run`."""


NO_CAPS: Final = Caps(agents=100, one_agent=10_000, repository=10_000, starts=120, calls=100_000)
"""As an operator who set none has them."""


@dataclass(frozen=True, slots=True)
class Committed:
    """One record, and when and with what it was committed."""

    at: float
    """Seconds since the epoch, by the database's clock."""
    transaction: int
    stream: str
    event: e.EventBase


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that there ever was at the same time."""

    agents: int = 0
    one_agent: int = 0
    repository: int = 0


def peaks(records: Iterable[Committed]) -> Peaks:
    """How many attempts were at work at the same time at most: from being given to an agent until they go to the gate
    or end. `records`: of the streams of runs, in the order of their commits."""
    places: dict[str, str] = {}
    working: dict[str, tuple[str, str]] = {}
    most = Peaks()
    # What one commit frees in a stream, it may give away in the same breath.
    for _, group in groupby(records, key=lambda record: (record.transaction, record.stream)):
        together = list(group)
        for record in together:
            if isinstance(record.event, e.RunCreated):
                places[record.event.run] = record.event.repository
            for task in _freed(record, working):
                working.pop(task, None)
        for record in together:
            if isinstance(record.event, e.TaskDispatched):
                run = ids.split_attempt(record.event.attempt)[0]
                working[f"{run}.{record.event.task}"] = (record.event.agent, places.get(run, ""))
        agents = [agent for agent, _ in working.values()]
        repositories = [place for _, place in working.values()]
        most = Peaks(
            max(most.agents, len(working)),
            max([most.one_agent, *map(agents.count, set(agents))]),
            max([most.repository, *map(repositories.count, set(repositories))]),
        )
    return most


def _freed(record: Committed, working: Mapping[str, object]) -> Iterator[str]:
    """The tasks that nobody is at work on any more."""
    run = record.stream.partition("/")[2]
    match record.event:
        case e.NodeStarted(node=Node.GATE | Node.APPROVE, task=str(task)):
            yield f"{run}.{task}"
        case e.TaskMerged(task=task) | e.TaskFailed(task=task) | e.TaskCancelled(task=task):
            yield f"{run}.{task}"
        case e.TaskEscalated(task=task) | e.TaskBlocked(task=task):
            yield f"{run}.{task}"
        case e.RunFinished() | e.RunPaused() | e.RunWaiting():
            yield from [task for task in working if task.startswith(f"{run}.")]
        case _:
            pass


def of_peaks(most: Peaks, caps: Caps) -> Iterator[str]:
    """Which limits of what is at work at the same time did not hold."""
    for name, seen, cap in (
        ("agents_at_once", most.agents, caps.agents),
        ("one_agent_at_once", most.one_agent, caps.one_agent),
        ("repository_at_once", most.repository, caps.repository),
    ):
        if seen > cap:
            yield f"{name} is {cap}, and {seen} were at work at the same time"


def most_within(times: Sequence[float], seconds: float) -> int:
    """How many of these moments lie within any stretch of so many seconds, at most."""
    ordered = sorted(times)
    return max(
        (place + 1 - bisect.bisect_right(ordered, at - seconds + _ROUNDING) for place, at in enumerate(ordered)),
        default=0,
    )


def of_starts(records: Iterable[Committed], kept: Mapping[str, float], caps: Caps) -> Iterator[str]:
    """Whether more were started in a minute than may be. `kept`: the moment that was kept for each start, by attempt:
    who was delayed does not lose its turn, so turns are counted, and nobody may begin before its own."""
    if (most := most_within([*kept.values()], MINUTE)) > caps.starts:
        yield f"spawn_per_minute is {caps.starts}, and {most} had their turn within a minute"
    for record in records:
        if not isinstance(record.event, e.TaskDispatched):
            continue
        turn = kept.get(record.event.attempt)
        if turn is None:
            yield f"{record.event.attempt} was started, and no turn was kept for it"
        elif record.at < turn - _CLOCKS:
            yield f"{record.event.attempt} was started {turn - record.at:.3f} s before its turn"


def allowed_calls(caps: Caps, workers: int) -> int:
    """How many calls may come to a model's server within a minute. No more may leave than the rate says; each worker
    may have been stopped, or cut off, between one that might leave and its leaving."""
    return caps.calls + workers


def of_calls(asked: Sequence[float], caps: Caps, workers: int) -> Iterator[str]:
    """Whether more calls came to a model's server in a minute than may leave. `asked`: when they came, seconds."""
    if (most := most_within(asked, MINUTE)) > allowed_calls(caps, workers):
        yield f"calls_per_minute is {caps.calls}, and {most} came within a minute"


@dataclass(frozen=True, slots=True)
class Purse:
    """A purse when all has ended, nano-USD."""

    cap: int | None
    settled: int
    reserved: int


def costs(records: Iterable[Committed]) -> dict[str, int]:
    """What the calls of each run cost, by what was recorded with them, nano-USD."""
    found: dict[str, int] = {}
    for record in records:
        if isinstance(record.event, e.ModelAnswered | e.ModelErred):
            run = ids.split_attempt(record.stream.partition("/")[2])[0]
            found[run] = found.get(run, 0) + record.event.cost_nusd
    return found


def of_money(purses: Mapping[str, Purse], spent: Mapping[str, int], shown: Mapping[str, int]) -> Iterator[str]:
    """Whether purses hold what the journal says was spent, within their caps. `spent`: by run. `shown`: what the deck
    says each run has cost."""
    for name, purse in purses.items():
        if purse.cap is not None and purse.settled > purse.cap:
            yield f"{name} has a cap of {purse.cap} nano-USD, and {purse.settled} were spent"
        if purse.reserved:
            yield f"{name} still has {purse.reserved} nano-USD set aside"
    for run, shown_nusd in shown.items():
        purse = purses.get(f"run/{run}", Purse(None, 0, 0))
        if not purse.settled == spent.get(run, 0) == shown_nusd:
            yield f"{run} cost {spent.get(run, 0)} by its calls, {purse.settled} by its purse, {shown_nusd} as shown"
    days = sum(purse.settled for name, purse in purses.items() if name.startswith("deck/"))
    if days != sum(spent.values()):
        yield f"all calls cost {sum(spent.values())} nano-USD, and the days' purses say {days}"
