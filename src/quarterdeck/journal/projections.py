"""From events to the read tables. The mapping is pure; applying it happens in the transaction of the append.

Rules
- `project` answers what one event changes, as values. Only `Changes.apply` touches the database.
- Setting statements run in the order of the events. Spending is a sum, so it is merged and written once per commit:
  that keeps a model event cheap. A tool event changes nothing but its stream's head, which holds the sign of life.
- A task's status follows the run's stream alone; spending and questions follow the attempt's stream.
- An approval is what its attempt's stream asked and its own stream decided; what the run's stream takes over of it
  changes the run alone.
- Every event of a stream may come once only; `rebuild` starts from empty tables, in the order of the commits.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from quarterdeck.journal import touches
from quarterdeck.kernel import events as ev
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Plan, Usage
from quarterdeck.kernel.events import outside, packs
from quarterdeck.store.blobs import unpack
from quarterdeck.store.port import Store, Tx

REBUILD_PAGE: Final = 1000

_SILENT: Final = (
    *(ev.ToolIntended, ev.ToolDone, ev.ModelAsked, ev.TranscriptExtended),
    *(ev.AgentSaid, ev.AgentActing, ev.AgentActed, ev.PermissionDecided),
)
"""The frequent events that no read table shows."""


@dataclass(frozen=True, slots=True)
class Set:
    """One statement with its parameters."""

    statement: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Spend:
    """A model call's tokens and money."""

    attempt: str
    at: float
    model: str
    usage: Usage
    cost_nusd: int
    estimated: bool
    verified: bool = True
    """False: only the agent itself says so."""


Op = Set | Spend
Plans = Callable[[str], Plan]
"""The plan of a blob's digest."""

BURN_SECONDS: Final = 600
"""How long each stretch of time is over which spending is summed."""

_COUNTS: Final = (
    *("calls", "input", "cache_read", "cache_write", "output", "cost", "estimated"),
    *("estimated_cost", "unverified_cost"),
)
_TABLES: Final = (
    *("runs", "tasks", "attempts", "costs", "waits", "notes", "notices", "firings", "origins"),
    *("spending", "burn", "landings", "incidents", "approvals"),
    *("packs", "snapshots", "touches", "intents"),
)

_NOTHING: Final[list[Op]] = []


def project(stream: str, at: float, event: ev.EventBase, plans: Plans) -> list[Op]:
    """What `event`, appended to `stream` at `at`, changes in the read tables."""
    if isinstance(event, _SILENT):
        return _NOTHING
    if isinstance(event, packs.PackEvent):
        return [kept(at, event)]
    where, _, name = stream.partition("/")
    if where == "attempt":
        return _attempt(name, at, event)
    if where == "run":
        return _run(name, at, event, plans)
    if where == "approval" and isinstance(event, ev.ApprovalDecided):
        return _decided(at, event)
    if where == "gate" and isinstance(event, ev.ChangeLanded):
        return [Set(*touches.landed(name, at, event))]
    return _trigger(at, event) if where == "trigger" else _NOTHING


# --- run/… ------------------------------------------------------------------------------------------------

_NODE_STATUS: Final = {
    ev.Node.IMPLEMENT: ev.TaskStatus.IMPLEMENTING,
    ev.Node.CHECK: ev.TaskStatus.CHECKING,
    ev.Node.REVIEW: ev.TaskStatus.REVIEWING,
    ev.Node.APPROVE: ev.TaskStatus.WAITING,
    ev.Node.GATE: ev.TaskStatus.GATING,
}


def _run(run: str, at: float, event: ev.EventBase, plans: Plans) -> list[Op]:
    if isinstance(event, ev.RunCreated):
        about = {"run": run, "trigger": event.trigger, "subject": event.subject}
        origin = [Set("project_origin", about)] if event.origin_blob is not None else []
        return [_created(run, at, event), *origin]
    ops: list[Op] = [Set("project_run_touched", {"run": run, "at": at})]
    task = getattr(event, "task", None)
    if isinstance(task, str):
        return [*ops, *_task(run, task, at, event)]
    return [*ops, *_whole_run(run, at, event, plans)]


