"""What a run did and when, as spans by column. Pure.

Rules
- A span is an intent and its outcome: a model call, a tool call, a node of the run, a wait for a person or for an
  environment. One without outcome is open; what its attempt was cut off in, or ended in, has ended badly.
- Each attempt is a lane. Checks, reviews and the gate are spans of the attempt whose change they are about.
- A run may have a hundred thousand records: of the frequent kinds nothing is decoded but the few fields at their
  beginning. What cannot be read that way is decoded in whole.
"""

import re
from dataclasses import dataclass, field
from typing import Final, TypeVar

from quarterdeck.board.agents import parent_of
from quarterdeck.board.answers import Lane, SpanKind, Spans, Timeline
from quarterdeck.board.tail import Raw, raw
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Harness
from quarterdeck.store.port import Row

T = TypeVar("T")

OPEN: Final = -1
BAD: Final = 0
GOOD: Final = 1

_HEAD: Final = re.compile(
    rb'\{"kind":"(?:model\.(asked)","step":\d+,"number":\d+,"model":"([^"\\]*)"|(?:model\.(answered))"'
    rb'|tool\.(intended|done)","step":\d+,"call":"([^"\\]*)","tool":"([^"\\]*)"(?:,"ok":(true|false))?)'
)
"""The beginnings of the most frequent kinds, as they are written."""

_NODES: Final[dict[e.Node, SpanKind]] = {
    e.Node.CHECK: "check",
    e.Node.REVIEW: "review",
    e.Node.GATE: "gate",
}
_MODEL: Final = "model"


@dataclass(slots=True)
class _Lane:
    """One attempt's line."""

    number: int
    task: str
    agent: str = ""
    open: dict[str, int] = field(default_factory=dict)
    """Spans without an outcome, by what they are."""


