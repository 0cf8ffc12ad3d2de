"""What an agent asks leave for, whole: the request read with the tool call that it is about. Pure.

Rules
- A request may name nothing but the call: what it leaves out is what was announced of that call.
- A tool is ours where the vendor's client says so in what it writes itself: the registered name of the tool or, of a
  client that is known to write them (`Profile.tool_fields`), the server and the tool as fields of the input. In other
  clients a model writes the input. A title never makes it ours: it is the command itself in some clients, and
  a description by the model in others.
- What will be written is shown as lines, bounded. Its digest is of all of it, so that a word about one content is never
  a word about another.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from quarterdeck.agents.acp_values import Announced, Permission
from quarterdeck.kernel import ids
from quarterdeck.tools.bounds import bounded, readable

SERVER: Final = "quarterdeck"
"""Name of our MCP server: agents put it into the names of its tools."""

SHOWN: Final = 256 * 1024
"""Bytes of what will be written that are shown of one request."""

_BY_NAME: Final = f"mcp__{SERVER}__"
_FIELDS: Final = frozenset(("server", "tool", "arguments"))
_AROUND: Final = 3
"""Lines shown before and after what is changed."""


def whole(asked: Permission, announced: Announced | None) -> Permission:
    """The request with what it left out."""
    if announced is None:
        return asked
    return replace(
        asked,
        title=asked.title or announced.title,
        kind=asked.kind or announced.kind,
        name=asked.name or announced.name,
        input=announced.input if asked.input in (None, {}) else asked.input,
        paths=asked.paths or announced.paths,
        content=asked.content or announced.content,
        lost=announced.lost and asked.input in (None, {}),
    )


def own_tool(asked: Permission, tools: Collection[str], *, fields: bool = False) -> str | None:
    """Which of the tools of our MCP server it is about; None = another tool, or that is not known for sure. `fields`:
    the client writes server and tool as fields of the input."""
    if asked.name:
        name = asked.name.removeprefix(_BY_NAME)
        return name if asked.name.startswith(_BY_NAME) and name in tools else None
    given = asked.input
    if fields and isinstance(given, dict) and given.keys() == _FIELDS and given["server"] == SERVER:
        tool = given["tool"]
        return tool if isinstance(tool, str) and tool in tools else None
    return None


def written(content: tuple[Mapping[str, Any], ...]) -> Iterator[str]:
    """The files that will be written."""
    return (str(part["path"]) for part in content if part.get("type") == "diff" and part.get("path"))


def changes(content: tuple[Mapping[str, Any], ...]) -> tuple[list[list[str]], str]:
    """What will be written, as lines of each file, and the digest of all of it; nothing = no lines, and no digest."""
    diffs = [part for part in content if part.get("type") == "diff"]
    if not diffs:
        return [], ""
    limit = max(SHOWN // len(diffs), 1)
    lines = [bounded("\n".join(_lines(part)), limit)[0].split("\n") for part in diffs]
    exact = [[part.get(key) for key in ("path", "oldText", "newText")] for part in diffs]
    return lines, ids.digest(json.dumps(exact, ensure_ascii=True, default=str).encode())


def texts(content: tuple[Mapping[str, Any], ...]) -> str:
    """What else it shows, as text."""
    inner = (part.get("content") for part in content if part.get("type") == "content")
    return "\n".join(str(each["text"]) for each in inner if isinstance(each, dict) and each.get("text"))


def _lines(part: Mapping[str, Any]) -> Iterator[str]:
    """A file before and after, from the first line that differs to the last."""
    before, after = (readable(str(part.get(key) or "")).split("\n") for key in ("oldText", "newText"))
    yield f"{'+++' if part.get('oldText') is None else '---'} {readable(str(part.get('path', '')))}"
    head = _alike(before, after, min(len(before), len(after)))
    tail = _alike(before[::-1], after[::-1], min(len(before), len(after)) - head)
    yield f"@@ line {head + 1}"
    yield from (f" {line}" for line in before[max(0, head - _AROUND) : head])
    yield from (f"-{line}" for line in before[head : len(before) - tail] if part.get("oldText") is not None)
    yield from (f"+{line}" for line in after[head : len(after) - tail])
    yield from (f" {line}" for line in before[len(before) - tail :][:_AROUND])


def _alike(one: list[str], other: list[str], most: int) -> int:
    """How many lines are the same at the beginning, `most` at most."""
    return next((index for index in range(most) if one[index] != other[index]), most)
