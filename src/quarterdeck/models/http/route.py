"""Where a request goes: straight to its server, or by a proxy. Pure.

Rules
- `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY` name proxies, `NO_PROXY` the hosts that need none: `*` for all, a domain
  with all below it, `.domain` for those below it, an address or a network of them, each with a port where one is meant.
- A user and password in an address are shown as the basic kind of authorization (RFC 7617), before any key.
- What stands in a request line is printable ASCII; the rest is written in percent signs (RFC 3986).
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.models.http.port import Network

_PORTS: Final = {"http": 80, "https": 443}
_PRINTABLE: Final = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '#<>"\\^`{|}')


@dataclass(frozen=True, slots=True)
class Place:
    """A server."""

    secure: bool
    host: str
    port: int
    base: str
    """The path that all others are below."""
    authorization: str | None = None
    """What the address itself brings."""

    @property
    def named(self) -> str:
        """As requests name it: without the port that goes without saying."""
        host = _ascii(self.host)
        host = f"[{host}]" if ":" in host else host
        return host if self.port == _PORTS["https" if self.secure else "http"] else f"{host}:{self.port}"

    @property
    def port_named(self) -> str:
        """The same, always with its port."""
        host = _ascii(self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def place(address: str) -> Place:
    """The server at an address of the form `http://host:port/path` or `https://...`. Raises ValueError."""
    parts = urlsplit(address)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"{parts.scheme or 'no scheme'}:// is not spoken; http:// and https:// are")
    port = parts.port or _PORTS[parts.scheme]
    return Place(parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"), _basic(parts))


def proxy(server: Place, network: Network) -> Place | None:
    """The proxy that leads to a server; None = it is reached without. Raises BadConfiguration."""
    kind = "https" if server.secure else "http"
    address = network.proxies.get(kind) or network.proxies.get("all")
    if not address or any(_exempt(server, entry.strip()) for entry in network.proxies.get("no", "").split(",")):
        return None
    try:
        return place(address if "://" in address else f"http://{address}")
    except ValueError as error:
        variables = f"{kind.upper()}_PROXY, ALL_PROXY"
        raise BadConfiguration("the proxy cannot be used", why=str(error), fix=f"correct {variables}") from error


@lru_cache(maxsize=256)
def target(base: str, path: str) -> str:
    """What a request line asks for, below the path of a server."""
    return quote(base + path, safe=_PRINTABLE, encoding="latin-1" if _narrow(path) else "utf-8") or "/"


def _narrow(text: str) -> bool:
    """Whether it is bytes that came over a wire, one a character."""
    return all(ord(character) < 0x100 for character in text)


def _exempt(server: Place, entry: str) -> bool:
    """Whether an entry of `NO_PROXY` means that server."""
    scheme, there, rest = entry.rpartition("://")
    if not entry or (there and scheme not in ("all", "https" if server.secure else "http")):
        return False
    if rest == "*":
        return True
    if (network := _network(rest.strip("[]"), server.host)) is not None:
        return network
    if match := re.fullmatch(r"(.+):(\d+)", rest):
        rest, port = match[1].strip("[]"), int(match[2])
        if port != server.port:
            return False
    host, rest = server.host.lower(), rest.lower().removeprefix("*")
    return host.endswith(rest) if rest.startswith(".") else host == rest or host.endswith(f".{rest}")


def _network(entry: str, host: str) -> bool | None:
    """Whether the host is in a network, or is an address; None where the entry names neither."""
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        return None
    try:
        return ip_address(host) in network
    except ValueError:
        return False


def _basic(parts: SplitResult) -> str | None:
    if not parts.username and not parts.password:
        return None
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {b64encode(pair.encode()).decode()}"


def _ascii(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode()
