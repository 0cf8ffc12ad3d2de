"""One agent at work in one workspace: the part that implementing, reviewing and planning have in common.

Rules
- The workspace is complete before `attempt.started` is recorded; what is on record can be attached again.
- After a crash a harness that can resume goes on in its workspace. One that cannot, and had begun, starts again in a
  fresh workspace under a higher incarnation; the old workspace is kept until the run ends.
- Where workers have homes of their own, another one makes the workspace anew from what was last kept of it: our own
  loop goes on there, and what an agent left when it ended is handed in from there.
- A harness whose end is on record is not started again.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from quarterdeck.agents import handoffs
from quarterdeck.agents.port import Assignment, Finished, HarnessAdapter, Keep, nothing_kept
from quarterdeck.agents.routing import tiered
from quarterdeck.delivery.briefing import Briefing
from quarterdeck.delivery.keeping import keep_workspace
from quarterdeck.delivery.nodes.workshop import Workshop
from quarterdeck.govern.chain import DayCaps, chain_of
from quarterdeck.govern.port import Chain
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import probes
from quarterdeck.kernel.attempts import AttemptState
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Feedback, Harness
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import BadConfiguration, MissingPart
from quarterdeck.workplace.depot import Depot
from quarterdeck.workplace.history import COMMITTER
from quarterdeck.workplace.mirror import Mirror
from quarterdeck.workplace.port import Gear, Sandbox, Spec


@dataclass(frozen=True, slots=True)
class Seat:
    """Who works where on what."""

    attempt: str
    task: str
    number: int
    agent: Agent
    claim: Claim
    state: AttemptState
    briefing: Briefing
    mirror: Mirror
    base: str
    tree: str | None = None
    """Files to start with, where they are not the base's."""
    parent: str | None = None
    routed: str = ""
    """Why it asks other models than its agent usually does."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the `Assignment` beyond those above."""


@dataclass(frozen=True, slots=True)
class Session:
    """A harness that has ended, with its workspace still open."""

    finished: Finished
    sandbox: Sandbox
    base: str
    started_at: float


@dataclass(frozen=True, slots=True)
class _Seated:
    """An open workspace, and since when whose it is."""

    sandbox: Sandbox
    started: e.AttemptStarted
    at: float
    remade: bool = False
    """Made anew from what another worker kept of it."""
    kept: str | None = None
    """The commit that holds the same files; None = that is not known."""


def agent_of(briefing: Briefing, name: str) -> Agent:
    """The definition of that agent. Raises BadConfiguration."""
    agent = briefing.config.agents.get(name)
    if agent is None:
        raise BadConfiguration(f"there is no agent called {name}", fix="quarterdeck agents lists those there are")
    return agent


def workspace_of(attempt: str, incarnation: int) -> str:
    """Name of the workspace of an attempt's incarnation."""
    return f"{attempt}-{incarnation}"


