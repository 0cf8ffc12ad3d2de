"""The approve node: a person's word about a plan or a change is asked for, and taken note of.

Rules
- It asks once and ends by what was decided, in whatever process that was: it is performed again then.
- What was closed with a run that was cancelled is asked again when the run goes on.
- What is approved is exactly what goes on: the hash names the plan, or the change's commit and where it is to land.
- With `risky`, what has no risk that code can name goes on without being asked about.
- A change that is denied goes back to its author with the reason, like one that a reviewer sends back.
"""

from typing import Final, Literal

from quarterdeck.delivery import jobs
from quarterdeck.delivery.nodes.check import change_of
from quarterdeck.delivery.nodes.node import Duty, Result
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.delivery.validation.findings import REMARKS, Remark
from quarterdeck.delivery.validation.risk import Risk, Size, change_risk, plan_risk
from quarterdeck.engine.port import Engine
from quarterdeck.govern.approvals import Approvals
from quarterdeck.journal.port import Journal
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import Asking
from quarterdeck.kernel.entities import Change, Feedback, Plan, Task, Value, to_nusd
from quarterdeck.kernel.events import Node, Outcome

_COUNTED: Final = 4_000_000
"""Characters of a diff whose lines are counted."""


class MergeSubject(Value):
    """What is asked about a change: that it goes to the merge gate of its target."""

    change: Change
    title: str
    into: str
    """The branch."""
    files: int
    added: int
    """Lines."""
    removed: int
    reviewed: bool
    """An agent has looked at it."""
    findings: tuple[str, ...] = ()
    """What validation named."""


def plan_hash(run: str, plan_blob: str) -> str:
    """Names that plan of that run: what its approval is bound to. Pure."""
    return ids.digest(f"plan\n{run}\n{plan_blob}".encode())


def change_hash(change: Change, into: str) -> str:
    """Names that change and where it is to land: what its approval is bound to. Pure."""
    return ids.digest(f"merge\n{change.attempt}\n{change.base}\n{change.commit}\n{change.tree}\n{into}".encode())


