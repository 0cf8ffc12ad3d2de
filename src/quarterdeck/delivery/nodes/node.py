"""Performs the node jobs of runs and attempts: claim, look at what is on record, perform, record, defer.

Rules
- A node's result is recorded in its attempt's stream in the same transaction that wakes the run.
- A node that is already on record is not performed again.
- What is wrong with the machine delays the node and blames nobody; what is wrong with us fails the node with its
  trace and leaves every other run alone. What is wrong with the configuration ends the task with what mends it.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from quarterdeck.delivery import feedback as feedback_store
from quarterdeck.delivery import jobs
from quarterdeck.delivery.briefing import Briefing, Briefings
from quarterdeck.engine.port import Engine, Job, Later
from quarterdeck.journal.port import Claim, Entry, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids, probes
from quarterdeck.kernel.attempts import AttemptState, apply_attempt
from quarterdeck.kernel.entities import Change, Feedback, Plan, Task
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import (
    UNWELL,
    BadConfiguration,
    BudgetExhausted,
    FailureClass,
    ModelFailed,
    QuarterdeckError,
    SandboxDied,
    SandboxFailed,
    StaleClaim,
)

_log = logging.getLogger(__name__)

MAX_DELAYS: Final = 60
"""Delays in a row (about half an hour) after which the node fails, so that nothing waits for ever in silence."""


MAX_DEATHS: Final = 3
"""Sandboxes that may die under a node before it fails: it may be what it runs that kills them."""


_ON_THE_BASE: Final = (Node.PLAN, Node.IMPLEMENT)
"""Nodes that work on what has landed, with what was configured: where that cannot work, no other attempt can."""


@dataclass(frozen=True, slots=True)
class Duty:
    """One node to perform, with all that is on record about it."""

    node: Node
    attempt: str
    number: int
    claim: Claim
    briefing: Briefing
    plan: Plan | None
    plan_blob: str | None
    task: Task | None
    """None for the run's own nodes."""
    state: AttemptState
    agent: str | None
    tier: str | None
    """Tier of its models, where that is not the agent's own."""
    feedback: tuple[Feedback, ...]
    carry: str | None
    since: float
    """When an earlier try at this node ended, which does not count any more; 0 = there was none."""
    earlier: int = 0
    """And the place of that in the attempt's stream."""

    @property
    def run(self) -> str:
        return self.briefing.created.run


@dataclass(frozen=True, slots=True)
class Result:
    """How a node ended; bodies are stored by whoever performed it."""

    outcome: Outcome
    reason: str = ""
    failure: FailureClass | None = None
    change: Change | None = None
    feedback: tuple[Feedback, ...] = ()
    result_blob: str | None = None
    findings_blob: str | None = None
    commit: str | None = None
    waking: Job | None = None
    """A job to defer instead of advancing the run: the node's end will be recorded by it."""


Performer = Callable[[Duty], Awaitable[Result]]


