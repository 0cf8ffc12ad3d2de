"""What an agent that speaks ACP says and does, by its own account."""

from typing import Literal

from pydantic import Field

from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.events.base import Blob, EventBase

# --- attempt/… --------------------------------------------------------------------------------------------


class AgentConnected(EventBase):
    """An agent that speaks ACP answered, and a session with it has begun."""

    kind: Literal["agent.connected"] = "agent.connected"
    name: str = Field(max_length=200)
    """What it calls itself."""
    version: str = Field(max_length=100)
    session: str = Field(max_length=500)
    profile: str
    login: str = "gateway"
    """`gateway`, or `own`: the user's own login, where no call is metered here."""
    model: str = ""
    """What it was told to ask for."""
    resumed: bool = False
    """It goes on with the session that an earlier process of this attempt had begun."""
    forgot: str = Field(default="", max_length=1_000)
    """Why it did not, although it says that it can."""


class AgentPrompted(EventBase):
    """Something is about to be said to an agent; its turn begins."""

    kind: Literal["agent.prompted"] = "agent.prompted"
    number: int
    """Which turn of the attempt, from 1."""
    why: Literal["task", "message", "nudge", "refused", "resumed"]
    prompt_blob: Blob


class AgentTurned(EventBase):
    """An agent's turn ended, by its own account."""

    kind: Literal["agent.turned"] = "agent.turned"
    number: int
    stop: str = Field(max_length=200)
    """`end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`; or why there was no answer."""
    seconds: float = 0.0
    model: str = ""
    """Under which name its use is shown."""
    usage: Usage = Usage()
    """What the agent says that it used in this turn; 0 where the gateway knows better."""
    cost_nusd: int = 0
    """What the agent says that this turn cost; not verified. 0 where the gateway knows better."""
    verified: bool = True
    """False: `usage` and `cost_nusd` are all that is known."""


class AgentSaid(EventBase):
    """A message of an agent, or of its reasoning."""

    kind: Literal["agent.said"] = "agent.said"
    text_blob: Blob
    thought: bool = False


class AgentActing(EventBase):
    """An agent says that it begins a tool call of its own."""

    kind: Literal["agent.acting"] = "agent.acting"
    call: str = Field(max_length=200)
    title: str = Field(default="", max_length=300)
    tool_kind: str = Field(default="", max_length=40)
    """`read`, `edit`, `execute`, ...: ACP's kinds."""
    input_blob: Blob | None = None


class AgentActed(EventBase):
    """An agent says how a tool call of its own ended."""

    kind: Literal["agent.acted"] = "agent.acted"
    call: str = Field(max_length=200)
    title: str = Field(default="", max_length=300)
    tool_kind: str = Field(default="", max_length=40)
    ok: bool
    input_blob: Blob | None = None
    output_blob: Blob | None = None
    flags: tuple[str, ...] = ()
    """`unknown-outcome`: the agent ended without saying."""


class PermissionDecided(EventBase):
    """An agent asked whether it may, and was answered."""

    kind: Literal["permission.decided"] = "permission.decided"
    call: str = Field(max_length=200)
    tool: str = Field(max_length=200)
    arguments_blob: Blob
    arguments_hash: str
    decision: Literal["allow", "ask", "deny"]
    rules: tuple[str, ...] = ()
    answer: str = Field(max_length=40)
    """The kind of the option that was chosen (`allow_once`, ...), or `cancelled`."""
    approval: str | None = None
    """The approval that it waited for."""
    approver: str | None = None
    late: bool = False
    """It was asked after the work had been cancelled."""


AcpEvent = AgentConnected | AgentPrompted | AgentTurned | AgentSaid | AgentActing | AgentActed | PermissionDecided
