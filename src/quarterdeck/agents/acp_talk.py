"""Talking with an agent: one prompt after the other, watched.

Rules
- A turn ends when the agent says so, or when something here has had enough: the attempt's wall time, silence, a key
  that gets no further, turns where nobody meters them, an agent that does not stop after its work has ended. It is then
  asked to stop, gets a moment, and is left: whoever started its process kills it.
- Silence is no update and no model call. A heartbeat would not count.
- Every permission request is answered, by the policy, and the answer is on record before the agent gets it. Where a
  person has to be asked first, the agent waits, and its wall time stands still. One that still waits when the agent is
  told to stop is answered with `cancelled`.
- What cannot be recorded ends the talk: an agent does not work off the record.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from quarterdeck.agents import acp_asked, acp_permissions
from quarterdeck.agents.acp_record import Recorder
from quarterdeck.agents.acp_updates import Fact, Said, Updates, shown
from quarterdeck.agents.acp_values import Permission, Turn
from quarterdeck.agents.gate import action_hash
from quarterdeck.agents.limits import Bounds
from quarterdeck.agents.outside import OutsideDesk
from quarterdeck.agents.port import Assignment
from quarterdeck.agents.word import Asking, Word
from quarterdeck.gateway.port import Metering
from quarterdeck.govern.approvals import Approvals
from quarterdeck.govern.policy import AskFirst, decide_safely
from quarterdeck.govern.port import Action, Decision, Policy
from quarterdeck.kernel import events as e
from quarterdeck.kernel.clock import Clock
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import AgentFailed, FailureClass, QuarterdeckError
from quarterdeck.tools.bounds import readable

if TYPE_CHECKING:  # it loads the protocol's SDK
    from quarterdeck.agents.acp_client import Conversation

_TICK: Final = 0.25
_ARGUMENTS: Final = 16 * 1024
_REFUSED: Final = 20
PERMISSIONS: Final = 5_000
"""Requests of one attempt; more than this is a flood."""
LIGHT: Final = 64 * 1024
"""Characters of what was announced; a request about more of them counts as several, because all of it is read anew."""

Why = Literal["task", "message", "nudge", "refused", "resumed"]
Cut = Literal["wall", "silent", "stopped", "turns", "lingers", "flood"]
"""Why a turn was cut short."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds."""

    start: float | None = None
    """Until it greets and until its session has begun, each; None = as its profile says."""
    first: float = 300.0
    """Until the first sign of life of a turn."""
    idle: float = 1200.0
    """Between two signs of life; a long command of the agent shows none."""
    lingering: float = 30.0
    """For ending its turn, once its work has ended or its key gets no further."""
    stopping: float = 5.0
    """For ending its turn, once it was asked to."""
    session: float = 60.0
    """For each request that is no prompt."""


@dataclass(frozen=True, slots=True)
class Talked:
    """How a turn went."""

    stop: str
    """What the agent says: one of ACP's stop reasons; empty = it did not say."""
    cut: Cut | None = None
    failed: AgentFailed | None = None


