"""What a run does next: a pure function of its state, its plan and its frozen configuration.

`plan` is the plan on record or, just after the planner has ended, the one that it proposed.

Rules
- A task is ready when everything it needs is merged. Ready tasks become attempts, at most `max_parallel` at a time
  (changes in the merge gate do not count: nobody works on them). What was begun goes first.
- Ready tasks whose chain decides when the run ends go first, then those that overlap nothing in progress, then those
  that most others wait for. Overlap never blocks.
- A task whose chain decides and whose last needs are in the merge gate will be ready soon: a slot is kept for it from
  those that fewer wait for, but never more than half of them.
- The outcome of a node leads where the blueprint says. At most `limits.attempts` attempts fail by their own fault
  or are sent back by a reviewer, for each agent; as many are returned because of a conflict; then a human has to look.
- Which agent gets an attempt is decided in `delivery.assigning`: after one has had its attempts, the one it escalates
  to; where that is a person, the task waits with a question.
- A failure that another attempt cannot mend (authentication, quota, budget) ends the task at once.
- A pause starts nothing new. A cancel ends every unfinished task. An exhausted budget of the run or of a day starts
  nothing that costs money, but what is already finished still goes through the gate; the run ends partial.
- A run ends when every task has ended, with a report and a retrospective. It waits when only a human can go on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from quarterdeck.agents.escalation import successor
from quarterdeck.agents.roster import HUMAN
from quarterdeck.agents.routing import raised
from quarterdeck.delivery import jobs
from quarterdeck.delivery.assigning import (
    PLANNER,
    Assigned,
    assigned,
    escalation,
    integrator,
    planners_question,
    question,
    speaks_in_vain,
)
from quarterdeck.delivery.blueprint import BLUEPRINTS, Blueprint, Turn
from quarterdeck.delivery.globs import may_overlap
from quarterdeck.delivery.graph import needs_of, ranks
from quarterdeck.delivery.ownership import agent_of_task, all_warnings
from quarterdeck.engine.port import Job
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Harness, Plan, Task
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import RECOVERY, Exit, FailureClass
from quarterdeck.kernel.states import RunState, TaskState, task_state

END_TASK = "_end"
"""Stands for the task in the attempt ids of a run's end nodes."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Events to record and jobs to defer, in one transaction."""

    events: tuple[e.EventBase, ...] = ()
    jobs: tuple[Job, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.events or self.jobs)


_Move = tuple[e.EventBase, Job | None]


def decide(state: RunState, plan: Plan | None, config: RunConfig) -> Decision:
    """The next events and jobs; empty when nothing is to be done now."""
    run = state.created
    if run is None or state.finished is not None:
        return Decision()
    moves: list[_Move] = []
    if state.plan_blob is None:
        moves = list(_planning(state, run, plan, config))
    elif plan is not None and not run.plan_only:
        follow = list(_follow_up(state, run, plan, config))
        moves = follow or list(_cancel_or_dispatch(state, run, plan, config))
    if not moves:
        moves = list(_ending(state, run, plan, config))
    return Decision(tuple(event for event, _ in moves), tuple(job for _, job in moves if job is not None))


# --- planning ---------------------------------------------------------------------------------------------


def _planning(state: RunState, run: e.RunCreated, plan: Plan | None, config: RunConfig) -> Iterator[_Move]:
    if state.node_running or state.paused or state.cancelled or state.exhausted:
        return
    added: str | None = None
    last = state.last if state.node is Node.PLAN else None
    if last is not None and last.outcome is Outcome.OK and last.result_blob is not None:
        tasks, warnings = (len(plan.tasks), all_warnings(plan, config)) if plan is not None else (0, ())
        event = e.RunPlanned(plan_blob=last.result_blob, tasks=tasks, warnings=warnings, attempt=last.attempt)
        yield event, None
        return
    if last is not None and last.outcome in (Outcome.WAITING, Outcome.FAILED) and state.answer_blob is not None:
        added = state.answer_blob
    elif last is not None and (_final(last.failure) or last.outcome is not Outcome.FAILED):
        return
    if state.plan_tries < config.deck.limits.attempts:
        attempt = ids.attempt_id(run.run, ids.PLANNER_TASK, state.plan_number + 1)
        feedback = last.feedback_blob if last is not None else None
        started = e.NodeStarted(node=Node.PLAN, attempt=attempt, feedback_blob=feedback)
        yield started, jobs.work(run.run, Node.PLAN, attempt, feedback_blob=feedback, added_blob=added)


