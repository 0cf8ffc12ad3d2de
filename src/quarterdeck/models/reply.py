"""From what arrived over the wire to a reply, or to the failure it really is. Pure.

Rules
- No stop reason: cut off. Nothing of it is used.
- A tool call whose arguments are not a JSON object, or whose id comes twice, spoils the whole reply.
- Tool calls of a reply that ran into its output limit are never executed: the reply fails as truncated.
- What was charged travels with the failure, so that money is right whatever happens.
"""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.failures import FailureClass, ModelFailed
from quarterdeck.models import tokens
from quarterdeck.models.port import Block, Message, Opaque, Reply, Request, StopReason, Text, ToolCall


@dataclass(frozen=True, slots=True)
class DraftCall:
    """A tool call whose arguments are still text."""

    id: str
    name: str
    arguments: str


Part = Text | Opaque | DraftCall


@dataclass(frozen=True, slots=True)
class Draft:
    """What a stream amounted to."""

    parts: tuple[Part, ...] = ()
    stop: StopReason | None = None
    usage: Usage | None = None
    over_window: bool = False
    """It stopped because the context window was full."""
    begun: bool = False
    """Anything arrived at all."""


class Fold(Protocol):
    """Collects the events of one stream."""

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event; unknown ones are passed over. Raises ModelFailed for an error event."""
        ...

    def draft(self) -> Draft: ...


def conclude(model: str, request: Request, draft: Draft) -> Reply:
    """The reply to `request`. Raises ModelFailed."""
    usage = draft.usage or guess(request, draft)

    def fail(why: str, kind: FailureClass = FailureClass.TRUNCATED) -> ModelFailed:
        return ModelFailed(f"{model} gave no usable reply", kind, billed=True, usage=usage, why=why)

    if draft.over_window:
        raise fail("the context window was full before the reply was complete", FailureClass.CONTEXT)
    if draft.stop is None:
        if not draft.begun:
            raise fail("what came back was not a reply", FailureClass.TRANSIENT)
        raise fail("the stream ended without a stop reason")
    drafted = [part for part in draft.parts if isinstance(part, DraftCall)]
    if drafted and draft.stop is StopReason.LENGTH:
        raise fail("the output limit was reached inside or after a tool call")
    if len({part.id for part in drafted}) != len(drafted):
        raise fail("two tool calls have the same id")
    blocks: list[Block] = []
    for part in draft.parts:
        if isinstance(part, DraftCall):
            arguments = _object(part.arguments)
            if arguments is None:
                raise fail(f"the arguments of a call of {part.name} are not a JSON object")
            blocks.append(ToolCall(id=part.id, name=part.name, arguments=arguments))
        elif not isinstance(part, Text) or part.text:
            blocks.append(part)
    stop = draft.stop
    if stop in (StopReason.END, StopReason.TOOLS):
        stop = StopReason.TOOLS if drafted else StopReason.END
    message = Message(role="assistant", blocks=tuple(blocks))
    return Reply(message=message, stop=stop, usage=usage, estimated=draft.usage is None)


def guess(request: Request, draft: Draft) -> Usage:
    """An estimate of what a call was charged that never said so."""
    output = 0
    for part in draft.parts:
        match part:
            case Text():
                output += tokens.estimate(part.text)
            case DraftCall():
                output += tokens.estimate(part.arguments) + tokens.estimate(part.name)
            case Opaque():
                output += tokens.estimate(json.dumps(part.data))
    return Usage(input=tokens.of_request(request), output=max(1, output))


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text) if text.strip() else {}
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def overlapping(total: int, read: int, write: int, output: int) -> Usage:
    """Usage of a vendor whose input tokens include the cached ones."""
    return Usage(input=max(0, total - read - write), cache_read=read, cache_write=write, output=output)
