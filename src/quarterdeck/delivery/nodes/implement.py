"""The implement node: an agent works on a task, and what it changed becomes a change in the mirror.

Rules
- The base is the target's tip when the attempt first starts, and stays so.
- What differs from the base is the change, whatever the agent did with its `.git`. It enters the mirror through a
  strict check and is pinned by a ref before anything else is recorded of it.
- Unfinished work of a failed attempt is pinned too, so that the next one can go on from it.
- An agent that changed nothing has not done the task.
- What people said about the task reaches a program with its task: it cannot be told anything later. What others changed
  meanwhile of what it has changed reaches the task's next attempt.
- Few attempts are begun at a time: where many wait (a resume), the first is soon at work instead of all at once late.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from quarterdeck.agents import routing
from quarterdeck.agents.mail import waiting
from quarterdeck.agents.port import Finished, Sibling
from quarterdeck.delivery.changes import CHANGES, UNFINISHED, shown
from quarterdeck.delivery.keeping import keep
from quarterdeck.delivery.nodes import overlapping
from quarterdeck.delivery.nodes.node import Duty, Result
from quarterdeck.delivery.nodes.session import Seat, Session, Sessions, agent_of
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.journal.port import Journal
from quarterdeck.journal.touches import Touches
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.entities import Agent, Change, Feedback, Harness, Plan, Task
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.kernel.packs import Pack
from quarterdeck.workplace.mirror import Mirror

CARRIED_DIFF = 16_000
"""Bytes of an earlier change that are shown where it does not merge any more."""

_AT_ONCE: Final = max(2, os.cpu_count() or 1)


class Implement:
    """Performs the implement node."""

    def __init__(
        self, journal: Journal, views: Views, touches: Touches, workshop: Workshop, sessions: Sessions, clock: Clock
    ) -> None:
        self._journal = journal
        self._views = views
        self._touches = touches
        self._clock = clock
        self._workshop = workshop
        self._sessions = sessions
        self._few: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
        """By repository."""

    async def __call__(self, duty: Duty) -> Result:
        assert duty.task is not None
        assert duty.plan is not None
        repository = duty.briefing.created.repository
        async with self._few[repository]:
            mirror = await self._workshop.mirror(repository)
            seat = await self._seat(duty, duty.task, duty.plan, mirror)
        async with self._sessions.work(seat) as session:
            return await self._hand_in(duty, duty.task, mirror, session)

    async def _seat(self, duty: Duty, task: Task, plan: Plan, mirror: Mirror) -> Seat:
        base = await self._base(duty, mirror)
        agent = agent_of(duty.briefing, duty.agent or duty.briefing.config.default_agent)
        if duty.carry is not None:
            await mirror.need(duty.carry)
        tree, shown = await carried_over(mirror, base, duty.carry)
        route = routing.of_author(agent, duty.tier)
        status = {row.task: row.status for row in await self._views.tasks(duty.run)}
        under_way = await self._touches.under_way(duty.run, task.id)
        return Seat(
            attempt=duty.attempt,
            task=task.id,
            number=duty.number,
            agent=route.agent,
            routed=route.why,
            claim=duty.claim,
            state=duty.state,
            briefing=duty.briefing,
            mirror=mirror,
            base=base,
            tree=tree,
            extras={
                "task": task,
                "plan": plan,
                "feedback": (*shown, *duty.feedback, *await self._said(agent, duty)),
                "siblings": _siblings(task, plan, status),
                "notes": tuple(await self._views.notes(duty.run)),
                "meetings": overlapping.meetings(duty.run, task, plan, status, under_way),
            },
        )

    async def _said(self, agent: Agent, duty: Duty) -> tuple[Feedback, ...]:
        """What people said about the task, for an agent that cannot be told anything once it works."""
        if agent.harness is not Harness.COMMAND:
            return ()
        letters = await waiting(self._journal, duty.attempt, ())
        return tuple(
            Feedback(source="human", reason=letter.text[:2000], detail=letter.text[2000:]) for letter in letters
        )

    async def _base(self, duty: Duty, mirror: Mirror) -> str:
        created, started = duty.briefing.created, duty.state.started
        base = started.base if started is not None else await mirror.tip(created.into) or created.base
        await mirror.fetch(base)
        return base

    async def _hand_in(self, duty: Duty, task: Task, mirror: Mirror, session: Session) -> Result:
        finished = session.finished
        if finished.outcome not in (Outcome.OK, Outcome.FAILED):
            change = await self._export(duty, task, mirror, session, UNFINISHED)
            return _result(finished, change if isinstance(change, Change) else None, None)
        done = finished.outcome is Outcome.OK
        change = await self._export(duty, task, mirror, session, CHANGES if done else UNFINISHED)
        warned = await self._warned(duty, change) if isinstance(change, Change) else ()
        if not done:
            return _result(finished, change if isinstance(change, Change) else None, None, warned)
        if not isinstance(change, Change):
            reason = change or "the agent says it is done, but nothing differs from the base"
            piece = Feedback(source="structure", reason=reason[:2000])
            return Result(Outcome.FAILED, reason=reason, failure=FailureClass.HANDOFF, feedback=(piece,))
        handoff = finished.handoff
        blob = await self._journal.put(handoff.model_dump_json().encode()) if handoff is not None else None
        return _result(finished, change, blob, warned)

    async def _warned(self, duty: Duty, change: Change) -> tuple[Feedback, ...]:
        """What an agent could not be told while it worked, for whoever tries next."""
        agent = agent_of(duty.briefing, duty.agent or duty.briefing.config.default_agent)
        if agent.harness is not Harness.COMMAND:
            return ()
        warned = await overlapping.untold(self._touches, duty.attempt, change.base, self._clock)
        if warned:
            await self._journal.append(duty.claim, *warned)
        return overlapping.feedback(warned)

    async def _export(self, duty: Duty, task: Task, mirror: Mirror, session: Session, refs: str) -> Change | str | None:
        """The change, pinned in the mirror; a reason why it cannot be taken; None where nothing differs."""
        name = duty.agent or duty.briefing.config.default_agent
        limit = duty.briefing.config.deck.limits.change_bytes * 2
        try:
            exported = await session.sandbox.export(
                session.base,
                task.title,
                author=(name, f"{name}@agents.quarterdeck"),
                when=int(session.started_at),
                max_bytes=limit,
            )
            if exported is None:
                return None
            ref = f"{refs}/{duty.attempt}"
            await mirror.import_change(exported, ref=ref, base=session.base, max_bytes=limit)
        except ValueError as error:
            return f"the change cannot be taken: {error}"
        probes.hit("change.pinned")
        changes = await mirror.changes(session.base, exported.commit)
        touched = await overlapping.settled(self._touches, duty.attempt, mirror, session.base, exported.commit, changes)
        change = Change(
            run=duty.run,
            task=task.id,
            attempt=duty.attempt,
            base=session.base,
            commit=exported.commit,
            tree=exported.tree,
            files=shown(tuple(change.path for change in changes)),
        )
        kept: tuple[e.EventBase, ...] = ()
        if mirror.depot is not None:
            kept = (await keep(self._journal, Pack(exported.commit, (session.base,), exported.pack)),)
        event = e.ChangeExported(change=change, pack_bytes=len(exported.pack))
        await self._journal.append(duty.claim, *kept, *touched, event)
        return change


async def carried_over(mirror: Mirror, base: str, carry: str | None) -> tuple[str | None, tuple[Feedback, ...]]:
    """The previous attempt's work on top of today's base; where it does not merge any more, what it was, to read."""
    if carry is None:
        return None, ()
    merged = await mirror.merge(base, carry)
    if merged.tree is not None:
        return merged.tree, ()
    diff = await mirror.diff(f"{carry}^", carry, limit=CARRIED_DIFF)
    reason = "the earlier change does not merge with what has landed since; this is what it was"
    return None, (Feedback(source="conflict", reason=reason, detail=diff[:24_000]),)


def _siblings(task: Task, plan: Plan, status: Mapping[str, e.TaskStatus]) -> tuple[Sibling, ...]:
    return tuple(
        Sibling(other.id, other.title, str(status.get(other.id, e.TaskStatus.PENDING)), other.paths)
        for other in plan.tasks
        if other.id != task.id
    )


def _result(finished: Finished, change: Change | None, blob: str | None, warned: tuple[Feedback, ...] = ()) -> Result:
    return Result(
        finished.outcome,
        reason=finished.reason,
        failure=finished.failure,
        change=change,
        feedback=(*finished.feedback, *warned),
        result_blob=blob,
    )
