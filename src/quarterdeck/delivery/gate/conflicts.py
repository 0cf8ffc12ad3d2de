"""What whoever mends a returned change has to know: what failed; of a conflict both sides and the ways that were tried.

Rules
- The other side is what landed on the same paths since the change's base, each with its task and its diff.
- The best of the ways is the one whose tree passed most commands, of those the first.
- Everything is bounded, each part by itself, so that no long one hides the others.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from quarterdeck.delivery.gate import merging
from quarterdeck.delivery.gate.checking import RESULTS
from quarterdeck.delivery.gate.ledger import GateState, Queued
from quarterdeck.delivery.gate.orders import LostWay, Return
from quarterdeck.delivery.validation.checks import bounded, summary
from quarterdeck.kernel.entities import CheckResult, Feedback
from quarterdeck.kernel.events import Outcome
from quarterdeck.workplace.history import LogEntry
from quarterdeck.workplace.mirror import Mirror

DETAIL_LIMIT: Final = 22_000
"""Characters of the whole."""
_GIT_LIMIT: Final = 1_500
_WAYS_LIMIT: Final = 2_000
_OUTPUT_LIMIT: Final = 4_500
_OTHERS_LIMIT: Final = 8_500
_DIFF_LIMIT: Final = 6_000
_OWN_LIMIT: Final = 4_500
_INTENT_LIMIT: Final = 1_000

Get = Callable[[str], Awaitable[bytes]]
"""Reads a blob."""


async def explained(
    mirror: Mirror, state: GateState, queued: Queued, command: Return, get: Get
) -> tuple[Feedback | None, tuple[str, ...]]:
    """What the author of a returned change has to know, and the attempts that it conflicts with."""
    if command.outcome is Outcome.FAILED and command.results_blob is not None:
        results = _results(await get(command.results_blob))
        return Feedback(source="gate", reason=merging.readable(command.reason)[:2000], detail=summary(results)), ()
    if command.outcome is Outcome.CONFLICT:
        return await _conflict(mirror, state, queued, command, get)
    return None, ()


async def _conflict(
    mirror: Mirror, state: GateState, queued: Queued, command: Return, get: Get
) -> tuple[Feedback, tuple[str, ...]]:
    theirs = await merging.touching(mirror, queued.change.base, state.tip, command.paths)
    parts = [
        f"Conflicting paths: {', '.join(command.paths)}" if command.paths else "",
        bounded(command.detail.strip(), _GIT_LIMIT),
        _ways(command.lost),
        await _failing(command, get),
        bounded("\n\n".join(await _others(mirror, state, theirs, command.paths, get)), _OTHERS_LIMIT),
        await _own(mirror, queued, command.paths, get),
    ]
    detail = merging.readable(bounded("\n\n".join(part for part in parts if part), DETAIL_LIMIT))
    commits = tuple(entry.commit for entry in theirs)
    against = tuple(attempt for attempt, commit in state.landed.items() if commit in commits)
    reason = merging.readable(command.reason)
    if queued.reverts and commits:
        reason = f"{reason}; in the way: {', '.join(commit[:12] for commit in commits)}"
    return Feedback(source="conflict", reason=reason[:2000], detail=detail), against


def _ways(lost: Sequence[LostWay]) -> str:
    lines = [f"- {each.way}: {each.reason}" for each in lost]
    return bounded("\n".join(("Ways of merging that were tried:", *lines)), _WAYS_LIMIT) if lines else ""


async def _failing(command: Return, get: Get) -> str:
    """What the checks of the best candidate said."""
    found = [
        (f"What the tree merged by {each.way} failed:", _results(await get(each.results_blob)))
        for each in command.lost
        if each.results_blob is not None
    ]
    if command.results_blob is not None:
        found.append(("What the merged tree failed:", _results(await get(command.results_blob))))
    if not found:
        return ""
    head, results = max(found, key=lambda one: sum(result.passed for result in one[1]))
    return f"{head}\n{summary(results, _OUTPUT_LIMIT)}"


def _results(data: bytes) -> tuple[CheckResult, ...]:
    return RESULTS.validate_json(data)


async def _others(
    mirror: Mirror, state: GateState, theirs: Sequence[LogEntry], paths: Sequence[str], get: Get
) -> list[str]:
    if not theirs:
        return ["Nothing that landed since touched these paths by that name; they may have been renamed."]
    parts = ["What landed there meanwhile:"]
    for entry in theirs:
        diff = await mirror.diff(entry.parents[0], entry.commit, paths=paths, limit=_DIFF_LIMIT)
        task = entry.trailers.get(merging.TASK_TRAILER)
        origin = f"task {task}" if task else "a commit from outside this run"
        landed = state.settled.get(merging.task_of(entry))
        intent = await _intent(landed, get) if landed is not None else ""
        parts.append("\n".join(filter(None, (f"## {entry.subject} ({origin}, {entry.commit[:12]})", intent, diff))))
    return parts


async def _own(mirror: Mirror, queued: Queued, paths: Sequence[str], get: Get) -> str:
    change = queued.change
    diff = await mirror.diff(change.base, change.commit, paths=paths, limit=_OWN_LIMIT)
    head = f"What this change does there:\n## {queued.title} (task {change.task})"
    return bounded("\n".join(filter(None, (head, await _intent(queued, get), diff))), _OWN_LIMIT)


async def _intent(queued: Queued, get: Get) -> str:
    """What the task asks for."""
    if queued.intent_blob is None:
        return ""
    return bounded((await get(queued.intent_blob)).decode("utf-8", "replace").strip(), _INTENT_LIMIT)
