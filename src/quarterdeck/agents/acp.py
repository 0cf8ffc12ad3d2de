"""The ACP harness: agents that people already use, in our sandbox, on our money.

Rules
- An attempt is one process of the CLI, one session, one virtual key. However it ends, the process group is killed and
  the key is revoked before the outcome is recorded.
- Nothing that the agent says of itself decides: its desk, the gateway and the workspace do (`acp_judge`).
- After a crash of ours it goes on in its workspace: its home, where the CLI keeps its memory of a session, is kept with
  it. A CLI that cannot take its session up, or will not, begins a new one there and is told what it finds.
- A turn that ended without a handoff and without a change is answered with one reminder, then the attempt is over.
- An agent that ends its turn because something was refused is told why, and goes on: a refusal ends no attempt.
- What a person says while it works reaches it with a tool's answer, else as the next prompt. What others change of what
  it has changed comes with a tool's answer, else with the next prompt that is sent anyway.
- A sandbox that dies under it says nothing about the agent: that goes to the caller, who blames nobody.
"""

import asyncio
import importlib
import json
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quarterdeck.agents import acp_judge, acp_login, acp_place, acp_start, endings, handoffs, limits, prompts
from quarterdeck.agents.acp_asked import SERVER
from quarterdeck.agents.acp_judge import Evidence, Reached
from quarterdeck.agents.acp_login import Logins
from quarterdeck.agents.acp_record import Recorder
from quarterdeck.agents.acp_talk import Patience, Talk, Talked, Why
from quarterdeck.agents.acp_values import Begun, Server
from quarterdeck.agents.outside import OutsideDesk, OutsideDesks
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.agents.profiles.port import Context, Installation, Launch, Profile
from quarterdeck.gateway.port import Gateway, Grant, Metering, Opened
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.port import Policy
from quarterdeck.journal.port import Journal
from quarterdeck.kernel import events as e
from quarterdeck.kernel import probes
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import AgentFailed, FailureClass, QuarterdeckError, SandboxDied, StaleClaim
from quarterdeck.tools.bounds import readable
from quarterdeck.workplace.port import WORKSPACE, Gear, Session
from quarterdeck.workplace.profile import PROGRAM
from quarterdeck.workplace.shipping import MCP_BRIDGE

if TYPE_CHECKING:  # it loads the protocol's SDK
    from quarterdeck.agents.acp_client import Conversation

CLIENT: Final = "quarterdeck.agents.acp_client"
PORT: Final = 4110
"""Loopback port at which the gateway's endpoint is seen inside."""
_REFUSALS: Final = 20
"""Turns after which one that ends at a refusal is the last."""
_GRACE: Final = 2.0


class _Forgotten(Exception):
    """Steers the harness: the agent did not take up its earlier session."""


Find = Callable[[Agent], tuple[Profile, Installation]]
"""The CLI of an agent on this machine. Raises BadConfiguration."""


@dataclass(frozen=True, slots=True)
class AcpPorts:
    """What the harness is built from."""

    journal: Journal
    policy: Policy
    clock: Clock
    gateway: Gateway
    desks: OutsideDesks
    find: Find
    socket: Callable[[], Awaitable[Path]]
    """The endpoint of gateway and desks, served."""
    ready: Callable[[], Awaitable[object]]
    """Returns once the desks can be reached at it: an agent that finds its server slow goes on without its tools."""
    logins: Logins
    """Of the CLIs' users."""
    patience: Patience = field(default_factory=Patience)
    approvals: Approvals | None = None
    """People's words; None = nobody can be asked here."""


@dataclass(frozen=True, slots=True)
class _Seat:
    """One attempt with everything that it was given."""

    assignment: Assignment
    profile: Profile
    context: Context
    launch: Launch
    models: tuple[str, ...]
    bounds: limits.Bounds
    recorder: Recorder
    opened: Opened
    desk: OutsideDesk
    began: float
    earlier: str
    """The session that the agent is to take up; empty = a new one."""
    forgot: str = ""
    """Why that is a new one although there was one."""


def _longest(seat: _Seat) -> float:
    """Seconds that its process may live: while it waits for a person, its wall time stands still."""
    approve = seat.assignment.config.deck.approve
    return seat.bounds.wall + 60 + (10 * approve.expires if approve.tools else 0.0)


