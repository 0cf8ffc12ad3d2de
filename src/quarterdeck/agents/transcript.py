"""The transcript of an attempt: a pure fold of its stream.

Rules
- What is sent to a model is what this fold says, before a crash and after it, so a request repeated after a resume is
  the same to the byte, and everything that was sent before stays a prefix of it.
- All results of one turn are one user message; what is said right after them (a reminder) is part of that message.
- A call is known by step and place (`12.0`), not by the provider's id, which need not be unique in an attempt.
- A call beside the transcript (a summary) is asked with `messages = 0`; its answer costs, but is not part of it.
- A higher incarnation means a fresh workspace: the conversation starts anew, what was spent stays spent.
- Bodies are handed in; the fold itself reads nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from quarterdeck.agents.touching import Trace
from quarterdeck.kernel import events as e
from quarterdeck.kernel import ids
from quarterdeck.kernel.entities import TodoItem, Usage
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.models.port import Message, StopReason, Text, ToolCall, ToolOutcome

RECENT: Final = 12
"""Among how many calls a repetition is looked for."""


def encode(message: Message) -> bytes:
    """The message as it is stored. ASCII, because arguments may hold half a surrogate pair."""
    return json.dumps(message.model_dump(), separators=(",", ":")).encode()


def decode(data: bytes) -> Message:
    """The message of `encode`'s bytes."""
    return Message.model_validate(json.loads(data))


def said(*texts: str) -> Message:
    """A user message of these texts."""
    return Message(role="user", blocks=tuple(Text(text=text) for text in texts))


def call_id(step: int, index: int) -> str:
    """The id of the `index`-th call of the answer at `step`."""
    return f"{step}.{index}"


@dataclass(frozen=True, slots=True)
class Owed:
    """A tool call of the last answer that has no outcome yet."""

    id: str
    call: ToolCall
    intent: e.ToolIntended | None
    """Recorded before a crash: the call may have taken effect."""


@dataclass(slots=True)
class Transcript:
    """Where an attempt stands."""

    messages: list[Message] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    step: int = 0
    turns: int = 0
    """Answers of the model, asides not counted."""
    asked: e.ModelAsked | None = None
    """A model call without outcome."""
    errors: list[e.ModelErred] = field(default_factory=list)
    """Failures of the current step, in order."""
    tries: int = 0
    too_long: bool = False
    """The provider found the prompt too long, and nothing was done about it yet."""
    squeezes: int = 0
    """Compactions since the last answer that were made because of that."""
    model: str = ""
    """The model that was asked last."""
    stop: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_nusd: int = 0
    seconds: float = 0.0
    """Spent in model and tool calls."""
    measured: tuple[str, int, int] = ("", 0, 0)
    """(model, messages, prompt tokens) of the last answer: what the wire said about the transcript's size."""
    todo: tuple[TodoItem, ...] = ()
    todo_turn: int = 0
    notes: list[str] = field(default_factory=list)
    delegated: dict[str, e.Delegated] = field(default_factory=dict)
    """By call."""
    reminded: dict[str, int] = field(default_factory=dict)
    """Reason of a reminder to the turn of its last one."""
    silent: int = 0
    """Answers without a tool call, in a row."""
    empty: int = 0
    refused_submits: int = 0
    handoff: Mapping[str, Any] | None = None
    """What an accepted `submit` handed in."""
    question: str = ""
    """Asked of a person; the answer goes to the next attempt."""
    heard: set[str] = field(default_factory=set)
    """Messages of people that were passed on."""
    limit: tuple[e.LimitReached, Mapping[str, Any]] | None = None
    incarnation: int = 0
    trace: Trace = field(default_factory=Trace)
    """What it has changed, and what it was warned of."""
    given: bytes | None = None
    """The tools of outside servers that the agent was given, as they were recorded."""
    _calls: tuple[ToolCall, ...] = ()
    _outcomes: dict[str, ToolOutcome] = field(default_factory=dict)
    _intents: dict[str, e.ToolIntended] = field(default_factory=dict)
    _arguments: bytes = b"{}"
    _prints: list[str] = field(default_factory=list)

    def owed(self) -> list[Owed]:
        """Calls of the last answer that are still to be performed, in order."""
        found = []
        for index, call in enumerate(self._calls):
            key = call_id(self.step, index)
            if key not in self._outcomes:
                found.append(Owed(key, call, self._intents.get(key)))
        return found

    def repeats(self) -> int:
        """How often the last call was made lately with the same arguments and the same result; 1 = once."""
        recent = self._prints[-RECENT:]
        return recent.count(recent[-1]) if recent else 0

    def ran(self) -> bool:
        """Whether it has run a command lately."""
        return any(line.startswith("run ") for line in self._prints)


def bodies_of(event: e.EventBase) -> tuple[str, ...]:
    """Digests of the bodies that `apply` needs for this event."""
    match event:
        case e.TranscriptExtended() | e.ModelAnswered():
            return (event.message_blob,)
        case e.ToolDone():
            return (event.result_blob,)
        case e.ToolIntended() if event.tool == "submit":
            return (event.arguments_blob,)
        case e.ContextCompacted():
            return event.messages
        case e.TodoChanged():
            return (event.items_blob,)
        case e.LimitReached():
            return (event.complete_blob,)
        case e.ToolsGiven():
            return (event.tools_blob,)
        case _:
            return ()


