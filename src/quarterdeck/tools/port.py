"""The port to tools.

Rules
- A tool's result is for the agent: bounded, flagged, never an exception for something the agent did.
- A tool says what it does to the world (`effect`), and what may be done when its outcome is unknown (`replay`).
- Tools that need a higher floor (submit, ask, delegate, note, todo) reach it through `Desk`, which the harness fills.
- Only the action gate calls a tool; nothing else holds a reference to one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from quarterdeck.kernel.entities import TodoItem
from quarterdeck.models.port import ToolSpec
from quarterdeck.workplace.port import Sandbox

Effect = Literal["read", "write", "execute", "control"]
Replay = Literal["rerun", "probe", "ask"]
"""When a call's outcome was lost: run it again (idempotent), find out whether it happened, or tell the agent that the
outcome is unknown and let it look."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    text: str
    ok: bool = True
    flags: tuple[str, ...] = ()
    ends: bool = False
    """The agent's work is over after this call (an accepted `submit`, an `ask`)."""


class Desk(Protocol):
    """What tools may ask of the agent's surroundings."""

    async def todo(self, items: tuple[TodoItem, ...]) -> ToolResult: ...

    async def note(self, text: str) -> ToolResult: ...

    async def submit(self, handoff: Mapping[str, Any]) -> ToolResult:
        """Validate the handoff against what the agent is expected to hand in."""
        ...

    async def ask(self, question: str) -> ToolResult: ...

    async def delegate(self, call: str, agent: str, task: str) -> ToolResult: ...

    @property
    def handoff_schema(self) -> dict[str, Any]:
        """JSON Schema of the handoff that `submit` takes."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a tool call happens."""

    sandbox: Sandbox
    desk: Desk
    call: str
    """Id of the call."""
    output_limit: int = 16 * 1024
    """Bytes of a result's text."""
    timeout: float = 300.0
    """Longest a command may run, seconds."""


class Tool(Protocol):
    @property
    def spec(self) -> ToolSpec: ...

    @property
    def effect(self) -> Effect: ...

    @property
    def replay(self) -> Replay: ...

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        """Perform the call. Arguments were checked against the schema before."""
        ...

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        """For `replay == "probe"`: whether an earlier call with unknown outcome took effect; None = cannot tell."""
        ...
