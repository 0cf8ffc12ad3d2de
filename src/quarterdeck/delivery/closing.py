"""How a run ends, or waits for a person. Pure.

Rules
- A run ends when every task has ended, with a report and a retrospective.
- It waits when only a human can go on: somebody has asked, the plan or a change waits to be approved, or the planner
  has had its attempts and escalates to a person.
"""

from collections.abc import Iterator

from quarterdeck.agents.escalation import successor
from quarterdeck.agents.roster import HUMAN
from quarterdeck.delivery import jobs
from quarterdeck.delivery.assigning import PLANNER, planners_question
from quarterdeck.engine.port import Job
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Plan
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import RECOVERY, Exit, FailureClass
from quarterdeck.kernel.states import RunState, TaskState, task_state

END_TASK = "_end"
"""Stands for the task in the attempt ids of a run's end nodes."""

NO_MONEY = "the budget is exhausted"

Move = tuple[e.EventBase, Job | None]
"""One thing to record, and the job that it starts."""


def ending(state: RunState, run: e.RunCreated, plan: Plan | None, config: RunConfig) -> Iterator[Move]:
    states = list(state.tasks.values())
    at_work = any(task.running and not task.approving for task in states)
    if at_work or (state.node_running and not state.approving) or state.paused:
        return
    waiting = [
        name
        for name, task in state.tasks.items()
        if task.status is TaskStatus.WAITING and task.node is not Node.APPROVE
    ]
    planner_waits = state.node is Node.PLAN and state.last is not None and state.last.outcome is Outcome.WAITING
    asked = _planners_question(state, run, config)
    question = asked or (
        f"a question is open in: {', '.join(waiting) or 'the plan'}" if waiting or planner_waits else ""
    )
    approvals = state.waits_for
    if (question or approvals) and not state.cancelled:
        if state.status is not RunStatus.WAITING:
            words = [
                f"{each.title} waits to be approved: quarterdeck approve {each.approval}" for each in approvals[:5]
            ]
            names = () if question else tuple(each.approval for each in approvals[:50])
            yield e.RunWaiting(reason="; ".join(filter(None, (question, *words)))[:4000], approvals=names), None
        return
    attempt = ids.attempt_id(run.run, END_TASK, state.endings + (state.node not in (Node.REPORT, Node.RETROSPECTIVE)))
    if state.node is Node.REPORT and state.last is not None:
        yield e.NodeStarted(node=Node.RETROSPECTIVE, attempt=attempt), _end_job(state, Node.RETROSPECTIVE, attempt)
    elif state.node is Node.RETROSPECTIVE and state.last is not None and not state.reported:
        yield e.RunReported(report_blob=state.report_blob, retrospective_blob=state.retrospective_blob), None
        yield _finished(state, plan, state.sha or run.base), None
    elif state.node not in (Node.REPORT, Node.RETROSPECTIVE):
        yield e.NodeStarted(node=Node.REPORT, attempt=attempt), _end_job(state, Node.REPORT, attempt)


def _planners_question(state: RunState, run: e.RunCreated, config: RunConfig) -> str:
    """What a person is asked where the planner has had its attempts and escalates; empty = nothing."""
    last = state.last if state.node is Node.PLAN else None
    if last is None or last.outcome is not Outcome.FAILED or final(last.failure) or state.exhausted:
        return ""
    if successor(PLANNER, (), config.agents, config.deck, expects="plan") != HUMAN:
        return ""
    return planners_question(run.run, state.plan_number, last)


def _end_job(state: RunState, node: Node, attempt: str) -> Job:
    return jobs.work(ids.split_attempt(attempt)[0], node, attempt, plan_blob=state.plan_blob)


def _finished(state: RunState, plan: Plan | None, sha: str) -> e.RunFinished:
    tasks = [task_state(state, task.id) for task in plan.tasks] if plan is not None else []
    merged = sum(task.status is TaskStatus.MERGED for task in tasks)
    only_plan = state.created is not None and state.created.plan_only and state.plan_blob is not None
    if state.cancelled:
        status, code, reason = RunStatus.CANCELLED, Exit.INTERRUPTED, "cancelled"
    elif only_plan or (tasks and merged == len(tasks)):
        status, code, reason = RunStatus.DONE, Exit.DONE, ""
    else:
        status = RunStatus.PARTIAL if merged or state.exhausted else RunStatus.FAILED
        code = Exit.BUDGET if state.exhausted else Exit.DENIED if _denied(state) else Exit.FAILED
        reason = _why(state, plan, tasks)
    return e.RunFinished(status=status, reason=reason[:4000], exit_code=code, sha=sha)


def _denied(state: RunState) -> bool:
    """Whether a person said no to the plan."""
    denied = state.decided is not None and state.decided.verdict == "deny"
    return denied and (state.plan_blob is None or state.refused is not None)


def _why(state: RunState, plan: Plan | None, tasks: list[TaskState]) -> str:
    if state.exhausted:
        return f"{NO_MONEY}: {state.short}" if state.short else NO_MONEY
    if state.refused is not None:
        return state.refused.reason
    if state.plan_blob is None:
        return f"no plan: {state.planned.reason if state.planned is not None else 'the planner did not finish'}"
    names = [task.id for task in plan.tasks] if plan is not None else []
    failed = {name: task.reason for name, task in zip(names, tasks, strict=True) if task.status is TaskStatus.FAILED}
    if not failed:
        return "not every task merged"
    name, reason = next(iter(failed.items()))
    alike = "" if len(set(failed.values())) == 1 else f", not all for the same reason; {name}"
    return f"{len(failed)} of {len(tasks)} {'task' if len(tasks) == 1 else 'tasks'} failed{alike}: {reason}"


def final(failure: FailureClass | None) -> bool:
    """Whether no other attempt can mend it."""
    return failure is not None and RECOVERY[failure].stops_run
