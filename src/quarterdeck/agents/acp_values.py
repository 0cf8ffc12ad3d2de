"""What is said between the ACP harness and an agent, without the protocol's own types.

Rules
- What comes from an agent is a claim. It is bounded when it is taken over, and nothing is decided by it alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from quarterdeck.kernel.entities import Usage

STOPS: Final = ("end_turn", "max_tokens", "max_turn_requests", "refusal", "cancelled")


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an agent says about itself."""

    name: str
    version: str
    protocol: int
    http_mcp: bool
    """It takes MCP servers over HTTP; else they must be programs."""
    can_load: bool
    can_resume: bool
    logins: tuple[str, ...]
    """Ids of its authentication methods."""


@dataclass(frozen=True, slots=True)
class Server:
    """The MCP server that an agent is given."""

    name: str
    url: str
    key: str
    command: tuple[str, ...] = ()
    """The same server as a program, for an agent that cannot do HTTP; it is told address and key by its environment."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A session."""

    id: str
    modes: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    """Configuration options by id, with the values that can be chosen."""
    resumed: bool = False
    """It is one that was begun earlier, and the agent remembers it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How an agent says that its turn ended."""

    stop: str
    usage: Usage | None = None
    """Of the whole session so far, as the agent counts it."""


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that a permission request offers."""

    id: str
    kind: str
    """`allow_once`, `allow_always`, `reject_once`, `reject_always`."""


@dataclass(frozen=True, slots=True)
class Permission:
    """An agent asks whether it may."""

    call: str
    title: str
    kind: str
    """ACP's: `read`, `edit`, `delete`, `move`, `search`, `execute`, `think`, `fetch`, `switch_mode`, `other`; or ""."""
    input: Any
    paths: tuple[str, ...]
    options: tuple[Option, ...]
    name: str = ""
    """By which the agent's client knows the tool, where it says so. The client writes it, no model does."""
    content: tuple[Mapping[str, Any], ...] = ()
    """What it shows: files before and after, texts."""
    lost: bool = False
    """Nothing is held of what was announced of it, and it is asked for without it: nobody can tell what it is."""


@dataclass(frozen=True, slots=True)
class Announced:
    """What an agent said of a tool call."""

    title: str
    kind: str
    name: str = ""
    input: Any = None
    paths: tuple[str, ...] = ()
    content: tuple[Mapping[str, Any], ...] = ()
    lost: bool = False
    """There was more than is held, or the call has ended."""
    size: int = 0
    """Characters that are held of it."""


class Listener(Protocol):
    """What hears an agent."""

    async def updated(self, update: Mapping[str, Any]) -> None:
        """One session update, as it came. As long as this does not return, nothing more is read from the agent.
        Raises AgentFailed where it has had enough."""
        ...

    async def permission(self, asked: Permission) -> str | None:
        """The id of the option that is chosen; None = cancelled."""
        ...