@dataclass(slots=True)
class History:
    """The spans of one run, as far as it was taken over."""

    lanes: dict[str, _Lane] = field(default_factory=dict)
    by_stream: dict[str, _Lane] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    lane: list[int] = field(default_factory=list)
    start: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    kind: list[SpanKind] = field(default_factory=list)
    label: list[int] = field(default_factory=list)
    ok: list[int] = field(default_factory=list)
    seq: list[int] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)
    """Id of the record that touched each span last."""
    last: int = 0
    """Id of the last record that was taken over."""

    def take(self, row: Row) -> None:
        """Take one record of the run's or an attempt's stream over, in the order of the commits."""
        self.last, stream = row["id"], row["stream"]
        if stream.startswith("run/"):
            self._run(raw(row))
            return
        found = _HEAD.match(row["body"])
        lane = self.by_stream.get(stream)
        if lane is None and (found is not None or raw(row).kind in _BEGINS):
            lane = self._lane(stream)
        if lane is None:
            return
        if found is None:
            self._attempt(lane, raw(row))
        elif found[1] is not None:
            self._begin(lane, row["id"], row["at"], row["seq"], _MODEL, "model", found[2].decode())
        elif found[3] is not None:
            self._finish(lane, row["id"], row["at"], _MODEL, GOOD)
        elif found[4] == b"done":
            self._finish(lane, row["id"], row["at"], found[5].decode(), GOOD if found[7] == b"true" else BAD)
        else:
            self._begin(lane, row["id"], row["at"], row["seq"], found[5].decode(), "tool", found[6].decode())

    def _lane(self, stream: str) -> _Lane:
        attempt = stream.removeprefix("attempt/")
        lane = self.by_stream[stream] = self.lanes[attempt] = _Lane(len(self.lanes), attempt.split(".")[1])
        return lane

    def _attempt(self, lane: _Lane, raw: Raw) -> None:
        if raw.kind in _UNTOLD:
            return
        event = raw.event
        match event:
            case e.ModelAsked():  # here: what the pattern does not read
                self._begin(lane, raw.id, raw.at, raw.seq, _MODEL, "model", event.model)
            case e.ModelErred():
                self._finish(lane, raw.id, raw.at, _MODEL, BAD)
            case e.ToolIntended():
                self._begin(lane, raw.id, raw.at, raw.seq, event.call, "tool", event.tool)
            case e.ToolDone() | e.AgentActed():
                self._finish(lane, raw.id, raw.at, event.call, GOOD if event.ok else BAD)
            case e.AgentActing():
                self._begin(lane, raw.id, raw.at, raw.seq, event.call, "tool", event.title or event.tool_kind or "tool")
            case e.AttemptStarted():
                self._cut(lane, raw)
                lane.agent, lane.task = event.agent, event.task
                if event.harness is Harness.COMMAND:
                    self._begin(lane, raw.id, raw.at, raw.seq, "harness", "tool", event.agent)
            case e.EnvironmentBuilding():
                self._begin(lane, raw.id, raw.at, raw.seq, "environment", "environment", "environment")
            case e.HarnessStarted():
                self._finish(lane, raw.id, raw.at, "environment", GOOD)
            case e.QuestionAsked():
                self._begin(lane, raw.id, raw.at, raw.seq, "question", "wait", "question")
            case e.HarnessFinished():
                self._finish(lane, raw.id, raw.at, "harness", GOOD if event.ok else BAD)
                self._cut(lane, raw, but="question")
            case _:
                pass

    def _run(self, raw: Raw) -> None:
        event = raw.event
        match event:
            case e.NodeStarted(attempt=str() as attempt, node=node) if node in _NODES and attempt in self.lanes:
                self._begin(self.lanes[attempt], raw.id, raw.at, raw.seq, node.value, _NODES[node], node.value)
            case e.NodeFinished(attempt=str() as attempt, node=node) if attempt in self.lanes:
                lane = self.lanes[attempt]
                self._finish(lane, raw.id, raw.at, node.value, GOOD if event.outcome is e.Outcome.OK else BAD)
            case e.RunResumed(answer_blob=str()):
                for lane in self.lanes.values():
                    self._finish(lane, raw.id, raw.at, "question", GOOD)
            case e.RunCancelled() | e.RunFinished():
                for lane in self.lanes.values():
                    for what in list(lane.open):
                        self._finish(lane, raw.id, raw.at, what, BAD)
            case _:
                pass

    def _begin(self, lane: _Lane, id: int, at: float, seq: int, what: str, kind: SpanKind, label: str) -> None:
        if what in lane.open:
            self._finish(lane, id, at, what, BAD)  # asked again: the first time had no outcome
        lane.open[what] = len(self.start)
        self.lane.append(lane.number)
        self.start.append(at)
        self.end.append(OPEN)
        self.kind.append(kind)
        self.label.append(self.labels.setdefault(label, len(self.labels)))
        self.ok.append(OPEN)
        self.seq.append(seq)
        self.changed.append(id)

    def _finish(self, lane: _Lane, id: int, at: float, what: str, ok: int) -> None:
        place = lane.open.pop(what, None)
        if place is not None:
            self.end[place], self.ok[place], self.changed[place] = at, ok, id

    def _cut(self, lane: _Lane, raw: Raw, but: str = "") -> None:
        for what in [what for what in lane.open if what != but and what not in _OF_THE_RUN]:
            self._finish(lane, raw.id, raw.at, what, BAD)

    def answer(self, after: int, *, cut: bool) -> Timeline:
        """All spans that a record after `after` began or ended. `cut`: there are records that were not taken over."""
        every = range(len(self.start))
        places = every if not after else [place for place in every if self.changed[place] > after]
        # Made of what is checked by then: a hundred thousand numbers are not checked again.
        spans = Spans.model_construct(
            lane=_picked(self.lane, places),
            start=_picked(self.start, places),
            end=_picked(self.end, places),
            kind=_picked(self.kind, places),
            label=_picked(self.label, places),
            ok=_picked(self.ok, places),
            seq=_picked(self.seq, places),
        )
        lanes = tuple(
            Lane(attempt=attempt, task=_task(lane.task), agent=lane.agent, parent=parent_of(attempt))
            for attempt, lane in self.lanes.items()
        )
        return Timeline.model_construct(lanes=lanes, labels=tuple(self.labels), spans=spans, next=self.last, cut=cut)


_UNTOLD: Final = frozenset({"transcript.extended", "agent.said", "todo.changed", "note.recorded", "tools.given"})
_BEGINS: Final = frozenset({"attempt.started", "environment.building"})
"""What an attempt begins with that an agent works at; the run's own papers have no line."""
_OF_THE_RUN: Final = frozenset(node.value for node in e.Node)
"""Spans that the run's stream begins and ends."""


def _task(name: str) -> str:
    return "" if name == ids.PLANNER_TASK else name


def _picked(column: list[T], places: range | list[int]) -> tuple[T, ...]:
    return tuple(column) if isinstance(places, range) else tuple([column[place] for place in places])
