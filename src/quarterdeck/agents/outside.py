"""The desk of an attempt whose agent is not our loop: what it is to do, and how it hands in, asks, notes, delegates.

Rules
- The same tools, handoffs, action gate and limits as the native loop's; every call is an intent with the policy's
  decision and an outcome in the attempt's stream.
- A call belongs to the desk, not to the connection that it came over: where that is lost, the call goes on, and the
  same request made again gets the same answer. It is known by what the client calls it, its tool and its arguments.
- A handoff is refused as often as the failure table allows, with the schema's problems and an example; then the
  attempt is over. An accepted one, or a question, ends the work: nothing after it is performed.
- A person's message comes with the next answer, and a handoff that was made without knowing it is not taken. What
  others change of what this agent has changed comes with it too.
- Bounded: calls under way, calls in all. What goes beyond is answered and not recorded.
- What a dead process left without an outcome is settled when the desk opens again; a delegation waits to be asked for
  again, and its sub-agent goes on.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from quarterdeck.agents import endings, equipment, handoffs, limits, mail, warning
from quarterdeck.agents.gate import ActionGate, action_hash
from quarterdeck.agents.mail import Letter, Mail
from quarterdeck.agents.native import NativeHarness
from quarterdeck.agents.outside_call import CallDesk, Reply, sound_call
from quarterdeck.agents.outside_task import TASK, Look, TaskDocument, briefing, look_around
from quarterdeck.agents.port import Assignment, Finished, Handoff
from quarterdeck.agents.standing import Done, StandingLog
from quarterdeck.agents.surveying import Surveyed
from quarterdeck.agents.transcript import Owed
from quarterdeck.agents.word import Stopwatch
from quarterdeck.journal.views import Views
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.events import Outcome
from quarterdeck.kernel.failures import StaleClaim
from quarterdeck.models.port import Flaw, ToolCall
from quarterdeck.tools.port import Tool, ToolResult
from quarterdeck.tools.shed.shed import NOTHING

_log = logging.getLogger(__name__)

CALLS: Final = "desk-"
"""How the ids of the desk's calls begin."""

REPEAT_SECONDS: Final = 600.0
"""How long the same request is taken for a repetition, where making it again would do no harm."""

_LASTING: Final = frozenset(("note", "submit", "ask", "delegate"))
"""Where it is always taken for one."""

MESSAGE_LIMIT: Final = 8_000

AT_ONCE: Final = 32
"""Calls of one attempt that may be under way."""

MAX_CALLS: Final = 1_000
"""Calls of one attempt that are taken; after them nothing but its end."""


