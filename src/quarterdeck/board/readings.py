"""What is read on demand about one run or attempt.

Rules
- Everything is read from the journal, the read tables and the mirror; nothing here changes anything.
- Answers are bounded: a thread is read by the page, a diff is cut, of a long stream the newest records are looked at.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Final

from quarterdeck.board import diffs, threads
from quarterdeck.board.agents import parent_of
from quarterdeck.board.answers import (
    AttemptRow,
    Created,
    Diff,
    FirstBad,
    NoticeRow,
    RunDetail,
    Thread,
    ThreadEntry,
    WaitRow,
)
from quarterdeck.board.firstbad import Tried, first_bad
from quarterdeck.board.loading import Loader
from quarterdeck.board.port import ApprovalRow, TaskRow, Tokens
from quarterdeck.board.runs import run_row, task_rows, tokens_of
from quarterdeck.delivery.briefing import Briefings
from quarterdeck.journal.port import Journal, Record
from quarterdeck.journal.views import AttemptView, CostView, Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Usage, to_usd
from quarterdeck.kernel.events import TaskStatus
from quarterdeck.kernel.failures import NotFound
from quarterdeck.store.port import Store
from quarterdeck.workplace.mirror import Mirror

PAGE: Final = 100
"""Records of a thread that one answer is made of, where nobody says how many."""
MOST: Final = 500
LOOKED_AT: Final = 3_000
"""Newest records of an attempt among which the first bad step is looked for."""
_BAD: Final = frozenset({TaskStatus.FAILED, TaskStatus.WAITING})

Mirrors = Callable[[str], Awaitable[Mirror]]
"""The mirror of a repository."""
ApprovalsOf = Callable[[str], Awaitable[tuple[ApprovalRow, ...]]]
"""All approvals of a run, the oldest first."""


class Readings:
    """Answers about runs and attempts."""

    def __init__(self, store: Store, journal: Journal, mirrors: Mirrors, approvals: ApprovalsOf) -> None:
        self._journal = journal
        self._views = Views(store)
        self._load = Loader(store, journal)
        self._briefings = Briefings(journal)
        self._mirrors = mirrors
        self._approvals = approvals

    async def run(self, run: str) -> RunDetail:
        """Everything about a run that is not live. Raises NotFound."""
        found = await self._load.runs([run], None, {}, [run])
        if not found:
            raise NotFound(f"There is no run {run}", fix="quarterdeck ps")
        cell, _ = found[0]
        briefing = await self._briefings.run(run)
        views, costs = await self._views.attempts(run), await self._views.costs(run)
        lengths = await self._journal.lengths(f"attempt/{run}.")
        tasks = task_rows(cell)
        return RunDetail(
            run=run_row(cell),
            tasks=tuple(tasks),
            attempts=tuple(_attempt_row(view, costs, lengths) for view in views),
            waits=tuple(
                WaitRow(task=wait.task, attempt=wait.attempt, question=wait.question, since=wait.since)
                for wait in await self._views.waits(run)
            ),
            notices=tuple(
                NoticeRow(
                    about=notice.about,
                    name=notice.name,
                    at=notice.at,
                    spent_usd=to_usd(notice.spent_nusd),
                    usual_usd=to_usd(notice.usual_nusd),
                    bound_usd=to_usd(notice.bound_nusd),
                    samples=notice.samples,
                )
                for notice in await self._views.notices(run)
            ),
            first_bad=await self._first_bad(tasks, views),
            report=await self._report(run),
            created=Created(
                base=briefing.created.base,
                into=briefing.created.into,
                max_parallel=briefing.created.max_parallel,
                sandbox=briefing.created.sandbox,
                config=briefing.config.origin,
            ),
            approvals=await self._approvals(run),
        )

    async def thread(
        self, attempt: str, *, after: int | None = None, before: int | None = None, limit: int = PAGE
    ) -> Thread:
        """A page of an attempt's thread: `after` a record, `before` one, or (neither) the newest one. `limit`: records
        that are looked at. Raises NotFound."""
        row = await self._attempt(attempt)
        size, last = max(1, min(limit, MOST)), row.length
        if after is not None:
            first, end = max(0, after), min(last, max(0, after) + size)
        else:
            end = min(last, before - 1) if before is not None else last
            first = max(0, end - size)
        records = await self._journal.read(ids.attempt_stream(attempt), after=first, limit=max(0, end - first) or 1)
        shown = [record for record in records if first < record.seq <= end]
        return Thread(
            attempt=row,
            entries=tuple([entry async for entry in self._entries(shown)]),
            before=first + 1 if first > 0 else None,
            after=end if end < last else None,
        )

    async def _entries(self, records: Iterable[Record]) -> AsyncIterator[ThreadEntry]:
        for record in records:
            bodies: dict[str, bytes] = {}
            for digest in threads.blobs_of(record.event):
                try:
                    bodies[digest] = await self._journal.get(digest)
                except NotFound:
                    continue  # the entry says that its text is not stored
            for entry in threads.entries(record, bodies):
                yield entry

    async def diff(self, attempt: str) -> Diff:
        """What the newest change of an attempt does. Raises NotFound where it has none, GitFailed."""
        row = await self._attempt(attempt)
        change = None
        records = await self._newest(attempt, row.length)
        for record in records:
            event = record.event
            if isinstance(event, e.ChangeExported | e.NodeFinished) and event.change is not None:
                change = event.change
        if change is None:
            raise NotFound(f"{attempt} has no change yet", fix=f"quarterdeck show {attempt}")
        created = (await self._briefings.run(row.run)).created
        mirror = await self._mirrors(created.repository)
        await mirror.fetch(change.base)
        await mirror.need(change.commit)
        text = await mirror.diff(change.base, change.commit, limit=diffs.MOST_BYTES)
        return diffs.parsed(text, change.base, change.commit)

    async def _attempt(self, attempt: str) -> AttemptRow:
        run = attempt.partition(".")[0]
        for view in await self._views.attempts(run):
            if view.attempt == attempt:
                lengths = await self._journal.lengths(ids.attempt_stream(attempt))
                return _attempt_row(view, await self._views.costs(run), lengths)
        raise NotFound(f"There is no attempt {attempt}", fix=f"quarterdeck show {run}")

    async def _newest(self, attempt: str, length: int) -> list[Record]:
        stream = ids.attempt_stream(attempt)
        return await self._journal.read(stream, after=max(0, length - LOOKED_AT), limit=LOOKED_AT)

    async def _first_bad(self, tasks: list[TaskRow], views: list[AttemptView]) -> FirstBad | None:
        bad = [task for task in tasks if task.status in _BAD and task.attempt is not None]
        if bad:
            tried = min(bad, key=lambda task: task.updated_at).attempt or ""
        else:
            planners = [view for view in views if view.task == ids.PLANNER_TASK]
            if tasks or not planners:
                return None
            tried = planners[-1].attempt
        lengths = await self._journal.lengths(ids.attempt_stream(tried))
        found: list[tuple[str, Record]] = []
        for stream, length in lengths.items():
            name = stream.removeprefix("attempt/")
            if name == tried or name.startswith(f"{tried}."):
                found += [(name, record) for record in await self._newest(name, length)]
        return first_bad(Tried(tried, sorted(found, key=lambda item: (item[1].at, item[0], item[1].seq))))

    async def _report(self, run: str) -> str | None:
        last = await self._journal.lengths(ids.run_stream(run))
        after = max(0, last.get(ids.run_stream(run), 0) - 20)
        records = await self._journal.read(ids.run_stream(run), after=after)
        reported = [record.event for record in records if isinstance(record.event, e.RunReported)]
        blobs = (reported[-1].report_blob, reported[-1].retrospective_blob) if reported else ()
        parts = [(await self._journal.get(blob)).decode("utf-8", "replace") for blob in blobs if blob]
        return "\n".join(parts) if parts else None


def _attempt_row(view: AttemptView, costs: Iterable[CostView], lengths: dict[str, int]) -> AttemptRow:
    own = [cost for cost in costs if cost.attempt == view.attempt]
    return AttemptRow(
        attempt=view.attempt,
        run=view.run,
        task="" if view.task == ids.PLANNER_TASK else view.task,
        number=view.number,
        agent=view.agent,
        harness=view.harness,
        status=view.status,
        incarnation=view.incarnation,
        started_at=view.started_at,
        last_at=view.last_at,
        steps=view.steps,
        parent=parent_of(view.attempt),
        cost_usd=to_usd(sum(cost.cost_nusd for cost in own)),
        tokens=tokens_of(sum((cost.usage for cost in own), Usage())) if own else Tokens(),
        length=lengths.get(ids.attempt_stream(view.attempt), 0),
    )