def _final(failure: FailureClass | None) -> bool:
    return failure is not None and RECOVERY[failure].stops_run


# --- what the outcomes lead to ----------------------------------------------------------------------------


def _follow_up(state: RunState, run: e.RunCreated, plan: Plan, config: RunConfig) -> Iterator[_Move]:
    blueprint = BLUEPRINTS[config.blueprint]
    slots = run.max_parallel - state.active
    for task in sorted(plan.tasks, key=lambda task: _comes_back(task_state(state, task.id))):
        current = task_state(state, task.id)
        if current.last is not None and current.attempt is not None and not current.running:
            for event, job in _turn(state, run, task, current, current.last, blueprint, config):
                if _takes_slot(event):
                    slots -= 1
                if slots >= 0 or not _takes_slot(event):
                    yield event, job
        elif current.status is TaskStatus.PENDING and not state.cancelled:
            lost = [need for need in task.needs if _lost(state, need)]
            if lost:
                reason = f"needs {', '.join(lost[:20])}{' and more' if lost[20:] else ''}, which did not merge"
                yield e.TaskBlocked(task=task.id, reason=reason), None


def _comes_back(task: TaskState) -> bool:
    """Whether the task holds no slot: those that do go on first."""
    return task.last is not None and (task.last.node is Node.GATE or task.last.outcome is Outcome.WAITING)


def _takes_slot(event: e.EventBase) -> bool:
    return isinstance(event, e.TaskDispatched) or (isinstance(event, e.NodeStarted) and event.node is not Node.GATE)


def _lost(state: RunState, task: str) -> bool:
    status = task_state(state, task).status
    return status.finished and status is not TaskStatus.MERGED


def _turn(
    state: RunState,
    run: e.RunCreated,
    task: Task,
    current: TaskState,
    last: e.NodeFinished,
    blueprint: Blueprint,
    config: RunConfig,
) -> Iterator[_Move]:
    turn = blueprint.turn(last.node, last.outcome)
    following = blueprint.after(last.node, config)
    attempt = current.attempt or ""
    if turn is Turn.NEXT and following is None:
        yield e.TaskMerged(task=task.id, attempt=attempt, commit=last.commit or ""), None
    elif state.cancelled:
        yield e.TaskCancelled(task=task.id), None
    elif turn is Turn.NEXT and following is not None:
        if not state.paused and not (state.exhausted and blueprint.step(following).by == "agent"):
            event = e.NodeStarted(node=following, task=task.id, attempt=attempt)
            job = jobs.work(
                run.run,
                following,
                attempt,
                plan_blob=state.plan_blob,
                feedback_blob=current.feedback_blob,
                after=current.taken,
            )
            yield event, job
        elif state.exhausted:
            yield e.TaskFailed(task=task.id, reason=_NO_MONEY, failure=FailureClass.BUDGET), None
    elif turn is Turn.WAIT:
        if state.answer_blob is not None and state.exhausted:
            yield e.TaskFailed(task=task.id, reason=_NO_MONEY, failure=FailureClass.BUDGET), None
        elif state.answer_blob is not None and not state.paused:
            yield _dispatch(state, run, task, config, state.answer_blob)
    elif turn in (Turn.RETRY, Turn.RETURN, Turn.CANCEL):
        yield from _again(state, run, task, current, last, turn, config)
    else:
        yield e.TaskFailed(task=task.id, reason=last.reason or str(last.outcome), failure=last.failure), None


_NO_MONEY = "the budget is exhausted"


