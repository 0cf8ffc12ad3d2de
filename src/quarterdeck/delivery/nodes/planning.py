"""The plan node: a planner agent proposes a plan; code repairs slips and refuses the rest with the reason.

Rules
- A plan is accepted only if a plan file with the same content would be.
- The planner is told which files decide what the gate checks: a task that has to change one must name it.
- What is wrong is told to the next planning attempt in full.
"""

from quarterdeck.agents.port import Assignment, Handoff
from quarterdeck.delivery.assigning import PLANNER
from quarterdeck.delivery.nodes.node import Duty, Result
from quarterdeck.delivery.nodes.session import Seat, Sessions, agent_of
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.delivery.plans.ownership import check_given, owners_told
from quarterdeck.delivery.plans.plan import check_plan, repair_plan
from quarterdeck.delivery.validation import judges
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import Feedback, Plan
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import BadPlan, FailureClass


def inspect(assignment: Assignment, handoff: Handoff) -> tuple[str, ...]:
    """Problems of a handoff that its schema cannot see; told to the agent when it submits."""
    if not isinstance(handoff, Plan):
        return ()
    try:
        plan = repair_plan(handoff)[0]
        check_plan(plan, origin="the plan", agents=assignment.config.agents.keys())
        check_given(plan, assignment.config, origin="the plan")
    except BadPlan as error:
        return (str(error),)
    return ()


class Planning:
    """Performs the plan node."""

    def __init__(self, journal: Journal, workshop: Workshop, sessions: Sessions) -> None:
        self._journal = journal
        self._workshop = workshop
        self._sessions = sessions

    async def __call__(self, duty: Duty) -> Result:
        created = duty.briefing.created
        mirror = await self._workshop.mirror(created.repository)
        await mirror.fetch(created.base)
        existing = await mirror.files(created.base)
        seat = Seat(
            attempt=duty.attempt,
            task=ids.PLANNER_TASK,
            number=duty.number,
            agent=agent_of(duty.briefing, PLANNER),
            claim=duty.claim,
            state=duty.state,
            briefing=duty.briefing,
            mirror=mirror,
            base=created.base,
            extras={
                "feedback": duty.feedback,
                "owners": owners_told(duty.briefing.config.agents),
                "judges": judges.told(judges.deciding(duty.briefing.config.deck, existing), existing),
            },
        )
        async with self._sessions.work(seat) as session:
            finished = session.finished
        if finished.outcome is not Outcome.OK:
            return Result(
                finished.outcome, reason=finished.reason, failure=finished.failure, feedback=finished.feedback
            )
        if not isinstance(finished.handoff, Plan):
            return Result(Outcome.FAILED, reason="the planner handed in no plan", failure=FailureClass.HANDOFF)
        plan, notes = repair_plan(finished.handoff)
        try:
            check_plan(plan, origin="the planner's plan", agents=duty.briefing.config.agents.keys())
            check_given(plan, duty.briefing.config, origin="the planner's plan")
        except BadPlan as error:
            piece = Feedback(source="structure", reason=str(error)[:2000])
            return Result(Outcome.FAILED, reason=str(error), failure=FailureClass.HANDOFF, feedback=(piece,))
        blob = await self._journal.put(plan.model_dump_json().encode())
        return Result(Outcome.OK, reason="; ".join(notes), result_blob=blob)
