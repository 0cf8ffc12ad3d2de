"""The search tool: text in files, or names of files.

Rules
- The search runs inside the sandbox; `.git` is never searched.
- Results are `path:line: text`, bounded; what was left out is said.
"""

from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.models.port import ToolSpec
from quarterdeck.tools.arguments import failed, parameters, text
from quarterdeck.tools.bounds import readable
from quarterdeck.tools.paths import inside, shown
from quarterdeck.tools.port import Effect, Replay, Surroundings, ToolResult

MAX_HITS: Final = 200
MAX_LINE: Final = 300


class Search:
    """A regular expression over the workspace."""

    effect: Effect = "read"
    replay: Replay = "rerun"
    spec: ToolSpec = ToolSpec(
        name="search",
        description=(
            "Search the workspace: lines of text files that match a regular expression (Python syntax), or with "
            f"`names: true` paths of files that match it. At most {MAX_HITS} hits are shown."
        ),
        parameters=parameters(
            {"pattern": text("Regular expression.", minimum=1, maximum=2_000)},
            {
                "path": text("Directory or file to search in; default: the whole workspace."),
                "glob": text("Only files whose path matches, for example `*.py` or `src/**/*.ts`."),
                "names": {"type": "boolean", "description": "Match the paths of files instead of their lines."},
            },
        ),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        path = str(arguments.get("path") or ".")
        try:
            answer = await where.sandbox.call(
                "search",
                pattern=str(arguments["pattern"]),
                path=inside(path),
                glob=str(arguments.get("glob") or ""),
                names=bool(arguments.get("names", False)),
                limit=MAX_HITS + 1,
            )
        except FileNotFoundError:
            return failed(f"There is no `{shown(path)}`.")
        except (ValueError, OSError) as error:
            return failed(f"The search could not be made: {error}")
        return report(answer, where.output_limit)

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


def report(answer: Mapping[str, Any], limit: int) -> ToolResult:
    """What the agent is told about the worker's answer. Pure."""
    hits = answer["hits"]
    lines: list[str] = []
    room = limit - 200
    for hit in hits[:MAX_HITS]:
        line = readable(_line(hit))
        room -= len(line.encode()) + 1
        if room < 0 and lines:
            break
        lines.append(line)
    if not lines:
        return ToolResult("Nothing matches.")
    if len(lines) < len(hits) or answer.get("truncated"):
        lines.append(f"[only the first {len(lines)} hits are shown; search more narrowly]")
        return ToolResult("\n".join(lines), flags=("truncated",))
    return ToolResult("\n".join(lines))


def _line(hit: Mapping[str, Any]) -> str:
    if "line" not in hit:
        return shown(str(hit["path"]))
    content = str(hit["text"]).strip("\r\n")
    shortened = content if len(content) <= MAX_LINE else f"{content[:MAX_LINE]} [...]"
    return f"{shown(str(hit['path']))}:{hit['line']}: {shortened}"
