"""What the demo has seen: a fold over the journal's records as the engine prints them. Pure.

Rules
- An incident counts when the journal says that it happened *and* that it was mended; both places are kept.
- A record is taken once: an engine that resumes prints the run again from its beginning.
- What a person reads while it happens is made here, what it looks like elsewhere.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.kernel.folding import apply
from quarterdeck.kernel.ids import PLANNER_TASK, split_attempt
from quarterdeck.kernel.states import RunState


class Kind(StrEnum):
    """What has to happen on the way."""

    REJECTED = "bad patch"
    REVIEWED = "review"
    CONFLICT = "conflict"
    OVERLOADED = "529"
    CUT = "cut stream"
    KILLED = "kill -9"


class Mark(StrEnum):
    """What a line means: shape and colour follow from it."""

    PLAIN = "plain"
    WORK = "work"
    GOOD = "good"
    TROUBLE = "trouble"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the way."""

    who: str
    text: str
    mark: Mark = Mark.PLAIN


@dataclass(slots=True)
class Incident:
    """One thing that went wrong, and how it was mended."""

    kind: Kind
    who: str
    what: str
    where: str
    """The record that says so: stream and number."""
    mended: str = ""
    """Empty = not mended (yet)."""
    step: int = 0
    """Of a model call."""
    at: float = 0.0
    """Seconds since the epoch."""


