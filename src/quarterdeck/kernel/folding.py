"""The state of a run as a pure fold over its stream.

Rules
- `apply` takes facts over; it decides nothing.
- `run.resumed` gives unfinished and failed tasks their attempts anew; what is merged stays merged, and what an attempt
  had finished when it was stopped for no fault of its own is not done again.
- A change that the gate has taken back after it had landed is like one that came back from the gate. In a run that has
  ended its task has failed: what goes on later does not build on it.
- A person's word is taken over, and the node that waited for it ends by it.
"""

from collections.abc import Iterable

from quarterdeck.kernel import events as e
from quarterdeck.kernel.events import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.failures import OWN_FAULT, RECOVERY, FailureClass
from quarterdeck.kernel.states import STATUS_OF_NODE, RunState, TaskState, task_state


def apply(state: RunState, event: e.EventBase) -> None:
    """Take one event over."""
    if isinstance(event, e.NodeStarted | e.NodeFinished):
        _node_event(state, event)
    elif event.kind.startswith("task."):
        _task_event(state, event)
    else:
        _run_event(state, event)


def fold(events: Iterable[e.EventBase]) -> RunState:
    """The state after `events`, the run's stream from its beginning."""
    state = RunState()
    for event in events:
        apply(state, event)
    return state


def _run_event(state: RunState, event: e.EventBase) -> None:
    match event:
        case e.RunCreated():
            state.created, state.budget_nusd, state.status = event, event.budget_nusd, RunStatus.RUNNING
        case e.RunPlanned():
            state.plan_blob, state.warnings, state.status = event.plan_blob, event.warnings, RunStatus.RUNNING
            state.last = None
        case e.RunPaused():
            state.paused, state.status, state.held = True, RunStatus.PAUSED, None
        case e.RunCancelled():
            # Its jobs are dropped with the run's: a node of the run that was at work will not end any more.
            state.cancelled, state.paused = True, False
            state.node, state.last, state.node_running = None, None, False
        case e.RunWaiting():
            state.status = RunStatus.WAITING
        case e.RunResumed():
            _resumed(state, event)
        case e.SpendNoticed():
            state.noticed.add((event.about, event.name))
        case e.WorkHeld():
            state.held = event
        case e.WorkReleased():
            state.held = None
        case e.ApprovalAsked() | e.ApprovalDecided():
            _approval(state, event)
        case e.QuestionAnswered():
            _answered(state, event)
        case e.BudgetRaised():
            _funded(state, event)
        case e.RunReported():
            state.reported = True
        case e.RunFinished():
            state.finished, state.status, state.held = event, event.status, None
        case _:
            pass


def _approval(state: RunState, event: e.ApprovalAsked | e.ApprovalDecided) -> None:
    if isinstance(event, e.ApprovalAsked):
        if event.task is None:
            state.approval, state.decided = event, None
        else:
            task = task_state(state, event.task)
            task.approval, task.decided = event, None
        return
    _goes_on_again(state)
    if state.approval is not None and state.approval.approval == event.approval:
        state.decided = event
    for task in state.tasks.values():
        if task.approval is not None and task.approval.approval == event.approval:
            task.decided = event
            task.seen = "person" if event.verdict == "approve" else task.seen


def _goes_on_again(state: RunState) -> None:
    """Something that was waited for is there."""
    state.status = RunStatus.RUNNING if state.status is RunStatus.WAITING else state.status


def _answered(state: RunState, event: e.QuestionAnswered) -> None:
    _goes_on_again(state)
    tasks = [task for task in state.tasks.values() if event.attempt in ("", task.attempt)]
    if not event.attempt or not tasks:
        state.answer_blob, state.plan_tries = event.answer_blob, 0
    for task in tasks:
        if task.asks:
            task.added_blob = event.answer_blob
            _anew(task)
        elif task.last is not None and task.last.outcome is Outcome.WAITING:
            task.answer_blob = event.answer_blob


def _funded(state: RunState, event: e.BudgetRaised) -> None:
    state.budget_nusd = max(state.budget_nusd, event.budget_nusd)
    unplanned = state.exhausted and state.plan_blob is None
    state.exhausted, state.short = False, ""
    if not event.tasks and not unplanned:
        return
    _goes_on_again(state)
    if state.node in (Node.REPORT, Node.RETROSPECTIVE):
        state.node, state.last, state.node_running = None, None, False
    for name in event.tasks:
        task = task_state(state, name)
        task.kept = task.passed if task.last is not None else task.kept
        _anew(task)
        _takes_up(task)


def _anew(task: TaskState) -> None:
    """It gets its attempts again."""
    task.agent, task.tried, task.asks, task.short = None, (), False, False
    task.status, task.running, task.node, task.last = TaskStatus.PENDING, False, None, None
    task.failures = task.faults = task.conflicts = task.rounds = 0
    task.reason, task.failure = "", None


