"""Frames: what changed between two looks at the board, and how several of them become one. Pure.

Rules
- A frame holds whole rows by key; None = the row is gone. Of several frames the newest row of each key holds.
- Viewers get deltas out of the frames that are remembered. Whoever has seen one that is no longer remembered gets a
  snapshot: nobody is left with a gap.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from quarterdeck.board.port import (
    AgentRow,
    ApprovalRow,
    Changes,
    DeckRow,
    Delta,
    GateRow,
    NeedRow,
    RunRow,
    TaskRow,
    Topic,
)
from quarterdeck.kernel.entities import Value

Rows = dict[Topic, dict[str, Value | None]]
V = TypeVar("V", bound=Value)
R = TypeVar("R", bound=Value)

MOST_FRAMES: Final = 240
"""Frames that are remembered: a minute, where something changes all the time."""
MOST_ROWS: Final = 50_000
"""Rows in the frames that are remembered."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What changed since the frame before it."""

    seq: int
    at: float
    changes: Rows
    tasks: Mapping[str, Mapping[str, TaskRow | None]] = field(default_factory=dict)
    """By run, for those that are followed."""
    touched: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Streams that have grown, by run, for those that are followed."""

    @property
    def size(self) -> int:
        """How many rows it holds."""
        return sum(map(len, self.changes.values())) + sum(map(len, self.tasks.values()))


def difference(before: Mapping[str, V | None], after: Mapping[str, V | None]) -> dict[str, V | None]:
    """Rows of `after` that `before` has not; None for those that only `before` has."""
    changed: dict[str, V | None] = {key: row for key, row in after.items() if before.get(key) != row}
    changed.update({key: None for key in before if key not in after})
    return changed


class History:
    """The newest frames."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._rows = 0

    def add(self, frame: Frame) -> None:
        """Remember a frame; the oldest are forgotten where there are too many."""
        self._frames.append(frame)
        self._rows += frame.size
        while len(self._frames) > MOST_FRAMES or (self._rows > MOST_ROWS and len(self._frames) > 1):
            self._rows -= self._frames.popleft().size

    def since(self, seq: int, newest: int) -> list[Frame] | None:
        """The frames after `seq`, in order; None where one of them is no longer (or was never) remembered."""
        if seq == newest:
            return []
        if not self._frames or not self._frames[0].seq - 1 <= seq < newest:
            return None
        return [frame for frame in self._frames if frame.seq > seq]


def delta(frames: Iterable[Frame], topics: Collection[Topic], run: str | None) -> Delta | None:
    """What the frames say together about some topics and the run that is followed; None = nothing."""
    merged: Rows = {topic: {} for topic in topics}
    tasks: dict[str, TaskRow | None] = {}
    touched: dict[str, int] = {}
    seq, at = 0, 0.0
    for frame in frames:
        seq, at = frame.seq, frame.at
        for topic in topics:
            merged[topic].update(frame.changes.get(topic, {}))
        if run is not None:
            tasks.update(frame.tasks.get(run, {}))
            touched.update(frame.touched.get(run, {}))
    if not any(merged.values()) and not tasks and not touched:
        return None
    deck = merged.get(Topic.DECK, {}).get("deck")

    def changes(kind: type[Changes[R]], topic: Topic) -> Changes[R]:
        return _changes(kind, merged.get(topic, {}))

    # Rows are checked where they are made.
    return Delta.model_construct(
        seq=seq,
        at=at,
        deck=deck if isinstance(deck, DeckRow) else None,
        runs=changes(Changes[RunRow], Topic.RUNS),
        agents=changes(Changes[AgentRow], Topic.AGENTS),
        needs=changes(Changes[NeedRow], Topic.NEEDS),
        gates=changes(Changes[GateRow], Topic.GATES),
        approvals=changes(Changes[ApprovalRow], Topic.APPROVALS),
        tasks=_changes(Changes[TaskRow], tasks),
        touched=touched,
    )


def _changes(kind: type[Changes[R]], rows: Mapping[str, Any]) -> Changes[R]:
    return kind.model_construct(
        set=tuple(row for row in rows.values() if row is not None),
        gone=tuple(key for key, row in rows.items() if row is None),
    )
