"""From what arrived over the wire to a reply, or to the failure it really is. Pure.

Rules
- No stop reason: cut off. Nothing of it is used.
- A tool call whose arguments are not a JSON object, or whose id came before, is kept as one that cannot be made: the
  model has to be told, and what it said must fit into the next request. The second id gets one of its own.
- Tool calls of a reply that ran into its output limit are dropped.
- What was charged travels with the failure, so that money is right whatever happens.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Protocol

from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models import sound, tokens
from quarterdeck.models.port import Block, Flaw, Message, Opaque, Reply, Request, StopReason, Text, ToolCall

_SHOWN: Final = 500
"""Characters of malformed arguments that the model is shown."""

_ID_LENGTH: Final = 64
"""Longest id of a call that every provider takes."""


@dataclass(frozen=True, slots=True)
class DraftCall:
    """A tool call whose arguments are still text."""

    id: str
    name: str
    arguments: str

    def __post_init__(self) -> None:
        if not all(isinstance(part, str) for part in (self.id, self.name, self.arguments)):
            raise TypeError("a tool call's id, name and arguments are texts")


Part = Text | Opaque | DraftCall


@dataclass(frozen=True, slots=True)
class Draft:
    """What a stream amounted to."""

    parts: tuple[Part, ...] = ()
    stop: StopReason | None = None
    """None = it did not end, or for a reason that is not known."""
    usage: Usage | None = None
    over_window: bool = False
    """It stopped because the context window was full."""
    begun: bool = False
    """Anything arrived at all."""
    ended: str = ""
    """The reason that it gave for its end, in its own word; empty = it was cut off."""


class Fold(Protocol):
    """Collects the events of one stream."""

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event; unknown ones are passed over. Raises ModelFailed for an error event."""
        ...

    def draft(self) -> Draft: ...


def conclude(model: str, request: Request, draft: Draft) -> Reply:
    """The reply to `request`. Raises ModelFailed."""
    counted = sound.usage(draft.usage)
    usage = counted or guess(request)

    def fail(why: str, kind: FailureClass = FailureClass.TRUNCATED) -> ModelFailed:
        estimated = counted is None
        return ModelFailed(
            f"{model} gave no usable reply", kind, billed=True, usage=usage, estimated=estimated, why=why
        )

    if draft.over_window:
        raise fail("the context window was full before the reply was complete", FailureClass.CONTEXT)
    if draft.stop is None:
        if not draft.begun:
            raise fail("what came back was not a reply", FailureClass.TRANSIENT)
        if draft.ended:
            raise fail(f"the stream ended for a reason that is not known here: {draft.ended[:_SHOWN]}")
        raise fail("the stream ended without a stop reason")
    try:
        answered = message(draft)
    except ValueError as error:
        raise fail(f"it holds what cannot be sent again: {error}", FailureClass.TRANSIENT) from error
    stop = draft.stop
    if stop in (StopReason.END, StopReason.TOOLS):
        stop = StopReason.TOOLS if answered.calls else StopReason.END
    return Reply(message=answered, stop=stop, usage=usage, estimated=counted is None)


def message(draft: Draft) -> Message:
    """The message that a draft holds, without the tool calls of one that ran into its output limit. Raises ValueError
    where it holds what cannot be sent again."""
    parts = [part for part in draft.parts if not (isinstance(part, DraftCall) and draft.stop is StopReason.LENGTH)]
    return Message(role="assistant", blocks=_blocks(parts))


def _blocks(parts: list[Part]) -> tuple[Block, ...]:
    blocks: list[Block] = []
    came: set[str] = set()
    taken = {sound.text(part.id) for part in parts if isinstance(part, DraftCall)}
    for part in parts:
        if isinstance(part, DraftCall):
            call = _call(part, came, taken)
            came.add(sound.text(part.id))
            taken.add(call.id)
            blocks.append(call)
        elif isinstance(part, Opaque):
            blocks.append(Opaque(vendor=part.vendor, data=sound.value(part.data)))
        elif part.text:
            blocks.append(Text(text=sound.text(part.text)))
    return tuple(blocks)


def _call(part: DraftCall, came: set[str], taken: set[str]) -> ToolCall:
    """The tool call, with its flaw if it has one. `came`: ids of the calls before it; `taken`: all ids."""
    arguments, part = _object(part.arguments), _whole(part)
    if part.id in came:
        why = "An earlier call of the same answer has the same id. Make this call again if it is still needed."
        flaw, name = Flaw(rule="duplicate-id", why=why), _free(part.id, taken)
        return ToolCall(id=name, name=part.name, arguments=arguments or {}, flaw=flaw)
    if arguments is None:
        why = f"The arguments are not a JSON object. They begin: {part.arguments[:_SHOWN]}"
        flaw = Flaw(rule="malformed-arguments", why=why)
        return ToolCall(id=part.id, name=part.name, arguments={}, flaw=flaw)
    return ToolCall(id=part.id, name=part.name, arguments=arguments)


def _whole(part: DraftCall) -> DraftCall:
    return DraftCall(sound.text(part.id), sound.text(part.name), sound.text(part.arguments))


def _free(name: str, taken: set[str]) -> str:
    """An id like `name` that no other call of the answer has."""
    number = 2
    while (free := f"{name[: _ID_LENGTH - len(str(number)) - 1]}_{number}") in taken:
        number += 1
    return free


def guess(request: Request) -> Usage:
    """The most that a call which never said so was charged for: a model may have thought what nobody saw."""
    return Usage(input=tokens.of_request(request), output=max(1, request.max_output))


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = sound.value(json.loads(text)) if text.strip() else {}
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def overlapping(total: int, read: int, write: int, output: int) -> Usage:
    """Usage of a vendor whose input tokens include the cached ones."""
    return Usage(input=max(0, total - read - write), cache_read=read, cache_write=write, output=output)
