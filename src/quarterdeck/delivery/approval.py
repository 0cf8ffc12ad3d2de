"""What waits for a person's word before it goes on. Pure.

Rules
- Where `[approve] plan` asks for it, nothing of a plan is begun before its `approve` node has ended well. A plan that
  was made to be looked at only, and taking something back, are not asked about: a person has ordered exactly that.
- A plan of the planner that is denied is made anew, with the reason; one of a person's own file ends the run.
- An approval whose time is over ends the run, or the task, without blaming anybody; going on later asks anew.
"""

from collections.abc import Iterator
from typing import Final

from quarterdeck.delivery import jobs
from quarterdeck.delivery.blueprint import BLUEPRINTS
from quarterdeck.delivery.closing import Move
from quarterdeck.engine.port import Job
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Plan
from quarterdeck.kernel.events import Node, Outcome, TaskStatus
from quarterdeck.kernel.states import RunState, TaskState, task_state

DENIED: Final = "the plan was denied"


def unapproved(state: RunState, run: e.RunCreated, config: RunConfig) -> bool:
    """Whether nothing of the plan may be begun yet."""
    if run.plan_only or run.reverts or config.deck.approve.plan == "never" or not _plans(config):
        return False
    return state.plan_blob is not None and state.approved != state.plan_blob


def _plans(config: RunConfig) -> bool:
    return any(step.node is Node.PLAN for step in BLUEPRINTS[config.blueprint].steps)


def plan_moves(state: RunState, run: e.RunCreated, plan: Plan) -> Iterator[Move]:
    """What becomes of a plan that is not approved."""
    if state.cancelled:
        for task in plan.tasks:
            if not task_state(state, task.id).status.finished:
                yield e.TaskCancelled(task=task.id), None
    elif state.refused is not None:
        for task in plan.tasks:
            if not task_state(state, task.id).status.finished:
                yield e.TaskBlocked(task=task.id, reason=state.refused.reason or DENIED), None
    elif not state.paused and not (state.node is Node.APPROVE and state.node_running):
        attempt = ids.attempt_id(run.run, ids.APPROVAL_TASK, state.asks + 1)
        yield e.NodeStarted(node=Node.APPROVE, attempt=attempt), plan_job(run.run, attempt, state)


def plan_job(run: str, attempt: str, state: RunState) -> Job:
    """Ask for the plan's approval, or take note of it."""
    return jobs.work(run, Node.APPROVE, attempt, plan_blob=state.plan_blob)


def change_job(run: str, current: TaskState, plan_blob: str | None, node: Node = Node.APPROVE) -> Job:
    """The next node of an attempt; `approve` asks for its change's approval, or takes note of it."""
    return jobs.work(
        run,
        node,
        current.attempt or "",
        plan_blob=plan_blob,
        feedback_blob=current.feedback_blob,
        after=current.taken,
    )


def waiting_nodes(state: RunState) -> Iterator[tuple[str, int, e.ApprovalAsked | None, Job]]:
    """Nodes that wait, or will wait, for a person's word: (attempt, up to where its stream is taken over, what was
    asked, the job that goes on)."""
    run = state.created
    if run is None:
        return
    if state.node is Node.APPROVE and state.node_running and state.node_attempt and state.decided is None:
        yield state.node_attempt, 0, state.approval, plan_job(run.run, state.node_attempt, state)
    for task in state.tasks.values():
        if task.running and task.node is Node.APPROVE and task.attempt and task.decided is None:
            yield task.attempt, task.taken, task.approval, change_job(run.run, task, state.plan_blob)


def retriable(state: RunState, task: str) -> bool:
    """Whether a person may have the task tried again."""
    current = state.tasks.get(task)
    return current is not None and (current.status in (TaskStatus.FAILED, TaskStatus.CANCELLED) or current.asks)


def short(state: RunState) -> tuple[str, ...]:
    """Tasks that go on once there is more money: those that ended for want of it, and what they kept from beginning."""
    if not state.exhausted or state.cancelled:
        return ()
    return tuple(name for name, task in state.tasks.items() if task.short or _wants_money(task))


def _wants_money(task: TaskState) -> bool:
    ended = not task.running and task.last is not None and task.last.outcome is Outcome.EXHAUSTED
    return ended or task.status is TaskStatus.BLOCKED
