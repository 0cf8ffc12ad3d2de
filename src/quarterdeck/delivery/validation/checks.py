"""Runs check commands in a sandbox and says what came out.

Rules
- Commands run one after the other, as `sh -c` at the workspace root; the first failure ends the check, because what
  follows would only repeat it.
- A command passes when it exits 0 and nothing else speaks against it: no deadline, no limit, and no recognised test
  runner that executed nothing, or that passes with a test that has to fail.
- A command of unittest that passed runs once more when all have passed, so that no other finds what that left.
- Output that is kept is bounded: head and tail. A runner is judged by much more of it than is kept, and beside the
  event loop: whatever a command prints, everything else goes on.
- A sandbox that dies is not a result: SandboxFailed goes to the caller, who blames nobody. Only what kills every
  sandbox that it is given counts as failed.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from quarterdeck.delivery.validation.commands import ran_no_test
from quarterdeck.delivery.validation.evidence import (
    ASKS_ITSELF,
    NOTHING,
    REPORT_LIMIT,
    Report,
    Sabotage,
    asked,
    refused,
    sabotaged,
)
from quarterdeck.kernel.entities import CheckResult
from quarterdeck.kernel.failures import SandboxDied
from quarterdeck.tools.bounds import printable, readable
from quarterdeck.workplace.port import HOME, ExecResult, Sandbox

T = TypeVar("T")

LIVES: Final = 3
"""Sandboxes that a check may use up before its death is its own fault."""

READ_LIMIT: Final = 512 * 1024
"""Bytes of one stream of a command's output that are looked at."""

KEEP_LIMIT: Final = 12 * 1024
"""Characters of a command's output that are kept."""

LINE_LIMIT: Final = 300
"""Characters of a line of output that are looked at, and told with the reason."""

_NAMES: Final = re.compile(
    r"(?:E +|FAILED +(?!\()|ERROR +|FAIL: +|--- FAIL: +)\S|[\w.]*(?:Error|Exception): "
    r"|(?=[^\s:]*[./])[^\s:]+:\d+(?::\d+)?: (?!\w*[wW]arning:|note:)|error(?:\[\w+\])?: "
)

ANYWAY: Final = "unittest executed no test: it passes with a test that has to fail, too"

_FLAGS: Final = {
    "timeout": "timeout",
    "memory": "memory limit exceeded",
    "disk": "disk limit exceeded",
}


