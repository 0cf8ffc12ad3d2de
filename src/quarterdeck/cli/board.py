"""What a live view knows of a run: a fold over its records, and the lines to draw. Pure; nothing here draws.

Rules
- The run's stream says where tasks stand (`kernel.folding`); the attempts' streams say who works and what it costs.
- Where there are more tasks than lines, what works, waits or failed is shown first, and the rest is counted.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from quarterdeck.cli.amounts import duration, tokens, usd
from quarterdeck.cli.lines import Line, describe
from quarterdeck.journal.port import Record
from quarterdeck.journal.views import TaskView
from quarterdeck.kernel import events as e
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.folding import apply
from quarterdeck.kernel.ids import split_attempt
from quarterdeck.kernel.states import RunState, TaskState

_SHA = 10

_URGENCY = {
    TaskStatus.WAITING: 0,
    TaskStatus.FAILED: 1,
    TaskStatus.BLOCKED: 3,
    TaskStatus.PENDING: 4,
    TaskStatus.MERGED: 5,
    TaskStatus.CANCELLED: 6,
}
"""What is shown first where not everything fits; tasks that are being worked on are 2."""


@dataclass(slots=True)
class _Times:
    began: float = 0.0
    changed: float = 0.0


@dataclass(slots=True)
class Board:
    """The state of a live view."""

    run: str
    state: RunState = field(default_factory=RunState)
    titles: dict[str, str] = field(default_factory=dict)
    """In the order of the plan."""
    agents: dict[str, str] = field(default_factory=dict)
    times: dict[str, _Times] = field(default_factory=dict)
    spent_nusd: int = 0
    usage: Usage = field(default_factory=Usage)
    created_at: float = 0.0
    seq: int = 0
    """The last record of the run's stream that was taken over."""

    def take(self, record: Record) -> Line | None:
        """Take one record over; returns its line if a progress view shows it."""
        event = record.event
        mine = self._run_stream(record) if record.stream.startswith("run/") else self._other_stream(event)
        line = describe(record)
        return None if line.detail or not mine else line

    def plan(self, tasks: Iterable[TaskView]) -> None:
        """The run's tasks became known."""
        self.titles = {task.task: task.title for task in tasks}

    def _run_stream(self, record: Record) -> bool:
        before = {task: state.status for task, state in self.state.tasks.items()}
        apply(self.state, record.event)
        self.seq = record.seq
        if isinstance(record.event, e.RunCreated):
            self.created_at = record.at
        if isinstance(record.event, e.TaskDispatched):
            self.agents[record.event.task] = record.event.agent
        for task, state in self.state.tasks.items():
            times = self.times.setdefault(task, _Times(record.at, record.at))
            if before.get(task) is not state.status:
                times.changed = record.at
        return True

    def _other_stream(self, event: e.EventBase) -> bool:
        match event:
            case e.AttemptStarted():
                self.agents[event.task] = event.agent
            case e.ModelAnswered() | e.ModelErred():
                self.spent_nusd += event.cost_nusd
                self.usage += event.usage
            case e.NodeFinished() | e.NodeStarted():
                return False  # the run's stream takes it over and is shown instead
            case e.ChangeReturned() | e.ChangeQueued() | e.ChangeLanded() | e.MergeResolved() | e.ChangeClashed():
                return self._is_mine(event)
            case _:
                pass
        return True

    def _is_mine(
        self, event: e.ChangeReturned | e.ChangeQueued | e.ChangeLanded | e.MergeResolved | e.ChangeClashed
    ) -> bool:
        """A gate serves several runs."""
        attempt = event.change.attempt if isinstance(event, e.ChangeQueued) else event.attempt
        return split_attempt(attempt)[0] == self.run


@dataclass(frozen=True, slots=True)
class Row:
    """One task of a live view."""

    task: str
    status: TaskStatus
    agent: str
    number: int
    time: str
    note: str


def rows(board: Board, now: float, limit: int) -> tuple[list[Row], str]:
    """At most `limit` tasks in the order of the plan, and what is said about those left out."""
    order = list(board.titles) + [task for task in board.state.tasks if task not in board.titles]
    known = {task: board.state.tasks.get(task) or TaskState() for task in order}
    kept = set(sorted(order, key=lambda task: _URGENCY.get(known[task].status, 2))[:limit])
    shown = [_row(board, task, known[task], now) for task in order if task in kept]
    left = Counter(known[task].status for task in order if task not in kept)
    rest = ", ".join(f"{count} {status}" for status, count in left.most_common())
    return shown, f"and {left.total()} more: {rest}" if left else ""


def _row(board: Board, task: str, state: TaskState, now: float) -> Row:
    times = board.times.get(task)
    idle = state.status in (TaskStatus.PENDING, TaskStatus.BLOCKED) or times is None
    if idle or times is None:
        time = ""
    elif state.status.finished:
        time = duration(times.changed - times.began)
    else:
        time = duration(now - times.changed)
    busy = not idle and not state.status.finished
    note = state.commit[:_SHA] if state.commit else state.reason or board.titles.get(task, "")
    return Row(task, state.status, board.agents.get(task, "") if busy else "", state.number, time, note)


def status_of(board: Board) -> RunStatus:
    return board.state.status


def budget(board: Board) -> tuple[float, str]:
    """(share of the budget that is spent, `$0.42 of $5.00`)."""
    total = board.state.budget_nusd
    if board.state.created is None:
        return 0.0, usd(0)
    share = min(1.0, board.spent_nusd / total) if total > 0 else float(board.spent_nusd > 0)
    return share, f"{usd(board.spent_nusd)} of {usd(total)}"


def summary(board: Board, now: float) -> str:
    """`3m 05s · 3/6 merged · 2 working · 142.1k tokens`: what matters most first, a narrow terminal cuts the rest."""
    states = [board.state.tasks.get(task) or TaskState() for task in {**board.titles, **board.state.tasks}]
    count = Counter(state.status for state in states)
    failed = count[TaskStatus.FAILED] + count[TaskStatus.BLOCKED]
    used = board.usage.prompt + board.usage.output
    parts = [
        duration(now - board.created_at) if board.created_at else "",
        f"{count[TaskStatus.MERGED]}/{len(states)} merged" if states else "no plan yet",
        f"{board.state.active} working",
        f"{count[TaskStatus.WAITING]} waiting" if count[TaskStatus.WAITING] else "",
        f"{failed} failed" if failed else "",
        f"{tokens(used)} tokens" if used else "",
    ]
    return " · ".join(part for part in parts if part)