class Sessions:
    """Puts agents to work."""

    def __init__(
        self,
        journal: Journal,
        workshop: Workshop,
        harnesses: Callable[[RunConfig], Mapping[Harness, HarnessAdapter]],
        days: Callable[[RunConfig], DayCaps],
        clock: Clock,
    ) -> None:
        """`days`: what may be spent in a day now, by the runs of that configuration."""
        self._journal = journal
        self._days = days
        self._clock = clock
        self._workshop = workshop
        self._harnesses = harnesses

    @asynccontextmanager
    async def work(self, seat: Seat) -> AsyncIterator[Session]:
        """Seat the agent, let it work, and hand out its workspace. Raises what the port of harnesses lets through."""
        harness = self._harnesses(seat.briefing.config).get(seat.agent.harness)
        if harness is None:
            raise MissingPart(f"the {seat.agent.harness} harness is not there yet (agent {seat.agent.name})")
        harness.prepare(seat.agent, seat.briefing.config)
        seated = await self._seated(seat, harness)
        try:
            probes.hit("workspace.ready")
            finished = await self._on_record(seat, seated.started)
            if finished is None:
                finished = await harness.work(self._assignment(seat, seated))
            yield Session(finished, seated.sandbox, seated.started.base, seated.at)
        finally:
            await self._workshop.leave(seat.briefing.config, seated.started.workspace, seated.sandbox)

    async def _seated(self, seat: Seat, harness: HarnessAdapter) -> _Seated:
        started = seat.state.started
        gear = await harness.gear(seat.agent, seat.briefing.config)
        begun = started is not None and seat.state.harness_started >= started.incarnation
        seated = None
        if started is not None and (harness.resumable or not begun or seat.state.harness_finished is not None):
            seated = await self._again(seat, started, gear, resumable=harness.resumable and not gear.home)
        seated = seated or await self._fresh(seat, started, gear)
        if seat.mirror.depot is not None:
            self._workshop.take_seat(seated.started.workspace, seat.claim.epoch)
        return seated

    async def _again(self, seat: Seat, started: e.AttemptStarted, gear: Gear, *, resumable: bool) -> _Seated | None:
        """The workspace that is on record, as it was left; None where nobody knows what it held.

        `resumable`: the files are all that the agent needs in order to go on.
        """
        config, depot, at = seat.briefing.config, seat.mirror.depot, seat.state.started_at
        spec = await self._workshop.spec(config, seat.mirror, started.workspace, started.base, network=True, gear=gear)
        if depot is None or self._workshop.sat_last(started.workspace, seat.claim.epoch):
            sandbox = await self._workshop.attach(config, spec)
            if sandbox is not None:
                return _Seated(sandbox, started, at)
        ended = seat.state.harness_finished is not None
        if depot is None or not (ended or resumable):
            return None
        sandbox = await self._remade(seat, depot, started, spec, ended=ended)
        return _Seated(sandbox, started, at, remade=True) if sandbox is not None else None

    async def _fresh(self, seat: Seat, started: e.AttemptStarted | None, gear: Gear) -> _Seated:
        """A workspace under the next incarnation."""

        async def announce(commands: tuple[str, ...]) -> None:
            await self._journal.append(seat.claim, e.EnvironmentBuilding.of(commands))

        config = seat.briefing.config
        incarnation = 1 if started is None else started.incarnation + 1
        base = seat.base if started is None else started.base
        workspace = workspace_of(seat.attempt, incarnation)
        spec = await self._workshop.spec(
            config, seat.mirror, workspace, base, network=True, announce=announce, gear=gear
        )
        sandbox = await self._workshop.create(config, spec, base, seat.tree)
        event = e.AttemptStarted(
            run=seat.briefing.created.run,
            task=seat.task,
            number=seat.number,
            agent=seat.agent.name,
            harness=seat.agent.harness,
            incarnation=incarnation,
            base=base,
            workspace=workspace,
            parent=seat.parent,
            tier=seat.agent.tier if tiered(seat.agent) else "",
            routed=seat.routed,
        )
        try:
            await self._journal.append(seat.claim, event)
        except BaseException:
            await sandbox.close()
            raise
        record = await self._journal.last(seat.claim.stream)
        return _Seated(
            sandbox, event, record.at if record is not None else 0.0, kept=base if seat.tree is None else None
        )

    async def _remade(
        self, seat: Seat, depot: Depot, started: e.AttemptStarted, spec: Spec, *, ended: bool
    ) -> Sandbox | None:
        """The workspace as another worker kept it; None where what it held is not known.

        `ended`: the agent's end is on record, and with it what it left, or nothing was kept.
        """
        kept = await depot.snapshot(started.workspace)
        if (kept is None and ended) or (kept is not None and (not kept.commit or kept.base != started.base)):
            return None
        tree = seat.tree
        if kept is not None:
            tree = await seat.mirror.take(kept, seat.briefing.config.deck.limits.change_bytes * 2)
        return await self._workshop.create(seat.briefing.config, spec, started.base, tree)

    def _keeping(self, seat: Seat, seated: _Seated) -> Keep:
        """Keeps what the workspace holds whenever it is asked to, and nothing where that has not changed."""
        lock, last = asyncio.Lock(), seated.kept
        base, limit = seated.started.base, seat.briefing.config.deck.limits.change_bytes * 2

        async def keep() -> tuple[e.EventBase, ...]:
            nonlocal last
            async with lock:
                try:
                    found = await seated.sandbox.export(
                        base, "What a workspace held", author=COMMITTER, when=0, max_bytes=limit
                    )
                    name = base if found is None else found.commit
                except ValueError:  # too large for a change, or no change at all: the agent will hear that when it ends
                    found, name = None, ""
                if name == last:
                    return ()
                last = name
                return (await keep_workspace(self._journal, seated.sandbox.id, base, name, found),)

        return keep

    async def _on_record(self, seat: Seat, started: e.AttemptStarted) -> Finished | None:
        """How the harness ended before this process began, where it did."""
        end = seat.state.harness_finished
        if end is None or end.incarnation != started.incarnation or seat.state.started is not started:
            return None
        if not end.ok:
            return Finished(Outcome.FAILED, end.reason, end.failure, feedback=await self._said(end))
        if end.handoff_blob is None:
            return Finished(Outcome.OK)
        handoff = handoffs.parse(seat.agent.expects, json.loads(await self._journal.get(end.handoff_blob)))
        return None if isinstance(handoff, handoffs.Refused) else Finished(Outcome.OK, handoff=handoff)

    async def _said(self, end: e.HarnessFinished) -> tuple[Feedback, ...]:
        output = (await self._journal.get(end.output_blob)).decode("utf-8", "replace") if end.output_blob else ""
        return (Feedback(source="agent", reason=end.reason, detail=output[-16_000:]),)

    def _assignment(self, seat: Seat, seated: _Seated) -> Assignment:
        started = seated.started
        taken_up = started is seat.state.started and seat.state.harness_started >= started.incarnation
        return Assignment(
            run=seat.briefing.created.run,
            attempt=seat.attempt,
            number=seat.number,
            incarnation=started.incarnation,
            agent=seat.agent,
            claim=seat.claim,
            sandbox=seated.sandbox,
            config=seat.briefing.config,
            goal=seat.briefing.created.goal,
            chain=self._chain(seat),
            taken_up=taken_up,
            session=seat.state.session if taken_up else "",
            base=started.base,
            keep=self._keeping(seat, seated) if seat.mirror.depot is not None else nothing_kept,
            remade=seated.remade,
            **seat.extras,
        )

    def _chain(self, seat: Seat) -> Chain:
        created, task = seat.briefing.created, seat.extras.get("task")
        return chain_of(
            run=created.run,
            task=seat.task,
            attempt=seat.attempt,
            user=created.user,
            days=self._days(seat.briefing.config),
            now=self._clock.wall(),
            attempt_usd=seat.agent.limits.usd,
            task_usd=task.budget_usd if task is not None else None,
        )
