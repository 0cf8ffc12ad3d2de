"""Reading `.mcp.json`, the file in which a repository tells Claude Code and others of its tool servers.

Rules
- It was not written for us: what cannot be used is left out and said in a line, and never refuses a run.
- Keys that mean something here alone (`network`, `workspace`, `timeout`, `start`) stand under `quarterdeck`.
- Reading it starts nothing, asks nobody and looks at no environment.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from quarterdeck.kernel import servers
from quarterdeck.kernel.complaints import complaint
from quarterdeck.kernel.config import DeckConfig
from quarterdeck.kernel.servers import McpSection, McpServer
from quarterdeck.settings.files import Partial

MCP_FILE: Final = ".mcp.json"
MAX_SERVERS: Final = 100

_PROGRAM: Final = ("command", "args", "env")
_ADDRESS: Final = ("url", "headers")
_OURS: Final = ("network", "workspace", "fallback", "timeout", "start")
_TYPES: Final = {"stdio": _PROGRAM, "http": _ADDRESS, "streamable-http": _ADDRESS}


def parse_mcp_json(text: str, origin: str = MCP_FILE) -> tuple[Partial, tuple[str, ...]]:
    """The servers that the file declares, and for people what of it was left out."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return Partial(origin), (f"{origin}: not used, it is not valid JSON",)
    declared = data.get("mcpServers") if isinstance(data, dict) else None
    if not isinstance(declared, dict):
        return Partial(origin), (f"{origin}: not used, it has no object `mcpServers`",)
    found: dict[str, McpServer] = {}
    lines: list[str] = []
    for name, entry in list(declared.items())[:MAX_SERVERS]:
        shown = _shown(name)
        try:
            servers.named(name)
            found[name], left_out = _server(entry)
            lines += [f"mcp.servers.{shown}: its key `{_shown(key)}` has no meaning here" for key in left_out]
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            lines.append(f"mcp.servers.{shown}: not used, {place + ': ' if place else ''}{complaint(first)}")
        except ValueError as error:
            lines.append(f"mcp.servers.{shown}: not used, {error}")
    if len(declared) > MAX_SERVERS:
        lines.append(f"{origin}: only the first {MAX_SERVERS} servers are used")
    section = {"mcp": McpSection(servers=found)} if found else {}
    return Partial(origin, DeckConfig(**section)), tuple(lines)


def _server(entry: Any) -> tuple[McpServer, list[str]]:
    """One server and the keys that mean nothing. Raises ValidationError, ValueError."""
    if not isinstance(entry, Mapping):
        raise ValueError("it is no object")
    kind = entry.get("type", "http" if "url" in entry and "command" not in entry else "stdio")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise ValueError(f"its type {_shown(str(kind))} is not supported (stdio and http are)")
    ours = entry.get("quarterdeck", {})
    if not isinstance(ours, Mapping) or (unknown := sorted(set(ours) - set(_OURS))):
        wrong = f"it knows {', '.join(_OURS)}" if not isinstance(ours, Mapping) else f"no {_shown(unknown[0])}"
        raise ValueError(f"`quarterdeck` has {wrong}")
    keys = _TYPES[kind]
    taken = {key: value for key, value in entry.items() if key in keys and value is not None}
    left_out = [str(key) for key in entry if key not in (*keys, "type", "quarterdeck")]
    return McpServer.model_validate({**taken, **ours}), left_out[:10]


def _shown(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:60])