def _again(
    state: RunState,
    run: e.RunCreated,
    task: Task,
    current: TaskState,
    last: e.NodeFinished,
    turn: Turn,
    config: RunConfig,
) -> Iterator[_Move]:
    limit = config.deck.limits.attempts
    counted = current.conflicts if turn is Turn.RETURN else current.failures + current.rounds
    if turn is Turn.CANCEL:  # withdrawn by a cancel that was taken back
        counted = 0
    reason = last.reason or str(last.outcome)
    if _final(last.failure):
        yield e.TaskFailed(task=task.id, reason=reason, failure=last.failure), None
    elif state.exhausted:
        yield (
            e.TaskFailed(task=task.id, reason=f"{_NO_MONEY}; before that: {reason}"[:2000], failure=last.failure),
            None,
        )
    elif last.outcome is Outcome.CHANGE and current.rounds > config.deck.review.rounds:
        reason = f"the reviewer still wants a change after {config.deck.review.rounds} rounds: {reason}"
        yield from _escalated(state, run, task, last, reason, config)
    elif counted >= limit:
        reason = f"{counted} attempts, the last one: {reason}" if counted > 1 else reason
        if turn is Turn.RETURN:
            yield e.TaskFailed(task=task.id, reason=reason[:2000], failure=last.failure), None
        else:
            yield from _escalated(state, run, task, last, reason, config)
    elif speaks_in_vain(last, current, config):
        yield from _escalated(state, run, task, last, reason, config)
    elif not state.paused:
        to = integrator(current, config) if turn is Turn.RETURN else None
        yield _dispatch(state, run, task, config, current.added_blob, to)


def _successor(current: TaskState, config: RunConfig) -> str | None:
    return successor(current.agent or "", current.tried, config.agents, config.deck)


def _escalated(
    state: RunState, run: e.RunCreated, task: Task, last: e.NodeFinished, reason: str, config: RunConfig
) -> Iterator[_Move]:
    """The agent has had its attempts: on to whom it escalates to, or the task has failed."""
    current = task_state(state, task.id)
    to, name = _successor(current, config), current.agent or ""
    if to is None:
        yield e.TaskFailed(task=task.id, reason=reason[:2000], failure=last.failure), None
    elif to == HUMAN:
        asked = question(run.run, task, current, reason)
        yield e.TaskEscalated(task=task.id, attempt=current.attempt or "", agent=name, question=asked[:8000]), None
    elif not state.paused:
        yield _dispatch(state, run, task, config, current.added_blob, Assigned(to, escalation(name, reason)))


def _dispatch(
    state: RunState,
    run: e.RunCreated,
    task: Task,
    config: RunConfig,
    added_blob: str | None,
    to: Assigned | None = None,
) -> _Move:
    """The task's next attempt, with all that was learnt so far and what comes on top of it."""
    current = task_state(state, task.id)
    number = current.number + 1
    attempt = ids.attempt_id(run.run, task.id, number)
    chosen = to or assigned(task, current, config)
    agent = config.agents.get(chosen.agent)
    native = agent is not None and agent.harness is Harness.NATIVE
    faults = current.faults if chosen.agent == current.agent else 0
    tier = raised(agent, config.deck, faults) if agent is not None else None
    event = e.TaskDispatched(
        task=task.id,
        attempt=attempt,
        number=number,
        agent=chosen.agent,
        why=chosen.why,
        tier=tier if agent is not None and tier != agent.tier else None,
        feedback_blob=current.feedback_blob,
        added_blob=added_blob,
        carry=current.change.commit if native and current.change is not None else None,
    )
    job = jobs.work(
        run.run,
        Node.IMPLEMENT,
        attempt,
        plan_blob=state.plan_blob,
        agent=chosen.agent,
        tier=event.tier,
        feedback_blob=current.feedback_blob,
        added_blob=added_blob,
        carry=event.carry,
    )
    return event, job


# --- dispatch ---------------------------------------------------------------------------------------------


def _cancel_or_dispatch(state: RunState, run: e.RunCreated, plan: Plan, config: RunConfig) -> Iterator[_Move]:
    if state.cancelled:
        for task in plan.tasks:
            current = task_state(state, task.id)
            # A change in the gate may be landing at this moment: its own outcome tells.
            if not current.status.finished and not (current.running and current.node is Node.GATE):
                yield e.TaskCancelled(task=task.id), None
    elif state.exhausted:
        for task in plan.tasks:
            if task_state(state, task.id).status is TaskStatus.PENDING:
                yield e.TaskBlocked(task=task.id, reason=f"not started: {_NO_MONEY}"), None
    elif not state.paused:
        for task in choose(state, plan, run.max_parallel - state.active, run.max_parallel):
            yield _dispatch(state, run, task, config, task_state(state, task.id).added_blob)


