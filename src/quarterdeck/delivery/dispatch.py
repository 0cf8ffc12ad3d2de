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
  to; where that is a person, the task waits with a question. A change that does not merge goes to the integrator first,
  however often others came back.
- A failure that another attempt cannot mend (authentication, quota, configuration, budget) ends the task at once.
- A pause starts nothing new. A cancel ends every unfinished task. An exhausted budget of the run or of a day starts
  nothing that costs money, but what is already finished still goes through the gate; the run ends partial.
- Nothing of a plan is begun that a person has to approve and has not (`delivery.approval`).
- How the run ends, or waits, is decided in `delivery.closing`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from quarterdeck.agents.roster import HUMAN
from quarterdeck.agents.routing import raised
from quarterdeck.delivery import jobs
from quarterdeck.delivery.approval import change_job, plan_moves, unapproved
from quarterdeck.delivery.assigning import (
    INTEGRATOR,
    Assigned,
    assigned,
    escalation,
    integrator,
    next_agent,
    question,
    speaks_in_vain,
)
from quarterdeck.delivery.blueprint import BLUEPRINTS, Blueprint, Turn
from quarterdeck.delivery.closing import NO_MONEY, Move, ending, final
from quarterdeck.delivery.plans.globs import may_overlap
from quarterdeck.delivery.plans.graph import needs_of, ranks
from quarterdeck.delivery.plans.ownership import agent_of_task, all_warnings
from quarterdeck.engine.port import Job
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Harness, Plan, Task
from quarterdeck.kernel.events import Node, Outcome, TaskStatus
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.kernel.states import RunState, TaskState, task_state


@dataclass(frozen=True, slots=True)
class Decision:
    """Events to record and jobs to defer, in one transaction."""

    events: tuple[e.EventBase, ...] = ()
    jobs: tuple[Job, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.events or self.jobs)


def decide(state: RunState, plan: Plan | None, config: RunConfig) -> Decision:
    """The next events and jobs; empty when nothing is to be done now."""
    run = state.created
    if run is None or state.finished is not None:
        return Decision()
    moves: list[Move] = []
    if state.plan_blob is None:
        moves = list(_planning(state, run, plan, config))
    elif plan is not None and unapproved(state, run, config):
        moves = list(plan_moves(state, run, plan))
    elif plan is not None and not run.plan_only:
        follow = list(_follow_up(state, run, plan, config))
        moves = follow or list(_cancel_or_dispatch(state, run, plan, config))
    if not moves:
        moves = list(ending(state, run, plan, config))
    return Decision(tuple(event for event, _ in moves), tuple(job for _, job in moves if job is not None))


# --- planning ---------------------------------------------------------------------------------------------


def _planning(state: RunState, run: e.RunCreated, plan: Plan | None, config: RunConfig) -> Iterator[Move]:
    if state.node_running or state.paused or state.cancelled or state.exhausted:
        return
    if state.node in (Node.REPORT, Node.RETROSPECTIVE):  # it was given up: the run ends
        return
    added: str | None = None
    last = state.last if state.node in (Node.PLAN, Node.APPROVE) else None
    if last is not None and last.outcome is Outcome.OK and last.result_blob is not None:
        tasks, warnings = (len(plan.tasks), all_warnings(plan, config)) if plan is not None else (0, ())
        event = e.RunPlanned(plan_blob=last.result_blob, tasks=tasks, warnings=warnings, attempt=last.attempt)
        yield event, None
        return
    if last is not None and last.outcome is Outcome.CHANGE:
        added = None  # a person denied the plan: the reason is its feedback
    elif last is not None and last.outcome in (Outcome.WAITING, Outcome.FAILED) and state.answer_blob is not None:
        added = state.answer_blob
    elif last is not None and (final(last.failure) or last.outcome is not Outcome.FAILED):
        return
    if state.plan_tries < config.deck.limits.attempts:
        attempt = ids.attempt_id(run.run, ids.PLANNER_TASK, state.plan_number + 1)
        feedback = last.feedback_blob if last is not None else None
        started = e.NodeStarted(node=Node.PLAN, attempt=attempt, feedback_blob=feedback)
        yield started, jobs.work(run.run, Node.PLAN, attempt, feedback_blob=feedback, added_blob=added)


# --- what the outcomes lead to ----------------------------------------------------------------------------


def _follow_up(state: RunState, run: e.RunCreated, plan: Plan, config: RunConfig) -> Iterator[Move]:
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
    last = task.last
    return last is not None and (last.node in (Node.APPROVE, Node.GATE) or last.outcome is Outcome.WAITING)


def _takes_slot(event: e.EventBase) -> bool:
    return isinstance(event, e.TaskDispatched) or (
        isinstance(event, e.NodeStarted) and event.node not in (Node.APPROVE, Node.GATE)
    )


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
) -> Iterator[Move]:
    turn = blueprint.turn(last.node, last.outcome)
    following = blueprint.after(last.node, config)
    attempt = current.attempt or ""
    if turn is Turn.NEXT and following is None:
        merged = e.TaskMerged(task=task.id, attempt=attempt, commit=last.commit or "", reviewed=current.seen)
        yield merged, None
    elif state.cancelled:
        yield e.TaskCancelled(task=task.id), None
    elif turn is Turn.NEXT and following is not None:
        if not state.paused and not (state.exhausted and blueprint.step(following).by == "agent"):
            event = e.NodeStarted(node=following, task=task.id, attempt=attempt)
            job = change_job(run.run, current, state.plan_blob, following)
            yield event, job
        elif state.exhausted:
            yield e.TaskFailed(task=task.id, reason=NO_MONEY, failure=FailureClass.BUDGET), None
    elif turn is Turn.WAIT:
        answer = current.answer_blob or state.answer_blob
        if answer is not None and state.exhausted:
            yield e.TaskFailed(task=task.id, reason=NO_MONEY, failure=FailureClass.BUDGET), None
        elif answer is not None and not state.paused:
            yield _dispatch(state, run, task, config, answer)
    elif turn in (Turn.RETRY, Turn.RETURN, Turn.CANCEL):
        yield from _again(state, run, task, current, last, turn, config)
    else:
        yield e.TaskFailed(task=task.id, reason=last.reason or str(last.outcome), failure=last.failure), None


