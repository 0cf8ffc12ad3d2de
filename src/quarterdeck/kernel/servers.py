"""Declarations of tool servers: their names, the variables in their texts, what an approval is bound to. Pure.

Rules
- `${NAME}` stands for a variable of the operator's environment, `${NAME:-text}` has a text to use instead. Nothing else
  is expanded, and what was put in is not looked at again.
- A secret does not stand in a declaration as text: a declaration is kept with every run, the operator's variables are
  not.
- An approval is bound to the whole declaration as it is written. Whoever changes a word of it needs a new one.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from quarterdeck.kernel import ids
from quarterdeck.kernel.durations import Duration
from quarterdeck.kernel.entities import Value

MAX_ITEMS: Final = 100
"""Arguments, variables or headers of one declaration."""

_NAME: Final = re.compile(r"[A-Za-z0-9]+(?:[_-][A-Za-z0-9]+)*")
_MAX_NAME: Final = 32
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET: Final = re.compile(
    r"(?i)(?:^|[_-])(?:authorization|cookie|token|secret|password|passwd|(?:api|access|private)[_-]?key)$"
)
_MAX_TEXT: Final = 16_000
_MAX_TOOL: Final = 300
"""Characters of `server/tool`."""


def named(name: str) -> str:
    """The name of a server, if it can be one. Raises ValueError."""
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise ValueError(
            f"the name of a server is 1 to {_MAX_NAME} letters and digits, with single `-` or `_` between them"
        )
    return name


def variables(texts: Iterable[str]) -> tuple[str, ...]:
    """Names of the variables in these texts, sorted."""
    return tuple(sorted({found[1] for text in texts for found in _VARIABLE.finditer(text)}))


def expand(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables put in. Raises KeyError for one that has neither a value nor a text instead."""

    def value(found: re.Match[str]) -> str:
        if found[1] in values:
            return values[found[1]]
        if found[2] is None:
            raise KeyError(found[1])
        return found[2]

    return _VARIABLE.sub(value, text)


def fingerprint(declaration: Mapping[str, Any]) -> str:
    """Hash of a declaration, whatever the order of its keys."""
    return ids.digest(json.dumps(declaration, sort_keys=True, separators=(",", ":")).encode())


def flaw(
    command: str | None, args: Iterable[str], env: Mapping[str, str], url: str | None, headers: Mapping[str, str]
) -> str:
    """What is wrong with a declaration; empty = nothing."""
    if (command is None) == (url is None):
        return "a server has either a command or a url"
    arguments = list(args)
    if max(len(arguments), len(env), len(headers)) > MAX_ITEMS:
        return f"at most {MAX_ITEMS} arguments, variables or headers"
    texts = [command or "", *arguments, *env.values(), url or "", *headers.values()]
    if any(len(text) > _MAX_TEXT or not _plain(text) for text in texts):
        return f"a text is longer than {_MAX_TEXT} characters, or holds what is no text"
    if url is None:
        return _of_program(command or "", env, headers)
    if env or arguments:
        return "args and env are for a program; what an address gets are headers"
    return _of_address(url, headers)


def _of_program(command: str, env: Mapping[str, str], headers: Mapping[str, str]) -> str:
    if not command.strip():
        return "command must not be empty"
    if headers:
        return "headers are for an address; what a program gets is env"
    for name, text in env.items():
        if not _VARIABLE_NAME.fullmatch(name):
            return f"{name[:60]!r} is no name of a variable"
        if _is_secret(name, text):
            return f"env.{name} holds a secret as text; name a variable of yours instead: ${{{name}}}"
    return ""


def _of_address(url: str, headers: Mapping[str, str]) -> str:
    try:
        parts = urlsplit(_VARIABLE.sub("x", url))
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a bracket without the other one
        sound = False
    if not sound:
        return "url is not of the form http://host:port/path or https://..."
    if parts.username is not None or parts.password is not None:
        return "url holds a user or a password; send them as a header"
    for name, text in headers.items():
        if not _HEADER.fullmatch(name):
            return f"{name[:60]!r} is no name of a header"
        if "\n" in text or "\r" in text:
            return f"headers.{name} holds a line break"
        if _is_secret(name, text):
            return f"headers.{name} holds a secret as text; name a variable of yours instead: ${{NAME}}"
    return ""