def _created(run: str, at: float, event: ev.RunCreated) -> Op:
    return Set(
        "project_run_created",
        {
            "run": run,
            "status": ev.RunStatus.CREATED.value,
            "goal": event.goal,
            "repository": event.repository,
            "target": event.target,
            "branch": event.into,
            "base": event.base,
            "budget": event.budget_nusd,
            "user": event.user,
            "sandbox": event.sandbox,
            "at": at,
        },
    )


def _whole_run(run: str, at: float, event: ev.EventBase, plans: Plans) -> list[Op]:
    def status(value: ev.RunStatus, reason: str = "") -> Op:
        return Set("project_run_status", {"run": run, "status": value.value, "reason": reason})

    match event:
        case ev.NodeStarted(node=ev.Node.PLAN):
            return [status(ev.RunStatus.PLANNING)]
        case ev.RunPlanned():
            planned = plans(event.plan_blob).tasks
            tasks = enumerate(planned)
            meant: list[Op] = [Set(*touches.meant(run, task)) for task in planned]
            rows: list[Op] = [
                Set(
                    "project_task_planned",
                    {
                        "run": run,
                        "task": task.id,
                        "title": task.title,
                        "position": position,
                        "agent": task.agent or "",
                        "at": at,
                    },
                )
                for position, task in tasks
            ]
            return [status(ev.RunStatus.RUNNING), Set("project_tasks_dropped", {"run": run}), *rows, *meant]
        case ev.RunPaused():
            return [status(ev.RunStatus.PAUSED)]
        case ev.WorkHeld():
            return [Set("project_run_reason", {"run": run, "reason": event.reason})]
        case ev.WorkReleased():
            return [Set("project_run_reason", {"run": run, "reason": ""})]
        case ev.RunWaiting():
            wait = {"run": run, "question": event.reason, "at": at}
            asked: list[Op] = [] if event.approvals else [Set("project_run_waits", wait)]
            return [status(ev.RunStatus.WAITING, event.reason), *asked]
        case ev.ApprovalDecided():
            return [Set("project_run_goes_on", {"run": run})]
        case ev.QuestionAnswered():
            which = {"run": run, "attempt": event.attempt}
            answered_ops: list[Op] = [Set("project_run_goes_on", {"run": run})]
            answered_ops += [Set("project_tasks_answered", {**which, "at": at}), Set("project_wait_answered", which)]
            return answered_ops
        case ev.BudgetRaised():
            return _funded(run, at, event)
        case ev.SpendNoticed():
            about = {"run": run, "about": event.about, "name": event.name, "at": at}
            amounts = {"spent": event.spent_nusd, "usual": event.usual_nusd, "bound": event.bound_nusd}
            return [Set("project_notice", {**about, **amounts, "samples": event.samples})]
        case ev.RunResumed():
            answered = event.answer_blob is not None
            return [
                Set("project_run_resumed", {"run": run, "budget": event.budget_nusd}),
                Set("project_tasks_resumed", {"run": run, "at": at, "answered": answered}),
                Set("project_incidents_over", {"run": run}),
                *([Set("project_waits_answered", {"run": run})] if answered else []),
            ]
        case ev.RunCancelled():
            return [
                status(ev.RunStatus.CANCELLED),
                Set("project_tasks_cancelled", {"run": run, "at": at}),
                Set("project_incidents_over", {"run": run}),
                _closed(run, at, "the run was cancelled"),
                Set("project_waits_answered", {"run": run}),
            ]
        case ev.RunFinished():
            finished = {
                "run": run,
                "status": event.status.value,
                "reason": event.reason,
                "exit_code": event.exit_code,
                "sha": event.sha,
                "at": at,
            }
            waits = Set("project_waits_answered", {"run": run})
            over = Set("project_touches_over", {"run": run})
            return [Set("project_run_finished", finished), waits, _closed(run, at, "the run has ended"), over]
        case _:
            return []