class AcpHarness:
    """Runs agents that speak the Agent Client Protocol."""

    def __init__(self, ports: AcpPorts) -> None:
        self._ports = ports
        self._readying: asyncio.Future[object] | None = None

    @property
    def resumable(self) -> bool:
        return True

    def prepare(self, agent: Agent, config: RunConfig) -> None:
        """Load the protocol's SDK, while the workspace is made."""
        if CLIENT not in sys.modules:
            threading.Thread(target=importlib.import_module, args=(CLIENT,), daemon=True, name="load acp").start()

    def models(self, agent: Agent, config: RunConfig) -> tuple[str, ...]:
        """What the agent will be able to ask for, found with its CLI. Raises BadConfiguration."""
        profile, _ = self._ports.find(agent)
        self._ports.logins.check(agent, profile)
        return acp_start.models_of(agent, profile, config)

    async def gear(self, agent: Agent, config: RunConfig) -> Gear:
        """The way to the gateway, the CLI itself, and what its processes need."""
        profile, installation = self._ports.find(agent)
        acp_start.models_of(agent, profile, config)
        own, appetite = acp_login.own_login(agent), profile.appetite
        if self._readying is None:  # while the workspace is made; whoever begins to work waits for it
            self._readying = asyncio.ensure_future(self._ports.ready())
            self._readying.add_done_callback(lambda done: done.cancelled() or done.exception())
        return Gear(
            bridges={PORT: await self._ports.socket()},
            mounts=installation.mounts,
            hosts=profile.login.hosts if own and profile.login is not None else (),
            memory_bytes=appetite.memory_bytes,
            processes=appetite.processes,
            open_files=appetite.open_files,
            home=True,
        )

    async def work(self, assignment: Assignment) -> Finished:
        """Carry the attempt to its end. Raises SandboxFailed, StoreUnavailable, StaleClaim."""
        try:
            profile, installation = self._ports.find(assignment.agent)
            async with self._ports.logins.turn(assignment.agent, profile):
                return await self._work(assignment, profile, installation)
        except StaleClaim:
            raise
        except QuarterdeckError as error:
            if error.failure is FailureClass.INFRASTRUCTURE:
                raise
            kind = error.kind if isinstance(error, AgentFailed) else error.failure
            return endings.failed(f"{error}{f' ({error.fix})' if error.fix else ''}", kind)

    async def _work(self, assignment: Assignment, profile: Profile, installation: Installation) -> Finished:
        ports, agent = self._ports, assignment.agent
        began, bounds = ports.clock.monotonic(), limits.bounds_of(assignment)
        models = acp_start.models_of(agent, profile, assignment.config, assignment.apart_from)
        recorder = Recorder(ports.journal, assignment.claim)
        detail = {"profile": profile.name, "version": installation.version, "login": agent.login, "models": models}
        await recorder.append(e.HarnessStarted(incarnation=assignment.incarnation, detail=json.dumps(detail)[:4000]))
        probes.hit("harness.started")
        opened = await ports.gateway.grant(_grant(assignment, models, bounds))
        ended = False
        try:
            desk = await ports.desks.open(opened.key, assignment)
            url = f"http://127.0.0.1:{assignment.sandbox.port(PORT)}"
            context = acp_start.context_of(assignment, installation, models, opened.key, url)
            launch = profile.launch(context)
            seat = _Seat(
                assignment, profile, context, launch, models, bounds, recorder, opened, desk, began,
                assignment.session,
            )  # fmt: skip
            evidence, code = await self._attend(seat, url)
            ended = True
        finally:
            await _settle(ports.gateway.revoke(opened.key, "its attempt is over"))
            await _settle(ports.desks.close(opened.key, keep=not ended))
            await _settle(ports.logins.remove(assignment, profile))
        probes.hit("harness.finished")
        return await self._record(seat, evidence, code)

    async def _attend(self, seat: _Seat, url: str) -> tuple[Evidence, int | None]:
        """Start the process, talk with it, and end it."""
        ports, sandbox = self._ports, seat.assignment.sandbox
        await ports.logins.bring(seat.assignment, seat.profile)
        await acp_login.write_home(sandbox, iter(seat.launch.files.items()))
        found = await (
            acp_place.state(sandbox)
            if not seat.assignment.taken_up
            else acp_place.untouched(sandbox, seat.assignment.base)
        )
        await asyncio.to_thread(importlib.import_module, CLIENT)
        await ports.ready()
        if seat.desk.finished is not None:  # it had handed in before the crash
            return Evidence(Talked("end_turn"), seat.desk.finished, True), None
        try:
            return await self._talk(seat, url, found)
        except _Forgotten as forgotten:
            return await self._talk(replace(seat, earlier="", forgot=str(forgotten)[:1000]), url, found)

    async def _talk(self, seat: _Seat, url: str, found: str) -> tuple[Evidence, int | None]:
        """One process of the agent from its start to its end. Raises _Forgotten."""
        ports, sandbox = self._ports, seat.assignment.sandbox
        client: Any = sys.modules[CLIENT]
        try:
            session = await acp_start.start(sandbox, seat.launch, seat.context.installation, _longest(seat))
        except OSError as error:
            failed = AgentFailed(f"{seat.profile.title} cannot be started", FailureClass.TOOL, why=str(error))
            return Evidence(Talked("", failed=failed), seat.desk.finished, False), None
        talk = Talk(
            seat.assignment, seat.recorder, ports.policy, ports.approvals, ports.clock, seat.desk, self._meter(seat),
            seat.bounds,
            ports.patience, seat.began, seat.profile.tool_fields,
        )  # fmt: skip
        conversation: Conversation = client.Conversation(session, talk)
        watching = asyncio.create_task(seat.desk.surveyed.keep())
        try:
            talked = await self._converse(seat, talk, conversation, url, found)
            process = await acp_place.end_of(session) if conversation.gone else ""
        finally:
            watching.cancel()
            await _settle(_end(session, conversation))
            await asyncio.gather(watching, return_exceptions=True)
        if "died" in session.flags:
            raise SandboxDied(why=f"under `{seat.assignment.agent.name}`")
        await seat.recorder.close_calls(talk.updates.unfinished())
        changed = await acp_place.state(sandbox) != found
        evidence = Evidence(
            talked=talked,
            desk=seat.desk.finished,
            changed=changed,
            stopped=self._metering(seat).stopped,
            process=process,
            stderr=session.stderr_tail().decode("utf-8", "replace"),
            last_words=talk.last_words,
            junk=conversation.junk,
            turns=max(talk.turns, self._metering(seat).calls),
            wall=ports.clock.monotonic() - seat.began - seat.desk.watch.seconds,
        )
        return evidence, await session.wait()

    async def _converse(self, seat: _Seat, talk: Talk, conversation: "Conversation", url: str, found: str) -> Talked:
        """From the first greeting to the last turn."""
        try:
            begun = await self._begun(seat, conversation, url)
        except AgentFailed as error:
            if talk.broken is not None:
                raise talk.broken from error
            return Talked("", failed=error)
        text, why = await self._first(seat, resumed=begun.resumed)
        nudged = False
        while True:
            if talk.turns and (warned := await seat.desk.take_warnings()):
                text = f"{text}\n\n{warned}"
            talked = await talk.turn(conversation, begun.id, text, why)
            stopped = talked.stop == "cancelled" and talked.cut is None and seat.desk.finished is None
            if stopped and talk.refused and talk.turns <= _REFUSALS:
                text, why = prompts.refused(talk.refused), "refused"
                continue
            if talked.stop != "end_turn" or talked.cut is not None or seat.desk.finished is not None:
                return talked
            if self._metering(seat).stopped is not None:
                return talked
            if messages := await seat.desk.take_messages():
                text, why = "\n\n".join(prompts.told(message) for message in messages), "message"
                continue
            changed = await acp_place.state(seat.assignment.sandbox) != found
            if nudged or (changed and seat.assignment.agent.expects == "submission"):
                return talked
            nudged, text, why = True, prompts.nudge(seat.assignment, SERVER), "nudge"

    async def _begun(self, seat: _Seat, conversation: "Conversation", url: str) -> Begun:
        """Greet the agent, and begin a session or take up the earlier one. Raises AgentFailed, _Forgotten."""
        seconds, launch = self._ports.patience.session, seat.launch
        start = self._ports.patience.start or seat.profile.start_seconds
        greeting = await conversation.initialize(start)
        if launch.authenticate is not None:
            await conversation.authenticate(launch.authenticate, seconds)
        bridge = f"{seat.assignment.sandbox.where(PROGRAM)}/{MCP_BRIDGE}"
        server = Server(SERVER, f"{url}/mcp", seat.opened.key, ("python3", "-I", "-S", "-B", bridge))
        over_http = greeting.http_mcp and not launch.stdio_mcp
        place = seat.assignment.sandbox.where(WORKSPACE)
        if seat.earlier and (greeting.can_resume or greeting.can_load):
            try:
                begun = await conversation.take_up(seat.earlier, greeting, place, server, over_http, start, launch.meta)
            except AgentFailed as error:
                raise _Forgotten(str(error)) from error
        else:
            begun = await conversation.begin(place, server, over_http, start, launch.meta)
        if launch.mode in begun.modes:
            await conversation.set_mode(begun.id, launch.mode, seconds)
        for option, value in launch.options.items():
            if value in begun.options.get(option, ()):
                await conversation.set_option(begun.id, option, value, seconds)
        connected = e.AgentConnected(
            name=greeting.name,
            version=greeting.version,
            session=readable(begun.id)[:500],
            profile=seat.profile.name,
            login=seat.assignment.agent.login,
            model=seat.models[0] if seat.models else seat.context.model,
            resumed=begun.resumed,
            forgot=seat.forgot,
        )
        await seat.recorder.append(connected)
        return begun

    async def _first(self, seat: _Seat, *, resumed: bool) -> tuple[str, Why]:
        """The first prompt, with what people said before."""
        if resumed:
            text = prompts.resumed(seat.assignment, SERVER)
        else:
            text = prompts.outside_prompt(seat.assignment, seat.assignment.sandbox.where(WORKSPACE), SERVER)
            text = prompts.left_behind(text) if seat.assignment.taken_up else text
        messages = await seat.desk.take_messages()
        return "\n\n".join([text, *(prompts.told(message) for message in messages)]), "resumed" if resumed else "task"

    def _meter(self, seat: _Seat) -> Callable[[], Metering] | None:
        return None if acp_login.own_login(seat.assignment.agent) else lambda: self._metering(seat)

    def _metering(self, seat: _Seat) -> Metering:
        return self._ports.gateway.metering(seat.opened.key)

    async def _record(self, seat: _Seat, evidence: Evidence, code: int | None) -> Finished:
        journal = self._ports.journal
        finished, reached = acp_judge.judge(seat.assignment, seat.bounds, evidence)
        report = await journal.put(acp_judge.report(evidence))
        handoff = None if finished.handoff is None else await journal.put(handoffs.encode(finished.handoff))
        event = e.HarnessFinished(
            incarnation=seat.assignment.incarnation,
            ok=finished.outcome is Outcome.OK,
            reason=finished.reason[:2000],
            failure=finished.failure,
            exit_code=code,
            handoff_blob=handoff,
            output_blob=report,
        )
        await seat.recorder.append(*await seat.assignment.keep(), *_limit(reached, report), event)
        return finished


def _grant(assignment: Assignment, models: tuple[str, ...], bounds: limits.Bounds) -> Grant:
    return Grant(
        run=assignment.run,
        task=assignment.task_id,
        attempt=assignment.attempt,
        agent=assignment.agent.name,
        claim=assignment.claim,
        chain=assignment.chain,
        models=models,
        config=assignment.config,
        turns=bounds.turns,
        tokens=bounds.tokens,
    )


def _limit(reached: Reached | None, complete: str) -> tuple[e.EventBase, ...]:
    if reached is None:
        return ()
    return (e.LimitReached(limit=reached.limit, used=reached.used, allowed=reached.allowed, complete_blob=complete),)


async def _end(session: Session, conversation: "Conversation") -> None:
    await session.kill(_GRACE if not session.ended else 0.0)
    await conversation.close()


async def _settle(ending: Awaitable[None]) -> None:
    """Finish what has to be finished, also for whoever is cancelled meanwhile."""
    task = asyncio.ensure_future(ending)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