@dataclass(slots=True)
class Story:
    """Everything seen so far."""

    run: str = ""
    branch: str = ""
    state: RunState = field(default_factory=RunState)
    tasks: int = 0
    peak: int = 0
    """Most tasks that were worked on at the same time."""
    incidents: list[Incident] = field(default_factory=list)
    merged: dict[str, str] = field(default_factory=dict)
    """Task to commit."""
    merges: int = 0
    restarted: list[str] = field(default_factory=list)
    """Attempts that had to begin again in a fresh workspace."""
    asked_again: int = 0
    """Model calls that were under way when the engine was killed."""
    tool_calls: int = 0
    repeated: list[str] = field(default_factory=list)
    """Tool calls with two outcomes: there must be none."""
    spent_nusd: int = 0
    records: int = 0
    in_flight: dict[str, str] = field(default_factory=dict)
    """Stream to what it waits for at this moment."""
    _last: dict[str, int] = field(default_factory=dict)
    _resumed: bool = False
    _done: set[tuple[str, str]] = field(default_factory=set)

    def take(self, line: dict[str, Any]) -> list[Said]:
        """Take one `event` line over; what there is to say about it."""
        stream, seq = str(line["stream"]), int(line["seq"])
        if seq <= self._last.get(stream, 0):
            return []
        self._last[stream] = seq
        self.records += 1
        event = e.decode(json.dumps(line["event"]))
        said = self._goes_on()
        if stream.startswith("run/"):
            apply(self.state, event)
            self.peak = max(self.peak, self.state.active)
            said += self._run(event, f"{stream} #{seq}")
        elif stream.startswith("attempt/"):
            said += self._attempt(event, stream, seq, float(line["at"]))
        elif isinstance(event, e.MergeResolved) and event.paths:
            said += self._put_together(event, f"{stream} #{seq}")
        return said

    def of(self, kind: Kind) -> Incident | None:
        """The first mended incident of that kind, else the first."""
        found = [incident for incident in self.incidents if incident.kind is kind]
        return next((incident for incident in found if incident.mended), found[0] if found else None)

    @property
    def missing(self) -> list[Kind]:
        """What should have happened and was not seen, or not seen mended."""
        found = {kind: self.of(kind) for kind in Kind}
        return [kind for kind, incident in found.items() if incident is None or not incident.mended]

    @property
    def may_be_killed(self) -> bool:
        """Two tasks have merged, and at least two agents are in the middle of something."""
        merged, busy = len(self.merged), len(self.in_flight)
        return (merged >= 2 and busy >= 2) or (merged >= 4 and busy >= 1) or merged >= 5

    def killed(self, pid: int) -> Said:
        """The engine was killed."""
        busy = sorted({_task_of(stream) for stream in self.in_flight})
        middle = f"{_listed(busy)} in the middle of a step" if busy else "between two steps"
        state = f"{len(self.merged)} of {self.tasks} tasks merged, {middle}"
        what = f"process {pid}, with {state}"
        self.incidents.append(Incident(Kind.KILLED, "engine", what, f"{self.records} records by then"))
        return Said("engine", f"kill -9 {pid}: {state}", Mark.KILL)

    def _goes_on(self) -> list[Said]:
        """Said once, when the first record after the kill arrives."""
        if not self._resumed:
            return []
        self._resumed = False
        return [Said("engine", f"goes on after record {self.records - 1} of the journal", Mark.GOOD)]

    def resumed(self, pid: int) -> Said:
        """Another engine goes on."""
        self._resumed = True
        return Said("engine", f"quarterdeck resume {self.run} (process {pid})", Mark.WORK)

    def finished(self, ok: bool) -> None:
        """The run has ended."""
        killed = self.of(Kind.KILLED)
        if killed is not None and ok and not self.repeated and self.merges == len(self.merged):
            again = f"{self.asked_again} model call{'' if self.asked_again == 1 else 's'} asked again"
            fresh = f"{len(self.restarted)} attempts begun anew" if self.restarted else "every attempt went on in place"
            killed.mended = f"resumed: {again}, {fresh}, no finished step run again, nothing merged twice"

    # --- the run's stream -------------------------------------------------------------------------------------

    def _run(self, event: e.EventBase, where: str) -> list[Said]:
        match event:
            case e.RunCreated():
                self.run, self.branch = event.run, event.into
                return [Said("run", f"{event.run}, onto the new branch {event.into}")]
            case e.RunPlanned():
                self.tasks = event.tasks
                return [Said("planner", f"a plan of {event.tasks} tasks, made by an agent, checked by code", Mark.GOOD)]
            case e.NodeStarted(node=Node.PLAN):
                return [Said("planner", "reads the repository", Mark.WORK)]
            case e.TaskDispatched():
                again = f" again (attempt {event.number})" if event.number > 1 else ""
                return [Said(event.task, f"an implementer starts{again}", Mark.WORK)]
            case e.TaskMerged():
                return self._merged(event)
            case e.TaskFailed() | e.TaskBlocked():
                return [Said(event.task, f"not merged: {event.reason}", Mark.TROUBLE)]
            case e.NodeFinished():
                return self._node(event, where)
            case _:
                return []

    def _merged(self, event: e.TaskMerged) -> list[Said]:
        self.merges += 1
        self.merged[event.task] = event.commit
        number = event.attempt.rsplit(".", 1)[-1]
        for incident in self.incidents:
            sent_back = incident.kind in (Kind.REJECTED, Kind.REVIEWED, Kind.CONFLICT)
            if sent_back and incident.who == event.task and not incident.mended:
                incident.mended = f"attempt {number} was checked, reviewed and merged as {event.commit[:7]}"
        return [Said(event.task, f"merged as {event.commit[:7]}, tested as merged", Mark.GOOD)]

    def _put_together(self, event: e.MergeResolved, where: str) -> list[Said]:
        task, paths = split_attempt(event.attempt)[1], ", ".join(event.paths)
        incident = Incident(Kind.CONFLICT, task, f"git's own merge leaves a conflict in {paths}", where)
        incident.mended = f"merged by {event.way} without a model; both tasks' tests pass on it"
        self.incidents.append(incident)
        return [Said(task, f"conflict in {paths}: {incident.mended}", Mark.WORK)]

    def _node(self, event: e.NodeFinished, where: str) -> list[Said]:
        task = event.task or ""
        match event.node, event.outcome:
            case Node.CHECK, Outcome.FAILED:
                text = f"rejected by the checks: {event.reason}"
                self.incidents.append(Incident(Kind.REJECTED, task, event.reason, where))
            case Node.REVIEW, Outcome.CHANGE:
                text = f"the reviewer asks for a change: {event.reason}"
                self.incidents.append(Incident(Kind.REVIEWED, task, event.reason, where))
            case Node.GATE, Outcome.CONFLICT:
                text = f"conflict: {event.reason}; back to its author, with the other side's intent"
                self.incidents.append(Incident(Kind.CONFLICT, task, event.reason, where))
            case Node.IMPLEMENT | Node.PLAN | Node.CHECK | Node.REVIEW | Node.GATE, Outcome.FAILED:
                text = f"{event.node}: {event.reason}"
            case _:
                return []
        return [Said(task or "planner", text, Mark.TROUBLE)]

    # --- attempts' streams ------------------------------------------------------------------------------------

    def _attempt(self, event: e.EventBase, stream: str, seq: int, at: float) -> list[Said]:
        match event:
            case e.AttemptStarted():
                if event.incarnation > 1:
                    self.restarted.append(stream)
            case e.ModelAsked():
                self.in_flight[stream] = event.model
            case e.ModelAnswered():
                self.in_flight.pop(stream, None)
                self.spent_nusd += event.cost_nusd
                self._answered(event, stream, at)
            case e.ModelErred():
                self.in_flight.pop(stream, None)
                self.spent_nusd += event.cost_nusd
                return self._erred(event, stream, seq, at)
            case e.ToolIntended(decision="allow"):
                self.in_flight[stream] = event.tool
            case e.ToolDone():
                self.in_flight.pop(stream, None)
                self._tool(event, stream)
            case _:
                pass
        return []

    def _tool(self, event: e.ToolDone, stream: str) -> None:
        self.tool_calls += 1
        key = (stream, event.call)
        if key in self._done:
            self.repeated.append(f"{stream} {event.call}")
        self._done.add(key)

    def _erred(self, event: e.ModelErred, stream: str, seq: int, at: float) -> list[Said]:
        if event.failure is FailureClass.INFRASTRUCTURE:
            self.asked_again += 1
            return []
        kind = {FailureClass.TRANSIENT: Kind.OVERLOADED, FailureClass.TRUNCATED: Kind.CUT}.get(event.failure)
        if kind is None or (kind is Kind.OVERLOADED and "529" not in event.reason):
            return [Said(_task_of(stream), f"model call failed: {event.reason}", Mark.TROUBLE)]
        incident = Incident(kind, stream, event.reason, f"{stream} #{seq}", step=event.step, at=at)
        self.incidents.append(incident)
        text = {
            Kind.OVERLOADED: "529 overloaded: waits as long as it is told, asks again",
            Kind.CUT: "the stream broke off: nothing of the reply is used, asks again",
        }[kind]
        return [Said(_task_of(stream), text, Mark.TROUBLE)]

    def _answered(self, event: e.ModelAnswered, stream: str, at: float) -> None:
        for incident in self.incidents:
            if incident.who == stream and incident.step == event.step and not incident.mended:
                incident.mended = f"asked again, and answered {at - incident.at:.1f} s later"


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def _task_of(stream: str) -> str:
    """`attempt/r-1.backoff.1.review1` is `backoff`; the planner's is `planner`."""
    task = stream.split(".")[1]
    return "planner" if task == PLANNER_TASK else task
