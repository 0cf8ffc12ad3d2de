"""The file tools: read, write, edit.

Rules
- Files are read and written by the sandbox, never by the host.
- What the agent got wrong (no such file, text not found) comes back as a result that says what to do instead.
- `edit` replaces exactly one occurrence unless told otherwise; a text that is not unique is refused with its places.
- What is done here with a file takes a time in proportion to its length, and makes none larger than a file may be.
"""

import asyncio
import difflib
import heapq
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from quarterdeck.models.port import ToolSpec
from quarterdeck.tools.arguments import failed, number, parameters, text
from quarterdeck.tools.bounds import readable
from quarterdeck.tools.paths import inside, shown, unwritable
from quarterdeck.tools.port import Edited, Effect, Replay, Surroundings, ToolResult

MAX_FILE: Final = 8 * 1024 * 1024
MAX_LINE: Final = 2_000
READ_LINES: Final = 2_000

_PLACES: Final = 20
"""Places of a text that are named."""
_NEAR_LINES: Final = 5_000
"""Lines in which one that is alike is looked for."""
_NEAR_LENGTH: Final = 120
"""Characters of a line that are compared."""
_NEAR_TRIED: Final = 10
_ALIKE: Final = 0.6
"""Ratio of difflib from which on two lines are alike."""


async def _load(path: str, where: Surroundings) -> bytes | ToolResult:
    """The file's bytes, or the result that says why not."""
    try:
        data = await where.sandbox.read(inside(path), limit=MAX_FILE + 1)
    except FileNotFoundError:
        return failed(f"There is no file `{shown(path)}`. Use `search` with a `glob` to find it.")
    except IsADirectoryError:
        return failed(
            f"`{shown(path)}` is a directory. Use `search` with that `path` and no pattern to see what is in it."
        )
    except (PermissionError, ValueError, OSError) as error:
        return failed(f"`{shown(path)}` cannot be read: {error}")
    if len(data) > MAX_FILE:
        return failed(f"`{shown(path)}` is larger than {MAX_FILE} bytes. Look at a part of it with `run`.")
    return data


async def _store(path: str, data: bytes, where: Surroundings) -> ToolResult | None:
    """Write the file; None = done, else the result that says why not."""
    try:
        await where.sandbox.write(inside(path), data)
    except (PermissionError, FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError, OSError) as error:
        return failed(f"`{shown(path)}` cannot be written: {error}")
    return None


async def _present(path: str, where: Surroundings) -> str | None:
    """The text that a file has; None = it is not there, or no text."""
    try:
        data = await where.sandbox.read(inside(path), limit=MAX_FILE)
        return data.decode()
    except (OSError, ValueError):
        return None


