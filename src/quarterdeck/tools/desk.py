"""The desk tools: todo, note, ask, delegate, submit. What they mean is decided by the desk they are called at.

Rules
- They change nothing in the workspace (but `delegate` lets another agent do so) and may be repeated: the desk's
  effects are recorded together with their outcome, and a sub-agent goes on where it was.
- `submit` and `ask` end the agent's work; nothing after them in the same turn is performed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quarterdeck.kernel.entities import TodoItem
from quarterdeck.models.port import ToolSpec
from quarterdeck.tools.arguments import parameters, text
from quarterdeck.tools.port import Effect, Replay, Surroundings, ToolResult


class Todo:
    """The agent's list."""

    effect: Effect = "control"
    replay: Replay = "rerun"
    spec: ToolSpec = ToolSpec(
        name="todo",
        description="Replace your list of steps. Keep it short and true: what is open, what you do now, what is done.",
        parameters=parameters(
            {
                "items": {
                    "type": "array",
                    "maxItems": 50,
                    "items": parameters(
                        {"text": text("The step.", minimum=1, maximum=500)},
                        {"status": {"type": "string", "enum": ["open", "doing", "done"]}},
                    ),
                }
            }
        ),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        return await where.desk.todo(tuple(TodoItem(**item) for item in arguments["items"]))

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


class Note:
    """A decision for the siblings."""

    effect: Effect = "control"
    replay: Replay = "rerun"
    spec: ToolSpec = ToolSpec(
        name="note",
        description=(
            "Record a decision that the other tasks of this run rely on (a name, a signature, a format), or what you "
            "expect of them. One or two sentences."
        ),
        parameters=parameters({"text": text("The decision.", minimum=1, maximum=2_000)}),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        return await where.desk.note(str(arguments["text"]))

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


class Ask:
    """A question that only a human can answer."""

    effect: Effect = "control"
    replay: Replay = "rerun"
    spec: ToolSpec = ToolSpec(
        name="ask",
        description=(
            "Stop and ask a human. Only for what you cannot find out or decide yourself; your work so far is kept and "
            "waits for the answer."
        ),
        parameters=parameters(
            {"question": text("The question, with what you know and the choices you see.", minimum=1, maximum=8_000)}
        ),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        return await where.desk.ask(str(arguments["question"]))

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


@dataclass(frozen=True, slots=True)
class Delegate:
    """A piece of work for a sub-agent."""

    spec: ToolSpec
    effect: Effect = "control"
    replay: Replay = "rerun"

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        return await where.desk.delegate(where.call, str(arguments["agent"]), str(arguments["task"]))

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


def delegate(agents: Mapping[str, str]) -> Delegate:
    """The tool to delegate to these agents (name to description)."""
    listed = "\n".join(f"- {name}: {description or 'no description'}" for name, description in agents.items())
    return Delegate(
        ToolSpec(
            name="delegate",
            description=(
                "Give a piece of work to another agent, which does it in the same workspace with a fresh context, and "
                f"get a short answer. Say all that it needs to know: it sees nothing of your work. Agents:\n{listed}"
            ),
            parameters=parameters(
                {
                    # Not an enumeration: whom else it names is refused by the desk, which says why (a cycle, a bound).
                    "agent": text(f"One of: {', '.join(agents)}.", minimum=1, maximum=64),
                    "task": text("What to do or find out, and what to answer.", minimum=1, maximum=20_000),
                }
            ),
        )
    )


@dataclass(frozen=True, slots=True)
class Submit:
    """The handoff that ends the work."""

    spec: ToolSpec
    effect: Effect = "control"
    replay: Replay = "rerun"

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        return await where.desk.submit(arguments)

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


def submit(expects: str, schema: Mapping[str, Any]) -> Submit:
    """The tool that takes the handoff `expects` of that JSON Schema."""
    return Submit(
        ToolSpec(
            name="submit",
            description=f"Hand in your {expects} and end your work. Nothing else ends it.",
            parameters=dict(schema),
        )
    )