class OutsideDesk:
    """One attempt's desk, reached over MCP with its virtual key."""

    def __init__(self, assignment: Assignment, native: NativeHarness, look: Look) -> None:
        """`native` carries what is delegated; `look`: how the attempt's siblings stand now."""
        self._assignment = assignment
        self._native = native
        self._look = look
        self._ports = native.ports
        self._bounds = limits.bounds_of(assignment)
        self._log = StandingLog(self._ports.journal, assignment.claim, CALLS)
        self._began = self._ports.clock.monotonic()
        self.watch = Stopwatch(self._ports.clock)
        """How long people were waited for; the attempt's wall time stands still then."""
        self._running: dict[str, asyncio.Task[Reply]] = {}
        self._one = asyncio.Lock()
        self._one_delegation = asyncio.Lock()
        self._letters: dict[str, Letter] = {}
        self._spoken = self._calls = 0
        self._closed = False
        self._outside = NOTHING
        self.surveyed = Surveyed(assignment, self._ports.touches, self._ports.clock, self._log)
        """What it changes beside others."""
        self.ended = asyncio.Event()
        """The agent has nothing more to do: `finished` says how it ended."""
        self.told = asyncio.Event()
        """A person's message waits to be delivered."""

    # --- for the harness ----------------------------------------------------------------------------------

    @property
    def handoff(self) -> Handoff | None:
        """What the agent handed in and was accepted."""
        finished = self.finished
        return finished.handoff if finished is not None else None

    @property
    def question(self) -> str | None:
        """What the agent asks a person."""
        return self._log.state.question or None

    @property
    def finished(self) -> Finished | None:
        """How the work ended, as far as the desk knows; None = it has not ended here."""
        state, agent = self._log.state, self._assignment.agent
        if state.handoff is not None:
            found = handoffs.parse(agent.expects, state.handoff, goal=self._assignment.goal)
            if not isinstance(found, handoffs.Refused):
                return Finished(Outcome.OK, handoff=found)
        if state.question:
            return Finished(Outcome.WAITING, reason=state.question[:2000])
        return endings.refused_too_often(state.refused, self._assignment)

    @property
    def closed(self) -> bool:
        return self._closed

    async def open(self) -> None:
        """Take up what is on record. Raises StaleClaim, StoreUnavailable; BadConfiguration and ToolServerFailed where a
        tool of an outside server that the definition names is not to be had."""
        await self._log.catch_up()
        blob = self._log.state.given_blob
        recorded = await self._ports.journal.get(blob) if blob else None
        self._outside = await equipment.equipped(self._assignment, self._ports.shed, self._log, recorded)
        for letter in await mail.waiting(self._ports.journal, self._assignment.attempt, self._log.state.heard):
            self.hear(letter)
        for call, intent in list(self._log.state.intents.items()):
            if intent.tool != "delegate" and not self._log.state.ended:
                await self._settled(call, intent)
        self._look_whether_ended()

    async def close(self, *, keep: bool = False) -> None:
        """Take no more calls, and end those under way. `keep`: the attempt will be taken up again, and a delegation
        then goes on where it is; otherwise what has no outcome gets the one that it was given up."""
        if self._closed:
            return
        self._closed = True
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        await equipment.let_go(self._assignment, self._ports.shed)
        if not keep:
            try:
                await self._give_up()
            except StaleClaim:
                _log.info("%s has another owner, who settles what is open", self._assignment.attempt)

    def message(self, text: str) -> None:
        """A person's message; the next tool result or prompt carries it."""
        self._spoken += 1
        self.hear(Letter(f"{self._assignment.attempt}/{self._assignment.claim.epoch}-{self._spoken}", text))

    def hear(self, letter: Letter) -> None:
        """A person's message that is on record already."""
        if letter.id not in self._log.state.heard:
            self._letters.setdefault(letter.id, Letter(letter.id, letter.text[:MESSAGE_LIMIT], letter.by))
            self.told.set()

    async def take_messages(self) -> tuple[str, ...]:
        """What a person said, for a prompt that is about to be sent: it counts as delivered."""
        letters = self._taken()
        if letters:
            events = (e.MessageDelivered(message=each.id, how="prompt", text=each.text) for each in letters)
            await self._log.append(*events)
        return tuple(each.text for each in letters)

    async def take_warnings(self) -> str:
        """What others change of what the agent has changed, for a prompt that is about to be sent; empty = nothing."""
        warned = await self.surveyed.warned("prompt")
        if warned:
            await self._log.append(*warned)
        return warning.reminder(warned)

    # --- for the agent ------------------------------------------------------------------------------------

    def tools(self) -> dict[str, Tool]:
        """What the agent may call, by name."""
        chosen = equipment.own(self._assignment, self._ports.toolbox, ())
        return {TASK: TaskDocument(lambda: briefing(self._assignment, self._look)), **chosen, **self._outside.shown}

    async def call(self, tool: str, arguments: Mapping[str, Any], request: str = "") -> Reply:
        """Make a call, or answer one that was made before. `request`: what the client calls it, unique for the
        client; empty = that is not known, and no call is taken for another one.

        Raises SandboxFailed, StoreUnavailable, StaleClaim.
        """
        if self._closed:
            return Reply("This attempt is over: its desk is closed. Nothing is taken any more.", ok=False, ended=True)
        await self._log.catch_up()
        asked = sound_call(tool, arguments)
        call, done = self._named(asked.name, asked.arguments, request)
        if done is not None:
            return await self._answer_again(done)
        task = self._running.get(call)
        if task is None:
            if beyond := self._beyond(asked.name):
                return Reply(beyond, ok=False, ended=self.ended.is_set())
            asked = asked.model_copy(update={"id": call})
            task = self._running[call] = asyncio.create_task(self._made(asked))
            task.add_done_callback(lambda ended: self._forget(call, ended))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # not the caller gave up, but the desk
                return Reply("The call was given up: this attempt is over.", ok=False, ended=True)
            raise

    # --- one call -----------------------------------------------------------------------------------------

    def _named(self, tool: str, arguments: Mapping[str, Any], request: str) -> tuple[str, Done | None]:
        """The call's id, and its outcome where it was made before."""
        state, action = self._log.state, action_hash(tool, arguments)
        if tool == "delegate":
            for call, intent in state.intents.items():
                if intent.arguments_hash == action and call not in self._running:
                    return call, None  # its sub-agent was cut off, and goes on
        self._calls += 1
        fresh = f"{self._assignment.claim.epoch}.{self._calls}"
        if not request:
            return f"{CALLS}{fresh}", None
        name = CALLS + ids.digest(f"{request}\0{action}".encode())[:16]
        done = state.done.get(name)
        if done is None:
            return name, None
        recent = self._ports.clock.wall() - done.at <= REPEAT_SECONDS
        if tool in _LASTING or (recent and tool != "task"):
            return name, done
        return f"{name}-{fresh}", None

    def _beyond(self, tool: str) -> str:
        """Why a further call is not even looked at; empty = it is."""
        if len(self._running) >= AT_ONCE:
            return f"Not done: {AT_ONCE} of your calls are under way. Wait for one of them."
        if len(self._log.state.done) < MAX_CALLS or (tool in ("submit", "ask") and not self.ended.is_set()):
            return ""
        return f"Not done: you have made {MAX_CALLS} calls, the most there may be. Hand in with `submit`."

    async def _made(self, asked: ToolCall) -> Reply:
        async with self._one_delegation if asked.name == "delegate" else self._one:
            await self._log.catch_up()
            return await self._perform(asked, self._log.state.intents.get(asked.id))

    async def _perform(self, asked: ToolCall, intent: e.ToolIntended | None) -> Reply:
        """Make the call through the action gate; its outcome is on record afterwards."""
        letters, flaw = self._taken(), self._flaw() or asked.flaw
        if letters and asked.name == "submit" and flaw is None:
            flaw = mail.FIRST
        desk = CallDesk(self._assignment, self._ports, self._log, self._native.work, self._left)
        desk.letters, desk.warned = letters, await self.surveyed.warned("result")
        gate = ActionGate(
            self._assignment, self._ports, self._log, self.tools(), desk, self._outside.hidden, self.watch
        )
        owed = Owed(asked.id, asked.model_copy(update={"flaw": flaw}), intent)
        try:
            if asked.name == "delegate":
                await desk.open()
            result = await gate.perform(owed, max(1.0, self._left()))
            await self._log.recorded()
        except BaseException:
            for letter in letters:  # not known to have been delivered
                self.hear(letter)
            raise
        self._look_whether_ended()
        return self._reply(asked.name, result, tuple(letter.text for letter in letters), desk.warned)

    def _forget(self, call: str, task: asyncio.Task[Reply]) -> None:
        self._running.pop(call, None)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone; what could not be recorded is said by the next call

    def _flaw(self) -> Flaw | None:
        """Why nothing more is taken, or None."""
        finished = self.finished
        if finished is None:
            return None
        how = {Outcome.OK: "your work is handed in", Outcome.WAITING: "your question waits for a person"}
        why = how.get(finished.outcome, finished.reason)
        return Flaw(rule="work-ended", why=f"Not done: {why}. Your work here is over; end your turn.")

    def _reply(
        self, tool: str, result: ToolResult, messages: tuple[str, ...], warned: tuple[e.AttemptWarned, ...]
    ) -> Reply:
        ended = self.ended.is_set()
        document = json.loads(result.text) if tool == "task" and result.ok else None
        return Reply(result.text, result.ok, ended, document, messages, warning.reminder(warned))

    async def _answer_again(self, done: Done) -> Reply:
        text = (await self._ports.journal.get(done.result_blob)).decode()
        heard = self._log.state.heard
        messages = tuple(heard[each] for each in done.messages if each in heard)
        return Reply(text, done.ok, self.ended.is_set(), None, messages, warning.reminder(done.warned))

    # --- beside the calls ---------------------------------------------------------------------------------

    def _taken(self) -> tuple[Letter, ...]:
        letters, self._letters = tuple(self._letters.values()), {}
        self.told.clear()
        return letters

    def _left(self) -> float:
        """Seconds of the attempt's wall time."""
        return self._bounds.wall - (self._ports.clock.monotonic() - self._began - self.watch.seconds)

    def _look_whether_ended(self) -> None:
        if self.finished is not None:
            self.ended.set()

    async def _settled(self, call: str, intent: e.ToolIntended) -> None:
        """Make a call again whose outcome a dead process did not record. It changes nothing but the record."""
        arguments = json.loads(await self._ports.journal.get(intent.arguments_blob))
        await self._perform(ToolCall(id=call, name=intent.tool, arguments=arguments), intent)

    async def _give_up(self) -> None:
        text = "Given up: the attempt ended while this was under way."
        blob = await self._log.put(text.encode())
        for call, intent in list(self._log.state.intents.items()):
            await self._log.append(
                e.ToolDone(
                    step=self._log.state.step,
                    call=call,
                    tool=intent.tool,
                    ok=False,
                    result_blob=blob,
                    flags=("given-up",),
                )
            )


