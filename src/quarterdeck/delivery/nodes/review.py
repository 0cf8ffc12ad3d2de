"""The review node: another agent reads the change with its task and the results of its checks.

Rules
- The reviewer has its own attempt, workspace and stream, inside the attempt it reviews; its workspace holds the change.
- Its verdict is a handoff: accept, or change with findings that become the author's feedback.
- A reviewer that fails is tried again as often as an attempt, then whom it escalates to; that is never its author's
  fault. One whose handoff has no form is not tried again where there is another one.
- How a reviewer ended is recorded in its own stream: one that has ended is not put to work again.
"""

from typing import Any

from quarterdeck.agents import routing
from quarterdeck.agents.escalation import successor
from quarterdeck.agents.roster import HUMAN
from quarterdeck.delivery import feedback as feedback_store
from quarterdeck.delivery.nodes.check import RESULTS, change_of
from quarterdeck.delivery.nodes.node import Duty, Result
from quarterdeck.delivery.nodes.session import Seat, Sessions, agent_of
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.delivery.validation.checks import summary
from quarterdeck.delivery.validation.findings import REMARKS, listed
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.attempts import AttemptState, apply_attempt
from quarterdeck.kernel.entities import Agent, Change, Feedback, Review
from quarterdeck.kernel.events import Node, Outcome
from quarterdeck.kernel.failures import RECOVERY, FailureClass
from quarterdeck.workplace.mirror import Mirror

DIFF_LIMIT = 60_000


class Reviews:
    """Performs the review node."""

    def __init__(self, journal: Journal, workshop: Workshop, sessions: Sessions) -> None:
        self._journal = journal
        self._workshop = workshop
        self._sessions = sessions

    async def __call__(self, duty: Duty) -> Result:
        config = duty.briefing.config
        name: str = config.deck.review.agent or "reviewer"
        tried: list[str] = []
        number = 0
        while True:
            tried.append(name)
            to = successor(name, tried, config.agents, config.deck, "review")
            other = to if to != HUMAN else None
            result, number = await self._by(duty, agent_of(duty.briefing, name), number, last=other is None)
            if result.outcome is not Outcome.FAILED or _final(result) or other is None:
                return result
            name = other

    async def _by(self, duty: Duty, reviewer: Agent, number: int, *, last: bool) -> tuple[Result, int]:
        """What one reviewer says, and the number of its last attempt; `number`: the last one before. `last`: there is
        no other one, so that it is heard again also where its handoff had no form."""
        assert duty.task is not None
        deck = duty.briefing.config.deck
        route = routing.of_reviewer(reviewer, deck, duty.state.answered)
        mirror = await self._workshop.mirror(duty.briefing.created.repository)
        change = change_of(duty)
        await mirror.need(change.commit)
        extras = await self._extras(duty, mirror, change) | {"apart_from": route.apart_from}
        result = Result(Outcome.FAILED, reason="the reviewer did not finish", failure=FailureClass.HANDOFF)
        tries = 0
        while tries < deck.limits.attempts:
            number += 1
            attempt = ids.child_attempt(duty.attempt, "review", number)
            state = await self._state(attempt)
            ended = state.nodes.get(Node.REVIEW)
            if ended is not None and ended.earlier != duty.earlier:
                continue  # of an earlier try at this node
            if ended is not None:
                result = await self._on_record(ended)
            else:
                seat = Seat(
                    attempt=attempt,
                    task=duty.task.id,
                    number=number,
                    agent=route.agent,
                    routed=route.why,
                    claim=await self._journal.claim(ids.attempt_stream(attempt)),
                    state=state,
                    briefing=duty.briefing,
                    mirror=mirror,
                    base=change.commit,
                    parent=duty.attempt,
                    extras=extras,
                )
                result = await self._once(seat)
                await self._record(seat.claim, duty, attempt, result)
            tries += 1
            in_vain = result.failure is FailureClass.HANDOFF and not last
            if result.outcome is not Outcome.FAILED or _final(result) or in_vain:
                break
        return result, number

    async def _extras(self, duty: Duty, mirror: Mirror, change: Change) -> dict[str, Any]:
        """What a reviewer is given to read."""
        evidence = RESULTS.validate_json(await self._journal.get(blob)) if (blob := duty.state.checks_blob) else ()
        return {
            "task": duty.task,
            "plan": duty.plan,
            "feedback": duty.feedback,
            "diff": await mirror.diff(change.base, change.commit, limit=DIFF_LIMIT),
            "evidence": await self._named(duty) + summary(evidence, 12_000),
        }

    async def _named(self, duty: Duty) -> str:
        """What validation named: it may be what the reviewer has to decide about."""
        if duty.state.findings_blob is None:
            return ""
        found = REMARKS.validate_json(await self._journal.get(duty.state.findings_blob))
        return f"Validation names:\n{listed(found)}\n\n"

    async def _once(self, seat: Seat) -> Result:
        async with self._sessions.work(seat) as session:
            finished = session.finished
        if finished.outcome is not Outcome.OK:
            return Result(
                finished.outcome,
                reason=f"the reviewer: {finished.reason}"[:2000],
                failure=finished.failure,
                feedback=finished.feedback,
            )
        review = finished.handoff
        if not isinstance(review, Review):
            return Result(Outcome.FAILED, reason="the reviewer handed in no review", failure=FailureClass.HANDOFF)
        blob = await self._journal.put(review.model_dump_json().encode())
        if review.verdict == "accept":
            return Result(Outcome.OK, result_blob=blob)
        lines = [f"{item.path}:{item.line or ''} {item.problem}" for item in review.findings]
        piece = Feedback(source="review", reason=review.summary[:2000], detail="\n".join(lines)[:24_000])
        return Result(Outcome.CHANGE, reason=review.summary[:2000], feedback=(piece,), result_blob=blob)

    async def _record(self, claim: Claim, duty: Duty, attempt: str, result: Result) -> None:
        event = e.NodeFinished(
            node=Node.REVIEW,
            outcome=result.outcome,
            task=duty.task.id if duty.task is not None else None,
            attempt=attempt,
            reason=result.reason[:2000],
            failure=result.failure,
            feedback_blob=await feedback_store.save(self._journal, (), result.feedback),
            result_blob=result.result_blob,
            earlier=duty.earlier,
        )
        await self._journal.append(claim, event)

    async def _on_record(self, event: e.NodeFinished) -> Result:
        return Result(
            event.outcome,
            reason=event.reason,
            failure=event.failure,
            feedback=await feedback_store.load(self._journal, event.feedback_blob),
            result_blob=event.result_blob,
        )

    async def _state(self, attempt: str) -> AttemptState:
        state, after = AttemptState(), 0
        while records := await self._journal.read(ids.attempt_stream(attempt), after=after):
            for record in records:
                apply_attempt(state, record.event, record.at)
            after = records[-1].seq
        return state


def _final(result: Result) -> bool:
    return result.failure is not None and RECOVERY[result.failure].stops_run
