"""Reading deck.toml.

Rules
- What a file sets is kept apart from what it leaves open (`Partial`), so that files can be merged.
- Everything a person wrote wrongly is an error that names the file, the line, the key and the closest known key.
"""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import ValidationError

from quarterdeck.kernel.complaints import complaint, nearest
from quarterdeck.kernel.config import DeckConfig, OperatorConfig
from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.failures import BadConfiguration
from quarterdeck.kernel.toml import read_toml

DECK_FILE: Final = "deck.toml"
"""In `$QUARTERDECK_HOME` it is the operator's, in a repository's `.quarterdeck/` the repository's."""

MAX_FILE: Final = 1024 * 1024
"""Bytes of one file of a deck."""

# A line of a repository's deck.toml may be anything: what is tried here is tried once from each place, never in all the
# ways in which a run of letters or of space can be cut up.
_KEY: Final = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_KEYS: Final = rf"({_KEY}(?:\s*\.\s*{_KEY})*)"
_HEADER: Final = re.compile(rf"\s*\[{{1,2}}\s*{_KEYS}\s*\]{{1,2}}\s*(?:#.*)?$")
_ASSIGNMENT: Final = re.compile(rf"\s*{_KEYS}\s*=")


@dataclass(frozen=True, slots=True)
class Partial:
    """A configuration of which only some keys were set: pydantic's `model_fields_set` says which, at every depth."""

    origin: str
    """For people: `deck.toml of the repository`, a path, `detected`."""
    config: DeckConfig = field(default_factory=DeckConfig)


def operator_config(home: Path) -> Partial:
    """The operator's deck.toml; empty where there is none. Raises BadConfiguration."""
    file = home / DECK_FILE
    try:
        return _parse(read_text(file), str(file), OperatorConfig)
    except FileNotFoundError:
        return Partial(str(file), OperatorConfig())
    except NotADirectoryError as error:
        raise BadConfiguration(
            f"the home {home} is not a directory", fix="move it away, or set QUARTERDECK_HOME to a directory"
        ) from error


def operator_outside(home: Path) -> OperatorConfig:
    """The operator's deck.toml with its sections about the world outside. Raises BadConfiguration."""
    config = operator_config(home).config
    return config if isinstance(config, OperatorConfig) else OperatorConfig()


def read_text(file: Path) -> str:
    """The text of a file of the deck, never waiting for one that is a pipe.

    Raises BadConfiguration, FileNotFoundError, NotADirectoryError.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        why = error.strerror or str(error)
        raise BadConfiguration(
            f"{file} cannot be read", why=why, fix="make it readable for you, or set QUARTERDECK_HOME"
        ) from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise BadConfiguration(f"{file} is not a file", fix=f"remove {file}, or put a file there")
        data = b""
        while len(data) <= MAX_FILE and (more := os.read(handle, MAX_FILE + 1 - len(data))):
            data += more
    finally:
        os.close(handle)
    return decode_text(data, str(file))


def decode_text(data: bytes, origin: str) -> str:
    """A file of the deck or of a repository as text. Raises BadConfiguration where it is too large or no UTF-8."""
    if len(data) > MAX_FILE:
        raise BadConfiguration(f"{origin} is longer than the {MAX_FILE} bytes that are read", fix=f"shorten {origin}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadConfiguration(
            f"{origin} is not UTF-8 text", why=f"see line {line}", fix=f"correct {origin}"
        ) from error


def parse_deck_toml(text: str, origin: str) -> Partial:
    """What a repository's deck.toml sets. Raises BadConfiguration."""
    return _parse(text, origin, DeckConfig)


def _parse(text: str, origin: str, model: type[DeckConfig]) -> Partial:
    try:
        data = read_toml(text)
    except RecursionError as error:
        raise BadConfiguration(f"{origin} is nested too deeply", fix=f"correct {origin}") from error
    except ValueError as error:  # not only TOML's own: a number of thousands of digits is one as well
        raise BadConfiguration(f"{origin} is not valid TOML", why=str(error), fix=f"correct {origin}") from error
    try:
        return Partial(origin, model.model_validate(data))
    except ValidationError as error:
        raise _explain(error, text, origin, model) from error


def _explain(error: ValidationError, text: str, origin: str, model: type[DeckConfig]) -> BadConfiguration:
    """The first problem, with its place, and how many more there are."""
    # An unknown key is often why a required one is missing: say it first.
    problems = sorted(error.errors(include_url=False), key=lambda p: p["type"] != "extra_forbidden")
    first = problems[0]
    place = [str(part) for part in first["loc"]]
    line = line_of(text, [str(part) for part in first["loc"] if not isinstance(part, int)])
    where = f"{origin}:{line}" if line else origin
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        if len(place) == 1 and place[0] in OperatorConfig.model_fields:
            fix = f"move it to {DECK_FILE} in the deck's home ($QUARTERDECK_HOME)"
            why = "a repository cannot open a door"
            return BadConfiguration(f"{where}: only the operator may set [{place[0]}]", why=why, fix=fix)
        known = known_keys(place[:-1], model)
        close = nearest(place[-1], known)
        fix = (
            f"write {_dotted([*place[:-1], close])} instead" if close else f"remove it; known here: {', '.join(known)}"
        )
        return BadConfiguration(f"{where}: unknown key {_dotted(place)}{more}", fix=fix)
    why = complaint(first)
    if isinstance(first["input"], str | int | float):
        why += f", not {_shown(first['input'])}"
    return BadConfiguration(f"{where}: {_dotted(place)} is wrong{more}", why=why, fix=f"correct it in {origin}")


def _shown(value: str | int | float) -> str:
    text = repr(value) if isinstance(value, str) else str(value).lower()
    return text if len(text) <= 60 else f"{text[:59]}…"


def _dotted(place: list[str]) -> str:
    """The key path as TOML writes it."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in place)


def known_keys(place: Iterable[str], root: type[Value] = DeckConfig) -> list[str]:
    """The keys that deck.toml knows below `place`, in the order of their definition."""
    model = root
    parts = list(place)
    while parts:
        annotation: Any = model.model_fields[parts.pop(0)].annotation
        if isinstance(annotation, type) and issubclass(annotation, Value):
            model = annotation
            continue
        values = [arg for arg in get_args(annotation) if isinstance(arg, type) and issubclass(arg, Value)]
        if not values or not parts:
            return []
        model = values[0]
        parts.pop(0)  # the entry's own name: free in a table such as [prices]
    return list(model.model_fields)


def line_of(text: str, keys: list[str]) -> int | None:
    """The line (from 1) on which the key path stands in a TOML text, or that of its closest enclosing table."""
    table: list[str] = []
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _split_key(header[1])
            path = table
        elif assignment := _ASSIGNMENT.match(line):
            path = table + _split_key(assignment[1])
        else:
            continue
        depth = len(path)
        if path == keys[:depth] and depth and (best is None or depth > best[0]):
            best = (depth, number)
    return best[1] if best else None


def _split_key(dotted: str) -> list[str]:
    parts = re.findall(_KEY, dotted)
    return [part.strip("\"'") for part in parts]
