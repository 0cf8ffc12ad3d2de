"""The search tool: text in files, or names of files.

Rules
- The search runs inside the sandbox, the regular expression too: a costly one costs the agent, not the host.
- `.git` is never searched. Results are `path:line: text`, bounded; what was left out is said.
"""

from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.kernel.failures import SandboxFailed
from quarterdeck.models.port import ToolSpec
from quarterdeck.tools.arguments import failed, parameters, text
from quarterdeck.tools.bounds import readable
from quarterdeck.tools.paths import inside, shown
from quarterdeck.tools.port import Effect, Replay, Surroundings, ToolResult

MAX_HITS: Final = 200
MAX_LINE: Final = 300
MAX_DEPTH: Final = 64


class Search:
    """A regular expression, or a glob, over the workspace."""

    effect: Effect = "read"
    replay: Replay = "rerun"
    spec: ToolSpec = ToolSpec(
        name="search",
        description=(
            "Search the workspace. With `pattern`: lines of text files that match a regular expression (Python "
            f"syntax). Without it: paths of files that match `glob`. At most {MAX_HITS} hits are shown."
        ),
        parameters=parameters(
            {},
            {
                "pattern": text("Regular expression for lines.", minimum=1, maximum=2_000),
                "glob": text("Only files whose path matches, for example `*.py` or `src/**/*.ts`.", maximum=1_000),
                "path": text("Directory or file to search in; default: the whole workspace."),
                "ignore_case": {"type": "boolean", "description": "Upper and lower case are the same."},
            },
        ),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        path = str(arguments.get("path") or ".")
        glob = str(arguments.get("glob") or "") or None
        try:
            if "pattern" not in arguments:
                listed = await where.sandbox.call("list", path=inside(path), depth=MAX_DEPTH, limit=MAX_HITS, glob=glob)
                return answered(listed, "entries", where.output_limit)
            found = await where.sandbox.call(
                "search",
                pattern=str(arguments["pattern"]),
                path=inside(path),
                glob=glob,
                limit=MAX_HITS,
                ignore_case=bool(arguments.get("ignore_case", False)),
            )
        except FileNotFoundError:
            return failed(f"There is no `{shown(path)}`.")
        except NotADirectoryError:
            return failed(f"`{shown(path)}` is a file; give `pattern` to search in it.")
        except (ValueError, OSError) as error:
            return failed(f"The search could not be made: {error}")
        return answered(found, "matches", where.output_limit)

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


def answered(answer: Mapping[str, Any], key: str, limit: int) -> ToolResult:
    """The worker's answer. Raises SandboxFailed where it is none: what comes out of a sandbox is not believed."""
    try:
        return report(answer[key], bool(answer["truncated"]), limit)
    except (KeyError, TypeError, AttributeError) as error:
        raise SandboxFailed("the worker inside the sandbox gave no proper answer", why=repr(error)) from error


def report(hits: Any, more: bool, limit: int) -> ToolResult:
    """What the agent is told about the worker's answer. Pure."""
    lines: list[str] = []
    room = limit - 200
    for hit in hits:
        line = readable(_line(hit))
        room -= len(line.encode()) + 1
        if room < 0 and lines:
            break
        lines.append(line)
    if not lines:
        return ToolResult("Nothing matches.")
    if more or len(lines) < len(hits):
        lines.append(f"[only the first {len(lines)} hits are shown; search more narrowly]")
        return ToolResult("\n".join(lines), flags=("truncated",))
    return ToolResult("\n".join(lines))


def _line(hit: Mapping[str, Any]) -> str:
    if "line" not in hit:
        return shown(str(hit["path"])) + ("/" if hit["kind"] == "directory" else "")
    content = str(hit["text"]).strip("\r\n")
    shortened = content if len(content) <= MAX_LINE else f"{content[:MAX_LINE]} [...]"
    return f"{shown(str(hit['path']))}:{hit['line']}: {shortened}"
