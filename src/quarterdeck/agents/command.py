"""The command harness: any program is an agent.

Rules
- It runs in the sandbox, at the workspace root. The task is on stdin and in the file `$QUARTERDECK_TASK`, which lies
  outside of the workspace, so that it can never become part of the change.
- It runs once, unless its handoff has not the form that it must have: then again in the same workspace, with the schema
  and an example (`handoff` in the task), as often as any agent is asked.
- Exit 0 = finished: what differs from the base is the change. The last line of stdout, where it is a JSON object with
  a `summary`, is the handoff. Any other exit = failed; the last line of stderr is told with the reason, and its tail is
  the feedback for whoever tries next.
- It cannot be resumed: after a crash the attempt starts again in a fresh workspace.
- A sandbox that dies under it says nothing about the program: that goes to the caller, who blames nobody.
- The intent is recorded before the program starts, the outcome after it ended. What it changes meanwhile is on record
  for others; it cannot be told what they change.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.agents import handoffs
from quarterdeck.agents.port import Assignment, Finished, Handoff
from quarterdeck.agents.surveying import Surveyed, TraceLog
from quarterdeck.journal.port import Journal
from quarterdeck.journal.touches import Touches
from quarterdeck.kernel import probes
from quarterdeck.kernel.clock import SystemClock
from quarterdeck.kernel.config import RunConfig
from quarterdeck.kernel.entities import Agent, Feedback, Submission
from quarterdeck.kernel.events import HandoffRefused, HarnessFinished, HarnessStarted, LimitReached, Outcome
from quarterdeck.kernel.failures import FailureClass, SandboxDied
from quarterdeck.tools.bounds import bounded, last_line, readable
from quarterdeck.tools.run import LAST_SIGNAL
from quarterdeck.workplace.port import NO_GEAR, ExecResult, Gear

OUTPUT_LIMIT: Final = 256 * 1024
"""Bytes kept of each stream."""

DETAIL_LIMIT: Final = 16 * 1024
"""Bytes of stderr that become feedback."""

_WRAPPER: Final = """
umask 077
QUARTERDECK_TASK=$(mktemp "${TMPDIR:-/tmp}/quarterdeck-task.XXXXXX") || exit 125
export QUARTERDECK_TASK
trap 'rm -f "$QUARTERDECK_TASK"' EXIT
cat > "$QUARTERDECK_TASK"
"$@" < "$QUARTERDECK_TASK"
exit $?
"""
"""Makes the file inside the sandbox, where the path means the same to the program as to us."""


def task_document(assignment: Assignment) -> dict[str, Any]:
    """What the program is told (CONTRACT.md, "Command harness")."""
    task = assignment.task
    document: dict[str, Any] = {
        "v": 1,
        "run": assignment.run,
        "attempt": assignment.number,
        "goal": assignment.goal,
        "task": None,
        "feedback": [item.model_dump(mode="json") for item in assignment.feedback],
        "siblings": [
            {"task": item.task, "title": item.title, "status": item.status, "paths": list(item.paths)}
            for item in assignment.siblings
        ],
        "notes": [item.model_dump(mode="json") for item in assignment.notes],
    }
    if task is not None:
        document["task"] = {
            "id": task.id,
            "title": task.title,
            "instructions": task.instructions,
            "paths": list(task.paths),
            "verify": list(task.verify),
            "design": task.design,
        }
    if assignment.meetings:
        document["meetings"] = [
            {
                "task": item.task,
                "title": item.title,
                "status": item.status,
                "paths": list(item.paths),
                "about": item.about,
                "doing": list(item.doing),
            }
            for item in assignment.meetings
        ]
    if assignment.owners:
        document["owners"] = assignment.owners
    if assignment.judges:
        document["judges"] = assignment.judges
    if assignment.diff:
        document["diff"] = assignment.diff
    if assignment.evidence:
        document["evidence"] = assignment.evidence
    return document


def last_object(stdout: str) -> Mapping[str, Any] | None:
    """The JSON object that the last non-empty line is, or None."""
    lines = stdout.rstrip().rsplit("\n", 1)
    try:
        value = json.loads(lines[-1])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def handoff_of(assignment: Assignment, stdout: str) -> Handoff | handoffs.Refused:
    """The program's handoff. Only a submission may be left out, or hold other keys: its change speaks for itself."""
    expects = assignment.agent.expects
    found = last_object(stdout)
    if expects == "submission":
        if found is None or "summary" not in found:
            return Submission(summary=f"`{assignment.agent.name}` ended with exit code 0 and no summary.")
        found = {key: found[key] for key in ("summary", "limitations") if key in found}
    if found is None:
        return handoffs.refuse(expects, ["the last line of stdout is not a JSON object"])
    return handoffs.parse(expects, found, goal=assignment.goal)


def refusal_of(assignment: Assignment, result: ExecResult) -> handoffs.Refused | None:
    """Why the handoff of a program that ended well is none."""
    if result.exit_code != 0:
        return None
    found = handoff_of(assignment, readable(result.stdout))
    return found if isinstance(found, handoffs.Refused) else None


def _way(assignment: Assignment, refused: int) -> object:
    agent, config = assignment.agent, assignment.config
    return handoffs.recovery(refused, agent, config.agents, config.deck)