def _takes_up(task: TaskState) -> None:
    """It goes on from what was finished when it was stopped for no fault of its own."""
    if task.kept is not None:
        task.last, task.node, task.kept = task.kept, task.kept.node, None
        task.status = STATUS_OF_NODE.get(task.last.node, task.status)


def _resumed(state: RunState, event: e.RunResumed) -> None:
    state.paused = state.cancelled = state.exhausted = state.reported = False
    state.finished = state.held = None
    state.short = ""
    state.refused = None
    if not (state.node in (Node.PLAN, Node.APPROVE) and _goes_on(state)):
        state.node, state.last, state.node_running = None, None, False
    state.plan_tries = 0
    state.status = RunStatus.RUNNING
    state.answer_blob = event.answer_blob or state.answer_blob
    if event.budget_nusd is not None:
        state.budget_nusd = max(state.budget_nusd, event.budget_nusd)
    for task in state.tasks.values():
        if task.asks and event.answer_blob is not None:
            task.added_blob = event.answer_blob
        if task.status in (TaskStatus.FAILED, TaskStatus.BLOCKED, TaskStatus.CANCELLED) or (
            task.asks and event.answer_blob is not None
        ):
            _anew(task)
            _takes_up(task)


def _retried(state: RunState, event: e.TaskRetried) -> None:
    state.cancelled = state.exhausted = state.reported = False
    state.finished, state.short = None, ""
    state.status = RunStatus.RUNNING if not state.paused else RunStatus.PAUSED
    if state.node in (Node.REPORT, Node.RETROSPECTIVE):
        state.node, state.last, state.node_running = None, None, False
    for name, task in state.tasks.items():
        if name == event.task or task.status is TaskStatus.BLOCKED:
            _anew(task)
    task = task_state(state, event.task)
    task.chosen = event.agent
    if event.agent is None:
        _takes_up(task)
    task.kept = None


def _goes_on(state: RunState) -> bool:
    """Whether planning goes on from where it is: what it found is not paid for twice."""
    last = state.last
    if last is None:
        return state.node_running
    if last.outcome is Outcome.FAILED:
        return last.failure is None or not RECOVERY[last.failure].stops_run
    return last.outcome in (Outcome.OK, Outcome.WAITING) or (
        last.outcome is Outcome.CHANGE and state.plan_blob is None  # a denied plan: its reason is not lost
    )


def _task_event(state: RunState, event: e.EventBase) -> None:
    match event:
        case e.TaskDispatched():
            task = task_state(state, event.task)
            if event.agent != task.agent:
                task.failures = task.faults = task.rounds = 0
            task.agent, task.tried = event.agent, tuple(dict.fromkeys((*task.tried, event.agent)))
            task.attempt, task.number, task.taken, task.passed = event.attempt, event.number, 0, None
            task.feedback_blob, task.added_blob, task.tier = event.feedback_blob, event.added_blob, event.tier
            task.approval, task.decided, task.seen, task.chosen, task.answer_blob = None, None, "nobody", None, None
            task.node, task.running, task.last = Node.IMPLEMENT, True, None
            task.status, task.reason = TaskStatus.IMPLEMENTING, ""
        case e.TaskEscalated():
            task = task_state(state, event.task)
            task.status, task.asks, task.running, task.last = TaskStatus.WAITING, True, False, None
            task.reason = event.question.partition("\n")[0]
        case e.TaskMerged():
            task = task_state(state, event.task)
            task.status, task.commit, task.running, task.last = TaskStatus.MERGED, event.commit, False, None
            task.reason, task.asks = "", False
        case e.TaskReverted():
            _reverted(state, event)
        case e.TaskFailed():
            task = task_state(state, event.task)
            if task.status is TaskStatus.WAITING:
                task.added_blob = state.answer_blob
            task.status, task.reason, task.failure = TaskStatus.FAILED, event.reason, event.failure
            task.short = state.exhausted and not _hopeless(task.last)
            if event.failure is FailureClass.BUDGET or _not_its_fault(task.last):
                task.kept = task.passed
            task.running, task.last = False, None
        case e.TaskBlocked():
            task = task_state(state, event.task)
            task.status, task.reason = TaskStatus.BLOCKED, event.reason
        case e.TaskCancelled():
            task = task_state(state, event.task)
            task.kept = task.passed if task.node is Node.APPROVE or _withdrawn(task.last) else task.kept
            task.status, task.running, task.last = TaskStatus.CANCELLED, False, None
        case e.TaskRetried() if task_state(state, event.task).status is not TaskStatus.MERGED:
            _retried(state, event)
        case _:
            pass


