"""Everything around `decide`: it performs jobs with outcomes of its own choice, records them as the node jobs do, takes
them over as the conductor does, and holds what always has to hold against each event and state."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from quarterdeck.delivery.assigning import INTEGRATOR
from quarterdeck.delivery.closing import END_TASK
from quarterdeck.delivery.dispatch import Decision, decide, revived
from quarterdeck.engine.port import Job
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import DeckConfig, DeckSection, LimitsSection, ReviewSection, RunConfig
from quarterdeck.kernel.entities import Agent, Change, Harness, Plan, Task
from quarterdeck.kernel.events import MAX_EVENT_BYTES, Node, Outcome, TaskStatus
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.kernel.folding import apply
from quarterdeck.kernel.states import RunState, task_state
from quarterdeck.testing import stories

RUN = "r-00000000001"
BLOB = "b" * 64
WORKING = (Node.IMPLEMENT, Node.CHECK, Node.REVIEW)

_COMMON = (Outcome.OK, Outcome.OK, Outcome.OK, Outcome.FAILED)
POSSIBLE = {
    Node.PLAN: (*_COMMON, Outcome.WAITING, Outcome.EXHAUSTED),
    Node.IMPLEMENT: (*_COMMON, Outcome.WAITING, Outcome.EXHAUSTED),
    Node.CHECK: _COMMON,
    Node.REVIEW: (*_COMMON, Outcome.CHANGE, Outcome.EXHAUSTED),
    Node.GATE: (*_COMMON, Outcome.CONFLICT, Outcome.HELD),
    Node.REPORT: (Outcome.OK, Outcome.OK, Outcome.FAILED),
    Node.RETROSPECTIVE: (Outcome.OK, Outcome.FAILED),
}


def config(
    *,
    attempts: int = 3,
    rounds: int = 2,
    reviewer: bool = False,
    parallel: int = 4,
    climbs: Mapping[str, str | None] | None = None,
) -> RunConfig:
    """`climbs`: who escalates to whom; its agents exist besides `implementer` and `shell`."""
    deck = DeckConfig(
        deck=DeckSection(max_parallel=parallel),
        limits=LimitsSection(attempts=attempts),
        review=ReviewSection(agent="reviewer" if reviewer else None, rounds=rounds),
        tiers={"hands": ("anthropic:x",)},
    )
    climbs = climbs or {}
    agents = {name: Agent(name=name, escalates_to=climbs.get(name)) for name in ("implementer", *climbs)}
    shell = Agent(name="shell", harness=Harness.COMMAND, command=("true",), escalates_to=climbs.get("shell"))
    agents["shell"] = shell
    if "planner" in agents:
        agents["planner"] = agents["planner"].model_copy(update={"expects": "plan"})
    return RunConfig(deck=deck, agents=agents)


def task(name: str, *needs: str, agent: str | None = None, paths: tuple[str, ...] = ()) -> Task:
    return Task(id=name, title=name, paths=paths or (f"{name}.py",), needs=needs, agent=agent)


def plan(*tasks: Task) -> Plan:
    return Plan(goal="g", tasks=tasks)


class World:
    """A run with everything around it."""

    def __init__(self, made: Plan, settings: RunConfig, *, planned: bool = True, plan_only: bool = False) -> None:
        self.plan = made
        self.config = settings
        self.state = RunState()
        self.jobs: list[Job] = []
        self.streams: dict[str, list[e.NodeFinished]] = {}
        self.log: list[e.EventBase] = []
        created = stories.created(
            RUN,
            goal_blob=BLOB,
            plan_blob=BLOB if planned else None,
            plan_only=plan_only,
            config_blob=BLOB,
            budget_nusd=1,
            max_parallel=settings.deck.deck.max_parallel,
        )
        self.record(created)
        if planned:
            self.record(e.RunPlanned(plan_blob=BLOB, tasks=len(made.tasks)))
        self.advance()

    # --- as the conductor does

    def record(self, event: e.EventBase) -> None:
        encoded = e.encode(event)
        assert len(encoded) <= MAX_EVENT_BYTES
        decoded = e.decode(encoded)
        assert decoded == event
        self.check_event(decoded)
        apply(self.state, decoded)
        self.log.append(decoded)
        self.check_state()

    def advance(self) -> None:
        for _ in range(20 * len(self.plan.tasks) + 20):
            decision = self.news() or self.decide()
            if not decision:
                self.check_revived()
                return
            for event in decision.events:
                self.record(event)
            self.jobs += decision.jobs
        pytest.fail(f"decides for ever: {self.log[-6:]}")

    def decide(self) -> Decision:
        known = self.state.plan_blob or (
            self.state.last and self.state.node is Node.PLAN and self.state.last.result_blob
        )
        return decide(self.state, self.plan if known else None, self.config)

    def news(self) -> Decision:
        running = [(t.node, t.attempt or "", t.taken) for t in self.state.tasks.values() if t.running]
        if self.state.node_running:
            running.append((self.state.node, self.state.node_attempt or "", 0))
        found = []
        for node, attempt, taken in running:
            stream = self.streams.get(attempt, [])
            if len(stream) > taken and stream[-1].node is node:
                found.append(stream[-1].model_copy(update={"record": len(stream)}))
        return Decision(tuple(found))

    def control(self, event: e.EventBase) -> None:
        gating = [t.attempt for t in self.state.tasks.values() if t.running and t.node is Node.GATE and t.attempt]
        self.record(event)
        if isinstance(event, e.RunCancelled):
            self.jobs = [job for job in self.jobs if job.run != RUN]
            for job in list(self.jobs):
                assert job.payload["attempt"] in gating
                self.end(job, Outcome.CANCELLED)
        self.advance()

    # --- as the node jobs do

    def end(
        self,
        job: Job,
        outcome: Outcome,
        failure: FailureClass | None = None,
        *,
        advance: bool = True,
        blob: str = BLOB,
        reason: str = "",
    ) -> None:
        """Perform a job: its node ends so."""
        self.jobs.remove(job)
        node, attempt = Node(str(job.payload["node"])), str(job.payload["attempt"])
        _, name, _ = ids.split_attempt(attempt)
        own = name in (END_TASK, ids.PLANNER_TASK)
        change = Change(run=RUN, task=name, attempt=attempt, base="0" * 40, commit=attempt, tree="2" * 40)
        event = e.NodeFinished(
            node=node,
            outcome=outcome,
            task=None if own else name,
            attempt=attempt,
            reason=reason or f"{node} {outcome}",
            failure=failure or (FailureClass.BUDGET if outcome is Outcome.EXHAUSTED else None),
            change=change if node is Node.IMPLEMENT else None,
            feedback_blob=None if outcome is Outcome.OK and not job.payload.get("feedback_blob") else blob,
            result_blob=BLOB if outcome is Outcome.OK else None,
            commit="3" * 40 if node is Node.GATE and outcome is Outcome.OK else None,
        )
        self.streams.setdefault(attempt, []).append(event)
        if advance:
            self.advance()

    def job(self, node: Node, name: str | None = None) -> Job:
        """The one waiting job of that node (and task)."""
        found = [
            job
            for job in self.jobs
            if job.payload["node"] == node.value
            and (name is None or ids.split_attempt(str(job.payload["attempt"]))[1] == name)
        ]
        assert len(found) == 1, [job.key for job in self.jobs]
        return found[0]

    def through(self, name: str, *nodes: Node, outcome: Outcome = Outcome.OK) -> None:
        """Those nodes of a task end so, one after the other."""
        for node in nodes:
            self.end(self.job(node, name), outcome)

    def finish(self) -> e.RunFinished:
        self.end(self.job(Node.REPORT), Outcome.OK)
        self.end(self.job(Node.RETROSPECTIVE), Outcome.OK)
        assert self.state.finished is not None
        return self.state.finished

    def dispatched(self, name: str) -> list[e.TaskDispatched]:
        return [event for event in self.log if isinstance(event, e.TaskDispatched) and event.task == name]

    # --- what always holds

    def check_event(self, event: e.EventBase) -> None:
        if isinstance(event, e.TaskDispatched):
            before = task_state(self.state, event.task)
            assert before.status is not TaskStatus.MERGED, "a merged task is never dispatched again"
            assert not before.running
            assert event.number == before.number + 1
            for need in self.plan.task(event.task).needs:
                assert task_state(self.state, need).status is TaskStatus.MERGED, f"{event.task} started before {need}"
            assert not self.state.paused
            assert not self.state.cancelled
            assert not self.state.exhausted
        if isinstance(event, e.NodeStarted) and event.node in (*WORKING, Node.PLAN, Node.GATE):
            assert not self.state.paused
            assert not self.state.cancelled

    def check_revived(self) -> None:
        """Whoever loses the jobs gets them again as they were, with all that they need to know."""
        again = {job.key: job for job in revived(self.state, self.plan, self.config)}
        running = {(task.attempt, task.node) for task in self.state.tasks.values() if task.running}
        if self.state.node_running:
            running.add((self.state.node_attempt, self.state.node))
        for job in self.jobs:
            node = Node(str(job.payload["node"]))
            if (job.payload["attempt"], node) not in running:
                continue  # nobody waits for it any more
            if node is Node.PLAN:
                assert job.payload["added_blob"] in (None, self.state.answer_blob)
                job = replace(job, payload={**job.payload, "added_blob": self.state.answer_blob})
            assert again[job.key] == job

    def check_state(self) -> None:
        assert self.state.active <= self.config.deck.deck.max_parallel
        limit = self.config.deck.limits.attempts
        for current in self.state.tasks.values():
            assert current.failures + current.rounds <= limit
            # Once the integrator has had its turn, whoever comes after it has one, too.
            joined = len(current.tried) - 1 if INTEGRATOR in current.tried else 0
            assert current.conflicts <= limit + joined
            assert current.rounds <= self.config.deck.review.rounds + 1


def names(jobs: Iterable[Job]) -> list[str]:
    return [f"{ids.split_attempt(str(job.payload['attempt']))[1]}:{job.payload['node']}" for job in jobs]
