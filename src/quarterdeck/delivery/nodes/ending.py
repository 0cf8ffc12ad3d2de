"""The end nodes of a run: gather what is on record, write the report and the retrospective, tidy up.

Rules
- Everything said comes from the journal and the repository, nothing from an agent's claim.
- Each record is looked at once, and of a gate only what came while the run was there: a run may have a thousand
  tasks, and a gate be years old.
- Workspaces of the run are removed here and not before: until the run ends they are evidence.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.delivery.gate.merging import unusable
from quarterdeck.delivery.nodes.node import Duty, Result
from quarterdeck.delivery.nodes.session import workspace_of
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.delivery.report import Ending, Setback, TaskLine, report, retrospective
from quarterdeck.delivery.validation.findings import REMARKS, Remark, Rule
from quarterdeck.journal.port import Journal, Record
from quarterdeck.journal.views import TaskView, Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.entities import Submission
from quarterdeck.kernel.events import Node, Outcome, TaskStatus
from quarterdeck.kernel.failures import BadRepository, GitFailed
from quarterdeck.kernel.folding import fold
from quarterdeck.workplace.mirror import Mirror

_PAGE: Final = 2_000
_SKEW: Final = 86_400.0
"""Seconds by which a clock may have stepped back while the run was there."""


@dataclass(frozen=True, slots=True)
class _Said:
    """What a run's records say, by attempt or task."""

    handed: dict[str, str | None] = field(default_factory=dict)
    """What attempts handed in."""
    findings: dict[str, str] = field(default_factory=dict)
    """What validation named about their changes."""
    taken_back: dict[str, list[str]] = field(default_factory=dict)


class Endings:
    """Performs the report and retrospective nodes."""

    def __init__(self, journal: Journal, views: Views, workshop: Workshop) -> None:
        self._journal = journal
        self._views = views
        self._workshop = workshop

    async def report(self, duty: Duty) -> Result:
        """Write the report; the result names where the target stands."""
        ending = await self._gather(duty)
        blob = await self._journal.put(report(ending).encode())
        await self._tidy(duty)
        probes.hit("run.reported")
        return Result(Outcome.OK, result_blob=blob, commit=ending.sha)

    async def retrospective(self, duty: Duty) -> Result:
        """Write the retrospective."""
        ending = await self._gather(duty)
        blob = await self._journal.put(retrospective(ending).encode())
        return Result(Outcome.OK, result_blob=blob)

    async def _gather(self, duty: Duty) -> Ending:
        created = duty.briefing.created
        records = await self._records(ids.run_stream(duty.run))
        mirror = await self._workshop.mirror(created.repository)
        view = await self._views.run(duty.run)
        planned = [r.event for r in records if isinstance(r.event, e.RunPlanned)]
        gate = await self._of_gate(ids.gate_stream(created.target), records[0].at)
        rows = await self._views.tasks(duty.run)
        sha = await _tip(mirror, created)
        merged = [row.commit for row in rows if row.status is TaskStatus.MERGED and row.commit]
        lost = await missing(mirror, created.base, sha, merged)
        ways = {r.event.attempt: r.event.words for r in gate if isinstance(r.event, e.MergeResolved)}
        said = _said(records)
        tasks = [await self._line(row, said, row.commit in lost, ways.get(row.attempt or "", "")) for row in rows]
        return Ending(
            run=duty.run,
            goal=created.goal,
            branch=created.into,
            sha=sha,
            tasks=tuple(tasks),
            setbacks=tuple(_setbacks(records)),
            cost_nusd=view.cost_nusd,
            budget_nusd=view.budget_nusd,
            seconds=records[-1].at - records[0].at,
            warnings=planned[-1].warnings if planned else (),
            flaky=(*_flakes(r.event for r in gate if r.at >= records[0].at), *(await self._flakes(said))),
            plan_only=created.plan_only,
            unseen=_unseen(records),
            short=fold(record.event for record in records).short,
        )

    async def _line(self, row: TaskView, said: _Said, gone: bool, merged: str) -> TaskLine:
        blob = said.handed.get(row.attempt or "")
        handed = Submission.model_validate_json(await self._journal.get(blob)) if blob else None
        return TaskLine(
            task=row.task,
            title=row.title,
            status=row.status,
            attempts=row.attempts,
            commit=row.commit,
            reason=row.reason,
            summary=handed.summary if handed else "",
            limitations=handed.limitations if handed else (),
            gone=gone,
            merged=merged,
            findings=tuple(str(item) for item in await self._found(said.findings.get(row.attempt or ""))),
            taken_back=tuple(said.taken_back.get(row.task, ())),
        )

    async def _found(self, blob: str | None) -> tuple[Remark, ...]:
        """What validation named about a change."""
        return REMARKS.validate_json(await self._journal.get(blob)) if blob else ()

    async def _flakes(self, said: _Said) -> tuple[str, ...]:
        """The flakes of the tasks' own checks."""
        found = [remark for blob in said.findings.values() for remark in await self._found(blob)]
        return tuple(remark.problem for remark in found if remark.rule is Rule.FLAKY_CHECK)

    async def _of_gate(self, stream: str, since: float) -> list[Record]:
        """What is worth telling of what the gate did since then, whatever clocks did meanwhile."""
        first, last = 0, (await self._journal.lengths(stream)).get(stream, 0)
        while last - first > _PAGE:
            middle = (first + last) // 2
            found = await self._journal.read(stream, after=middle, limit=1)
            first, last = (middle, last) if found and found[0].at < since - _SKEW else (first, middle)
        told: list[Record] = []
        while page := await self._journal.read(stream, after=first, limit=_PAGE):
            told += [record for record in page if isinstance(record.event, e.MergeResolved | e.FlakeSeen)]
            first = page[-1].seq
        return told

    async def _records(self, stream: str) -> list[Record]:
        found: list[Record] = []
        while page := await self._journal.read(stream, after=found[-1].seq if found else 0):
            found += page
        return found

    async def _tidy(self, duty: Duty) -> None:
        for attempt in await self._views.attempts(duty.run):
            for incarnation in range(1, attempt.incarnation + 1):
                await self._workshop.discard(duty.briefing.config, workspace_of(attempt.attempt, incarnation))


