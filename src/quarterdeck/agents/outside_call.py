"""One call at the desk of an agent that is not our loop: as it comes in, and as it is answered.

Rules
- What comes in can be stored, or is a call with a flaw that says why not.
- The messages and warnings that an answer carries are on record in the same commit as the outcome.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quarterdeck.agents.desk import AgentDesk
from quarterdeck.agents.mail import Letter
from quarterdeck.kernel import events as e
from quarterdeck.models import sound
from quarterdeck.models.port import Flaw, ToolCall


@dataclass(frozen=True, slots=True)
class Reply:
    """What the agent is told."""

    text: str
    ok: bool = True
    ended: bool = False
    """Its work is over."""
    document: Mapping[str, Any] | None = None
    """The same as data, where there is more to it than text."""
    messages: tuple[str, ...] = ()
    """What a person says to it, to be shown with the text (`prompts.told`)."""
    reminder: str = ""
    """What it is to know beside the answer; no person said it."""


class CallDesk(AgentDesk):
    """One call at the desk: its events, with the messages that its answer carries."""

    letters: tuple[Letter, ...] = ()
    warned: tuple[e.AttemptWarned, ...] = ()

    async def take(self) -> tuple[e.EventBase, ...]:
        told = (e.MessageDelivered(message=each.id, how="result", text=each.text) for each in self.letters)
        return (*await super().take(), *told, *self.warned)


def sound_call(tool: str, arguments: Mapping[str, Any]) -> ToolCall:
    """The call as it can be stored; what cannot is a flaw."""
    name = sound.text(tool)[:200]
    try:
        return ToolCall(id="", name=name, arguments=sound.value(dict(arguments)))
    except ValueError as error:
        flaw = Flaw(rule="malformed-arguments", why=f"The arguments cannot be used: {error}.")
        return ToolCall(id="", name=name, arguments={}, flaw=flaw)
