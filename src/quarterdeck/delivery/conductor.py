"""Advances runs: fold the stream, decide, record and defer in one transaction, until nothing is left to decide.

Rules
- This is the only writer of `run/…` streams. Whoever has news for a run writes them to its own stream and defers
  `run.advance`; here they are taken over.
- Nothing in here takes long: work is done by the jobs that are deferred.
- What a person decided about a plan or a change is taken over from the approval's own stream.
- A run does not end while the merge gate is finding out whether what the run landed is green; it looks again then.
- What starts an agent waits until the deck's limits allow it (`delivery.starting`); the run looks again then.
"""

import asyncio
from collections.abc import Collection
from typing import Final, Protocol

from quarterdeck.delivery import feedback, jobs
from quarterdeck.delivery.approval import waiting_nodes
from quarterdeck.delivery.assigning import with_pieces
from quarterdeck.delivery.blueprint import BLUEPRINTS
from quarterdeck.delivery.briefing import Briefings
from quarterdeck.delivery.dispatch import Decision, decide, revived
from quarterdeck.delivery.gate.mending import Unsettled
from quarterdeck.delivery.routing import routed
from quarterdeck.delivery.starting import PLACES, Permitted, crowded, frees_place, news_of, permit, starts_of
from quarterdeck.delivery.trends import Trends
from quarterdeck.delivery.wishes import WAIT, cancellable, ends, funded, granted, pausable, resumable
from quarterdeck.engine.port import Engine, Job, Later
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.chain import run_purse
from quarterdeck.govern.port import Starts, Treasury
from quarterdeck.journal.port import Also, Claim, Entry, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.events import Node, RunStatus, TaskStatus
from quarterdeck.kernel.folding import apply
from quarterdeck.kernel.states import RunState, task_state
from quarterdeck.store.port import Tx

_LOOK: Final = 5.0
"""Seconds after which a run that could end looks again whether its gate knows what it landed."""


class Settling(Protocol):
    """What the conductor asks of the merge gate."""

    async def unsettled(self, target: str, attempts: Collection[str]) -> Unsettled | None:
        """Whether a run whose tasks are merged by these attempts has to wait before it ends; None = it need not."""
        ...

    async def asked(self, target: str) -> e.ApprovalAsked | None:
        """What a person is asked before the gate goes on with what waits there."""
        ...


class _Crowded(Exception):
    """A place that was free is taken by now."""