def apply(state: Transcript, event: e.EventBase, bodies: Mapping[str, bytes]) -> None:
    """Take one event over. `bodies` holds at least what `bodies_of(event)` names."""
    match event:
        case e.AttemptStarted():
            _started(state, event)
        case e.TranscriptExtended():
            _say(state, decode(bodies[event.message_blob]))
            if event.why.startswith("reminder:"):
                state.reminded[event.why] = state.turns
        case e.ModelAsked():
            _asked(state, event)
        case e.ModelAnswered():
            _answered(state, event, bodies)
        case e.ModelErred():
            _erred(state, event)
        case e.ToolIntended():
            state._intents[event.call] = event
            if event.tool == "submit":
                state._arguments = bodies[event.arguments_blob]
        case e.ToolDone():
            _done(state, event, bodies)
        case e.ContextCompacted():
            state.messages = [decode(bodies[digest]) for digest in event.messages]
            state.digests = list(event.messages)
            state.measured, state.errors, state.tries = ("", 0, 0), [], 0
            state.squeezes += state.too_long
            state.too_long = False
        case e.TodoChanged():
            state.todo = tuple(TodoItem(**item) for item in json.loads(bodies[event.items_blob]))
            state.todo_turn = state.turns
        case e.NoteRecorded():
            state.notes.append(event.text)
        case e.QuestionAsked():
            state.question = event.question
        case e.Delegated():
            state.delegated[event.call] = event
        case e.MessageDelivered():
            state.heard.add(event.message)
        case e.ToolsGiven():
            state.given = bodies[event.tools_blob]
        case e.AttemptTouched() | e.AttemptWarned():
            state.trace.apply(event)
        case e.LimitReached():
            state.limit = (event, json.loads(bodies[event.complete_blob]))
        case _:
            pass


def _started(state: Transcript, event: e.AttemptStarted) -> None:
    if event.incarnation > state.incarnation > 0 and state.messages:
        fresh = Transcript(
            step=state.step, turns=state.turns, asked=state.asked, usage=state.usage, cost_nusd=state.cost_nusd,
            seconds=state.seconds, notes=state.notes, delegated=state.delegated,
        )  # fmt: skip
        for name in Transcript.__dataclass_fields__:
            setattr(state, name, getattr(fresh, name))
    state.incarnation = event.incarnation


def _say(state: Transcript, message: Message) -> None:
    """Append; a second user message in a row becomes part of the first."""
    if state.messages and state.messages[-1].role == message.role == "user":
        last = state.messages.pop()
        state.digests.pop()
        message = Message(role=message.role, blocks=(*last.blocks, *message.blocks))
    state.messages.append(message)
    state.digests.append(ids.digest(encode(message)))


def _asked(state: Transcript, event: e.ModelAsked) -> None:
    if event.step != state.step:
        state.errors, state.tries = [], 0
    state.step, state.asked, state.model = event.step, event, event.model
    state.tries += 1


def _spend(state: Transcript, event: e.ModelAnswered | e.ModelErred) -> None:
    state.usage = state.usage + event.usage
    state.cost_nusd += event.cost_nusd


def _answered(state: Transcript, event: e.ModelAnswered, bodies: Mapping[str, bytes]) -> None:
    asked, state.asked, state.errors = state.asked, None, []
    _spend(state, event)
    state.seconds += event.seconds
    if asked is not None and asked.messages == 0:
        return
    state.turns += 1
    state.stop, state.too_long, state.squeezes = event.stop, False, 0
    message = decode(bodies[event.message_blob])
    if not event.estimated:
        state.measured = (event.model, len(state.messages), event.usage.prompt)
    state._calls, state._outcomes, state._intents = message.calls, {}, {}
    spoken = bool(message.calls) or bool(message.text.strip()) or event.stop == StopReason.PAUSED
    state.empty = 0 if spoken else state.empty + 1
    if spoken:
        _say(state, message)
    if message.calls:
        state.silent = 0
    elif event.stop != StopReason.PAUSED:
        state.silent += 1


def _erred(state: Transcript, event: e.ModelErred) -> None:
    aside = state.asked is not None and state.asked.messages == 0
    state.asked = None
    _spend(state, event)
    if aside and event.failure is FailureClass.INFRASTRUCTURE:
        return  # a summary that was interrupted: nothing is to be sent again as it was
    state.errors.append(event)
    if event.failure is FailureClass.CONTEXT and not aside:
        state.too_long = True


def _done(state: Transcript, event: e.ToolDone, bodies: Mapping[str, bytes]) -> None:
    intent = state._intents.pop(event.call, None)
    index = int(event.call.rsplit(".", 1)[1])
    text = bodies[event.result_blob].decode()
    state._outcomes[event.call] = ToolOutcome(id=state._calls[index].id, text=text, error=not event.ok)
    state.seconds += event.seconds
    arguments = intent.arguments_hash if intent is not None else ""
    state._prints = [*state._prints, f"{event.tool} {arguments} {event.ok} {event.result_blob}"][-RECENT:]
    if event.tool == "submit":
        if event.ok:
            state.handoff = json.loads(state._arguments)
        elif "message-first" not in event.flags:
            state.refused_submits += 1
    if len(state._outcomes) == len(state._calls) or "ends" in event.flags:
        ordered = [state._outcomes.get(call_id(event.step, at)) for at in range(len(state._calls))]
        skipped = "Not performed: the work had ended before this call."
        blocks = tuple(
            outcome or ToolOutcome(id=call.id, text=skipped, error=True)
            for call, outcome in zip(state._calls, ordered, strict=True)
        )
        _say(state, Message(role="user", blocks=blocks))
        state._calls, state._outcomes, state._intents = (), {}, {}
