"""What an agent that is not our loop is told: the document of the command harness, and what else there is to know.

Rules
- The document is data for programs and text for models; its parts are bounded like those of a first message.
- How the siblings stand and what they noted is as of now, not as of the start.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from quarterdeck.agents.command import task_document
from quarterdeck.agents.port import Assignment, Sibling
from quarterdeck.agents.prompts import DIFF_LIMIT
from quarterdeck.journal.views import Views
from quarterdeck.kernel.entities import Note, Plan
from quarterdeck.models.port import ToolSpec
from quarterdeck.tools.arguments import parameters
from quarterdeck.tools.bounds import bounded
from quarterdeck.tools.port import Effect, Replay, Surroundings, ToolResult

MAX_SIBLINGS: Final = 100
MAX_NOTES: Final = 50
TASK: Final = "task"
"""Name of its tool."""
EVIDENCE_LIMIT: Final = 24_000
DESIGN_LIMIT: Final = 32_000

Look = Callable[[], Awaitable[tuple[tuple[Sibling, ...], tuple[Note, ...]]]]


def look_around(assignment: Assignment, views: Views | None) -> Look:
    """How to see the siblings as they are now; without read tables, as they were at the start."""

    async def look() -> tuple[tuple[Sibling, ...], tuple[Note, ...]]:
        if views is None:
            return assignment.siblings, assignment.notes
        status = {row.task: str(row.status) for row in await views.tasks(assignment.run)}
        siblings = (replace(each, status=status.get(each.task, each.status)) for each in assignment.siblings)
        return tuple(siblings), tuple(await views.notes(assignment.run, MAX_NOTES))

    return look


async def briefing(assignment: Assignment, look: Look) -> dict[str, Any]:
    """The document that `task` returns."""
    siblings, notes = await look()
    seen = replace(
        assignment,
        siblings=siblings[:MAX_SIBLINGS],
        notes=notes[-MAX_NOTES:],
        diff=bounded(assignment.diff, DIFF_LIMIT)[0],
        evidence=bounded(assignment.evidence, EVIDENCE_LIMIT)[0],
    )
    document = task_document(seen)
    document["agent"] = assignment.agent.name
    document["expects"] = assignment.agent.expects
    document["plan"] = None if assignment.plan is None else _plan(assignment.plan)
    return document


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "goal": bounded(plan.goal, 8_000)[0],
        "design": bounded(plan.design, DESIGN_LIMIT)[0],
        "tasks": [{"id": task.id, "title": task.title, "needs": list(task.needs)} for task in plan.tasks],
    }


class TaskDocument:
    """The tool `task`."""

    effect: Effect = "read"
    replay: Replay = "rerun"
    spec: ToolSpec = ToolSpec(
        name=TASK,
        description=(
            "What you are to do: your task with the paths that may change and the commands that must pass, the plan it "
            "is part of, how the other tasks stand, decisions that others noted, and feedback on earlier attempts. "
            "Call it first."
        ),
        parameters=parameters({}),
    )

    def __init__(self, document: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._document = document

    async def call(self, arguments: Mapping[str, Any], where: Surroundings) -> ToolResult:
        return ToolResult(json.dumps(await self._document(), ensure_ascii=False))

    async def happened(self, arguments: Mapping[str, Any], where: Surroundings) -> bool | None:
        return None
