"""What people and scripts are shown: the read tables, as values.

Rules
- Views are as of the last commit and never behind the journal; they are read without a lock.
- Money is in nano-USD, times are seconds since the epoch.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from quarterdeck.kernel import remotes
from quarterdeck.kernel.entities import Note, Usage
from quarterdeck.kernel.events import RunStatus, TaskStatus
from quarterdeck.kernel.failures import NotFound
from quarterdeck.store.port import Row, Store

_LAST: Final = "\U0010ffff"
"""Sorts after every other character: where names with one beginning end."""


@dataclass(frozen=True, slots=True)
class RunView:
    run: str
    status: RunStatus
    goal: str
    repository: str
    target: str
    """Id of its merge gate."""
    branch: str
    base: str
    sha: str | None
    """Where the target branch stood when the run finished."""
    budget_nusd: int
    user: str
    sandbox: str
    created_at: float
    updated_at: float
    finished_at: float | None
    exit_code: int | None
    reason: str
    cost_nusd: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class TaskView:
    run: str
    task: str
    title: str
    position: int
    status: TaskStatus
    agent: str
    attempt: str | None
    node: str | None
    attempts: int
    commit: str | None
    reason: str
    updated_at: float


@dataclass(frozen=True, slots=True)
class CostView:
    """What one attempt spent on one model."""

    run: str
    task: str
    attempt: str
    agent: str
    model: str
    calls: int
    usage: Usage
    cost_nusd: int
    estimated_calls: int


@dataclass(frozen=True, slots=True)
class PurseView:
    """Money for one thing."""

    purse: str
    """As `govern.port.Link` names it."""
    cap_nusd: int | None
    """What was set to be kept (a run's); None = its cap comes with each reservation."""
    settled_nusd: int
    reserved_nusd: int


@dataclass(frozen=True, slots=True)
class NoticeView:
    """Spending that left its own baseline."""

    run: str
    """The run in which it was seen."""
    about: str
    """`run`, `agent` or `day`."""
    name: str
    at: float
    spent_nusd: int
    usual_nusd: int
    bound_nusd: int
    samples: int


@dataclass(frozen=True, slots=True)
class WaitView:
    """What waits for a human."""

    run: str
    task: str
    attempt: str
    """Empty where the run itself waits."""
    question: str
    since: float
    what: str = "question"
    """`question`: an agent asks; `escalated`: no agent is left; `run`: the run itself waits."""


@dataclass(frozen=True, slots=True)
class RedView:
    """A target that is red, which only a person can mend."""

    run: str
    """Whose people are told."""
    reason: str
    """Which commit made it red, and what fails."""
    fix: str
    """What to type."""
    since: float


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """What waits, or has waited, for a person's word."""

    approval: str
    what: Literal["tool", "plan", "merge", "revert"]
    run: str
    task: str | None
    attempt: str | None
    agent: str
    title: str
    action_hash: str
    """Names exactly what is asked: a decision is bound to it."""
    subject_blob: str
    risk: Literal["low", "medium", "high"]
    why: tuple[str, ...]
    cost_nusd: int
    since: float
    expires_at: float | None
    status: Literal["open", "approved", "denied", "expired"]
    by: str | None
    reason: str
    decided_at: float | None


@dataclass(frozen=True, slots=True)
class AttemptView:
    attempt: str
    run: str
    task: str
    number: int
    agent: str
    harness: str
    status: str
    """`running`, `finished`, `failed`, `merged`, or the outcome of a node that was not ok."""
    incarnation: int
    started_at: float
    """When its newest incarnation started."""
    last_at: float
    """When its newest event was recorded."""
    steps: int
    reviewed: bool = False
    """An accepting review of its change is on record."""


def _usage(row: Row) -> Usage:
    return Usage(input=row["input"], cache_read=row["cache_read"], cache_write=row["cache_write"], output=row["output"])


def run_of(row: Row) -> RunView:
    """A run, of a row of `runs`."""
    return RunView(
        run=row["run"],
        status=RunStatus(row["status"]),
        goal=row["goal"],
        repository=row["repository"],
        target=row["target"],
        branch=row["branch"],
        base=row["base"],
        sha=row["sha"],
        budget_nusd=row["budget_nusd"],
        user=row["user"],
        sandbox=row["sandbox"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        finished_at=row["finished_at"],
        exit_code=row["exit_code"],
        reason=row["reason"],
        cost_nusd=row["cost_nusd"],
        usage=_usage(row),
    )


def task_of(row: Row) -> TaskView:
    """A task, of a row of `tasks`."""
    return TaskView(
        run=row["run"],
        task=row["task"],
        title=row["title"],
        position=row["position"],
        status=TaskStatus(row["status"]),
        agent=row["agent"],
        attempt=row["attempt"],
        node=row["node"],
        attempts=row["attempts"],
        commit=row["commit_sha"],
        reason=row["reason"],
        updated_at=row["updated_at"],
    )


def _approval(row: Row) -> ApprovalView:
    plain = {name: row[name] for name in ApprovalView.__dataclass_fields__ if name not in ("why", "by")}
    return ApprovalView(**plain, why=tuple(json.loads(row["why"])), by=row["decided_by"])


def _cost(row: Row) -> CostView:
    return CostView(
        run=row["run"],
        task=row["task"],
        attempt=row["attempt"],
        agent=row["agent"],
        model=row["model"],
        calls=row["calls"],
        usage=_usage(row),
        cost_nusd=row["cost_nusd"],
        estimated_calls=row["estimated_calls"],
    )


def purse_of(row: Row) -> PurseView:
    """A purse, as `view_purses` has it."""
    return PurseView(row["purse"], row["cap"], row["settled"], row["reserved"])


class Views:
    """The read tables of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def runs(self) -> list[RunView]:
        """All runs, newest first."""
        return [run_of(row) for row in await self._store.read("view_runs")]

    async def going(self) -> list[RunView]:
        """The runs that have not ended, newest first; one that was cancelled has not before its report is written."""
        return [run_of(row) for row in await self._store.read("view_runs_open")]

    async def ended(self, names: Iterable[str]) -> set[str]:
        """Those of these runs that have ended."""
        rows = await self._store.read("view_runs_named", names=json.dumps(sorted(names)))
        return {view.run for view in map(run_of, rows) if view.status.finished}

    async def run(self, run: str) -> RunView:
        """One run. Raises NotFound."""
        rows = await self._store.read("view_run", run=run)
        if not rows:
            raise NotFound(f"There is no run {run}", fix="quarterdeck ps")
        return run_of(rows[0])

    async def tasks(self, run: str) -> list[TaskView]:
        """The run's tasks, in the order of its plan."""
        return [task_of(row) for row in await self._store.read("view_tasks", run=run)]

    async def costs(self, run: str | None = None) -> list[CostView]:
        """Costs by attempt and model, of one run or of all."""
        return [_cost(row) for row in await self._store.read("view_costs", run=run)]

    async def purses(self, prefix: str = "") -> list[PurseView]:
        """The purses whose name begins so, by name."""
        rows = await self._store.read("view_purses", first=prefix, last=prefix + _LAST)
        return list(map(purse_of, rows))

    async def notices(self, run: str | None = None) -> list[NoticeView]:
        """Spending that left its baseline, in one run or in all, the newest first."""
        return [
            NoticeView(
                row["run"],
                row["about"],
                row["name"],
                row["at"],
                row["spent"],
                row["usual"],
                row["bound"],
                row["samples"],
            )
            for row in await self._store.read("view_notices", run=run)
        ]

    async def noticed(self, about: str, name: str) -> bool:
        """Whether there is a notice about that, in any run."""
        return bool(await self._store.read("trend_noticed", about=about, name=name))

    async def spent_by(self, run: str, attempt: str) -> list[tuple[str, int]]:
        """(agent, nano-USD) of an attempt, of its reviewers and its sub-agents."""
        rows = await self._store.read("trend_spent", run=run, attempt=attempt)
        return [(row["agent"], row["cost"]) for row in rows]

    async def earlier_runs(self, run: str, repository: str, limit: int) -> list[int]:
        """Nano-USD of the newest finished runs in a repository, however its URL was spelled, apart from `run`."""
        rows = await self._store.read("trend_runs", run=run, identity=remotes.identity(repository), limit=limit)
        return [row["cost"] for row in rows]

    async def earlier_attempts(self, run: str, agent: str, limit: int) -> list[int]:
        """Nano-USD of the newest attempts of an agent, apart from those in `run`."""
        rows = await self._store.read("trend_attempts", run=run, agent=agent, limit=limit)
        return [row["cost"] for row in rows]

    async def days(self, day: str, limit: int) -> tuple[int, list[int]]:
        """Nano-USD of a day of the whole deck, and of the newest days before it on which anything was spent."""
        rows = await self._store.read("trend_days", day=day, limit=limit + 1)
        spent = {row["purse"].partition("/")[2]: row["cost"] for row in rows if row["cost"] > 0}
        return spent.pop(day, 0), list(spent.values())

    async def waits(self, run: str | None = None) -> list[WaitView]:
        """What waits for a human, longest first, in one run or in all."""
        return [WaitView(**row) for row in await self._store.read("view_waits", run=run)]

    async def reds(self, since: float) -> list[RedView]:
        """Targets that are red and wait for a person, longest first; not of runs that ended before `since` (seconds
        since the epoch)."""
        rows = await self._store.read("view_reds", since=since)
        return [RedView(row["run"], row["reason"], row["fix"], row["at"]) for row in rows]

    async def approvals(self, run: str | None = None, *, open: bool = True) -> list[ApprovalView]:
        """What waits for a person's word, in one run or in all, longest first; not only `open`: also what waited."""
        statement = "view_approvals_open" if open else "view_approvals"
        return [_approval(row) for row in await self._store.read(statement, run=run)]

    async def approval(self, approval: str) -> ApprovalView:
        """One approval. Raises NotFound."""
        rows = await self._store.read("view_approval", approval=approval)
        if not rows:
            raise NotFound(f"There is no approval {approval}", fix="quarterdeck inbox")
        return _approval(rows[0])

    async def attempts(self, run: str) -> list[AttemptView]:
        """The run's attempts, by task and number."""
        rows = await self._store.read("view_attempts", run=run)
        return [AttemptView(**{**row, "reviewed": bool(row["reviewed"])}) for row in rows]

    async def notes(self, run: str, limit: int = 50) -> list[Note]:
        """The newest notes that the run's agents left for each other, oldest of them first."""
        rows = await self._store.read("view_notes", run=run, limit=limit)
        return [Note(task=row["task"], text=row["text"]) for row in rows]