def _funded(run: str, at: float, event: ev.BudgetRaised) -> list[Op]:
    again = {"run": run, "status": ev.TaskStatus.PENDING.value, "reason": "", "at": at}
    tasks: list[Op] = [Set("project_task_status", {**again, "task": task}) for task in event.tasks]
    goes_on: list[Op] = [Set("project_run_goes_on", {"run": run})] if event.tasks else []
    return [Set("project_run_budget", {"run": run, "budget": event.budget_nusd}), *goes_on, *tasks]


def _task(run: str, task: str, at: float, event: ev.EventBase) -> list[Op]:
    def status(value: ev.TaskStatus, reason: str = "") -> Op:
        values = {"run": run, "task": task, "status": value.value, "reason": reason, "at": at}
        return Set("project_task_status", values)

    def node(value: ev.Node, status: ev.TaskStatus | None, reason: str) -> Op:
        return Set(
            "project_task_node",
            {
                "run": run,
                "task": task,
                "node": value.value,
                "status": status.value if status else None,
                "reason": reason,
                "at": at,
            },
        )

    match event:
        case ev.TaskDispatched():
            values = {
                "run": run,
                "task": task,
                "agent": event.agent,
                "attempt": event.attempt,
                "number": event.number,
                "at": at,
            }
            return [Set("project_task_dispatched", values)]
        case ev.NodeStarted():
            return [node(event.node, _NODE_STATUS.get(event.node), "")]
        case ev.NodeFinished():
            waits = ev.TaskStatus.WAITING if event.outcome is ev.Outcome.WAITING else None
            return [node(event.node, waits, event.reason)]
        case ev.TaskEscalated():
            asked = _asked(run, task, event.attempt, event.question, at, "escalated")
            return [status(ev.TaskStatus.WAITING, event.question.partition("\n")[0]), asked]
        case ev.TaskMerged():
            values = {
                "run": run,
                "task": task,
                "commit": event.commit,
                "attempt": event.attempt,
                "at": at,
            }
            merged = Set("project_attempt_status", {"attempt": event.attempt, "status": "merged"})
            landed = Set("project_landing", {"day": _day(at), "run": run, "task": task, "attempt": event.attempt})
            return [Set("project_task_merged", values), merged, landed]
        case ev.TaskRetried():
            again = {"run": run, "task": task, "agent": event.agent, "at": at}
            waited = Set("project_wait_of_task", {"run": run, "task": task})
            over = Set("project_incidents_over", {"run": run})
            return [Set("project_run_reopened", {"run": run}), Set("project_task_retried", again), waited, over]
        case ev.TaskFailed():
            return [status(ev.TaskStatus.FAILED, event.reason)]
        case ev.TaskBlocked():
            return [status(ev.TaskStatus.BLOCKED, event.reason)]
        case ev.TaskCancelled():
            return [status(ev.TaskStatus.CANCELLED)]
        case _:
            return []


def _asked(run: str, task: str, attempt: str, question: str, at: float, what: str) -> Op:
    values = {"run": run, "task": task, "attempt": attempt, "question": question, "at": at, "what": what}
    return Set("project_question", values)


# --- attempt/… --------------------------------------------------------------------------------------------


