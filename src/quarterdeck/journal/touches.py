"""What attempts have changed so far, as read tables have it: for those who work beside them.

Rules
- The journal is the channel: what an attempt in another process has changed is seen here as soon as it is recorded.
- One statement answers for all files of an attempt, so that a look costs the same however many are at work; what
  follows from it is decided elsewhere.
- Bounded: an attempt is shown so many rows at most, the newest.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from quarterdeck.journal.changes import Set
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Task
from quarterdeck.kernel.events import TaskStatus
from quarterdeck.store.port import Row, Store

ROWS: Final = 200
"""Rows of one look."""
NOTES: Final = 3
"""Notes of another task that are shown."""
INTENT: Final = 1_000
"""Characters that are kept of what a task is to do."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A changed place of a file: see `AttemptTouched`."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Touched:
    """What another task has changed in one file."""

    run: str
    task: str
    attempt: str
    title: str
    status: TaskStatus
    path: str
    spots: tuple[Spot, ...]
    landed: bool


def spots_of(event: e.AttemptTouched) -> tuple[Spot, ...]:
    """The places that the event names."""
    lines = zip_longest(event.entities, event.first, event.last, fillvalue=0)
    return tuple(Spot(name, first, last) for name, first, last in lines if isinstance(name, str))


def touched(attempt: str, at: float, event: e.AttemptTouched) -> Set:
    """What the event changes here. Pure."""
    if not event.entities:
        return Set("project_untouched", {"attempt": attempt, "path": event.path})
    run, task, number = ids.split_attempt(attempt)
    places = json.dumps([[spot.name, spot.first, spot.last] for spot in spots_of(event)], ensure_ascii=False)
    about = {"attempt": attempt, "run": run, "task": task, "root": ids.attempt_id(run, task, number)}
    return Set("project_touched", {**about, "path": event.path, "entities": places, "at": at})


def landed(target: str, at: float, event: e.ChangeLanded) -> Set:
    """What a landing changes here. Pure."""
    about = {"target": target, "attempt": event.attempt, "commit": event.new, "at": at}
    return Set("project_touches_landed", about)


def meant(run: str, task: Task) -> Set:
    """What is kept of a planned task. Pure."""
    return Set("project_intent", {"run": run, "task": task.id, "text": task.instructions[:INTENT]})


def _spots(text: str) -> tuple[Spot, ...]:
    return tuple(Spot(name, first, last) for name, first, last in json.loads(text))


def _touched(row: Row) -> Touched:
    return Touched(
        run=row["run"],
        task=row["task"],
        attempt=row["root"],
        title=row["title"],
        status=TaskStatus(row["status"]),
        path=row["path"],
        spots=_spots(row["entities"]),
        landed=row["landed_at"] is not None,
    )


class Touches:
    """What is changed beside an attempt. All methods raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, attempt: str) -> dict[str, tuple[Spot, ...]]:
        """What the attempt itself has changed, by path."""
        rows = await self._store.read("touches_of", attempt=attempt)
        return {row["path"]: _spots(row["entities"]) for row in rows}

    async def since(self, attempt: str, base: str) -> float:
        """Since when what landed is not in the base of that attempt: seconds since the epoch."""
        rows = await self._store.read("touches_since", attempt=attempt, base=base)
        return float(rows[0]["since"]) if rows else 0.0

    async def beside(self, attempt: str, since: float, names: Collection[str]) -> list[Touched]:
        """What other tasks with the same target have changed in the files that the attempt has changed, where that may
        be one of `names` (`Spot.name`)."""
        rows = await self._store.read("touches_beside", attempt=attempt, since=since, limit=ROWS)
        wanted = [json.dumps([name], ensure_ascii=False)[:-1] for name in names]
        return [_touched(row) for row in rows if any(name in row["entities"] for name in wanted)]

    async def under_way(self, run: str, task: str) -> list[Touched]:
        """What tasks with the run's target have changed that are under way, apart from that one."""
        return [_touched(row) for row in await self._store.read("touches_under_way", run=run, task=task, limit=ROWS)]

    async def meant(self, run: str, task: str) -> tuple[str, tuple[str, ...]]:
        """The beginning of what a task is to do, and the newest notes of its agents."""
        told = await self._store.read("intent_of", run=run, task=task)
        notes = await self._store.read("notes_of_task", run=run, task=task, limit=NOTES)
        return (told[0]["text"] if told else ""), tuple(row["text"] for row in notes)
