"""Which tools of outside servers an agent gets, from what its definition names. Pure.

Rules
- `mcp:server` is all tools of a server, `mcp:server/tool` one of them; `*` stands for any text in either. What ends in
  `?`, or holds a `*`, is used where it is there; anything else has to be there, or the run does not start.
- So many are put in front of the model as they are. Those that the definition names singly come first, then the rest
  in the order of their names; what is beyond the number or the size is found with `find_tools`.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from quarterdeck.kernel import servers
from quarterdeck.tools.shed.catalogue import Entry

PREFIX: Final = "mcp:"

MAX_SHOWN_BYTES: Final = 48 * 1024
"""Of all schemas and descriptions that are put in front of a model."""

_GLOB: Final = re.compile(r"[A-Za-z0-9_*-]{1,64}")
_MAX_WORD: Final = 330


@dataclass(frozen=True, slots=True)
class Wanted:
    """One word of a definition's `tools`."""

    word: str
    server: str
    tool: str = "*"
    optional: bool = False

    @property
    def single(self) -> bool:
        """Whether it names one tool."""
        return "*" not in self.server + self.tool

    def serves(self, server: str) -> bool:
        """Whether it may mean tools of that server."""
        return _matches(self.server, server)

    def means(self, entry: Entry) -> bool:
        return self.serves(entry.server) and _matches(self.tool, entry.tool)


def wanted(word: str) -> Wanted:
    """Read one word that begins with `mcp:`. Raises ValueError, saying what is wrong."""
    plain = word.removeprefix(PREFIX)
    optional = plain.endswith("?")
    server, slash, tool = plain.removesuffix("?").partition("/")
    if len(word) > _MAX_WORD or not word.isprintable():
        raise ValueError("it is no name of a tool")
    if "*" in server:
        if not _GLOB.fullmatch(server):
            raise ValueError(f"{server!r} matches no name of a server")
    else:
        servers.named(server)
    if slash and not tool:
        raise ValueError("behind the `/` there is no tool")
    return Wanted(word, server, tool or "*", optional or "*" in server + tool)


def words_of(tools: Iterable[str] | None) -> tuple[Wanted, ...]:
    """What of a definition's `tools` means outside servers. The roster has checked it."""
    return tuple(wanted(word) for word in tools or () if word.startswith(PREFIX))


@dataclass(frozen=True, slots=True)
class Chosen:
    """What one agent gets."""

    shown: tuple[Entry, ...] = ()
    """In front of the model, in the order of their names."""
    found: tuple[Entry, ...] = ()
    """Behind `find_tools`."""


def choose(words: Sequence[Wanted], entries: Iterable[Entry], limit: int, size: int = MAX_SHOWN_BYTES) -> Chosen:
    """Divide what the words allow. `limit`: tools in front of the model; `size`: bytes of them."""
    allowed = sorted(
        {entry.name: entry for entry in entries if any(word.means(entry) for word in words)}.values(),
        key=lambda entry: (not any(word.single and word.means(entry) for word in words), entry.name),
    )
    shown: list[Entry] = []
    for entry in allowed:
        cost = len(json.dumps(entry.spec.model_dump()).encode())
        if len(shown) < limit and cost <= size:
            size -= cost
            shown.append(entry)
    names = {entry.name for entry in shown}
    rest = [entry for entry in allowed if entry.name not in names]
    return Chosen(tuple(sorted(shown, key=lambda entry: entry.name)), tuple(sorted(rest, key=lambda entry: entry.name)))


def _matches(pattern: str, name: str) -> bool:
    """Whether `*` in the pattern can stand for something that makes it the name. No regular expression: the name is a
    stranger's."""
    head, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    if not name.startswith(head):
        return False
    *middle, tail = rest
    at = len(head)
    for part in middle:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - at >= len(tail) and name.endswith(tail)