class OutsideDesks:
    """The desks that are open in this process, by virtual key."""

    def __init__(
        self,
        native: Callable[[RunConfig], NativeHarness],
        post: Mail,
        views: Views | None = None,
        make: Callable[[Assignment, NativeHarness, Look], OutsideDesk] = OutsideDesk,
    ) -> None:
        """`native`: the native harness of a run's configuration; `views`: where siblings' state is read from."""
        self._make = make
        self._native = native
        self._post = post
        self._views = views
        self._open: dict[str, tuple[OutsideDesk, str]] = {}
        self._past: dict[str, None] = {}

    async def open(self, key: str, assignment: Assignment) -> OutsideDesk:
        """The desk of that assignment, with what is on record taken up. Raises StaleClaim, StoreUnavailable."""
        look = look_around(assignment, self._views)
        desk = self._make(assignment, self._native(assignment.config), look)
        self._post.listen(assignment.attempt, desk.hear)
        try:
            await desk.open()
        except BaseException:
            self._post.leave(assignment.attempt)
            raise
        self._open[key] = (desk, assignment.attempt)
        return desk

    async def close(self, key: str, *, keep: bool = False) -> None:
        """Close the desk; idempotent. `keep`: see `OutsideDesk.close`."""
        desk, attempt = self._open.pop(key, (None, ""))
        if desk is None:
            return
        self._past[key] = None
        while len(self._past) > PAST_KEYS:
            del self._past[next(iter(self._past))]
        self._post.leave(attempt)
        await desk.close(keep=keep)

    async def close_all(self) -> None:
        """Close what is still open; the attempts may be taken up again."""
        for key in tuple(self._open):
            await self.close(key, keep=True)

    def find(self, key: str) -> OutsideDesk | None:
        """The desk of that key; None = it is not open. `known` tells whether it ever was."""
        return self._open[key][0] if key in self._open else None

    def known(self, key: str) -> bool:
        """Whether the key belongs to a desk that is open, or was."""
        return key in self._open or key in self._past


PAST_KEYS: Final = 1_000
"""How many closed desks are remembered."""
