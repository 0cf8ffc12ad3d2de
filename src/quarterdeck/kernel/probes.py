"""Named points where a test may stop or kill the process.

Rules
- A probe stands on each side of every effect that must not be lost or repeated.
- Names are listed here, so that a test can walk over all of them; an unlisted name is an error.
- Nothing is installed in normal operation; `hit` is then one dictionary look-up.
"""

from collections.abc import Callable
from typing import Final

NAMES: Final[dict[str, str]] = {
    "run.stored": "the run exists in the journal, nothing has been started",
    "run.decided": "commands were decided, their events and jobs are not yet stored",
    "run.advanced": "events and jobs of the decision are stored",
    "attempt.claimed": "an attempt job has claimed its stream, no workspace yet",
    "workspace.ready": "the workspace is checked out, the agent has not started",
    "harness.started": "the intent to start the agent is stored, the agent is not yet started",
    "harness.finished": "the agent has ended, its outcome is not yet stored",
    "model.intended": "the intent of a model call is stored, the call has not left",
    "model.replied": "a model reply was received, it is not yet stored",
    "tool.intended": "the intent of a tool call is stored, the tool has not run",
    "tool.effected": "a tool has run, its outcome is not yet stored",
    "change.exported": "the change left the sandbox, it is not in the mirror yet",
    "change.pinned": "the change's ref is set, the outcome is not stored",
    "attempt.checked": "verify commands have run, their outcome is not yet stored",
    "node.finished": "an attempt's node is finished and recorded",
    "gate.queued": "a change is in the gate's queue",
    "gate.checked": "the merged tree was checked, the result is not stored",
    "gate.resolved": "the way of merging that counts is stored, the intent to move the target is not",
    "gate.intended": "the intent to move the target is stored, the ref is not moved",
    "gate.moved": "the target ref is moved, that is not stored",
    "gate.landed": "the landing is stored, the run does not know yet",
    "gate.accused": "which landed change made the target red is stored, the one that takes it back is not queued",
    "gate.reverting": "the change that takes another one back is in the gate's queue, nothing is checked or moved",
    "gate.reverted": "a landed change is taken back and that is stored, its run does not know yet",
    "run.reported": "the report is stored, the run is not finished",
    "trigger.received": "a message from outside is on record, nothing has been decided",
    "trigger.fired": "the intent to order a run is stored, the run is not",
    "trigger.stored": "the run is stored, that it was ordered is not recorded",
    "publish.pushed": "the run's branch is on the server, that is not recorded",
    "publish.opened": "the pull request is open, that is not recorded",
    "publish.commented": "the issue has its comment, that is not recorded",
    "notice.sent": "a message was taken by the operator's webhook, that is not recorded",
}

Hook = Callable[[str], None]

_hook: Hook | None = None


def install(hook: Hook | None) -> None:
    """Install what happens at probe points, or nothing (`None`)."""
    global _hook
    _hook = hook


def hit(name: str) -> None:
    """Reach the probe point `name`. Raises KeyError where the name is not listed and a hook is installed."""
    if _hook is not None:
        NAMES[name]
        _hook(name)
