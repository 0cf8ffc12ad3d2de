"""What a run and its tasks look like: read tables and what was spent since, as rows. Pure.

Rules
- A run's state is what its read tables say; they are read again whenever its stream has grown. Only spending, which
  comes with every model call, is added up in between.
- A task is critical where it lies on the longest chain of tasks that are not merged: it decides when the run ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.board.port import RunRow, TaskCounts, TaskRow, Tokens
from quarterdeck.delivery.plans.graph import critical_path
from quarterdeck.journal.views import RunView, TaskView
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Task, Usage, to_nusd, to_usd
from quarterdeck.kernel.events import Node, RunStatus, TaskStatus
from quarterdeck.models import windows

_ACTIVE: Final = frozenset({TaskStatus.IMPLEMENTING, TaskStatus.CHECKING, TaskStatus.REVIEWING, TaskStatus.GATING})
_FAILED: Final = frozenset({TaskStatus.FAILED, TaskStatus.BLOCKED})
_GOES_ON: Final = frozenset({RunStatus.CREATED, RunStatus.PLANNING, RunStatus.RUNNING})


@dataclass(frozen=True, slots=True)
class Facts:
    """What never changes about a run: its frozen configuration, and its plan once there is one."""

    config: RunConfig | None = None
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """The plan's, by id."""
    bounds: dict[tuple[str, str, str], tuple[int, int | None, int]] = field(default_factory=dict, compare=False)
    """What was found by `of`."""

    def of(self, agent: str, task: str, model: str) -> tuple[int, int | None, int]:
        """(`max_turns`, `cap_nusd`, `window`) of an agent at a task with a model; looked for once."""
        key = (agent, task, model)
        if key not in self.bounds:
            self.bounds[key] = self.max_turns(agent), self.cap_nusd(agent, task), self.window(agent, model)
        return self.bounds[key]

    def max_turns(self, agent: str) -> int:
        """Calls to models that an attempt of that agent may make; 0 = not known."""
        if self.config is None:
            return 0
        definition = self.config.agents.get(agent)
        return (definition.limits.turns if definition else None) or self.config.deck.limits.turns

    def cap_nusd(self, agent: str, task: str) -> int | None:
        """What an attempt of that agent at that task may spend; None = it has no bound of its own."""
        definition = self.config.agents.get(agent) if self.config is not None else None
        planned = self.tasks.get(task)
        caps = [definition.limits.usd if definition else None, planned.budget_usd if planned else None]
        return min((to_nusd(usd) for usd in caps if usd is not None), default=None)

    def window(self, agent: str, model: str) -> int:
        """Tokens of the context window that the agent has with that model; 0 = not known here."""
        if self.config is None or not model:
            return 0
        definition = self.config.agents.get(agent)
        section = self.config.deck.models.get(model)
        provider, _, name = model.partition(":")
        size = (section.context if section else None) or windows.known(provider, name) or 0
        own = definition.limits.context if definition else None
        return min(size, own) if own and size else own or size


@dataclass(slots=True)
class RunCell:
    """One run, as of some record."""

    view: RunView
    version: int
    since: int
    """Id of the last record that the read tables, as they were read, include."""
    counts: TaskCounts
    tasks: Mapping[str, TaskView] | None = None
    """By id, in the order of the plan; None = only their counts are known."""
    reviewed: frozenset[str] = frozenset()
    """Tasks whose newest attempt has an accepting review."""
    facts: Facts = field(default_factory=Facts)
    spent_nusd: int = 0
    """Beyond what `view` says."""
    used: Usage = field(default_factory=Usage)
    """Beyond what `view` says."""

    @property
    def run(self) -> str:
        return self.view.run

    @property
    def finished(self) -> bool:
        return self.view.finished_at is not None

    def spend(self, id: int, usage: Usage, nusd: int) -> None:
        """A model call that was recorded as `id`."""
        if id > self.since:
            self.spent_nusd += nusd
            self.used = self.used + usage

    def task(self, name: str) -> TaskView | None:
        """The task of that id, where tasks are known."""
        return self.tasks.get(name) if self.tasks is not None else None


def counted(statuses: Mapping[TaskStatus, int]) -> TaskCounts:
    """Counts of tasks by status, as they are shown."""
    return TaskCounts(
        total=sum(statuses.values()),
        merged=statuses.get(TaskStatus.MERGED, 0),
        active=sum(statuses.get(status, 0) for status in _ACTIVE),
        failed=sum(statuses.get(status, 0) for status in _FAILED),
        waiting=statuses.get(TaskStatus.WAITING, 0),
    )


def tokens_of(usage: Usage) -> Tokens:
    """The four counts that are shown."""
    return Tokens(input=usage.input, cache_read=usage.cache_read, cache_write=usage.cache_write, output=usage.output)


def run_row(cell: RunCell) -> RunRow:
    """The run as it is shown."""
    view = cell.view
    held = view.reason if view.status in _GOES_ON else ""
    return RunRow(
        run=view.run,
        goal=view.goal,
        status=view.status,
        repository=view.repository,
        branch=view.branch,
        user=view.user,
        created_at=view.created_at,
        updated_at=view.updated_at,
        finished_at=view.finished_at,
        budget_usd=to_usd(view.budget_nusd),
        cost_usd=to_usd(view.cost_nusd + cell.spent_nusd),
        tokens=tokens_of(view.usage + cell.used),
        tasks=cell.counts,
        reason="" if held else view.reason,
        held=held,
        version=cell.version,
    )


def task_rows(cell: RunCell) -> list[TaskRow]:
    """The run's tasks as they are shown, in the order of the plan."""
    planned = cell.facts.tasks
    critical = _critical(cell)
    return [
        TaskRow(
            run=task.run,
            task=task.task,
            title=task.title,
            position=task.position,
            status=task.status,
            agent=task.agent,
            attempt=task.attempt,
            node=_node(task),
            attempts=task.attempts,
            commit=task.commit,
            reason=task.reason,
            needs=planned[task.task].needs if task.task in planned else (),
            paths=planned[task.task].paths if task.task in planned else (),
            critical=task.task in critical,
            updated_at=task.updated_at,
            reviewed=task.task in cell.reviewed,
        )
        for task in (cell.tasks or {}).values()
    ]


def _node(task: TaskView) -> Node | None:
    return Node(task.node) if task.node is not None else None


def _critical(cell: RunCell) -> frozenset[str]:
    if not cell.facts.tasks or cell.finished:
        return frozenset()
    merged = {task.task for task in (cell.tasks or {}).values() if task.status is TaskStatus.MERGED}
    left = [task for task in cell.facts.tasks.values() if task.id not in merged]
    return frozenset(
        critical_path({task.id: tuple(need for need in task.needs if need not in merged) for task in left})
    )