def _attempt(attempt: str, at: float, event: ev.EventBase) -> list[Op]:
    def status(value: str) -> list[Op]:
        return [Set("project_attempt_status", {"attempt": attempt, "status": value})]

    match event:
        case ev.ModelAnswered():
            return [Spend(attempt, at, event.model, event.usage, event.cost_nusd, event.estimated)]
        case ev.ModelErred():
            return [Spend(attempt, at, event.model, event.usage, event.cost_nusd, event.estimated)]
        case ev.AgentTurned(verified=False):
            return [Spend(attempt, at, event.model, event.usage, event.cost_nusd, True, verified=False)]
        case ev.AttemptStarted():
            values = {
                "attempt": attempt,
                "run": event.run,
                "task": event.task,
                "number": event.number,
                "agent": event.agent,
                "harness": event.harness.value if event.harness is not None else "git",
                "incarnation": event.incarnation,
                "at": at,
            }
            anew = [Set("project_touches_anew", {"attempt": attempt})] if event.incarnation > 1 else []
            return [Set("project_attempt_started", values), *anew]
        case ev.AttemptTouched():
            return [Set(*touches.touched(attempt, at, event))]
        case ev.HarnessFinished():
            run, _, _ = ids.split_attempt(attempt)
            ended = _closed(run, at, "the attempt that asked has ended", attempt)
            return [*status("finished" if event.ok else "failed"), ended]
        case ev.ApprovalAsked():
            return [_approval_asked(at, event)]
        case ev.NodeFinished(node=ev.Node.REVIEW, outcome=ev.Outcome.OK):
            return [*status("finished"), Set("project_reviewed", {"attempt": attempt})]
        case ev.NodeFinished():
            return status("finished" if event.outcome is ev.Outcome.OK else event.outcome.value)
        case ev.QuestionAsked():
            run, task, _ = ids.split_attempt(attempt)
            return [_asked(run, task, attempt, event.question, at, "question")]
        case ev.IncidentOpened():
            about = {"run": ids.split_attempt(attempt)[0], "attempt": attempt, "failure": event.failure.value}
            said = {"subject": event.subject, "reason": event.reason, "fix": event.fix, "at": at}
            return [Set("project_incident", {**about, **said})]
        case ev.NoteRecorded():
            run, task, _ = ids.split_attempt(attempt)
            note = {"run": run, "task": task, "attempt": attempt, "text": event.text, "at": at}
            return [Set("project_note", note)]
        case _:
            return []


def _approval_asked(at: float, event: ev.ApprovalAsked) -> Op:
    values = event.model_dump(exclude={"kind", "why"})
    return Set("project_approval_asked", {**values, "why": json.dumps(event.why, ensure_ascii=False), "at": at})


_VERDICTS: Final = {"approve": "approved", "deny": "denied", "expired": "expired"}


def _decided(at: float, event: ev.ApprovalDecided) -> list[Op]:
    verdict = {"approval": event.approval, "status": _VERDICTS[event.verdict]}
    decided = Set("project_approval_decided", {**verdict, "by": event.by, "reason": event.reason, "at": at})
    seen: list[Op] = [Set("project_seen", {"approval": event.approval})] if event.verdict == "approve" else []
    return [decided, *seen]


def _closed(run: str, at: float, reason: str, attempt: str = "") -> Op:
    return Set("project_approvals_closed", {"run": run, "attempt": attempt, "reason": reason, "at": at})


# --- trigger/… --------------------------------------------------------------------------------------------


def _trigger(at: float, event: ev.EventBase) -> list[Op]:
    match event:
        case outside.TriggerFired():
            return [_firing(at, event, "fired", event.run, order_blob=event.order_blob)]
        case outside.TriggerHeld():
            return [_firing(at, event, "held", reason=event.reason, till=event.until)]
        case outside.TriggerRefused():
            return [_firing(at, event, "refused", code=event.code, reason=event.reason)]
        case outside.TriggerOrdered():
            return [Set("project_firing_ordered", {"trigger": event.trigger, "delivery": event.delivery})]
        case _:
            return []


def _firing(
    at: float,
    event: outside.TriggerFired | outside.TriggerHeld | outside.TriggerRefused,
    status: str,
    run: str = "",
    *,
    code: str = "",
    reason: str = "",
    order_blob: str = "",
    till: float = 0.0,
) -> Op:
    about = {"trigger": event.trigger, "fingerprint": event.fingerprint, "subject": event.subject, "at": at}
    outcome = {"status": status, "run": run, "code": code, "reason": reason, "order_blob": order_blob, "till": till}
    return Set("project_firing", {**about, "delivery": event.delivery, **outcome})


