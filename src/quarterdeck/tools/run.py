"""The shell tool.

Rules
- A command runs in the sandbox at the workspace root and has a deadline; at the deadline its whole process group ends.
- Its exit code, not its words, says whether it worked.
- When its outcome was lost nobody can know what it did: it is not run again, the agent is told and looks.
"""

from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.models.port import ToolSpec
from quarterdeck.tools.arguments import number, parameters, text
from quarterdeck.tools.bounds import bounded, readable
from quarterdeck.tools.port import Effect, Replay, Surroundings, ToolResult
from quarterdeck.workplace.port import ExecResult

DEFAULT_TIMEOUT: Final = 120
LAST_SIGNAL: Final = 64
"""An exit code beyond 128 plus this is a program's own: no signal has such a number."""

_FLAGS: Final = frozenset({"timeout", "memory", "disk", "died"})


class Run:
    """One shell command."""

    effect: Effect = "execute"
    replay: Replay = "ask"
    spec: ToolSpec = ToolSpec(
        name="run",
        description=(
            "Run a shell command (`sh -c`) at the root of the workspace and get its output and exit code. There is no "
            "terminal, no input and no network unless the deck allows it. Each call is a new shell."
        ),
        parameters=parameters(
            {"command": text("The command.", minimum=1, maximum=50_000)},
            {
                "timeout": number(
                    f"Seconds after which it is stopped; default {DEFAULT_TIMEOUT}.", minimum=1, maximum=3600
                )
            },
        ),
    )

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        command = str(arguments["command"])
        if "\0" in command:
            return ToolResult("Not run: the command holds a NUL byte.", ok=False)
        timeout = min(float(arguments.get("timeout", DEFAULT_TIMEOUT)), where.timeout)
        try:
            result = await where.sandbox.exec(command, timeout=timeout, output_limit=where.output_limit * 2)
        except (ValueError, OSError) as error:  # half a surrogate pair, or no process is left to start it with
            return ToolResult(f"Not run: {error}", ok=False)
        return report(result, timeout, where.output_limit)

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None


def report(result: ExecResult, timeout: float, limit: int) -> ToolResult:
    """What the agent is told about a finished command. The time it took is left out: two equal outcomes must look
    equal, so that a repetition is noticed. Pure."""
    stdout, stderr = readable(result.stdout).rstrip(), readable(result.stderr).rstrip()
    room = limit - 300
    share = room // 2 if stdout and stderr else room
    shown_out, cut_out = bounded(stdout, max(share, room - len(stderr.encode())))
    shown_err, cut_err = bounded(stderr, max(share, room - len(stdout.encode())))
    flags = [flag for flag in result.flags if flag in _FLAGS]
    if cut_out or cut_err or any(flag.endswith("-truncated") for flag in result.flags):
        flags.append("truncated")
    parts = [part for part in (shown_out, f"[stderr]\n{shown_err}" if shown_err else "") if part]
    parts.append(_ending(result, timeout))
    return ToolResult("\n".join(parts), ok=result.exit_code == 0, flags=tuple(flags))


def _ending(result: ExecResult, timeout: float) -> str:
    if "timeout" in result.flags:
        return f"[stopped after {timeout:.0f} s: give it more time, or less to do]"
    if "memory" in result.flags:
        return "[stopped: it used more memory than this sandbox has]"
    if "disk" in result.flags:
        return "[stopped: it used more disk than this sandbox has]"
    if result.exit_code is None:
        return "[it was killed]"
    if 128 < result.exit_code <= 128 + LAST_SIGNAL:
        return f"[exit code {result.exit_code}: ended by signal {result.exit_code - 128}]"
    return f"[exit code {result.exit_code}]"
