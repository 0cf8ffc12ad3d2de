"""What the events of a run's stream change in the read tables. Pure.

Rules
- A task's status follows this stream alone: an attempt's own stream changes none.
- Of a run that has ended, nothing is to be answered or approved any more.
"""

from collections.abc import Callable

from quarterdeck.journal import attempt_rows, touches
from quarterdeck.journal.changes import Op, Set, day_of
from quarterdeck.kernel import events as ev
from quarterdeck.kernel import remotes
from quarterdeck.kernel.entities import Plan
from quarterdeck.kernel.states import STATUS_OF_NODE

Plans = Callable[[str], Plan]
"""The plan of a blob's digest."""


def changed(run: str, at: float, event: ev.EventBase, plans: Plans) -> list[Op]:
    """What an event of `run/…` changes."""
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
            "identity": remotes.identity(event.repository),
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
            return [status(ev.RunStatus.RUNNING), *_planned(run, at, plans(event.plan_blob))]
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
                attempt_rows.closed(run, at, "the run was cancelled"),
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
            return [
                Set("project_run_finished", finished),
                Set("project_waits_answered", {"run": run}),
                attempt_rows.closed(run, at, "the run has ended"),
                Set("project_touches_over", {"run": run}),
            ]
        case _:
            return []


def _planned(run: str, at: float, plan: Plan) -> list[Op]:
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
        for position, task in enumerate(plan.tasks)
    ]
    meant: list[Op] = [touches.meant(run, task) for task in plan.tasks]
    return [Set("project_tasks_dropped", {"run": run}), *rows, *meant]


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
            return [node(event.node, STATUS_OF_NODE.get(event.node), "")]
        case ev.NodeFinished():
            waits = ev.TaskStatus.WAITING if event.outcome is ev.Outcome.WAITING else None
            goes_on: list[Op] = [Set("project_run_goes_on", {"run": run})] if event.node is ev.Node.GATE else []
            return [node(event.node, waits, event.reason), *goes_on]
        case ev.TaskEscalated():
            asked = attempt_rows.asked(run, task, event.attempt, event.question, at, "escalated")
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
            landed = Set("project_landing", {"day": day_of(at), "run": run, "task": task, "attempt": event.attempt})
            return [Set("project_task_merged", values), merged, landed]
        case ev.TaskReverted():
            reverted = {"run": run, "task": task, "reason": event.reason, "at": at}
            failed = Set("project_attempt_status", {"attempt": event.attempt, "status": "failed"})
            return [Set("project_task_reverted", reverted), failed, Set("project_run_goes_on", {"run": run})]
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
