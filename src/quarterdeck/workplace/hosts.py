"""Which hosts a sandbox may reach, and where a request to a proxy wants to go. Pure.

Rules
- A host is let through where the list names it: exactly, as `*.suffix`, or with a port; without one, ports 80 and 443.
- What may lead to this machine or its networks counts as inner: also an IPv4 address inside an IPv6 one, and what is no
  address at all.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_PORTS: Final = (80, 443)
_INNER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
)
"""Addresses that lead inwards. Source: IANA special-purpose address registries (RFC 6890)."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request wants to go."""

    host: str
    port: int
    path: str = ""
    """Of a plain request; empty = a tunnel."""


class Refused(Exception):
    """The proxy does not do this; says why."""


def normal(host: str) -> str:
    """A host name or address as it is compared."""
    return host.strip().lower().removeprefix("[").removesuffix("]").rstrip(".")


def is_inner(address: str) -> bool:
    """Whether an IP address leads to this machine or its networks; what is no address counts as one that does."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(found, ipaddress.IPv6Address):
        # An IPv4 address in IPv6 clothes: mapped, 6to4, or behind a NAT64 prefix.
        inner = found.ipv4_mapped or found.sixtofour
        if found in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_inner(str(inner))
    return any(found in network for network in _INNER if network.version == found.version)


def is_listed(host: str, port: int, allow: Iterable[str]) -> bool:
    """Whether a list of hosts (`name`, `*.suffix`, `name:port`, an address) lets this host and port through."""
    return any(_matches(entry, normal(host), port) for entry in allow)


def _matches(entry: str, host: str, port: int) -> bool:
    name = entry
    ports: tuple[int, ...] = _PORTS
    head, colon, tail = entry.rpartition(":")
    if colon and tail.isdigit() and (":" not in head or head.endswith("]")):
        name, ports = head, (int(tail),)
    name = normal(name)
    if port not in ports or not name:
        return False
    if name.startswith("*."):
        return host.endswith(name[1:]) and len(host) > len(name) - 1
    return host == name


def parse_target(method: str, target: str) -> Target:
    """Where a proxy request goes. Raises Refused."""
    try:
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = normal(parts.hostname or ""), parts.port
    except ValueError as error:
        raise Refused(f"not an address: {target[:200]!r}") from error
    if not host or not host.isascii() or parts.username is not None:
        raise Refused(f"not an address: {target[:200]!r}")
    if method == "CONNECT":
        return Target(host, port or 443)
    if parts.scheme != "http":
        raise Refused("a plain request names an http:// address")
    return Target(host, port or 80, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))


def is_address(host: str) -> bool:
    """Whether it is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