class Read:
    """Lines of a text file, numbered."""

    effect: Effect = "read"
    replay: Replay = "rerun"
    spec: ToolSpec = ToolSpec(
        name="read",
        description="Read a text file. Lines are numbered from 1. Use offset and limit for long files.",
        parameters=parameters(
            {"path": text("Path of the file, relative to the workspace.", minimum=1)},
            {
                "offset": number("First line to show, from 1.", minimum=1, maximum=10_000_000),
                "limit": number("How many lines to show at most.", minimum=1, maximum=READ_LINES),
            },
        ),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        path = str(arguments["path"])
        data = await _load(path, where)
        if isinstance(data, ToolResult):
            return data
        if b"\0" in data[:8192]:
            return failed(f"`{shown(path)}` is not a text file ({len(data)} bytes).")
        lines = readable(data).split("\n")
        if lines[-1] == "":
            lines.pop()
        first = int(arguments.get("offset", 1))
        if not lines:
            return ToolResult(f"`{shown(path)}` is empty.")
        if first > len(lines):
            return failed(f"`{shown(path)}` has only {len(lines)} lines.")
        return _page(lines, first, int(arguments.get("limit", READ_LINES)), where.output_limit)

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


def _page(lines: list[str], first: int, limit: int, room: int) -> ToolResult:
    """Whole lines from `first` on, as many as fit, and where to go on."""
    out: list[str] = []
    room -= 200
    last = first - 1
    for index in range(first - 1, min(len(lines), first - 1 + limit)):
        line = lines[index]
        if len(line) > MAX_LINE:
            line = f"{line[:MAX_LINE]} [... {len(line)} characters]"
        numbered = f"{index + 1}\t{line}"
        room -= len(numbered.encode("utf-8", "replace")) + 1
        if room < 0 and out:
            break
        out.append(numbered)
        last = index + 1
    if last < len(lines):
        out.append(f"[{len(lines)} lines in all; go on with offset: {last + 1}]")
        return ToolResult("\n".join(out), flags=("truncated",) if room < 0 else ())
    return ToolResult("\n".join(out))


class Write:
    """A whole file."""

    effect: Effect = "write"
    replay: Replay = "rerun"
    spec: ToolSpec = ToolSpec(
        name="write",
        description="Create a file or replace its whole content. Directories are made. To change a part use `edit`.",
        parameters=parameters(
            {
                "path": text("Path of the file, relative to the workspace.", minimum=1),
                "content": text("The whole content."),
            }
        ),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        path, content = str(arguments["path"]), str(arguments["content"])
        if reason := unwritable(path):
            return failed(f"Not written: {reason}.")
        try:
            data = content.encode()
        except UnicodeEncodeError:
            return failed("Not written: the content holds half a surrogate pair, which is not text.")
        if len(data) > MAX_FILE:
            return failed(f"Not written: {len(data)} bytes are more than the {MAX_FILE} that a file may have here.")
        before = await _present(path, where)
        if (problem := await _store(path, data, where)) is not None:
            return problem
        lines = content.count("\n") + (not content.endswith("\n") and bool(content))
        said = f"Wrote `{shown(path)}`: {lines} lines, {len(data)} bytes."
        return ToolResult(said, edited=Edited(shown(path), before, content))

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


class Edit:
    """One exact replacement in a file."""

    effect: Effect = "write"
    replay: Replay = "probe"
    spec: ToolSpec = ToolSpec(
        name="edit",
        description=(
            "Replace a text in a file by another one. `old` must be exactly what stands in the file, with its "
            "whitespace and without line numbers, and must occur once; add lines around it to make it unique, or set "
            "`all` to replace every occurrence."
        ),
        parameters=parameters(
            {
                "path": text("Path of the file, relative to the workspace.", minimum=1),
                "old": text("The text to replace.", minimum=1),
                "new": text("What stands there afterwards."),
            },
            {"all": {"type": "boolean", "description": "Replace every occurrence."}},
        ),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        path = str(arguments["path"])
        if reason := unwritable(path):
            return failed(f"Not changed: {reason}.")
        loaded = await _text_of(path, where)
        if isinstance(loaded, ToolResult):
            return loaded
        old, new = _in_style_of(loaded, str(arguments["old"]), str(arguments["new"]))
        if old == new:
            return failed("Not changed: `old` and `new` are the same.")
        count = loaded.count(old)
        if count == 0:
            return failed(await asyncio.to_thread(not_found, loaded, old, shown(path)))
        if count > 1 and not arguments.get("all", False):
            places = ", ".join(map(str, lines_of(loaded, old)))
            return failed(
                f"Not changed: `old` occurs {count} times in `{shown(path)}` (lines {places}). Add lines around it to "
                "make it unique, or set `all: true`."
            )
        if len(loaded) + count * (len(new) - len(old)) > MAX_FILE:
            return failed(f"Not changed: the file would be larger than the {MAX_FILE} bytes that one may have here.")
        after = loaded.replace(old, new)
        try:
            data = after.encode()
        except UnicodeEncodeError:
            return failed("Not changed: `new` holds half a surrogate pair, which is not text.")
        if len(data) > MAX_FILE:
            return failed(f"Not changed: {len(data)} bytes are more than the {MAX_FILE} that a file may have here.")
        if (problem := await _store(path, data, where)) is not None:
            return problem
        first = lines_of(loaded, old, 1)[0]
        times = "" if count == 1 else f" in {count} places"
        said = f"Changed `{shown(path)}`{times}, first at line {first}."
        return ToolResult(said, edited=Edited(shown(path), loaded, after))

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        loaded = await _text_of(str(arguments["path"]), where)
        if isinstance(loaded, ToolResult):
            return None
        old, new = _in_style_of(loaded, str(arguments["old"]), str(arguments["new"]))
        return replaced(loaded, old, new)


def replaced(content: str, old: str, new: str) -> bool | None:
    """Whether `old` was replaced by `new` in what is now `content`; None = cannot tell. Pure."""
    has_new = new in content
    left = content.replace(new, "") if new else content
    if old not in left:
        return True if has_new else None
    return None if has_new and new else False


async def _text_of(path: str, where: Surroundings) -> str | ToolResult:
    data = await _load(path, where)
    if isinstance(data, ToolResult):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return failed(f"`{shown(path)}` is not UTF-8 text; change it with `run`.")


def _in_style_of(content: str, old: str, new: str) -> tuple[str, str]:
    """`old` and `new` with the file's line ends: models write `\\n` for both kinds."""
    if "\r\n" in content and old not in content and "\r\n" not in old:
        return old.replace("\n", "\r\n"), new.replace("\r\n", "\n").replace("\n", "\r\n")
    return old, new


def lines_of(content: str, old: str, most: int = _PLACES) -> list[int]:
    """Line numbers of the first places where `old` begins. Pure."""
    found: list[int] = []
    line, counted, start = 1, 0, content.find(old)
    while start >= 0 and len(found) < most:
        line, counted = line + content.count("\n", counted, start), start
        found.append(line)
        start = content.find(old, start + len(old))
    return found


def not_found(content: str, old: str, path: str) -> str:
    """Why `old` was not found, as helpfully as it can be said. Pure."""
    message = f"Not changed: `old` does not occur in `{path}`."
    if re.match(r"\d+\t", old):
        return f"{message} Leave out the line numbers that `read` shows."
    lines, wanted = content.split("\n"), [line.strip() for line in old.strip("\n").split("\n")]
    stripped = [line.strip() for line in lines]
    text, block = "\n".join(stripped), "\n".join(wanted)
    place = f"\n{text}\n".find(f"\n{block}\n")
    if place >= 0:
        first = text.count("\n", 0, place)
        there = "\n".join(lines[first : first + len(wanted)])[:MAX_LINE]
        return f"{message} It differs only in whitespace from lines {first + 1}-{first + len(wanted)}:\n{there}"
    if (near := _nearest(stripped, max(wanted, key=len))) is not None:
        there = "\n".join(lines[max(0, near - 2) : near + 3])[:MAX_LINE]
        return f"{message} The nearest is around line {near + 1}:\n{there}"
    return f"{message} Read the file again: it may have changed."


def _nearest(lines: Sequence[str], target: str) -> int | None:
    """The line that is most like `target`, from 0; None = none is alike. To compare two lines takes up to the cube of
    their length, so that few are compared, and not to their end."""
    matcher = difflib.SequenceMatcher(b=target[:_NEAR_LENGTH])

    def promise(index: int) -> float:
        matcher.set_seq1(lines[index][:_NEAR_LENGTH])
        return matcher.quick_ratio()

    def likeness(index: int) -> float:
        matcher.set_seq1(lines[index][:_NEAR_LENGTH])
        return matcher.ratio()

    there = [index for index, line in enumerate(lines) if line][:_NEAR_LINES]
    tried = heapq.nlargest(_NEAR_TRIED, there, key=promise)
    best = max(tried, key=likeness, default=None)
    return best if best is not None and likeness(best) >= _ALIKE else None
