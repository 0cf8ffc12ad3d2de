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
from typing import Any, Final
from urllib.parse import urlsplit

from quarterdeck.kernel import ids

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


def _is_secret(name: str, text: str) -> bool:
    return bool(text) and _SECRET.search(name) is not None and not _VARIABLE.search(text)


def _plain(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