async def run_checks(
    sandbox: Sandbox,
    commands: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> tuple[CheckResult, ...]:
    """Run `commands` in order until one fails; `timeout` is in seconds for each command.

    The last result is the failing one, if any. Raises SandboxFailed where the sandbox itself is gone, SandboxDied where
    that happened under a command.
    """
    results: list[CheckResult] = []
    for command in commands:
        done, report = await _performed(sandbox, command, env or {}, timeout)
        results.append(await asyncio.to_thread(judge, command, done, timeout, report))
        if not results[-1].passed:
            return tuple(results)
    for at, result in enumerate(results):
        if await _passes_anyway(sandbox, result.command, env or {}, timeout, result.seconds):
            return (*results[:at], result.model_copy(update={"reason": ANYWAY}))
    return tuple(results)


async def _performed(
    sandbox: Sandbox, command: str, env: Mapping[str, str], timeout: float
) -> tuple[ExecResult, Report | None]:
    """The finished command, and the report that pytest was asked for. Raises SandboxFailed, SandboxDied."""
    report = asked(command, f"{sandbox.where(HOME)}/{secrets.token_hex(16)}.xml")
    given = {**env, **(report.env if report else {})}
    if report and ("PYTEST_ADDOPTS" in env or not await _may_be_asked(sandbox, timeout)):
        report, given = None, dict(env)
    done = await _run(sandbox, command, given, timeout)
    if report is None:
        return done, None
    if refused(done.exit_code):
        return await _run(sandbox, command, env, timeout), None
    said = await _run(sandbox, ("head", "-c", str(REPORT_LIMIT), report.path), {}, timeout)
    return done, await asyncio.to_thread(report.read, said.stdout.decode("utf-8", "replace"), _text(done))


async def _may_be_asked(sandbox: Sandbox, timeout: float) -> bool:
    """Whether no report of pytest is lost where we ask for one."""
    return (await _run(sandbox, ASKS_ITSELF, {}, timeout)).exit_code == NOTHING


async def _passes_anyway(
    sandbox: Sandbox, command: str, env: Mapping[str, str], timeout: float, seconds: float
) -> bool:
    """Whether a command of unittest that passed passes with a test that has to fail, too."""
    token = secrets.token_hex(8)
    wrong = sabotaged(command, token, seconds)
    if wrong is None or (wrong.file and not await _placed(sandbox, wrong)):
        return False
    beside = {"COVERAGE_FILE": f"{sandbox.where(HOME)}/{token}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = await _run(sandbox, wrong.command, {**env, **beside}, timeout)
    if wrong.file:
        await _run(sandbox, ("rm", "-f", wrong.file), {}, timeout)
    return done.exit_code == 0


async def _placed(sandbox: Sandbox, wrong: Sabotage) -> bool:
    """Whether the test that has to fail lies where the command has to find it."""
    try:
        if (await sandbox.call("stat", path=wrong.folder))["kind"] != "directory":
            return False
        with contextlib.suppress(FileNotFoundError):
            if b"load_tests" in await sandbox.read(wrong.package):
                return False
        await sandbox.write(wrong.file, wrong.text.encode())
    except (OSError, ValueError):  # what lies there is the change's: a link, a file in the place of a folder
        return False
    return True


async def _run(sandbox: Sandbox, command: str | Sequence[str], env: Mapping[str, str], timeout: float) -> ExecResult:
    done = await sandbox.exec(command, env=env, timeout=timeout, output_limit=READ_LIMIT)
    if done.died:
        raise SandboxDied(why=f"under the command `{bounded(str(command), 200)}`")
    return done


async def outlived(check: Callable[[], Awaitable[T]]) -> T:
    """What `check` returns; it is made again where its sandbox died. Raises SandboxDied where every one did."""
    for _ in range(LIVES - 1):
        with contextlib.suppress(SandboxDied):
            return await check()
    return await check()


def deadly(death: SandboxDied) -> tuple[CheckResult, ...]:
    """The result of a check that no sandbox outlived."""
    reason = f"killed {LIVES} sandboxes"
    return (CheckResult(command="(the sandbox died)", exit_code=None, seconds=0.0, output=str(death), reason=reason),)


def judge(command: str, done: ExecResult, timeout: float, report: Report | None = None) -> CheckResult:
    """One finished command as a check's result. `report`: what pytest wrote, where it was asked for."""
    output = _text(done)
    if report is not None:  # what pytest says of a report that nobody but us has asked for
        output = "\n".join(line for line in output.split("\n") if report.path not in line)
    reason = next((says for flag, says in _FLAGS.items() if flag in done.flags), "")
    if reason == "timeout":
        reason = f"timeout after {timeout:g} s"
    if not reason and done.exit_code is None:
        reason = "killed"
    if not reason:
        reported, due = (report.executed, report.due) if report else (None, False)
        reason = ran_no_test(command, done.exit_code, output, reported=reported, due=due)
    return CheckResult(
        command=command,
        exit_code=done.exit_code,
        seconds=round(done.seconds, 3),
        output=bounded(output, KEEP_LIMIT),
        reason=reason,
    )


def passed(results: Sequence[CheckResult]) -> bool:
    """Whether a check passed. A check without any command passes: that none is configured is refused elsewhere."""
    return all(result.passed for result in results)


def headline(results: Sequence[CheckResult]) -> str:
    """The failing command in one line, for reasons; "" where all passed."""
    for result in results:
        if not result.passed:
            why = result.reason or f"exit {result.exit_code}"
            said = "" if result.reason else told(result.output)
            return f"`{bounded(result.command, 200)}` failed: {why}{f': {said}' if said else ''}"
    return ""


def told(output: str) -> str:
    """The last line of a check's output that names what failed, as test runners, compilers and linters write it; ""
    where there is none: any other line would say as little as the exit code."""
    found = [line for line in readable(output).splitlines() if _NAMES.match(line[:LINE_LIMIT].lstrip())]
    return " ".join(printable(found[-1].strip(), LINE_LIMIT).removeprefix("E ").split()) if found else ""


def summary(results: Sequence[CheckResult], limit: int = 20_000) -> str:
    """What a check said, for whoever has to mend it: each command with its result, the failing ones with their output.

    At most `limit` characters; the output is cut first, in the middle.
    """
    lines = []
    failing = [result for result in results if not result.passed]
    for result in results:
        verdict = "passed" if result.passed else (result.reason or f"exit {result.exit_code}")
        lines.append(f"$ {bounded(result.command, 500)}\n[{verdict}, {result.seconds:.1f} s]")
    head = bounded("\n".join(lines), limit)
    room = limit - len(head)
    for result in failing:
        if room > 200:
            part = "\n\n" + bounded(result.output, room - 2)
            head += part
            room -= len(part)
    return head


def bounded(text: str, limit: int) -> str:
    """`text` in at most `limit` characters: head and tail, with a mark for what is left out."""
    if len(text) <= limit:
        return text
    mark = f"\n… {len(text) - limit} characters left out …\n"
    room = max(0, limit - len(mark))
    tail = room * 2 // 3
    return (text[: room - tail] + mark + text[len(text) - tail :])[:limit]


def _text(done: ExecResult) -> str:
    parts = [raw.decode("utf-8", "replace").replace("\0", "\\0") for raw in (done.stdout, done.stderr)]
    return "\n".join(part.rstrip("\n") for part in parts if part.strip())