def _reverted(state: RunState, event: e.TaskReverted) -> None:
    """It goes on as if its change had come back from the gate instead of landing; in a run that has ended it failed."""
    task = task_state(state, event.task)
    if task.status is not TaskStatus.MERGED or task.commit != event.commit:
        return
    if state.finished is not None:
        task.commit, task.node, task.status, task.added_blob = None, None, TaskStatus.FAILED, event.feedback_blob
        task.reason, task.failure, task.kept = event.reason, None, None
        return
    _goes_on_again(state)
    if state.node in (Node.REPORT, Node.RETROSPECTIVE):
        state.node, state.last, state.node_running = None, None, False
    task.commit, task.node, task.status, task.added_blob = None, Node.GATE, TaskStatus.GATING, event.feedback_blob
    task.failures, task.faults, task.reason = task.failures + 1, task.faults + 1, event.reason
    task.last = e.NodeFinished(
        node=Node.GATE,
        outcome=Outcome.FAILED,
        task=event.task,
        attempt=event.attempt,
        reason=event.reason,
        feedback_blob=event.feedback_blob,
    )


def _not_its_fault(last: e.NodeFinished | None) -> bool:
    """Whether the attempt was stopped by something that its author could not help."""
    if last is None:
        return False
    return last.outcome in (Outcome.EXHAUSTED, Outcome.HELD) or (
        last.node in (Node.REVIEW, Node.APPROVE) and last.outcome is Outcome.FAILED
    )


def _withdrawn(last: e.NodeFinished | None) -> bool:
    """Whether the merge gate gave the change back unjudged."""
    return last is not None and last.node is Node.GATE and last.outcome in (Outcome.CANCELLED, Outcome.HELD)


def _hopeless(last: e.NodeFinished | None) -> bool:
    """Whether money would not have helped either."""
    if last is None or last.outcome is not Outcome.FAILED or last.failure is None:
        return False
    return RECOVERY[last.failure].stops_run


def _node_event(state: RunState, event: e.NodeStarted | e.NodeFinished) -> None:
    if event.task is None:
        _run_node(state, event)
        return
    task = task_state(state, event.task)
    if isinstance(event, e.NodeStarted):
        task.node, task.running, task.last = event.node, True, None
        if event.node is Node.APPROVE:
            task.approval = task.decided = None
        task.status = STATUS_OF_NODE.get(event.node, task.status)
        return
    task.running, task.last, task.reason, task.taken = False, event, event.reason, event.record
    if event.node is Node.GATE:
        _goes_on_again(state)
    task.change = event.change or task.change
    if event.feedback_blob is not None and event.node is Node.GATE:
        task.added_blob = event.feedback_blob
    elif event.feedback_blob is not None:
        task.feedback_blob, task.added_blob = event.feedback_blob, None
    match event.outcome:
        case Outcome.OK:
            task.passed = event
            if event.node is Node.REVIEW:
                task.seen = "agent"
        case Outcome.FAILED:
            task.failures += 1
            task.faults += event.node not in (Node.REVIEW, Node.APPROVE) and (
                event.failure is None or event.failure in OWN_FAULT
            )
        case Outcome.CHANGE:
            task.rounds += 1
        case Outcome.CONFLICT:
            task.conflicts += 1
        case Outcome.WAITING:
            task.status, state.answer_blob = TaskStatus.WAITING, None
        case Outcome.EXHAUSTED:
            state.exhausted, state.short = True, state.short or event.reason
        case _:
            pass


def _run_node(state: RunState, event: e.NodeStarted | e.NodeFinished) -> None:
    if isinstance(event, e.NodeStarted):
        state.node, state.node_attempt, state.node_running, state.last = event.node, event.attempt, True, None
        state.feedback_blob = event.feedback_blob
        state.endings += event.node is Node.REPORT
        if event.node is Node.APPROVE:
            state.asks += 1
            state.approval = state.decided = None
        if event.node is Node.PLAN:
            state.plan_tries += 1
            state.plan_number += 1
            state.status = RunStatus.PLANNING
        return
    state.node_running, state.last = False, event
    if event.outcome is Outcome.EXHAUSTED:
        state.exhausted, state.short = True, state.short or event.reason
    elif event.outcome is Outcome.WAITING:
        state.answer_blob = None
    if event.node is Node.APPROVE:
        _plan_judged(state, event)
    elif event.node is Node.PLAN:
        state.planned = event
    elif event.node is Node.REPORT:
        state.report_blob, state.sha = event.result_blob, event.commit
    elif event.node is Node.RETROSPECTIVE:
        state.retrospective_blob = event.result_blob


def _plan_judged(state: RunState, event: e.NodeFinished) -> None:
    if event.outcome is Outcome.OK:
        state.approved = state.plan_blob
    elif event.outcome is Outcome.CHANGE and state.created is not None and state.created.plan_blob is None:
        state.plan_blob = None  # the planner makes another one
        state.tasks = {name: task for name, task in state.tasks.items() if task.status is TaskStatus.MERGED}
    else:
        state.refused = event
