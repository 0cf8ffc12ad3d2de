"""When a worker counts as dead for the others, and what its own signs of life tell it about itself. Pure.

Rules
- A worker is dead when its sign of life has not moved while the clock of whoever listens went on for `Pace.silence`,
  its own pace: workers of different paces do not harm each other, and a step of the database's clock kills nobody.
- Who listens since a short time only believes the database's clock after two heartbeats: what is that old by it, and
  did not move meanwhile, is dead too. So work of a machine that died long ago waits for nobody's patience.
- Who was silent itself did not listen either: that time counts against nobody, and the others speak first.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from quarterdeck.engine.seats import Pace


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest sign of life of one worker."""

    worker: int
    beat: int
    """Which one it is: every sign of life has another number."""
    age: float
    """Seconds since then by the database's clock."""
    pace: Pace
    """The worker's own."""


Listened = Mapping[int, tuple[int, float]]
"""Worker to its newest sign of life, and since when that has not moved, by the listener's monotonic clock."""


def listened(before: Listened, heard: Iterable[Heard], now: float) -> Listened:
    """What is known after one more look."""
    known = {one.worker: before.get(one.worker) for one in heard}
    return {
        one.worker: mark if (mark := known[one.worker]) is not None and mark[0] == one.beat else (one.beat, now)
        for one in heard
    }


def forgiven(marks: Listened, seconds: float) -> Listened:
    """What is known, where the listener did not listen for so many seconds."""
    return {worker: (beat, since + seconds) for worker, (beat, since) in marks.items()}


def silent(marks: Listened, heard: Iterable[Heard], now: float) -> tuple[Heard, ...]:
    """Who is dead at `now`, by what was listened to so far."""
    return tuple(one for one in heard if now - marks[one.worker][1] >= _patience(one))


def _patience(one: Heard) -> float:
    return one.pace.silence if one.age < one.pace.silence else 2 * one.pace.heartbeat


class Verdict(Enum):
    """What a worker knows about itself after it gave a sign of life, or could not."""

    FINE = "fine"
    LISTENS = "listens"
    """It is fine, and was never silent: it may judge the others."""
    CUT_OFF = "cut off"
    """The others may have taken it for dead: it stops what it does."""
    FENCED = "fenced"
    """The others have taken it for dead."""


def answered(pace: Pace, silent_for: float, on_record: bool) -> Verdict:
    """After a sign of life that arrived, `silent_for` seconds after the one before."""
    if not on_record:
        return Verdict.FENCED
    return Verdict.LISTENS if silent_for < 2 * pace.heartbeat else Verdict.FINE


def unanswered(pace: Pace, silent_for: float) -> Verdict:
    """After one that did not, where the last that did was sent so many seconds ago."""
    return Verdict.CUT_OFF if silent_for >= pace.silence else Verdict.FINE


def too_late(pace: Pace, silent_for: float) -> bool:
    """Whether a worker that learns only now that it is cut off may have worked on beside its heir: it was paused."""
    return silent_for > pace.silence + pace.heartbeat
