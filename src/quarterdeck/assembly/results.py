"""What is asked of a run from outside: its result, its report, its records, all of it as files.

Rules
- Everything is read from the journal and the read tables; nothing here changes a run.
- A configuration that holds a secret is written out without it, and so does not have the hash that names it.
"""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

from quarterdeck.assembly.parts import Parts
from quarterdeck.delivery.gate.checking import check_stream
from quarterdeck.delivery.order import RunResult, Target, TaskResult
from quarterdeck.delivery.plans.plan import dump_plan
from quarterdeck.doors.api.redaction import redacted
from quarterdeck.journal.port import Record
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Submission, to_usd
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import Exit, NotFound
from quarterdeck.workplace.afar import is_remote

_DIGEST: Final = re.compile(rb"\b[0-9a-f]{64}\b")
_WAIT_SECONDS: Final = 5.0
_OPEN: Final = {
    RunStatus.WAITING: Exit.WAITING,
    RunStatus.PAUSED: Exit.WAITING,
    RunStatus.CANCELLED: Exit.INTERRUPTED,
}
"""Exit codes of runs that have not ended, or not quite."""


async def records(parts: Parts, stream: str) -> list[Record]:
    """The whole stream."""
    found: list[Record] = []
    while page := await parts.journal.read(stream, after=found[-1].seq if found else 0):
        found += page
    return found


async def result(parts: Parts, run: str) -> RunResult:
    """Where the run stands; of a finished run, how it ended."""
    view = await parts.views.run(run)
    rows = await parts.views.tasks(run)
    merged = {row.attempt for row in rows if row.status is TaskStatus.MERGED}
    limitations: list[str] = []
    landed = view.base
    for record in await records(parts, ids.run_stream(run)):
        event = record.event
        handed_in = isinstance(event, e.NodeFinished) and event.node is Node.IMPLEMENT and event.outcome is Outcome.OK
        if isinstance(event, e.NodeFinished) and handed_in and event.attempt in merged and event.result_blob:
            said = Submission.model_validate_json(await parts.journal.get(event.result_blob))
            limitations += [f"{event.task}: {text}" for text in said.limitations]
        landed = event.commit if isinstance(event, e.TaskMerged) and event.attempt in merged else landed
    open_code = _OPEN.get(view.status, Exit.FAILED)
    ended = view.finished_at if view.finished_at is not None else parts.clock.wall()
    return RunResult(
        run=run,
        status=view.status,
        reason=view.reason,
        target=Target(
            branch=view.branch, sha=view.sha or landed, remote=view.repository if is_remote(view.repository) else ""
        ),
        tasks=tuple(
            TaskResult(id=row.task, status=row.status, attempts=row.attempts, commit=row.commit, reason=row.reason)
            for row in rows
        ),
        limitations=tuple(limitations),
        cost_usd=to_usd(view.cost_nusd),
        tokens=view.usage,
        wall_s=round(max(0.0, ended - view.created_at), 3),
        reverts=(await parts.briefings.run(run)).created.reverts,
        exit_code=view.exit_code if view.exit_code is not None else open_code,
    )


async def report(parts: Parts, run: str) -> str:
    """Report and retrospective as Markdown. Raises NotFound before the run has ended."""
    reported = [r.event for r in await records(parts, ids.run_stream(run)) if isinstance(r.event, e.RunReported)]
    if not reported:
        raise NotFound(f"{run} has no report yet", fix=f"quarterdeck show {run}")
    blobs = [blob for blob in (reported[-1].report_blob, reported[-1].retrospective_blob) if blob]
    return "\n".join([(await parts.journal.get(blob)).decode() for blob in blobs])


async def plan_text(parts: Parts, run: str) -> str:
    """The plan as YAML. Raises NotFound before the run is planned."""
    planned = [r.event for r in await records(parts, ids.run_stream(run)) if isinstance(r.event, e.RunPlanned)]
    plan = await parts.briefings.plan(planned[-1].plan_blob if planned else None)
    if plan is None:
        raise NotFound(f"{run} has no plan yet", fix=f"quarterdeck show {run}")
    return dump_plan(plan)


# --- records, followed ------------------------------------------------------------------------------------


class _Gate:
    """Which records of a merge gate concern one run."""

    def __init__(self, run: str) -> None:
        self._own = f"{run}."
        self.checks: set[str] = set()
        self._queued: set[str] = set()
        self._landed = False
        """Something of the run has landed: what is doubted of the target concerns it."""

    def concerns(self, event: e.EventBase) -> bool:
        match event:
            case e.GateCheckStarted():
                doubted = event.why and self._landed
                if doubted or any(attempt.startswith(self._own) for attempt in event.stack):
                    self.checks.add(event.check)
                return event.check in self.checks
            case e.GateCheckFinished() | e.FlakeSeen():
                return event.check in self.checks
            case e.ChangeQueued():
                own = event.change.attempt.startswith(self._own)
                if own:
                    self._queued.add(event.change.attempt)
                return own
            case e.ChangeLanded() | e.ChangeReturned():
                self._queued.discard(event.attempt)
                own = event.attempt.startswith(self._own)
                self._landed = self._landed or (own and isinstance(event, e.ChangeLanded))
                return own
            case e.LandingIntended() | e.MergeResolved() | e.ChangeClashed() | e.NoteFailed() | e.NoteWritten():
                return event.attempt.startswith(self._own)
            case e.TipFoundRed():
                return any(suspect.attempt.startswith(self._own) for suspect in event.suspects)
            case e.CulpritFound() | e.TipMended():
                return f"{event.run}." == self._own
            case e.ChangeReverted():
                return event.attempt.startswith(self._own)
            case e.GateDelayed():
                return bool(self._queued)
            case _:
                return False