def judge(assignment: Assignment, result: ExecResult, wall: float) -> Finished:
    """How the attempt ended, from what the program did."""
    stdout, stderr = readable(result.stdout), readable(result.stderr)
    if result.exit_code == 0:
        found = handoff_of(assignment, stdout)
        if not isinstance(found, handoffs.Refused):
            return Finished(Outcome.OK, handoff=found)
        reason = f"`{assignment.agent.name}` ended without a valid {assignment.agent.expects}"
        feedback = Feedback(source="agent", reason=reason, detail=bounded(found.reason, DETAIL_LIMIT)[0])
        return Finished(Outcome.FAILED, reason, FailureClass.HANDOFF, feedback=(feedback,))
    reason = f"`{assignment.agent.name}` {_ending(result, wall)}"
    if result.exit_code is not None and (said := last_line(stderr) or last_line(stdout)):
        reason += f": {said}"
    source: Any = "limit" if result.exit_code is None else "agent"
    detail = _tail(stderr or stdout, DETAIL_LIMIT)
    return Finished(
        Outcome.FAILED, reason, FailureClass.TOOL, feedback=(Feedback(source=source, reason=reason, detail=detail),)
    )


def _ending(result: ExecResult, wall: float) -> str:
    if "timeout" in result.flags:
        return f"was stopped after {wall:.0f} s (limits.wall)"
    if "memory" in result.flags:
        return "used more memory than it may and was stopped"
    if "disk" in result.flags:
        return "used more disk than it may and was stopped"
    if result.exit_code is None:
        return f"was killed ({', '.join(result.flags) or 'no reason known'})"
    if 128 < result.exit_code <= 128 + LAST_SIGNAL:
        return f"was ended by signal {result.exit_code - 128}"
    return f"ended with exit code {result.exit_code}"


def _tail(text: str, limit: int) -> str:
    data = text.strip().encode()
    if len(data) <= limit:
        return text.strip()
    return "[...] " + data[-limit:].decode("utf-8", "ignore")


class CommandHarness:
    """Runs an agent's command as the whole attempt."""

    def __init__(self, journal: Journal, touches: Touches | None = None) -> None:
        """`touches`: None = what the program changes is not looked at while it runs."""
        self._journal = journal
        self._touches = touches

    @property
    def resumable(self) -> bool:
        return False

    def prepare(self, agent: Agent, config: RunConfig) -> None:
        """There is nothing to load."""

    async def gear(self, agent: Agent, config: RunConfig) -> Gear:
        """Nothing beyond what every sandbox has."""
        return NO_GEAR

    async def work(self, assignment: Assignment) -> Finished:
        """Run the program to its end. Raises SandboxFailed, StoreUnavailable, StaleClaim."""
        wall = assignment.agent.limits.wall or assignment.config.deck.limits.wall
        started = HarnessStarted(incarnation=assignment.incarnation, detail=json.dumps(assignment.agent.command)[:4000])
        await self._journal.append(assignment.claim, started)
        probes.hit("harness.started")
        log = TraceLog(self._journal, assignment.claim)
        watching = asyncio.create_task(Surveyed(assignment, self._touches, SystemClock(), log).keep())
        try:
            result, finished = await self._until_heard(assignment, wall)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        probes.hit("harness.finished")
        await self._record(assignment, result, finished, wall)
        return finished

    async def _until_heard(self, assignment: Assignment, wall: float) -> tuple[ExecResult, Finished]:
        """Run it as often as its handoff has to be asked for."""
        refused, left = 0, wall
        again: dict[str, Any] = {}
        while True:
            result = await self._run(assignment, again, left)
            finished, left = judge(assignment, result, wall), left - result.seconds
            problem = refusal_of(assignment, result)
            refused += problem is not None
            way = _way(assignment, refused)
            if problem is None or not isinstance(way, handoffs.AskAgain) or left <= 0:
                return result, finished
            event = HandoffRefused(expects=assignment.agent.expects, number=refused, reason=problem.reason[:2000])
            await self._journal.append(assignment.claim, event)
            again = {"problem": problem.reason, "schema": dict(way.schema), "example": dict(way.example)}

    async def _run(self, assignment: Assignment, again: Mapping[str, Any], seconds: float) -> ExecResult:
        """The program, once. `again`: why its last handoff was refused, and what it has to look like."""
        document = task_document(assignment)
        if again:
            document["handoff"] = {"expects": assignment.agent.expects, **again}
        result = await assignment.sandbox.exec(
            ("sh", "-c", _WRAPPER, "sh", *assignment.agent.command),
            stdin=json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n",
            timeout=seconds,
            output_limit=OUTPUT_LIMIT,
        )
        if result.died:
            raise SandboxDied(why=f"under the command of `{assignment.agent.name}`")
        return result

    async def _record(self, assignment: Assignment, result: ExecResult, finished: Finished, wall: float) -> None:
        output = _report(result).encode()
        handoff = None if finished.handoff is None else await self._journal.put(handoffs.encode(finished.handoff))
        event = HarnessFinished(
            incarnation=assignment.incarnation,
            ok=finished.outcome is Outcome.OK,
            reason=finished.reason[:2000],
            failure=finished.failure,
            exit_code=result.exit_code,
            handoff_blob=handoff,
            output_blob=await self._journal.put(output),
        )
        kept = await assignment.keep()
        if "timeout" in result.flags:
            complete = await self._journal.put(output)
            limit = LimitReached(limit="wall", used=result.seconds, allowed=wall, complete_blob=complete)
            await self._journal.append(assignment.claim, *kept, limit, event)
        else:
            await self._journal.append(assignment.claim, *kept, event)


def _report(result: ExecResult) -> str:
    flags = f" [{', '.join(result.flags)}]" if result.flags else ""
    return (
        f"exit code {result.exit_code}{flags}, {result.seconds:.2f} s\n"
        f"--- stdout\n{readable(result.stdout)}\n--- stderr\n{readable(result.stderr)}\n"
    )
