"""What an attempt has changed, and what of it is worth an event. Pure.

Rules
- A change is known by the entities that it touches (`merge.naming`). Where there are none (a language that is not
  known, lines between functions), it is known by its lines before the change.
- An event says everything about one file, and comes only where an edit touched something that was not known. An attempt
  has so many files, places in a file and events at most; what goes beyond is not on record, and nobody is warned of it.
- What is too large or no text is known as a file that was changed, in one piece.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.journal.touches import Spot, spots_of
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.events.beside import SPOTS
from quarterdeck.merge.naming import differing

MAX_PATHS: Final = 200
MAX_EVENTS: Final = 500
MAX_TEXT: Final = 512 * 1024
"""Characters of a file that is still taken apart."""
MAX_NAME: Final = 200
NEAR: Final = 3
"""Lines between two changes that git would still take for one."""

ALL_OF_IT: Final = Spot("", 0, 0)
"""A file that is not taken apart."""

Told = tuple[str, str, str]
"""(path, entity, other task): what an agent was warned of."""


@dataclass(slots=True)
class Trace:
    """What an attempt has changed and was warned of: a fold of its stream."""

    touched: dict[str, tuple[Spot, ...]] = field(default_factory=dict)
    """By path."""
    told: set[Told] = field(default_factory=set)
    events: int = 0

    def apply(self, event: e.EventBase) -> None:
        """Take one event over."""
        match event:
            case e.AttemptTouched():
                self.events += 1
                self.touched.pop(event.path, None)
                if event.entities:
                    self.touched[event.path] = spots_of(event)
            case e.AttemptWarned():
                self.told.add((event.path, event.entity, task_of(event.other)))
            case _:
                pass


def task_of(attempt: str) -> str:
    """`run.task` of an attempt."""
    run, task, _ = ids.split_attempt(attempt)
    return f"{run}.{task}"


def event_of(path: str, spots: Sequence[Spot]) -> e.AttemptTouched:
    """The event that says so."""
    shown = spots[:SPOTS]
    return e.AttemptTouched(
        path=path,
        entities=tuple(spot.name for spot in shown),
        first=tuple(spot.first for spot in shown),
        last=tuple(spot.last for spot in shown),
    )


def changed(path: str, before: str, after: str) -> tuple[Spot, ...]:
    """The places that differ between two versions of a file; a version that is not there is empty."""
    if before == after:
        return ()
    if max(len(before), len(after)) > MAX_TEXT:
        return (ALL_OF_IT,)
    outside = _lines(before, after)
    found = []
    for name, entity in differing(path, before, after)[:SPOTS]:
        if not name:
            found.append(outside)
        else:
            found.append(Spot(name[:MAX_NAME], entity.first, entity.last) if entity else Spot(name[:MAX_NAME], 0, 0))
    return tuple(found)


def _lines(before: str, after: str) -> Spot:
    """From the first to the last line of `before` that changes; lines that are only added stand at the one before."""
    old, new = before.split("\n"), after.split("\n")
    shorter = min(len(old), len(new))
    head = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    tail = next((at for at in range(shorter - head) if old[-1 - at] != new[-1 - at]), shorter - head)
    return Spot("", max(1, head + 1), max(1, head + 1, len(old) - tail))


def grown(trace: Trace, path: str, spots: Sequence[Spot]) -> e.AttemptTouched | None:
    """What to record of a change of `path`; None = nothing that is not known, or too much is known already."""
    known = trace.touched.get(path, ())
    fresh = [spot for spot in spots if not _known(spot, known)]
    full = not known and len(trace.touched) >= MAX_PATHS
    if not fresh or full or trace.events >= MAX_EVENTS or len(known) >= SPOTS:
        return None
    names = {spot.name for spot in fresh if spot.name}
    return event_of(path[:4_000], (*(spot for spot in known if spot.name not in names), *fresh))


def settled(known: Mapping[str, Sequence[Spot]], exact: Mapping[str, Sequence[Spot]]) -> list[e.AttemptTouched]:
    """What to record where all that was changed is known for certain: what is new, what is different, what is gone."""
    found = [event_of(path, spots) for path, spots in exact.items() if _names(spots) != _names(known.get(path, ()))]
    found += [event_of(path, ()) for path in known if path not in exact]
    return found[:MAX_PATHS]


def _names(spots: Sequence[Spot]) -> set[object]:
    return {spot.name or spot for spot in spots}


def _known(spot: Spot, known: Sequence[Spot]) -> bool:
    if spot.name:
        return any(other.name == spot.name for other in known)
    if ALL_OF_IT in known or spot == ALL_OF_IT:
        return ALL_OF_IT in known
    return any(not other.name and other.first <= spot.first and spot.last <= other.last + NEAR for other in known)


def meet(one: Spot, other: Spot) -> bool:
    """Whether two attempts change the same: an entity, or lines so near to each other that git takes them for one."""
    if one.name or other.name:
        return one.name == other.name
    if ALL_OF_IT in (one, other):
        return True
    return one.first <= other.last + NEAR and other.first <= one.last + NEAR