def _of_fallback(tool: str, other: str) -> str:
    server, slash, name = other.partition("/")
    if not (tool and slash and name and _NAME.fullmatch(server)) or max(len(tool), len(other)) > _MAX_TOOL:
        return f"fallback.{tool[:60]!r} is not of the form `server/tool`"
    return ""


def _is_secret(name: str, text: str) -> bool:
    return bool(text) and _SECRET.search(name) is not None and not _VARIABLE.search(text)


def _plain(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


ServerName = Annotated[str, AfterValidator(named)]


class McpServer(Value):
    """One server: either a program (`command`) or an address (`url`). `${NAME}` in its texts stands for a
    variable of the operator's environment that he gave it by name, `${NAME:-text}` for `text` where he did not."""

    command: str | None = None
    """The program; it runs in a sandbox."""
    args: tuple[str, ...] = ()
    """Its arguments."""
    env: dict[str, str] = Field(default_factory=dict)
    """Its environment; it gets nothing else of the operator's."""
    network: tuple[str, ...] = ()
    """Hosts that the program may reach."""
    workspace: bool = False
    """Start the program in the sandbox of each agent, at its workspace, rather than in one of its own."""
    url: str | None = None
    """The address of a server that is there already (streamable HTTP); it is called from this machine."""
    headers: dict[str, str] = Field(default_factory=dict)
    """What is sent to the address with each request."""
    fallback: dict[str, str] = Field(default_factory=dict)
    """Tool of this server to the tool (`server/tool`) that is called in its stead while this server is down. It takes
    the same arguments, and the agent has it, too."""
    timeout: Duration = 60.0
    """Time for one call."""
    start: Duration = 120.0
    """Time until it has started and listed its tools; a program that has to be fetched first takes a while."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if found := flaw(self.command, self.args, self.env, self.url, self.headers):
            raise ValueError(found)
        if len(self.fallback) > MAX_ITEMS:
            raise ValueError(f"at most {MAX_ITEMS} fallbacks")
        for tool, other in self.fallback.items():
            if flawed := _of_fallback(tool, other):
                raise ValueError(flawed)
        if self.url is not None and (self.network or self.workspace):
            raise ValueError("network and workspace are for a program; a server with a url runs elsewhere")
        if self.workspace and self.network:
            raise ValueError("with workspace = true the network is the agent's: [sandbox] network")
        return self

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything in which a variable may be named."""
        return (self.command or "", *self.args, *self.env.values(), self.url or "", *self.headers.values())

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the operator's variables that it asks for, sorted."""
        return variables(self.texts)

    @property
    def fingerprint(self) -> str:
        """Hash of the whole declaration, as written: what an approval is bound to."""
        return fingerprint(self.model_dump(mode="json", exclude_defaults=True))

    def expanded(self, values: Mapping[str, str]) -> "McpServer":
        """With `values` in place of the variables. Raises KeyError, naming one that is missing."""

        def put(text: str) -> str:
            return expand(text, values)

        return self.model_copy(
            update={
                "command": None if self.command is None else put(self.command),
                "args": tuple(map(put, self.args)),
                "env": {name: put(text) for name, text in self.env.items()},
                "url": None if self.url is None else put(self.url),
                "headers": {name: put(text) for name, text in self.headers.items()},
            }
        )


class McpSection(Value):
    """Tool servers that speak the Model Context Protocol. A repository may declare them, here or in its `.mcp.json`;
    only the operator approves them, and one that is not approved is never started."""

    schemas: int = Field(default=20, ge=0, le=100)
    """Tools of servers that are put in front of a model at once; an agent that may use more searches for them."""
    approved: dict[str, str] = Field(default_factory=dict)
    """Name to hash of a declaration that may be used, as `quarterdeck tools` shows it. The operator's file only."""
    servers: dict[ServerName, McpServer] = Field(default_factory=dict)
    """Name to declaration, see below. What the operator's own file declares is approved by that."""