class Conductor:
    """Handlers of `run.advance` and `run.control`."""

    def __init__(
        self,
        journal: Journal,
        engine: Engine,
        briefings: Briefings,
        treasury: Treasury,
        starts: Starts,
        trends: Trends,
        approvals: Approvals,
        gate: Settling,
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._briefings = briefings
        self._treasury = treasury
        self._starts = starts
        self._trends = trends
        self._approvals = approvals
        self._gate = gate
        self._clock = clock
        self._one_starts = asyncio.Lock()
        """Who counts the places that are free takes one before the next one counts."""
        self._without_place: dict[str, None] = {}
        """Runs that wait for a free place, longest first: woken when one is free instead of looking again later."""
        self._states: dict[str, RunState] = {}

    async def state(self, run: str) -> RunState:
        """The run's state as of now."""
        state = self._states.pop(run, None) or RunState()
        while records := await self._journal.read(ids.run_stream(run), after=state.seq):
            for record in records:
                apply(state, record.event)
                state.seq = record.seq
                if isinstance(record.event, e.RunCreated):
                    state.started_at = record.at
        if state.finished is None and state.created is not None:
            self._states[run] = state
        return state

    async def advance(self, job: Job) -> None:
        """Handler of `run.advance`."""
        await self._advance(job.run, await self._journal.claim(ids.run_stream(job.run)))

    async def control(self, job: Job) -> None:
        """Handler of `run.control`: what a person wants becomes an event."""
        if await self._engine.overtakes(job):
            raise Later(WAIT, "what was said before is heard first")
        claim = await self._journal.claim(ids.run_stream(job.run))
        state = await self.state(job.run)
        if job.payload["action"] == "budget" and (news := await self._news(state)):
            await self._commit(claim, news)  # what ended for want of the money did so before there was more
            state = await self.state(job.run)
        if job.payload["action"] == "revert":
            await self._advance(job.run, claim)  # what is taken back landed first
            state = await self.state(job.run)
        event = await self._wish(job, state)
        if event is not None:
            cancelled = isinstance(event, e.RunCancelled) and state.created is not None
            target = state.created.target if state.created is not None else ""
            gating = [task.attempt for task in state.tasks.values() if task.running and task.node is Node.GATE]
            coming = tuple(attempt for attempt in gating if attempt is not None)

            reach = (await self._briefings.run(job.run)).config.runs_on if cancelled else ()

            def more(tx: Tx) -> None:
                if cancelled:
                    self._engine.abort(tx, job.run)
                    self._engine.defer(tx, jobs.gate_withdraw(target, job.run, coming, reach))
                if isinstance(event, e.RunResumed | e.BudgetRaised) and event.budget_nusd is not None:
                    self._treasury.open(tx, run_purse(job.run), event.budget_nusd)

            await self._commit(claim, Decision(events=(event,)), more)
        await self._advance(job.run, claim)

    async def _wish(self, job: Job, state: RunState) -> e.EventBase | None:
        by = str(job.payload["by"])
        match job.payload["action"]:
            case "pause" if pausable(state):
                return e.RunPaused(by=by)
            case "cancel" if cancellable(state):
                return e.RunCancelled(by=by)
            case "resume" | "retry" | "revert" | "budget" if ends(state, str(job.payload["action"])):
                # The end nodes tidy up what a resumed run would already use again.
                raise Later(WAIT, "the run is just ending")
            case "resume" if resumable(state):
                blob = job.payload["detail_blob"]
                return e.RunResumed.model_validate_json(await self._journal.get(str(blob)))
            case "budget":
                raised = e.decode(await self._journal.get(str(job.payload["detail_blob"])))
                return funded(raised, state) if isinstance(raised, e.BudgetRaised) else None
            case "answer" | "retry" | "revert":
                event = e.decode(await self._journal.get(str(job.payload["detail_blob"])))
                return event if granted(event, state) else None
            case _:
                return None

    async def revive(self, run: str) -> None:
        """Defer the jobs of nodes that run as far as the run knows. Only where no job of it is left: a job that ended
        with a bug of ours, or that took too many processes with it, leaves such a node behind."""
        state = await self.state(run)
        briefing = await self._briefings.run(run)
        plan = await self._briefings.plan(state.plan_blob)
        lost = routed(revived(state, plan, briefing.config), state, plan, briefing.config)

        def also(tx: Tx) -> None:
            for job in (*lost, jobs.advance(run)):
                self._engine.defer(tx, job)

        await self._journal.commit(also=also)

    async def _advance(self, run: str, claim: Claim) -> None:
        briefing = await self._briefings.run(run)
        while True:
            state = await self.state(run)
            decision = await self._news(state)
            if not decision:
                # A plan that was just handed in is judged before the run takes it over.
                proposed = state.last.result_blob if state.last and state.node is Node.PLAN else None
                plan = await self._briefings.plan(state.plan_blob or proposed)
                decided = await self._in_full(decide(state, plan, briefing.config), state)
                decision = Decision(decided.events, routed(decided.jobs, state, plan, briefing.config))
            if not decision:
                await self._waits_at_gate(claim, state, briefing.config.runs_on)
                return
            if await self._has_to_wait(claim, state, decision, briefing.config.runs_on):
                return
            probes.hit("run.decided")
            if not starts_of(decision, BLUEPRINTS[briefing.config.blueprint]):
                await self._commit(claim, decision)
            elif await self._start(claim, state, decision, briefing.config):
                return
            probes.hit("run.advanced")

    async def _has_to_wait(self, claim: Claim, state: RunState, decision: Decision, reach: tuple[str, ...]) -> bool:
        """Whether the run would end now, but its gate does not know yet whether what it landed is green."""
        ends = any(isinstance(event, e.NodeStarted) and event.node is Node.REPORT for event in decision.events)
        if not ends or state.created is None or state.cancelled:
            return False
        target, run = state.created.target, state.created.run
        merged = [task.attempt for task in state.tasks.values() if task.status is TaskStatus.MERGED and task.attempt]
        found = await self._gate.unsettled(target, merged)
        if found is None:
            return False
        look = jobs.gate_advance(target, runs_on=reach)
        if (asked := found.asked) is None:
            await self._commit(claim, Decision(jobs=(look, jobs.advance(run, _LOOK))))
        else:
            news = (_waits_for(asked),) if state.status is not RunStatus.WAITING else ()
            await self._commit(claim, Decision(news, (look,)))
        return True

    async def _waits_at_gate(self, claim: Claim, state: RunState, reach: tuple[str, ...]) -> None:
        """All that is left of the run waits at its gate for a person's word: say so."""
        gating = any(task.running and task.node is Node.GATE for task in state.tasks.values())
        standing = state.status in (RunStatus.RUNNING, RunStatus.WAITING) and not state.active
        if state.created is None or not standing or not gating:
            return
        target = state.created.target
        if (asked := await self._gate.asked(target)) is not None:
            news = (_waits_for(asked),) if state.status is RunStatus.RUNNING else ()
            await self._commit(
                claim, Decision(news, (jobs.gate_advance(target, runs_on=reach),))
            )  # the time may be over

    async def _in_full(self, decision: Decision, state: RunState) -> Decision:
        """The decision with its questions in full: a person who is to join two changes needs both."""
        events: list[e.EventBase] = []
        for event in decision.events:
            if isinstance(event, e.TaskEscalated):
                task = task_state(state, event.task)
                blobs = (task.feedback_blob, task.added_blob)
                pieces = [piece for blob in blobs for piece in await feedback.load(self._journal, blob)]
                event = event.model_copy(update={"question": with_pieces(event.question, pieces)})
            events.append(event)
        return Decision(tuple(events), decision.jobs)

    async def _start(self, claim: Claim, state: RunState, decision: Decision, config: RunConfig) -> bool:
        """Record what may start now; whether there is nothing else to do, because the rest has to wait."""
        async with self._one_starts:
            while True:
                try:
                    return await self._try_start(claim, state, decision, config)
                except _Crowded:  # another process was faster
                    continue

    async def _try_start(self, claim: Claim, state: RunState, decision: Decision, config: RunConfig) -> bool:
        permitted: list[Permitted] = []
        now = self._clock.wall()
        await self._journal.commit(
            also=lambda tx: permitted.append(permit(tx, self._starts, state, decision, config, now))
        )
        started, held = permitted[-1].decision, permitted[-1].held
        allowed = Decision((*news_of(state.held, held), *started.events), started.jobs)
        if held is not None and held.limit in PLACES:
            self._without_place[claim.stream.removeprefix("run/")] = None
        if held is not None:
            wait = jobs.advance(claim.stream.removeprefix("run/"), max(held.until - now, 0.01))
            allowed = Decision(allowed.events, (*allowed.jobs, wait))

        def still_free(tx: Tx) -> None:
            if crowded(tx, self._starts, state, started, config, now):
                raise _Crowded

        await self._commit(claim, allowed, still_free)
        return held is not None and not started

    async def _commit(self, claim: Claim, decision: Decision, more: Also | None = None) -> None:
        free = sum(frees_place(event) for event in decision.events)
        waiting = list(self._without_place)[:free]
        for run in waiting:
            del self._without_place[run]
        woken = [jobs.advance(run) for run in waiting]

        def also(tx: Tx) -> None:
            for job in (*decision.jobs, *woken):
                self._engine.defer(tx, job)
            if any(isinstance(event, e.RunFinished) for event in decision.events):
                run = claim.stream.removeprefix("run/")
                self._treasury.settle_all(tx, f"{run}.")
                self._starts.drop(tx, run, self._clock.wall())
            if more is not None:
                more(tx)

        entries = (Entry(claim, decision.events),) if decision.events else ()
        await self._journal.commit(*entries, also=also)

    async def _news(self, state: RunState) -> Decision:
        """Nodes that ended and are still running as far as the run knows."""
        running = [(task.node, task.attempt, task.taken) for task in state.tasks.values() if task.running]
        if state.node_running:
            running.append((state.node, state.node_attempt, 0))
        found: list[e.EventBase] = []
        for node, attempt, taken in running:
            last = await self._journal.last(ids.attempt_stream(attempt or ""))
            if last is None or last.seq <= taken or not isinstance(last.event, e.NodeFinished):
                continue
            if last.event.node is node:
                found.append(last.event.model_copy(update={"record": last.seq}))
        words = await self._words(state)
        return Decision((*found, *await self._trends.notices(state, found), *words.events), words.jobs)

    async def _words(self, state: RunState) -> Decision:
        """What was asked of people, and what they said, of which the run does not know yet."""
        found: list[e.EventBase] = []
        going_on: list[Job] = []
        for attempt, taken, asked, job in waiting_nodes(state):
            last = await self._journal.last(ids.attempt_stream(attempt)) if asked is None else None
            if asked is not None and (decided := await self._approvals.settled(asked)) is not None:
                found.append(decided)
                going_on.append(job)
            elif last is not None and last.seq > taken and isinstance(last.event, e.ApprovalAsked):
                found.append(last.event)
        return Decision(tuple(found), tuple(going_on))


def _waits_for(asked: e.ApprovalAsked) -> e.RunWaiting:
    words = f"{asked.title} waits to be approved: quarterdeck approve {asked.approval}"
    return e.RunWaiting(reason=words, approvals=(asked.approval,))
