"""Where an attempt stands whose agent is not our loop: a fold of its stream, as far as its desk has to know.

Rules
- Others write to the stream too (the gateway, the harness). So what is on record is read again before each decision;
  nothing is taken over without having been read.
- A higher incarnation is another beginning: what was handed in or asked before does not count any more; what was
  delegated and spent stays.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from quarterdeck.agents.touching import Trace
from quarterdeck.journal.port import Claim, Journal
from quarterdeck.kernel import events as e

_REFUSALS: Final = frozenset(("refused-handoff", "bad-arguments"))
"""What counts as a handoff without the form that it must have."""


@dataclass(frozen=True, slots=True)
class Done:
    """A call with its outcome."""

    tool: str
    ok: bool
    result_blob: str
    at: float
    messages: tuple[str, ...]
    """What a person said, delivered with it."""
    warned: tuple[e.AttemptWarned, ...] = ()
    """What the agent was warned of with it."""


@dataclass(slots=True)
class Standing:
    """Where the attempt stands."""

    seen: int = 0
    step: int = 0
    cost_nusd: int = 0
    incarnation: int = 0
    delegated: dict[str, e.Delegated] = field(default_factory=dict)
    """By call."""
    intents: dict[str, e.ToolIntended] = field(default_factory=dict)
    """Calls at the desk without an outcome."""
    done: dict[str, Done] = field(default_factory=dict)
    """Calls at the desk with one."""
    heard: dict[str, str] = field(default_factory=dict)
    """Messages of people, id to text."""
    handoff_blob: str = ""
    handoff: Mapping[str, Any] | None = None
    """What an accepted `submit` handed in."""
    question: str = ""
    refused: int = 0
    """Handoffs that were refused."""
    given_blob: str = ""
    """The tools of outside servers that the agent was given."""
    trace: Trace = field(default_factory=Trace)
    """What it has changed, and what it was warned of."""
    _carried: list[str] = field(default_factory=list)
    _warned: list[e.AttemptWarned] = field(default_factory=list)
    _arguments: str = ""

    @property
    def ended(self) -> bool:
        """Whether the agent has nothing more to do here."""
        return self.handoff is not None or bool(self.question)


def apply(state: Standing, event: e.EventBase, at: float, call_prefix: str) -> None:
    """Take one event over; `at` is when it was recorded. Calls whose id does not begin so are not the desk's."""
    match event:
        case e.AttemptStarted():
            if event.incarnation > state.incarnation > 0:
                state.intents, state.done, state.heard, state.refused = {}, {}, {}, 0
                state.handoff_blob, state.handoff, state.question, state.given_blob = "", None, "", ""
                state.trace = Trace()
            state.incarnation = event.incarnation
        case e.ModelAsked():
            state.step = event.step
        case e.ModelAnswered() | e.ModelErred():
            state.cost_nusd += event.cost_nusd
        case e.ToolIntended() if event.call.startswith(call_prefix):
            state.intents[event.call] = event
        case e.ToolDone() if event.call.startswith(call_prefix):
            _done(state, event, at)
        case e.Delegated():
            state.delegated[event.call] = event
        case e.ToolsGiven():
            state.given_blob = event.tools_blob
        case e.QuestionAsked():
            state.question = event.question
        case e.MessageDelivered():
            state.heard[event.message] = event.text
            if event.how == "result":
                state._carried.append(event.message)
        case e.AttemptTouched():
            state.trace.apply(event)
        case e.AttemptWarned():
            state.trace.apply(event)
            if event.how == "result":
                state._warned.append(event)
        case _:
            pass


def _done(state: Standing, event: e.ToolDone, at: float) -> None:
    intent = state.intents.pop(event.call, None)
    carried, state._carried = tuple(state._carried), []
    warned, state._warned = tuple(state._warned), []
    state.done[event.call] = Done(event.tool, event.ok, event.result_blob, at, carried, warned)
    if event.tool == "submit" and event.ok and intent is not None:
        state.handoff_blob = intent.arguments_blob
    elif event.tool == "submit" and not _REFUSALS.isdisjoint(event.flags):
        state.refused += 1


class StandingLog:
    """The attempt's stream as its desk writes it. Implements `Recording`."""

    def __init__(self, journal: Journal, claim: Claim, call_prefix: str) -> None:
        self._journal = journal
        self._claim = claim
        self._prefix = call_prefix
        self._queued: list[asyncio.Future[None]] = []
        self._reading = asyncio.Lock()
        self.state = Standing()

    @property
    def trace(self) -> Trace:
        """What the attempt has changed, as far as it was taken over."""
        return self.state.trace

    async def catch_up(self) -> None:
        """Take over what was recorded since. Raises StoreUnavailable."""
        async with self._reading:
            state = self.state
            while records := await self._journal.read(self._claim.stream, state.seen):
                for record in records:
                    apply(state, record.event, record.at, self._prefix)
                    state.seen = record.seq
            if state.handoff_blob and state.handoff is None:
                state.handoff = json.loads(await self._journal.get(state.handoff_blob))

    async def put(self, data: bytes) -> str:
        """Keep a body that the next events will name; returns its digest."""
        return await self._journal.put(data)

    async def append(self, *events: e.EventBase) -> None:
        """Record events; the standing holds them afterwards. Raises StaleClaim, StoreUnavailable."""
        self.append_soon(*events)
        await self.recorded()

    def append_soon(self, *events: e.EventBase) -> None:
        """Queue events; `recorded` waits for them."""
        self._queued.append(self._journal.append(self._claim, *events))

    async def recorded(self) -> None:
        """Wait until everything is on record, and take it over. Raises StaleClaim, StoreUnavailable."""
        for recording in tuple(self._queued):
            try:
                await asyncio.shield(recording)
            finally:
                if recording in self._queued:  # two calls at once wait for the same
                    self._queued.remove(recording)
        await self.catch_up()