class Approving:
    """Performs the approve node."""

    def __init__(
        self, journal: Journal, engine: Engine, views: Views, workshop: Workshop, approvals: Approvals, clock: Clock
    ) -> None:
        self._journal = journal
        self._engine = engine
        self._views = views
        self._workshop = workshop
        self._approvals = approvals
        self._clock = clock

    async def __call__(self, duty: Duty) -> Result:
        if duty.task is not None:
            change = change_of(duty)
            name = change_hash(change, duty.briefing.created.into)
        else:
            assert duty.plan is not None
            change, name = None, plan_hash(duty.run, duty.plan_blob or "")
        approval = ids.approval_id(duty.attempt, name, str(duty.since))
        asked = duty.state.asked.get(approval)
        if asked is None:
            if duty.task is not None and change is not None:
                asked = await self._about_change(duty, duty.task, change, approval, name)
            else:
                assert duty.plan is not None
                asked = self._about_plan(duty, duty.plan, approval, name)
            if asked is None:
                return Result(Outcome.OK, reason="nothing about it is risky")
            await self._ask(duty, asked)
        elif await self._forgotten(asked):
            asked = asked.model_copy(
                update={"expires_at": self._clock.wall() + duty.briefing.config.deck.approve.expires}
            )
            await self._ask(duty, asked)
        decided = await self._approvals.settled(asked)
        return Result(Outcome.OK, waking=jobs.advance(duty.run)) if decided is None else judged(asked, decided)

    async def _ask(self, duty: Duty, asked: e.ApprovalAsked) -> None:
        advance = jobs.advance(duty.run)
        await self._journal.append(duty.claim, asked, also=lambda tx: self._engine.defer(tx, advance))

    async def _forgotten(self, asked: e.ApprovalAsked) -> bool:
        """Whether it was closed with its run before anybody decided."""
        view = await self._approvals.find(asked.approval)
        closed = view is None or view.status != "open"
        return closed and await self._approvals.decided(asked.run, asked.approval) is None

    def _about_plan(self, duty: Duty, plan: Plan, approval: str, name: str) -> e.ApprovalAsked | None:
        created, section = duty.briefing.created, duty.briefing.config.deck.approve
        risk = plan_risk(plan, created.budget_nusd)
        if _passes(section.plan, risk):
            return None
        budgets = [task.budget_usd for task in plan.tasks]
        cost = to_nusd(sum(each or 0.0 for each in budgets)) if all(each is not None for each in budgets) else None
        count = f"{len(plan.tasks)} tasks" if len(plan.tasks) != 1 else "1 task"
        return e.ApprovalAsked(
            approval=approval,
            what="plan",
            run=duty.run,
            agent="" if created.plan_blob is not None else "planner",
            action_hash=name,
            title=f"The plan of {count}: {plan.goal.strip().splitlines()[0]}"[:300],
            subject_blob=duty.plan_blob or "",
            risk=risk.level,
            why=risk.why,
            cost_nusd=min(cost, created.budget_nusd) if cost is not None else created.budget_nusd,
            expires_at=self._clock.wall() + section.expires,
        )

    async def _about_change(
        self, duty: Duty, task: Task, change: Change, approval: str, name: str
    ) -> e.ApprovalAsked | None:
        created, section = duty.briefing.created, duty.briefing.config.deck.approve
        remarks = await self._remarks(duty)
        reviewed = Node.REVIEW in duty.state.nodes
        size, paths = await self._size(created.repository, change)
        risk = change_risk(paths, size, remarks, reviewed=reviewed)
        if _passes(section.merge, risk):
            return None
        subject = MergeSubject(
            change=change,
            title=task.title,
            into=created.into,
            files=size.files,
            added=size.added,
            removed=size.removed,
            reviewed=reviewed,
            findings=tuple(str(remark)[:500] for remark in remarks[:50]),
        )
        spent = sum(cost for _, cost in await self._views.spent_by(duty.run, duty.attempt))
        started = duty.state.started
        return e.ApprovalAsked(
            approval=approval,
            what="merge",
            run=duty.run,
            task=task.id,
            attempt=duty.attempt,
            agent=started.agent if started is not None else "",
            action_hash=name,
            title=f"The change of {task.id}: {task.title}"[:300],
            subject_blob=await self._journal.put(subject.model_dump_json().encode()),
            risk=risk.level,
            why=risk.why,
            cost_nusd=spent,
            expires_at=self._clock.wall() + section.expires,
        )

    async def _remarks(self, duty: Duty) -> tuple[Remark, ...]:
        blob = duty.state.findings_blob
        return REMARKS.validate_json(await self._journal.get(blob)) if blob is not None else ()

    async def _size(self, repository: str, change: Change) -> tuple[Size, tuple[str, ...]]:
        """How large the change is, and the files that it touches."""
        mirror = await self._workshop.mirror(repository)
        await mirror.fetch(change.base)
        await mirror.need(change.commit)
        changes = await mirror.changes(change.base, change.commit)
        added, removed = lines_of(await mirror.diff(change.base, change.commit, limit=_COUNTED))
        return Size(len(changes), added, removed), tuple(item.path for item in changes)


def lines_of(diff: str) -> tuple[int, int]:
    """How many lines a unified diff adds and takes away. Pure."""
    added = removed = 0
    inside = False
    for line in diff.splitlines():
        if line.startswith("diff --git "):
            inside = False
        elif line.startswith("@@"):
            inside = True
        elif inside:
            added += line.startswith("+")
            removed += line.startswith("-")
    return added, removed


def judged(asked: e.ApprovalAsked, decided: e.ApprovalDecided) -> Result:
    """How the node ends by what was decided. Pure."""
    if decided.action_hash != asked.action_hash or decided.verdict == "expired":
        return Result(Outcome.HELD, reason=f"{asked.title}: nobody approved it in time ({asked.approval})"[:2000])
    if decided.verdict == "approve":
        return Result(Outcome.OK, reason=f"approved by {decided.by}")
    what: Literal["plan", "change"] = "plan" if asked.what == "plan" else "change"
    said = decided.reason or "no reason was given"
    reason = f"{decided.by} denied the {what}: {said}"[:2000]
    return Result(Outcome.CHANGE, reason=reason, feedback=(Feedback(source="human", reason=reason, detail=said),))


def _passes(asking: Asking, risk: Risk) -> bool:
    """Whether nobody needs to be asked."""
    return asking == "never" or (asking == "risky" and risk.level == "low")
