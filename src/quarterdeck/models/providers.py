"""What is known of each provider: where it is, and how a key is shown to it. Pure data.

Rules
- A model is named `provider:model`. The variables are those that the vendors' own clients read.
- A key goes out in one header, and to no address but that of its model.
- The key in a provider's own variable is for the server that its variables name. One that a model has to itself is
  somebody else's until its configuration names a key for it: loopback as well, where anything may listen.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from quarterdeck.models.http.port import Network
from quarterdeck.models.port import Deadlines

OTHERS_KEY: Final = "OPENAI_API_KEY"
"""Where the key of a server of one's own is looked for."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One way of speaking to models."""

    client: str
    """The module that speaks it; loaded when its first model is made."""
    address: str = ""
    """Where it is unless configured; empty = it has to be."""
    address_variable: str = ""
    """Where people put another address; empty = only in the configuration."""
    key_variable: str = OTHERS_KEY
    """Where they put its key; empty = it has none."""
    key_from: str = ""
    """Who gave that key, where neither the address nor its variable says so."""
    needs_key: bool = False
    key_header: str = "authorization"
    key_prefix: str = "Bearer "
    headers: Mapping[str, str] = field(default_factory=dict)
    """What every request carries, unless whoever asks says otherwise."""


PROVIDERS: Final[Mapping[str, Provider]] = {
    "anthropic": Provider(
        client="quarterdeck.models.anthropic_client",
        address="https://api.anthropic.com",
        address_variable="ANTHROPIC_BASE_URL",
        key_variable="ANTHROPIC_API_KEY",
        needs_key=True,
        key_header="x-api-key",
        key_prefix="",
        headers={"anthropic-version": "2026-10-21"},
    ),
    "openai": Provider(
        client="quarterdeck.models.openai_client",
        address="https://api.openai.com/v1",
        address_variable="OPENAI_BASE_URL",
        needs_key=True,
    ),
    "google": Provider(
        client="quarterdeck.models.google_client",
        address="https://generativelanguage.googleapis.com",
        address_variable="GOOGLE_GEMINI_BASE_URL",
        key_variable="GEMINI_API_KEY",
        needs_key=True,
        key_header="x-goog-api-key",
        key_prefix="",
    ),
    "chat": Provider(
        client="quarterdeck.models.openai_client",
        address_variable="OPENAI_BASE_URL",
        key_from="https://api.openai.com/v1",
    ),
    "ollama": Provider(client="quarterdeck.models.ollama_client", address="http://localhost:11434", key_variable=""),
}


@dataclass(frozen=True, slots=True)
class Way:
    """How one provider's server is reached."""

    provider: str
    key: str | None
    base_url: str | None
    """As people configure it; None = the provider's own."""
    deadlines: Deadlines = field(default_factory=Deadlines)
    reload: Callable[[], str | None] = lambda: None
    """Reads the key again."""
    keyless: bool = False
    """No key is sent, because nothing that is set says which."""
    network: Network = field(default_factory=Network)
    told: Callable[[float], None] = lambda seconds: None
    """Hears for how many seconds the provider wants to be left alone."""


def key_headers(provider: Provider, key: str | None) -> dict[str, str]:
    """How `key` is shown; nothing where there is none."""
    return {provider.key_header: provider.key_prefix + key} if key else {}


def trusted(provider: Provider, own: str | None, usual: str | None) -> bool:
    """Whether the key in the provider's variable may be sent to a model's `own` address; None = it has none. Pure.

    `usual`: the address in the provider's variable. What counts is the server (RFC 6454: scheme, host, port).
    """
    if own is None:
        return True
    there = _origin(own)
    return there is not None and there == _origin(usual or provider.address or provider.key_from)


def _origin(address: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(address)
        port = parts.port if parts.port is not None else {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:  # a port that is no number, a bracket without the other one
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
