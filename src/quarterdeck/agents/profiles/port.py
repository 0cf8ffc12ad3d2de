"""What the ACP harness has to know of a CLI.

Rules
- A profile is data and one pure function: from where things are, to what is started. Looking for the CLI on this
  machine is done elsewhere and comes in as an `Installation`.
- Paths in an `Installation` and a `Context` are paths inside the sandbox; the harness translates them where a provider
  has no view of its own.
- A launch gets the virtual key and the gateway's address, or nothing of both where the user's own login is used. A real
  key never comes near it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Installation:
    """A CLI as it was found on this machine."""

    program: str
    """Absolute path of what is started."""
    mounts: Mapping[str, Path] = field(default_factory=dict)
    """Path inside to the directory or file of the host that must be seen there, read-only: the runtime and the CLI's
    packages. Best at the same path as outside, so that links and shebangs hold."""
    path: tuple[str, ...] = ()
    """Directories that PATH must begin with."""
    companion: str = ""
    """Absolute path of the vendor's own CLI, where the program is an adapter for it; empty = the adapter brings one."""
    version: str = ""
    """Of the vendor's CLI; empty = not known without starting it."""


@dataclass(frozen=True, slots=True)
class Login:
    """The user's own login of a CLI."""

    files: tuple[str, ...]
    """Files and directories relative to the user's home that hold it; copied into the attempt's, never bound."""
    hosts: tuple[str, ...]
    """The vendor's hosts that the CLI must reach, as entries of an allow-list."""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a JSON file that holds more than the login: the keys that are it."""
    renewed: Callable[[bytes, bytes, float], bytes | None] | None = None
    """What is to be kept of a file whose first content was lent and whose second came back at that moment (seconds
    since the epoch): the first one's login, renewed; None = it is not that. No function = copies do not disturb each
    other; otherwise whoever renews a token makes every other copy of it worthless."""


@dataclass(frozen=True, slots=True)
class Appetite:
    """What its processes need beyond a sandbox's default limits; the larger of both holds."""

    memory_bytes: int = 4096 * _MEBIBYTE
    processes: int = 512
    open_files: int = 8192


@dataclass(frozen=True, slots=True)
class Context:
    """What one launch depends on."""

    installation: Installation
    home: str
    """The agent's HOME: private to the attempt, empty, writable, not below /tmp."""
    workspace: str
    endpoint: str | None
    """The gateway's base URL, without a slash at the end and without a path; None = the user's own login."""
    key: str
    """The virtual key for it; empty with the user's own login."""
    model: str
    """What the CLI is to ask for: the gateway understands it. Empty = the CLI's own choice (own login)."""
    provider: str
    """Whose wire format the model speaks: `anthropic`, `openai`, `chat`, `google`; empty with the own login."""
    arguments: tuple[str, ...] = ()
    """Of the agent's definition, for the generic profile."""
    window: int | None = None
    """The model's context window, tokens; None = nobody says."""
    longest: int | None = None
    """The longest answer to ask of it, tokens; None = nobody says."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started, and how its session begins."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """Beyond PATH, HOME, TMPDIR, LANG and USER, which the sandbox sets."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Written before the start, mode 0600: path relative to HOME -> content."""
    authenticate: str | None = None
    """Id of the authentication method to choose after `initialize`; None = none is needed."""
    mode: str | None = None
    """Id of the session mode to set, where the agent offers it."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What each session is begun with beside the protocol's own fields (ACP's `_meta`)."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Session configuration options to set, where the agent offers them."""
    stdio_mcp: bool = False
    """It takes no MCP server over HTTP although it says so: give it the bridge script."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One CLI."""

    name: str
    title: str
    """For people: `Claude Code`."""
    programs: tuple[str, ...]
    """Names of what is started, looked for in this order."""
    launch: Callable[[Context], Launch]
    adapts: tuple[str, ...] = ()
    """Names of the vendor's own CLI, where the programs are adapters for it."""
    providers: tuple[str, ...] = ()
    """Wire formats that it speaks, the preferred one first; empty = any."""
    models: tuple[str, ...] = ()
    """`provider:model` to ask for where no tier of the deck names one of its providers."""
    appetite: Appetite = Appetite()
    login: Login | None = None
    """None = it cannot be used with the user's own login."""
    install: str = ""
    """How a person installs it: one command."""
    tool_fields: bool = False
    """Of a tool of an MCP server its client itself writes `server`, `tool` and `arguments` as the input; elsewhere a
    model may have written these."""
    start_seconds: float = 60.0
    """Until `initialize` is answered."""
