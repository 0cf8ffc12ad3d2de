"""The port to the model gateway, as whoever starts an agent sees it.

Rules
- A virtual key stands for one attempt: whose calls they are, which models they may ask, and which money they may spend.
- Real keys of providers stay here: what a sandbox gets is a virtual key and a socket.
- A key that was revoked is dead at once: no new call leaves, and those under way are cut and closed on record.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from quarterdeck.govern.port import Chain
from quarterdeck.journal.port import Claim
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Usage


@dataclass(frozen=True, slots=True)
class Grant:
    """What a virtual key stands for."""

    run: str
    task: str
    attempt: str
    agent: str
    claim: Claim
    """The attempt's stream: every call is recorded there, before and after."""
    chain: Chain
    """The purses that its calls are paid from."""
    models: tuple[str, ...]
    """`provider:model` that may be asked; the first is what the name `quarterdeck` means."""
    config: RunConfig
    """Prices, facts about models and deadlines, as the run froze them."""
    turns: int | None = None
    """Calls that may leave; None = no bound of their number."""
    tokens: int | None = None
    """Tokens that no cache served, of all calls together."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A way to the gateway."""

    key: str
    """The virtual key; sent as `x-api-key`, `Authorization: Bearer`, `x-goog-api-key` or `?key=`."""
    socket: Path
    """Unix socket of the endpoint (HTTP/1.1), to be bridged to a loopback port of the sandbox."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why a key got no further."""

    limit: Literal["usd", "turns", "tokens"]
    reason: str
    run: bool
    """The run's money or a day's: not the attempt's own bound, nor its task's."""


@dataclass(frozen=True, slots=True)
class Metering:
    """What a key's calls came to, in this process."""

    calls: int = 0
    usage: Usage = field(default_factory=Usage)
    nusd: int = 0
    stopped: Stopped | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """A gateway that listens."""

    name: str
    """Of the key: what stands in the journal and in `cost`."""
    key: str
    url: str
    models: tuple[str, ...]


class Gateway(Protocol):
    async def grant(self, grant: Grant) -> Opened:
        """A new key. What an earlier process left open of that attempt counts as spent."""
        ...

    async def revoke(self, key: str, why: str = "") -> None:
        """End a key; idempotent. Returns when its calls are closed on record."""
        ...

    def metering(self, key: str) -> Metering:
        """What the key's calls came to, also after it was revoked; nothing for a key that there never was."""
        ...