async def events(parts: Parts, run: str) -> AsyncIterator[Record]:
    """The run's records with its attempts' and its gate's, in the order in which they were written. Never ends."""
    target = (await parts.briefings.run(run)).created.target
    gate, mark = _Gate(run), 0
    seen: dict[str, int] = {}
    told: set[str] = set()
    while True:
        mark = await parts.store.changed(mark, _WAIT_SECONDS)
        lengths: dict[str, int] = {}
        for prefix in (ids.run_stream(run), f"attempt/{run}.", f"mail/{run}.", ids.gate_stream(target)):
            lengths |= await parts.journal.lengths(prefix)
        fresh: list[Record] = []
        for stream, length in lengths.items():
            after = seen.get(stream, 0)
            if length > after and (page := await parts.journal.read(stream, after=after)):
                seen[stream] = page[-1].seq
                own = stream != ids.gate_stream(target)
                fresh += [record for record in page if own or gate.concerns(record.event)]
        for check in sorted(gate.checks - told):
            page = await parts.journal.read(check_stream(check))
            # How it ended is in the gate's stream.
            fresh += [record for record in page if not isinstance(record.event, e.GateCheckFinished)]
            if page:
                told.add(check)
        for record in sorted(fresh, key=lambda item: item.at):
            yield record


# --- export -----------------------------------------------------------------------------------------------


async def export(parts: Parts, run: str, directory: Path) -> list[Path]:
    """Everything of a run as files: its streams as JSON lines, the blobs they name, result, report, plan, patches."""
    created = (await parts.briefings.run(run)).created
    written: list[Path] = []

    def write(name: str, data: bytes) -> None:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        written.append(path)

    digests, configs = set[str](), set[str]()
    streams = [ids.run_stream(run)]
    for prefix in ("attempt", "mail", "approval"):
        streams += await parts.journal.streams(f"{prefix}/{run}.")
    streams += await parts.journal.streams(ids.publish_stream(run))
    for stream in (*streams, ids.gate_stream(created.target)):
        found = await records(parts, stream)
        lines = [_line(record) for record in found]
        configs.update(blob for record in found if (blob := getattr(record.event, "config_blob", None)))
        for line in lines:
            digests.update(digest.decode() for digest in _DIGEST.findall(line))
        write(f"{stream}.jsonl", b"".join(lines))
    for digest in sorted(digests):
        try:
            body = await parts.journal.get(digest)
            write(f"blobs/{digest}", _shown(body) if digest in configs else body)
        except NotFound:
            continue  # a hash of something else: of a request, of a record
    write("result.json", (await result(parts, run)).model_dump_json(indent=2).encode())
    for name, ask in (("report.md", report), ("plan.yaml", plan_text)):
        try:
            write(name, (await ask(parts, run)).encode())
        except NotFound:
            continue  # the run has not come so far
    for name, patch in await _patches(parts, run, created.repository):
        write(name, patch)
    return written


def _shown(body: bytes) -> bytes:
    """A configuration without what is secret."""
    config = RunConfig.model_validate_json(body)
    shown = redacted(config.deck)
    return body if shown == config.deck else config.model_copy(update={"deck": shown}).model_dump_json().encode()


def _line(record: Record) -> bytes:
    head = f'{{"seq":{record.seq},"at":{record.at!r},"epoch":{record.epoch},"hash":"{record.hash}","event":'
    return head.encode() + e.encode(record.event) + b"}\n"


async def _patches(parts: Parts, run: str, repository: str) -> list[tuple[str, bytes]]:
    mirror = await parts.workshop.mirror(repository)
    found = []
    for attempt, change in _changes(await records(parts, ids.run_stream(run))):
        await mirror.need(change.base, change.commit)
        diff = await mirror.diff(change.base, change.commit, limit=16 * 1024 * 1024)
        found.append((f"changes/{attempt}.patch", diff.encode("utf-8", "surrogateescape")))
    return found


def _changes(run_records: list[Record]) -> Iterator[tuple[str, Any]]:
    for record in run_records:
        event = record.event
        if isinstance(event, e.NodeFinished) and event.node is Node.IMPLEMENT and event.change and event.attempt:
            yield event.attempt, event.change
