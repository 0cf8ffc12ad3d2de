"""Who may ask what, and from where. Pure.

Rules
- A request names this server by an IP address, by `localhost`, or by a name that the operator gave: any other name was
  made to lead here by somebody else (DNS rebinding).
- What changes something comes from our own pages or from no page at all (CSRF), and is JSON.
- The unix socket is its owner's, by its permissions. A port on loopback without tokens is trusted as the user of this
  machine is. Everything else needs a token, and the token's role.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from urllib.parse import urlsplit

from quarterdeck.settings.tokens import Role

SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_OWN: Final = frozenset(("same-origin", "none"))
_ORDER: Final = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this person's role is that one or above it."""
        return _ORDER.index(self.role) >= _ORDER.index(role)


class Keys(Protocol):
    """The tokens of this deck, as they are now."""

    def any(self) -> bool:
        """Whether there are any, or were."""
        ...

    def find(self, token: str) -> Person | None: ...


class Way(StrEnum):
    """How a request came in."""

    SOCKET = "socket"
    """The home's unix socket, which only its owner can open."""
    LOOPBACK = "loopback"
    """A port of this machine alone."""
    NETWORK = "network"
    """A port that other machines may reach."""


def way_of(host: str) -> Way:
    """What kind of port an address gives."""
    if host == "localhost":
        return Way.LOOPBACK
    try:
        return Way.LOOPBACK if ipaddress.ip_address(host).is_loopback else Way.NETWORK
    except ValueError:
        return Way.NETWORK


def host_known(host: str, names: Iterable[str]) -> bool:
    """Whether a `Host` header names this server: without its port, an address, `localhost`, or one of `names`."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if not name or "@" in host or "/" in host:
            return False
        if name == "localhost" or name in {each.lower() for each in names}:
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def from_elsewhere(headers: Mapping[str, str]) -> str:
    """Why a request that changes something comes from another page; empty = it does not."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in _OWN:
        return f"Sec-Fetch-Site is {site[:40]}"
    origin = headers.get("origin")
    if origin is None:
        return ""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return "Origin cannot be read"
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != headers.get("host", "").lower():
        return "Origin is another page's"
    return ""


def is_json(content_type: str) -> bool:
    """Whether a body is said to be JSON."""
    return content_type.partition(";")[0].strip().lower() == "application/json"


def token_of(headers: Mapping[str, str]) -> str:
    """The bearer token; empty = there is none."""
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