def choose(state: RunState, plan: Plan, slots: int, parallel: int) -> list[Task]:
    """Up to `slots` of the tasks that can start now, of `parallel` slots in all. Only the heaviest few are compared."""
    if slots <= 0:
        return []
    rank = ranks(needs_of(plan))
    begun = [task for task in plan.tasks if task_state(state, task.id).running]
    pending = [task for task in plan.tasks if task_state(state, task.id).status is TaskStatus.PENDING]
    left = len(pending) + sum(not _in_gate(state, task.id) for task in begun)
    decides = {task.id for task in pending if rank[task.id] * parallel > left}
    soon = [rank[task.id] for task in pending if task.id in decides and _soon(state, task)]
    kept = sorted(soon, reverse=True)[: parallel // 2]

    heaviest = sorted((task for task in pending if _ready(state, task)), key=lambda task: -rank[task.id])[: slots * 4]
    first = [task for task in heaviest if task.id in decides]
    apart: list[Task] = []
    overlapping: list[Task] = []
    for task in heaviest:
        if task.id not in decides:
            others = (*begun, *first, *apart)
            (overlapping if any(_overlap(task, other) for other in others) else apart).append(task)
    chosen: list[Task] = []
    for task in (*first, *apart, *overlapping):
        if len(chosen) + sum(one > rank[task.id] for one in kept) < slots:
            chosen.append(task)
    return chosen


def _ready(state: RunState, task: Task) -> bool:
    return all(task_state(state, need).status is TaskStatus.MERGED for need in task.needs)


def _soon(state: RunState, task: Task) -> bool:
    """Whether only the merge gate is between the task and its start."""
    missing = [need for need in task.needs if task_state(state, need).status is not TaskStatus.MERGED]
    return bool(missing) and all(_in_gate(state, need) for need in missing)


def _in_gate(state: RunState, task: str) -> bool:
    current = task_state(state, task)
    return current.running and current.node is Node.GATE


def _overlap(one: Task, other: Task) -> bool:
    return any(may_overlap(left, right) for left in one.paths for right in other.paths)


# --- the end ----------------------------------------------------------------------------------------------


def _ending(state: RunState, run: e.RunCreated, plan: Plan | None, config: RunConfig) -> Iterator[_Move]:
    states = list(state.tasks.values())
    if any(task.running for task in states) or state.node_running or state.paused:
        return
    waiting = [name for name, task in state.tasks.items() if task.status is TaskStatus.WAITING]
    planner_waits = state.node is Node.PLAN and state.last is not None and state.last.outcome is Outcome.WAITING
    asked = _planners_question(state, run, config)
    if (waiting or planner_waits or asked) and not state.cancelled:
        if state.status is not RunStatus.WAITING:
            reason = asked or f"a question is open in: {', '.join(waiting) or 'the plan'}"
            yield e.RunWaiting(reason=reason[:4000]), None
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
    if last is None or last.outcome is not Outcome.FAILED or _final(last.failure) or state.exhausted:
        return ""
    if successor(PLANNER, (), config.agents, config.deck, expects="plan") != HUMAN:
        return ""
    return planners_question(run.run, state.plan_number, last.reason)


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
        code = Exit.BUDGET if state.exhausted else Exit.FAILED
        reason = _why(state, tasks)
    return e.RunFinished(status=status, reason=reason[:4000], exit_code=code, sha=sha)


def _why(state: RunState, tasks: list[TaskState]) -> str:
    if state.exhausted:
        return f"{_NO_MONEY}: {state.short}" if state.short else _NO_MONEY
    if state.plan_blob is None:
        return f"no plan: {state.last.reason if state.last else 'the planner did not finish'}"
    failed = [task.reason for task in tasks if task.status is TaskStatus.FAILED]
    return f"{len(failed)} of {len(tasks)} tasks failed: {failed[0]}" if failed else "not every task merged"


def revived(state: RunState, plan: Plan | None, config: RunConfig) -> tuple[Job, ...]:
    """The jobs of the nodes that are running, for a run that has lost them. They go on from what is on record."""
    run = state.created
    if run is None or state.finished is not None:
        return ()
    found = []
    for task in plan.tasks if plan is not None else ():
        current = task_state(state, task.id)
        if current.running and current.node is not None and current.attempt is not None:
            job = jobs.work(
                run.run,
                current.node,
                current.attempt,
                plan_blob=state.plan_blob,
                agent=current.agent or agent_of_task(task, config),
                tier=current.tier,
                feedback_blob=current.feedback_blob,
            )
            found.append(job)
    if state.node_running and state.node is not None and state.node_attempt is not None:
        found.append(jobs.work(run.run, state.node, state.node_attempt, plan_blob=state.plan_blob))
    return tuple(found)
