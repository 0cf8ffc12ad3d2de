"""What is put on record when our loop stops without a handoff: at a bound, or because no model can be asked.

Rules
- At a bound, what is complete by then is kept, so that a person or another agent can decide.
- Where only a person can help, an incident is opened that says how.
"""

from typing import Final

from quarterdeck.agents import endings
from quarterdeck.agents.attempt_log import AttemptLog
from quarterdeck.agents.limits import Reached
from quarterdeck.agents.port import Assignment, Finished
from quarterdeck.kernel import events as e
from quarterdeck.kernel.failures import RECOVERY, ModelFailed, WorkspaceOverLimit
from quarterdeck.workplace.port import Sandbox

_CHANGED_FILES: Final = "git status --short --untracked-files=all | head -n 200"


async def at_bound(log: AttemptLog, reached: Reached, sandbox: Sandbox) -> None:
    """Record the bound and what is complete. Raises SandboxFailed, StoreUnavailable, StaleClaim."""
    blob = await log.put(endings.complete(log.state, reached, await _changed_files(sandbox)))
    event = e.LimitReached(limit=reached.limit, used=reached.used, allowed=reached.allowed, complete_blob=blob)
    await log.append(event)


async def unanswered(log: AttemptLog, error: ModelFailed, model: str, assignment: Assignment) -> Finished:
    """How the attempt ends where `model` was the last one to ask. Raises StoreUnavailable, StaleClaim."""
    fix = endings.fix(error, model, assignment)
    if RECOVERY[error.kind].stops_run:
        event = e.IncidentOpened(failure=error.kind, subject=model, reason=str(error)[:2000], fix=fix[:2000])
        await log.append(event)
    return endings.model_failed(error, fix)


async def _changed_files(sandbox: Sandbox) -> str:
    try:
        result = await sandbox.exec(_CHANGED_FILES, timeout=30.0)
    except WorkspaceOverLimit as error:
        return f"(unknown: {error})"
    return result.stdout.decode("utf-8", "replace").strip()