# --- packs ------------------------------------------------------------------------------------------------


def kept(at: float, event: packs.PackEvent) -> Set:
    """What leads to a commit from now on, or what a workspace held."""
    if isinstance(event, packs.WorkspaceKept):
        what = {"base": event.base, "commit": event.commit, "tree": event.tree, "blob": event.pack_blob or ""}
        return Set("project_snapshot", {"workspace": event.workspace, **what, "at": at})
    values = {"commit": event.commit, "onto": json.dumps(event.onto), "blob": event.pack_blob}
    return Set("project_pack", {**values, "bytes": event.pack_bytes, "at": at})


# --- applying ---------------------------------------------------------------------------------------------


class Changes:
    """What the events of one commit change, gathered so that it is written with few statements."""

    def __init__(self) -> None:
        self._sets: list[Set] = []
        self._costs: dict[tuple[str, str, str], list[int]] = {}
        self._burnt: dict[int, int] = {}

    def add(self, ops: list[Op]) -> None:
        for op in ops:
            if isinstance(op, Spend):
                self._spend(op)
            else:
                self._sets.append(op)

    def _spend(self, op: Spend) -> None:
        sums = self._costs.setdefault((op.attempt, op.model, _day(op.at)), [0] * len(_COUNTS))
        usage, cost = op.usage, op.cost_nusd
        unverified = 0 if op.verified else cost
        estimated = cost - unverified if op.estimated else 0
        counts = (usage.input, usage.cache_read, usage.cache_write, usage.output, cost, op.estimated)
        for place, count in enumerate((1, *counts, estimated, unverified)):
            sums[place] += count
        if cost:
            stretch = int(op.at // BURN_SECONDS) * BURN_SECONDS
            self._burnt[stretch] = self._burnt.get(stretch, 0) + cost

    def apply(self, tx: Tx) -> None:
        """Write everything gathered."""
        for statement, sets in groupby(self._sets, key=lambda op: op.statement):
            tx.run_many(statement, [op.values for op in sets])
        if self._costs:
            self._apply_costs(tx)

    def _apply_costs(self, tx: Tx) -> None:
        rows: list[dict[str, Any]] = []
        totals: dict[str, dict[str, Any]] = {}
        for (attempt, model, day), sums in self._costs.items():
            run, task, _ = ids.split_attempt(attempt)
            counts = dict(zip(_COUNTS, sums, strict=True))
            rows.append({"run": run, "task": task, "attempt": attempt, "model": model, "day": day, **counts})
            total = totals.setdefault(run, {"run": run, **dict.fromkeys(_COUNTS, 0)})
            for name, count in counts.items():
                total[name] += count
        tx.run_many("project_costs", rows)
        tx.run_many("project_spending", rows)
        tx.run_many("project_run_costs", list(totals.values()))
        if self._burnt:
            tx.run_many("project_burn", list(self._burnt.items()))


def _day(at: float) -> str:
    """The day (UTC) of a moment."""
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def plans_of(tx: Tx) -> Plans:
    """Plans read inside a transaction."""

    def plan(digest: str) -> Plan:
        rows = tx.run("blob_get", digest=bytes.fromhex(digest))
        if not rows:
            raise ValueError(f"the plan {digest} is not stored")
        return Plan.model_validate_json(unpack(rows[0]["codec"], rows[0]["body"]))

    return plan


async def rebuild(store: Store) -> int:
    """Recompute all read tables from the journal, in one transaction. Returns the number of events."""
    return await store.write(_rebuild)


def _rebuild(tx: Tx) -> int:
    for table in _TABLES:
        tx.run(f"project_clear_{table}")
    plans, count, after = plans_of(tx), 0, 0
    while rows := tx.run("events_all", prefix="", after=after, limit=REBUILD_PAGE):
        changes = Changes()
        for row in rows:
            changes.add(project(row["stream"], row["at"], ev.decode(row["body"]), plans))
        changes.apply(tx)
        after, count = rows[-1]["id"], count + len(rows)
    return count
