"""Frames: what changed between two looks at the board, and how several of them become one. Pure.

Rules
- A frame holds what became of rows, by key: each as it was and as it is. Of several frames the first "was" and the last
  "is" of each key hold, so that a viewer is told what differs from what it has and nothing else.
- Viewers get deltas out of the frames that are remembered. Whoever has seen one that is no longer remembered gets a
  snapshot: nobody is left with a gap.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeVar

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

Rows = dict[Topic, dict[str, Value]]
R = TypeVar("R", bound=Value)

MOST_FRAMES: Final = 240
"""Frames that are remembered: a minute, where something changes all the time."""
MOST_ROWS: Final = 50_000
"""Rows in the frames that are remembered."""


class Move(NamedTuple):
    """What became of a row; None = there was none, there is none."""

    was: Value | None
    now: Value | None


Moves = dict[str, Move]
"""By the keys of the rows."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What changed since the frame before it."""

    seq: int
    at: float
    changes: Mapping[Topic, Moves]
    tasks: Mapping[str, Moves] = field(default_factory=dict)
    """By run, for those that are followed."""
    touched: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Streams that have grown, by run, for those that are followed."""

    @property
    def size(self) -> int:
        """How many rows it holds."""
        return sum(map(len, self.changes.values())) + sum(map(len, self.tasks.values()))


def difference(before: Mapping[str, Value], after: Mapping[str, Value]) -> Moves:
    """What became of the rows that differ."""
    changed = {key: Move(before.get(key), row) for key, row in after.items() if before.get(key) != row}
    changed.update({key: Move(row, None) for key, row in before.items() if key not in after})
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
    moved: dict[Topic, Moves] = {topic: {} for topic in topics}
    tasks: Moves = {}
    touched: dict[str, int] = {}
    seq, at = 0, 0.0
    for frame in frames:
        seq, at = frame.seq, frame.at
        for topic in topics:
            _follow(moved[topic], frame.changes.get(topic, {}))
        if run is not None:
            _follow(tasks, frame.tasks.get(run, {}))
            touched.update(frame.touched.get(run, {}))
    if not any(moved.values()) and not tasks and not touched:
        return None
    deck = moved.get(Topic.DECK, {}).get("deck")

    def changes(kind: type[Changes[R]], topic: Topic) -> Changes[R]:
        return _changes(kind, moved.get(topic, {}))

    # Rows are checked where they are made.
    return Delta.model_construct(
        seq=seq,
        at=at,
        deck=deck.now if deck is not None and isinstance(deck.now, DeckRow) else None,
        runs=changes(Changes[RunRow], Topic.RUNS),
        agents=changes(Changes[AgentRow], Topic.AGENTS),
        needs=changes(Changes[NeedRow], Topic.NEEDS),
        gates=changes(Changes[GateRow], Topic.GATES),
        approvals=changes(Changes[ApprovalRow], Topic.APPROVALS),
        tasks=_changes(Changes[TaskRow], tasks),
        touched=touched,
    )


def _follow(known: Moves, newer: Mapping[str, Move]) -> None:
    if not known:
        known.update(newer)
        return
    for key, move in newer.items():
        first = known.get(key)
        known[key] = move if first is None else Move(first.was, move.now)


def _changes(kind: type[Changes[R]], moves: Mapping[str, Move]) -> Changes[R]:
    fresh: list[Any] = []
    changed: dict[str, dict[str, Any]] = {}
    gone: list[str] = []
    for key, (was, now) in moves.items():
        if now is None:
            gone.append(key)
        elif was is None:
            fresh.append(now)
        elif fields := _fields(was, now):
            changed[key] = fields
    return kind.model_construct(set=tuple(fresh), changed=changed, gone=tuple(gone))


def _fields(was: Value, now: Value) -> dict[str, Any]:
    """What differs between two rows of one kind, as it is now."""
    before = vars(was)
    return {name: value for name, value in vars(now).items() if before[name] != value}