def _again(
    state: RunState,
    run: e.RunCreated,
    task: Task,
    current: TaskState,
    last: e.NodeFinished,
    turn: Turn,
    config: RunConfig,
) -> Iterator[Move]:
    if turn is Turn.CANCEL:  # withdrawn by a cancel that was taken back: the change is as good as it was
        if not state.paused:
            event = e.NodeStarted(node=last.node, task=task.id, attempt=current.attempt or "")
            yield event, change_job(run.run, current, state.plan_blob, last.node)
        return
    limit = config.deck.limits.attempts
    counted = current.conflicts if turn is Turn.RETURN else current.failures + current.rounds
    reason = last.reason or str(last.outcome)
    if final(last.failure):
        yield e.TaskFailed(task=task.id, reason=reason, failure=last.failure), None
    elif state.exhausted:
        yield (
            e.TaskFailed(task=task.id, reason=f"{NO_MONEY}; before that: {reason}"[:2000], failure=last.failure),
            None,
        )
    elif last.outcome is Outcome.CHANGE and last.node is Node.REVIEW and current.rounds > config.deck.review.rounds:
        reason = f"the reviewer still wants a change after {config.deck.review.rounds} rounds: {reason}"
        yield from _escalated(state, run, task, last, reason, config)
    elif (to := integrator(current, config) if turn is Turn.RETURN else None) is not None:
        if not state.paused:
            yield _dispatch(state, run, task, config, current.added_blob, to)
    elif counted >= limit:
        reason = f"{counted} attempts, the last one: {reason}" if counted > 1 else reason
        if turn is Turn.RETURN and current.agent != INTEGRATOR:
            yield e.TaskFailed(task=task.id, reason=reason[:2000], failure=last.failure), None
        else:
            yield from _escalated(state, run, task, last, reason, config)
    elif speaks_in_vain(last, current, config):
        yield from _escalated(state, run, task, last, reason, config)
    elif not state.paused:
        yield _dispatch(state, run, task, config, current.added_blob)


def _escalated(
    state: RunState, run: e.RunCreated, task: Task, last: e.NodeFinished, reason: str, config: RunConfig
) -> Iterator[Move]:
    """The agent has had its attempts: on to whom it escalates to, or the task has failed."""
    current = task_state(state, task.id)
    to, name = next_agent(current, config), current.agent or ""
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
) -> Move:
    """The task's next attempt, with all that was learnt so far and what comes on top of it."""
    current = task_state(state, task.id)
    number = current.number + 1
    attempt = ids.attempt_id(run.run, task.id, number)
    chosen = to or assigned(task, current, config)
    agent = config.agents.get(chosen.agent)
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
        carry=_carried(current, chosen.agent, config),
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


def _carried(current: TaskState, name: str, config: RunConfig) -> str | None:
    """The earlier work on the task that this agent goes on from."""
    agent = config.agents.get(name)
    native = agent is not None and agent.harness is Harness.NATIVE
    return current.change.commit if native and current.change is not None else None


# --- dispatch ---------------------------------------------------------------------------------------------


def _cancel_or_dispatch(state: RunState, run: e.RunCreated, plan: Plan, config: RunConfig) -> Iterator[Move]:
    if state.cancelled:
        for task in plan.tasks:
            current = task_state(state, task.id)
            # A change in the gate may be landing at this moment: its own outcome tells.
            if not current.status.finished and not (current.running and current.node is Node.GATE):
                yield e.TaskCancelled(task=task.id), None
    elif state.exhausted:
        for task in plan.tasks:
            if task_state(state, task.id).status is TaskStatus.PENDING:
                yield e.TaskBlocked(task=task.id, reason=f"not started: {NO_MONEY}"), None
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


def revived(state: RunState, plan: Plan | None, config: RunConfig) -> tuple[Job, ...]:
    """The jobs of the nodes that are running, for a run that has lost them: as they were deferred, with all that they
    need to know. They go on from what is on record."""
    run = state.created
    if run is None or state.finished is not None:
        return ()
    found = []
    for task in plan.tasks if plan is not None else ():
        current = task_state(state, task.id)
        if not current.running or current.node is None or current.attempt is None:
            continue
        if current.node is not Node.IMPLEMENT:
            found.append(change_job(run.run, current, state.plan_blob, current.node))
            continue
        agent = current.agent or agent_of_task(task, config)
        job = jobs.work(
            run.run,
            Node.IMPLEMENT,
            current.attempt,
            plan_blob=state.plan_blob,
            agent=agent,
            tier=current.tier,
            feedback_blob=current.feedback_blob,
            added_blob=current.added_blob,
            carry=_carried(current, agent, config),
        )
        found.append(job)
    if state.node_running and state.node is Node.PLAN and state.node_attempt is not None:
        told, added = state.feedback_blob, state.answer_blob
        found.append(jobs.work(run.run, Node.PLAN, state.node_attempt, feedback_blob=told, added_blob=added))
    elif state.node_running and state.node is not None and state.node_attempt is not None:
        found.append(jobs.work(run.run, state.node, state.node_attempt, plan_blob=state.plan_blob))
    return tuple(found)