class Nodes:
    """Handler of `node.work`."""

    def __init__(
        self, journal: Journal, engine: Engine, briefings: Briefings, performers: Mapping[Node, Performer]
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._briefings = briefings
        self._performers = performers

    async def work(self, job: Job) -> None:
        """Perform one node and record its end."""
        duty = await self._duty(job)
        probes.hit("attempt.claimed")
        if (ended := duty.state.nodes.get(duty.node)) is not None:
            await self._say_again(duty, ended)
            return
        try:
            result = await self._performers[duty.node](duty)
        except StaleClaim:
            return  # another worker has taken this attempt over
        except QuarterdeckError as error:
            result = await self._failed(duty, error)
        except OSError as error:
            result = await self._failed(duty, _unwell(error)) if error.errno in UNWELL else _bug(error)
        except Exception as error:  # noqa: BLE001 - recorded as a bug: one broken node must not stop other runs
            _log.exception("node %s of %s failed", duty.node, duty.attempt)
            result = _bug(error)
        await self._record(duty, result)

    async def _say_again(self, duty: Duty, ended: e.NodeFinished) -> None:
        """Wake the run for an end that is on record. It looks at the newest record: should anything that is no end have
        come behind, it would never hear of it."""
        advance = jobs.advance(duty.run)
        last = await self._journal.last(duty.claim.stream)
        hidden = last is not None and not isinstance(last.event, e.NodeFinished)
        entries = (Entry(duty.claim, (ended,)),) if hidden else ()
        await self._journal.commit(*entries, also=lambda tx: self._engine.defer(tx, advance))

    async def _duty(self, job: Job) -> Duty:
        attempt, node = str(job.payload["attempt"]), Node(str(job.payload["node"]))
        run, task_id, number = ids.split_attempt(attempt)
        claim = await self._journal.claim(ids.attempt_stream(attempt))
        state, after, since, earlier = AttemptState(), 0, 0.0, 0
        past = int(job.payload.get("after") or 0)
        while records := await self._journal.read(claim.stream, after=after):
            for record in records:
                if record.seq <= past and isinstance(record.event, e.NodeFinished) and record.event.node is node:
                    since, earlier = record.at, record.seq
                else:
                    apply_attempt(state, record.event, record.at)
            after = records[-1].seq
        plan = await self._briefings.plan(_text(job, "plan_blob"))
        known = plan is not None and any(task.id == task_id for task in plan.tasks)
        return Duty(
            node=node,
            attempt=attempt,
            number=number,
            claim=claim,
            briefing=await self._briefings.run(run),
            plan=plan,
            plan_blob=_text(job, "plan_blob"),
            task=plan.task(task_id) if plan is not None and known else None,
            state=state,
            agent=_text(job, "agent"),
            tier=_text(job, "tier"),
            feedback=(
                *await feedback_store.load(self._journal, _text(job, "feedback_blob")),
                *await feedback_store.load(self._journal, _text(job, "added_blob")),
            )[-feedback_store.KEPT :],
            carry=_text(job, "carry"),
            since=since,
            earlier=earlier,
        )

    async def _failed(self, duty: Duty, error: QuarterdeckError) -> Result:
        failure = error.kind if isinstance(error, ModelFailed) else error.failure
        if isinstance(error, BadConfiguration) and duty.node in _ON_THE_BASE:
            reason = f"{str(error)[:1500]}{f' ({error.fix})' if error.fix else ''}"
            return Result(Outcome.FAILED, reason=reason, failure=FailureClass.CONFIGURATION)
        died = isinstance(error, SandboxDied)
        deadly = died and duty.state.deaths >= MAX_DEATHS
        if failure is FailureClass.INFRASTRUCTURE and duty.state.delays < MAX_DELAYS and not deadly:
            seconds = min(30.0, 0.5 * 2.0 ** min(duty.state.delays, 8))
            event = e.NodeDelayed(node=duty.node, reason=str(error)[:2000], seconds=seconds, died=died)
            await self._journal.append(duty.claim, event)
            raise Later(seconds, str(error))
        outcome = Outcome.EXHAUSTED if isinstance(error, BudgetExhausted) else Outcome.FAILED
        if failure is FailureClass.INFRASTRUCTURE and not died:
            return Result(Outcome.HELD, reason=f"the machine is not well: {error}"[:2000], failure=failure)
        piece = Feedback(source="agent", reason=str(error)[:2000])
        return Result(outcome, reason=str(error)[:2000], failure=failure, feedback=(piece,))

    async def _record(self, duty: Duty, result: Result) -> None:
        if result.waking is not None:
            waking = result.waking
            await self._journal.commit(also=lambda tx: self._engine.defer(tx, waking))
            return
        event = e.NodeFinished(
            node=duty.node,
            outcome=result.outcome,
            task=duty.task.id if duty.task is not None else None,
            attempt=duty.attempt,
            reason=result.reason[:2000],
            failure=result.failure,
            change=result.change,
            feedback_blob=await feedback_store.save(self._journal, duty.feedback, result.feedback),
            result_blob=result.result_blob,
            findings_blob=result.findings_blob,
            commit=result.commit,
        )
        advance = jobs.advance(duty.run)
        await self._journal.append(duty.claim, event, also=lambda tx: self._engine.defer(tx, advance))
        probes.hit("node.finished")


def _unwell(error: OSError) -> QuarterdeckError:
    return SandboxFailed(f"the machine refuses: {error}")


def _text(job: Job, key: str) -> str | None:
    value = job.payload.get(key)
    return None if value is None else str(value)


def _bug(error: Exception) -> Result:
    trace = "".join(traceback.format_exception(error))[-20_000:]
    reason = f"a bug in Quarterdeck: {type(error).__name__}: {error}"[:2000]
    return Result(
        Outcome.FAILED,
        reason=reason,
        failure=FailureClass.BUG,
        feedback=(Feedback(source="agent", reason=reason, detail=trace),),
    )