async def _tip(mirror: Mirror, created: e.RunCreated) -> str:
    """Where the target stands. Raises BadRepository where only a person can bring the repository back."""
    try:
        return await mirror.tip(created.into) or created.base
    except GitFailed as error:
        if gone := await unusable(created.repository):
            raise BadRepository(gone) from error
        raise


async def missing(mirror: Mirror, base: str, tip: str, commits: Sequence[str]) -> frozenset[str]:
    """Those of `commits`, all known to the mirror, that the history of `tip` does not hold. Raises GitFailed."""
    await mirror.fetch(tip)
    await mirror.need(base)
    held = {entry.commit for entry in await mirror.log(base, tip)}
    # Where the target was rewritten below the run's base, the log from there does not tell.
    return frozenset([commit for commit in commits if commit not in held and not await mirror.holds(commit, tip)])


def _flakes(events: Iterable[e.EventBase]) -> Iterator[str]:
    for event in events:
        if isinstance(event, e.FlakeSeen):
            said = event.reason or "a check of the gate"
            yield f"{said}: it failed and then passed on the same tree {event.tree[:12]}"


def _unseen(records: list[Record]) -> tuple[str, ...]:
    """Tasks whose change stands there without anybody having looked at it."""
    seen: dict[str, str | None] = {}
    for event in (record.event for record in records):
        if isinstance(event, e.TaskMerged):
            seen[event.task] = event.reviewed
        elif isinstance(event, e.TaskReverted):
            seen.pop(event.task, None)
    return tuple(task for task, reviewed in seen.items() if reviewed == "nobody")


def _said(records: Iterable[Record]) -> _Said:
    said = _Said()
    for event in (record.event for record in records):
        if isinstance(event, e.TaskReverted):
            line = f"{event.commit[:12]} by {event.by[:12]}: {event.reason}"
            said.taken_back.setdefault(event.task, []).append(line)
        elif isinstance(event, e.NodeFinished) and event.attempt is not None:
            if event.findings_blob:
                said.findings[event.attempt] = event.findings_blob
            if (event.node, event.outcome) == (Node.IMPLEMENT, Outcome.OK):
                said.handed[event.attempt] = event.result_blob
    return said


def _setbacks(records: list[Record]) -> list[Setback]:
    found = []
    for event in (record.event for record in records):
        if isinstance(event, e.TaskReverted):
            found.append(Setback(event.task, event.attempt, "taken back", event.reason))
        elif isinstance(event, e.NodeFinished) and event.outcome is not Outcome.OK:
            what = f"{event.node} {event.outcome}"
            found.append(Setback(event.task or "plan", event.attempt or "", what, event.reason))
    return found
