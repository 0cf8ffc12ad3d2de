"""The port to models.

Rules
- One call, one reply, or one `ModelFailed` whose class decides the recovery. Adapters never retry: the caller does,
  so that every try is on record.
- A reply without a stop reason was cut off and is a failure (`truncated`), whatever arrived before.
- A tool call is complete; one that cannot be made as it came (arguments that are no JSON object, an id that came
  before) says so in `flaw` and is never performed. A reply that ran into its output limit holds no tool call.
- Tokens are normalised (`Usage`): the four kinds never overlap, whatever the vendor means by "input".
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from quarterdeck.kernel.entities import Usage, Value
from quarterdeck.models.limiter import Limiter


class Text(Value):
    type: Literal["text"] = "text"
    text: str


class Flaw(Value):
    """Why a tool call cannot be made as it came."""

    rule: Literal["malformed-arguments", "duplicate-id", "work-ended", "message-first"]
    why: str
    """For the model."""


class ToolCall(Value):
    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: dict[str, Any]
    """Empty where a flaw kept them from being read."""
    flaw: Flaw | None = None


class ToolOutcome(Value):
    """A tool's result, on its way back to the model."""

    type: Literal["tool_outcome"] = "tool_outcome"
    id: str
    text: str
    error: bool = False


class Opaque(Value):
    """A block that only its vendor understands (signed thinking, encrypted reasoning); sent back unchanged to that
    vendor, left out for others."""

    type: Literal["opaque"] = "opaque"
    vendor: str
    data: dict[str, Any]


Block = Annotated[Text | ToolCall | ToolOutcome | Opaque, Field(discriminator="type")]


class Message(Value):
    role: Literal["user", "assistant"]
    blocks: tuple[Block, ...]

    @property
    def text(self) -> str:
        return "".join(block.text for block in self.blocks if isinstance(block, Text))

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(block for block in self.blocks if isinstance(block, ToolCall))


class ToolSpec(Value):
    """A tool as the model sees it."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON Schema of an object."""


class StopReason(StrEnum):
    END = "end"
    TOOLS = "tools"
    LENGTH = "length"
    """The output limit was reached; tool calls of this reply are dropped."""
    REFUSED = "refused"
    PAUSED = "paused"
    """The provider wants the content back to go on (`pause_turn`)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One model call."""

    system: str
    tools: tuple[ToolSpec, ...]
    messages: tuple[Message, ...]
    max_output: int
    """Tokens."""
    cache_until: int = 0
    """Number of leading messages that will be sent again unchanged: cache breakpoints are set up to there."""
    tag: str = ""
    """Who asks (attempt id): sent as a header, for logs on the other side."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One complete model answer."""

    message: Message
    stop: StopReason
    usage: Usage
    estimated: bool = False
    """No usage came over the wire; `usage` is an estimate."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds."""

    connect: float = 10.0
    first_byte: float = 120.0
    idle: float = 60.0
    total: float = 900.0


class Model(Protocol):
    """One model of one provider."""

    @property
    def name(self) -> str:
        """`provider:model`."""
        ...

    async def window(self) -> int:
        """Context window in tokens: configured, known, or asked from a local server; never a guess left at a server's
        default."""
        ...

    async def complete(self, request: Request) -> Reply:
        """Ask once. Raises ModelFailed; honours cancellation."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...


class ModelFactory(Protocol):
    """Makes the model of a `provider:model` name; one connection to a provider is shared by all agents."""

    def __call__(self, name: str) -> Model:
        """Raises BadConfiguration where the provider is unknown or its key is missing."""
        ...

    def limiter(self, name: str) -> Limiter:
        """What holds the calls to that model back, shared by the whole deck: each call enters it and tells it how it
        ended. Raises BadConfiguration."""
        ...
