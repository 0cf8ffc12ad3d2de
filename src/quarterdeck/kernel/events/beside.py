"""What attempts change while they work, and what they are told about each other.

Rules
- `attempt.touched` says all that is known of one file: it replaces what was said of that file before. It is recorded
  only where there is something new, and only so often an attempt.
- `attempt.warned` is said once for each entity of a file and each other task.
- Both stand in the stream of the attempt that they are about.
"""

from typing import Final, Literal

from pydantic import Field

from quarterdeck.kernel.events.base import EventBase

SPOTS: Final = 64
"""Places of one file that are told apart."""

# --- attempt/… --------------------------------------------------------------------------------------------


class AttemptTouched(EventBase):
    """The attempt has changed a file."""

    kind: Literal["attempt.touched"] = "attempt.touched"
    path: str = Field(max_length=4_000)
    """The file, relative to the workspace."""
    entities: tuple[str, ...] = Field(default=(), max_length=SPOTS)
    """Names of what it has changed in that file by now (`Class.method`); "" = something outside of all of them, and
    where the language is not known. An empty list = the file is as it was again."""
    first: tuple[int, ...] = Field(default=(), max_length=SPOTS)
    """First line of each: of an entity in the attempt's version of the file, of "" before its change; 0 = it is not
    there any more, or the whole file."""
    last: tuple[int, ...] = Field(default=(), max_length=SPOTS)
    """Last line of each, likewise."""


class AttemptWarned(EventBase):
    """The attempt's agent was told, or will be, that another task changes the same."""

    kind: Literal["attempt.warned"] = "attempt.warned"
    path: str = Field(max_length=4_000)
    """The file that both have changed."""
    entity: str = Field(max_length=200)
    """What of it both have changed, as in `attempt.touched`."""
    first: int = 0
    """Its first line as the other has it; 0 = that is not known."""
    last: int = 0
    """Its last line, likewise."""
    other: str
    """The other's attempt."""
    title: str = Field(max_length=300)
    """Of the other's task."""
    intent: str = Field(default="", max_length=2_000)
    """What the other is to do, and what it has noted, as it was told."""
    state: Literal["working", "coming", "landed"] = "working"
    """An agent is at work on it; its change is on its way to the target; it has landed since this attempt began."""
    how: Literal["reminder", "result", "prompt", "feedback"] = "reminder"
    """With what it was told: in the transcript, with a tool's result, with a prompt, to the task's next attempt."""


BesideEvent = AttemptTouched | AttemptWarned
