"""What a client of one server needs to know of the network, and what goes wrong with it.

Rules
- A failure says whether the request can have reached the other side: what cannot has cost nothing.
- What the system said is the cause of a failure, where it said something.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


class HttpFailed(ConnectionError):
    """There is no whole answer."""


class Unsent(HttpFailed):
    """The request cannot have reached the other side."""


class NotPickedUp(Unsent):
    """Nobody picked up in time."""


class Broken(HttpFailed):
    """The connection broke while the answer was awaited, or in the middle of it."""


@dataclass(frozen=True, slots=True)
class Network:
    """How this machine reaches others."""

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Proxies' addresses by `http`, `https` or `all`; `no` = the hosts that are reached without one, by commas. May
    hold passwords."""
    cert_file: str | None = None
    """The certificates that are trusted instead of the machine's."""
    cert_folder: str | None = None
    """The same, as a directory."""
