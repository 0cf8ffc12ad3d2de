"""How an attempt begins, and how its program starts and ends. What happens between: `attempt_acp`, `attempt_work`."""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field

from quarterdeck.kernel.entities import Harness
from quarterdeck.kernel.events.base import Blob, EventBase
from quarterdeck.kernel.failures import FailureClass

# --- attempt/… --------------------------------------------------------------------------------------------


class AttemptStarted(EventBase):
    """An attempt has a workspace.

    Recorded again, with a higher incarnation, when the attempt was cut off and restarts in a fresh workspace.
    """

    kind: Literal["attempt.started"] = "attempt.started"
    run: str
    task: str
    number: int
    agent: str
    harness: Harness | None
    """None: no agent works, git makes the change (a revert)."""
    incarnation: int
    base: str
    workspace: str
    """Directory name of the workspace, unique for attempt and incarnation; empty where no agent works."""
    parent: str | None = None
    """The attempt that delegated to this one."""
    tier: str = ""
    """Tier of its models; empty where it has a fixed one or none."""
    routed: str = Field(default="", max_length=1_000)
    """Why it asks other models than its agent usually does."""


class EnvironmentBuilding(EventBase):
    """The environment of this attempt or gate check is missing and is being built; it waits for it."""

    kind: Literal["environment.building"] = "environment.building"
    commands: tuple[str, ...] = Field(max_length=50)

    @classmethod
    def of(cls, commands: Sequence[str]) -> Self:
        """With these commands, cut to what an event may hold."""
        return cls(commands=tuple(command[:500] for command in commands[:50]))


class HarnessStarted(EventBase):
    """The agent is about to be started."""

    kind: Literal["harness.started"] = "harness.started"
    incarnation: int
    detail: str = Field(default="", max_length=4_000)


class HandoffRefused(EventBase):
    """What a program handed in has not the form that it must have; it is asked again."""

    kind: Literal["handoff.refused"] = "handoff.refused"
    expects: str
    """What it has to hand in: a submission, a review, a plan."""
    number: int
    """How often it was refused, this time included."""
    reason: str = Field(max_length=2_000)


class HarnessFinished(EventBase):
    """The agent has ended, by its own account."""

    kind: Literal["harness.finished"] = "harness.finished"
    incarnation: int
    ok: bool
    reason: str = Field(default="", max_length=2_000)
    failure: FailureClass | None = None
    exit_code: int | None = None
    handoff_blob: Blob | None = None
    output_blob: Blob | None = None


AttemptEvent = AttemptStarted | EnvironmentBuilding | HarnessStarted | HandoffRefused | HarnessFinished
