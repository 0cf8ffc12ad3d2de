"""The port to tools.

Rules
- A tool's result is for the agent: bounded, flagged, never an exception for something the agent did.
- A tool says what it does to the world (`effect`), and what may be done when its outcome is unknown (`replay`).
- Tools that need a higher floor (submit, ask, delegate, note, todo) reach it through `Desk`, which the harness fills.
- Only the action gate calls a tool; nothing else holds a reference to one.
- A tool may declare a fallback (`FallsBack`). Where the tool itself fails in a way that passes (its service is down, it
  did not end in time), the other one is decided on, performed and recorded like any call. Not where the failed call
  may have changed something.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, runtime_checkable

from quarterdeck.kernel.entities import TodoItem
from quarterdeck.kernel.failures import FailureClass
from quarterdeck.models.port import ToolSpec
from quarterdeck.workplace.port import Sandbox

Effect = Literal["read", "write", "execute", "control"]
Replay = Literal["rerun", "probe", "ask"]
"""When a call's outcome was lost: run it again (idempotent), find out whether it happened, or tell the agent that the
outcome is unknown and let it look."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A file of the workspace that a call has changed."""

    path: str
    """Relative to the workspace."""
    before: str | None
    """None = it was not there, or is no text."""
    after: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    text: str
    ok: bool = True
    flags: tuple[str, ...] = ()
    ends: bool = False
    """The agent's work is over after this call (an accepted `submit`, an `ask`)."""
    failure: FailureClass | None = None
    """The tool itself failed and changed nothing; None = this is its answer, good or bad (a command that exits 1)."""
    edited: Edited | None = None


class Desk(Protocol):
    """What tools may ask of the agent's surroundings."""

    async def todo(self, items: tuple[TodoItem, ...]) -> ToolResult: ...

    async def note(self, text: str) -> ToolResult: ...

    async def submit(self, handoff: Mapping[str, Any]) -> ToolResult:
        """Validate the handoff against what the agent is expected to hand in."""
        ...

    async def ask(self, question: str) -> ToolResult: ...

    async def delegate(self, call: str, agent: str, task: str) -> ToolResult: ...


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


@runtime_checkable
class GoesBy(Protocol):
    """A tool that rules may call by other names than the model's."""

    @property
    def also(self) -> tuple[str, ...]:
        """Those names."""
        ...


@runtime_checkable
class StandsFor(Protocol):
    """A tool whose arguments name another one and its arguments: that one is decided on, checked, performed and
    recorded in its stead."""

    def stands_for(self, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
        """Name and arguments of the tool that is meant; None = there is none, and the call is this tool's own."""
        ...


def meant_by(tool: object, arguments: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """Name and arguments of the tool that this one stands for in such a call, if it does."""
    return tool.stands_for(arguments) if isinstance(tool, StandsFor) else None


@runtime_checkable
class FallsBack(Protocol):
    """A tool that names another one to be performed in its stead when it fails itself."""

    @property
    def fallback(self) -> str:
        """Name of a tool that takes the same arguments; "" = none. Performed only where the agent has it and policy
        allows it; its own fallback is not followed."""
        ...


PASSING: Final = (FailureClass.TRANSIENT, FailureClass.TOOL)
"""Failures of a tool that say nothing against doing the same in another way."""


def fallback_of(tool: Tool, failure: FailureClass | None, *, certain: bool) -> str | None:
    """The tool to perform in the stead of one that failed, or None. Pure.

    `certain`: the failed call is known to have changed nothing, because the tool said so.
    """
    if failure not in PASSING or not isinstance(tool, FallsBack):
        return None
    harmless = certain or tool.effect == "read" or tool.replay == "rerun"
    return (tool.fallback or None) if harmless else None