class Talk:
    """One attempt's conversation. Hears the agent (`Listener`)."""

    def __init__(
        self,
        assignment: Assignment,
        recorder: Recorder,
        policy: Policy,
        approvals: Approvals | None,
        clock: Clock,
        desk: OutsideDesk,
        meter: Callable[[], Metering] | None,
        bounds: Bounds,
        patience: Patience,
        began: float,
        fields: bool = False,
    ) -> None:
        """`meter`: what the gateway knows; None = it sees none of the calls. `began`: monotonic seconds. `fields`: that
        of the agent's profile (`tool_fields`)."""
        self._assignment = assignment
        self._recorder = recorder
        self._policy = AskFirst(policy, assignment.config.deck.approve.tools)
        self._asking = Asking(assignment, approvals, clock, desk.watch) if approvals is not None else None
        self._used: set[str] | None = None
        """Approvals that are over."""
        self._clock = clock
        self._desk = desk
        self._meter = meter
        self._bounds = bounds
        self._patience = patience
        self._began = began
        self._fields = fields
        self._workspace = assignment.sandbox.where("/workspace")
        self._alive = began
        self._heard = False
        self._calls = 0
        self._asked = 0
        self._lingers: float | None = None
        self._reported = (Usage(), 0)
        self.updates = Updates()
        self.turns = 0
        self.cancelled = False
        self._stopping = asyncio.Event()
        self.last_words = ""
        self.refused: list[str] = []
        """What was asked for in this turn and not allowed, with the reasons."""
        self.broken: QuarterdeckError | None = None
        """Why nothing can be recorded any more."""

    # --- hearing ------------------------------------------------------------------------------------------

    async def updated(self, update: Mapping[str, Any]) -> None:
        """See `Listener`."""
        self._alive, self._heard = self._clock.monotonic(), True
        facts = self.updates.take(update)
        self._heed(facts)
        await self._recording(self._recorder.keep(facts))

    async def permission(self, asked: Permission) -> str | None:
        """See `Listener`."""
        self._alive, self._heard = self._clock.monotonic(), True
        announced = self.updates.announced(asked.call)
        self._asked += 1 + (announced.size // LIGHT if announced is not None else 0)
        if self._asked > PERMISSIONS:
            return None
        asked = acp_asked.whole(asked, announced)
        action = acp_permissions.action_of(
            self._assignment, asked, self._workspace, self._desk.tools(), fields=self._fields
        )
        arguments = json.loads(json.dumps(action.arguments, default=str))
        word = await self._word(action, arguments, acp_permissions.unknown(asked))
        decision = word.decision
        self._alive = self._clock.monotonic()
        chosen = acp_permissions.choose(None if self.cancelled else decision, asked.options)
        if decision.verdict != "allow":
            self.refused.append(f"{asked.title[:300] or action.tool}: {decision.reason or decision.verdict}")
            del self.refused[:-_REFUSED]
        decided = e.PermissionDecided(
            call=readable(asked.call)[:200],
            tool=action.tool,
            arguments_blob=await self._recorder.blob(shown(arguments, _ARGUMENTS)) or "",
            arguments_hash=action_hash(action.tool, arguments),
            decision=decision.verdict,
            rules=decision.rules,
            answer=next((option.kind for option in asked.options if option.id == chosen), "cancelled")[:40],
            late=self.cancelled,
            approval=word.approval,
            approver=word.by,
        )
        try:
            await self._recording(self._recorder.append(decided))
        except AgentFailed:  # `broken` ends the talk; nothing is allowed that is not on record
            return None
        self._desk.surveyed.stir()
        return chosen

    async def _word(self, action: Action, arguments: Mapping[str, Any], flaw: Decision | None) -> Word:
        """The policy's answer, and a person's where it has to be asked for. `flaw`: why neither is asked."""
        flaw = flaw or acp_permissions.unlisted(self._assignment, action)
        decision = flaw or decide_safely(self._policy, action)
        if decision.verdict != "ask" or self._asking is None:
            return Word(decision)
        if self._used is None:
            self._used = await self._recorder.used()
        name = action_hash(action.tool, arguments)
        while True:
            asked = self._asking.word(
                action, decision, name, str, self._recorder.append, self._recorder.put, self._used
            )
            word = await self._unless_stopped(asked)
            if word is None:
                return Word(
                    Decision("deny", (*decision.rules, "stopped"), "it was told to stop before anybody decided")
                )
            if word.approval is None or word.decision.verdict != "allow":
                return word
            if word.approval not in self._used:  # else another request for the same has used it while this one waited
                self._used.add(word.approval)
                return word

    async def _unless_stopped(self, asked: Coroutine[Any, Any, Word]) -> Word | None:
        """What came of asking; None = the agent was told to stop meanwhile. It needs every answer before it can."""
        asking, stopping = asyncio.create_task(asked), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else None
        finally:
            asking.cancel()
            stopping.cancel()
            await asyncio.gather(asking, stopping, return_exceptions=True)

    async def _recording(self, work: Awaitable[None]) -> None:
        try:
            await work
        except QuarterdeckError as error:
            self.broken = error
            raise AgentFailed("its work cannot be recorded", FailureClass.INFRASTRUCTURE, why=str(error)) from error

    # --- speaking -----------------------------------------------------------------------------------------

    async def turn(self, conversation: "Conversation", session: str, text: str, why: Why) -> Talked:
        """Prompt, and wait until the turn is over. Raises what keeps it from being recorded."""
        self.turns += 1
        self.refused.clear()
        blob = await self._recorder.blob(text)
        await self._recorder.append(e.AgentPrompted(number=self.turns, why=why, prompt_blob=blob or ""))
        began = self._alive = self._clock.monotonic()
        self._heard = False
        prompt = asyncio.create_task(conversation.prompt(session, text))
        try:
            cut = await self._watched(prompt)
            if cut is not None:
                await self._stop(conversation, session, prompt)
        finally:
            prompt.cancel()
            await asyncio.gather(prompt, return_exceptions=True)
        if self.broken is not None:
            raise self.broken
        facts = self.updates.flush()
        self._heed(facts)
        await self._recorder.keep(facts)
        talked, turn = _outcome(prompt, cut)
        await self._recorder.append(self._turned(talked, turn, self._clock.monotonic() - began))
        return talked

    def _heed(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, Said) and not fact.thought:
                self.last_words = fact.text

    async def _watched(self, prompt: "asyncio.Task[Turn]") -> Cut | None:
        """Wait for the turn's end; what cut it short."""
        while not prompt.done():
            await asyncio.wait({prompt}, timeout=_TICK)
            if not prompt.done() and (cut := self._enough()) is not None:
                return cut
        return None

    def _enough(self) -> Cut | None:
        if self.broken is not None:
            return "stopped"
        if self._asked > PERMISSIONS:
            return "flood"
        now, metering = self._clock.monotonic(), self._meter() if self._meter is not None else None
        if metering is not None and metering.calls != self._calls:
            self._calls, self._alive, self._heard = metering.calls, now, True
        if self._desk.watch.waits:
            self._alive = now
        if now - self._began - self._desk.watch.seconds >= self._bounds.wall:
            return "wall"
        stopped = metering is not None and metering.stopped is not None
        if stopped or self._desk.ended.is_set():
            self._lingers = self._lingers or now
            if now - self._lingers >= self._patience.lingering:
                return "stopped" if stopped else "lingers"
        if self._meter is None and self.updates.tool_calls + self.turns > self._bounds.turns:
            return "turns"
        if now - self._alive >= (self._patience.idle if self._heard else self._patience.first):
            return "silent"
        return None

    async def _stop(self, conversation: "Conversation", session: str, prompt: "asyncio.Task[Turn]") -> None:
        self.cancelled = True
        self._stopping.set()
        stopping = asyncio.create_task(conversation.cancel(session))
        await asyncio.wait({prompt}, timeout=self._patience.stopping)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)

    def _turned(self, talked: Talked, turn: Turn | None, seconds: float) -> e.AgentTurned:
        stop = talked.stop or talked.cut or (str(talked.failed) if talked.failed is not None else "")
        if self._meter is not None:
            return e.AgentTurned(number=self.turns, stop=stop[:200], seconds=seconds)
        before, cost_before = self._reported
        usage = turn.usage if turn is not None and turn.usage is not None else before
        cost = max(self.updates.cost_nusd or 0, cost_before)
        self._reported = (usage, cost)
        return e.AgentTurned(
            number=self.turns,
            stop=stop[:200],
            seconds=seconds,
            model=f"{self._assignment.agent.name} (own login)",
            usage=_since(usage, before),
            cost_nusd=cost - cost_before,
            verified=False,
        )


def _outcome(prompt: "asyncio.Task[Turn]", cut: Cut | None) -> tuple[Talked, Turn | None]:
    if prompt.cancelled():
        return Talked("", cut), None
    error = prompt.exception()
    if error is None:
        turn = prompt.result()
        return Talked(turn.stop, cut), turn
    if not isinstance(error, AgentFailed):
        raise error
    return Talked("", cut, error), None


def _since(usage: Usage, before: Usage) -> Usage:
    """What was added; what an agent counts anew in each turn is taken as it is."""
    counts = {
        name: getattr(usage, name) - getattr(before, name) for name in ("input", "cache_read", "cache_write", "output")
    }
    return usage if any(count < 0 for count in counts.values()) else Usage(**counts)
