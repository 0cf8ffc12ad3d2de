"""Everything that can happen, as typed values. The journal is a list of these and nothing else.

Rules
- An event says what happened, in the past tense, with everything that a later fold needs; bodies larger than a
  few kilobytes are blobs and stand here as their digest (`…_blob`).
- Events are only added; fields are only added, with a default.
- Intent before effect, outcome after: `model.asked`/`model.answered`, `tool.intended`/`tool.done`,
  `harness.started`/`harness.finished`, `landing.intended`/`change.landed`.
- One event is at most 64 KiB.
"""

from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from quarterdeck.kernel.events.attempt import (
    AttemptEvent,
    AttemptStarted,
    EnvironmentBuilding,
    HandoffRefused,
    HarnessFinished,
    HarnessStarted,
)
from quarterdeck.kernel.events.attempt_acp import (
    AcpEvent,
    AgentActed,
    AgentActing,
    AgentConnected,
    AgentPrompted,
    AgentSaid,
    AgentTurned,
    PermissionDecided,
)
from quarterdeck.kernel.events.attempt_work import (
    ChangeExported,
    ChangeInspected,
    CheckRan,
    ContextCompacted,
    Delegated,
    IncidentOpened,
    LimitReached,
    ModelAnswered,
    ModelAsked,
    ModelErred,
    NoteRecorded,
    QuestionAsked,
    TodoChanged,
    ToolDone,
    ToolFellBack,
    ToolIntended,
    ToolsGiven,
    TranscriptExtended,
    WorkEvent,
)
from quarterdeck.kernel.events.base import Blob, EventBase
from quarterdeck.kernel.events.beside import AttemptTouched, AttemptWarned, BesideEvent
from quarterdeck.kernel.events.deck import DeckAnchored, DeckEvent, DeckOwned, RunsPruned
from quarterdeck.kernel.events.gate import (
    ChangeClashed,
    ChangeLanded,
    ChangeQueued,
    ChangeReturned,
    ChangeReverted,
    CulpritFound,
    FlakeSeen,
    GateCheckFinished,
    GateCheckStarted,
    GateDelayed,
    GateEvent,
    GateOpened,
    LandingIntended,
    MergeResolved,
    NoteFailed,
    NoteWritten,
    TipFoundRed,
    TipMended,
    TipMoved,
)
from quarterdeck.kernel.events.outside import OutsideEvent
from quarterdeck.kernel.events.packs import PackEvent, PackKept, WorkspaceKept
from quarterdeck.kernel.events.run import (
    NodeDelayed,
    NodeFinished,
    NodeStarted,
    RunCancelled,
    RunCreated,
    RunEvent,
    RunFinished,
    RunPaused,
    RunPlanned,
    RunReported,
    RunResumed,
    RunWaiting,
    SpendNoticed,
    TaskBlocked,
    TaskCancelled,
    TaskDispatched,
    TaskEscalated,
    TaskFailed,
    TaskMerged,
    TaskReverted,
    WorkHeld,
    WorkReleased,
)
from quarterdeck.kernel.events.steering import (
    ApprovalAsked,
    ApprovalDecided,
    BudgetRaised,
    MessageDelivered,
    MessageSent,
    QuestionAnswered,
    SteeringEvent,
    TaskRetried,
)
from quarterdeck.kernel.events.words import Node, Outcome, RunStatus, TaskStatus
from quarterdeck.kernel.kinds import Kinds
from quarterdeck.kernel.merging import LostWay, Suspect, ways_in_words

MAX_EVENT_BYTES: Final = 64 * 1024

Event = Annotated[
    DeckEvent
    | RunEvent
    | AttemptEvent
    | AcpEvent
    | WorkEvent
    | BesideEvent
    | GateEvent
    | SteeringEvent
    | OutsideEvent
    | PackEvent,
    Field(discriminator="kind"),
]

_READ: Final = Kinds(EventBase, lambda: TypeAdapter(Event))


def encode(event: EventBase) -> bytes:
    """The event as canonical JSON: what is stored and what the hash chain covers."""
    # What `model_dump_json` writes, without making a text of it and bytes again: every record passes here.
    return type(event).__pydantic_serializer__.to_json(event, by_alias=True)


def decode(data: bytes | str) -> EventBase:
    """The event of `encode`'s bytes. Raises pydantic.ValidationError."""
    return _READ.read(data)


__all__ = [
    "MAX_EVENT_BYTES",
    "AgentActed",
    "AgentActing",
    "AgentConnected",
    "AgentPrompted",
    "AgentSaid",
    "AgentTurned",
    "ApprovalAsked",
    "ApprovalDecided",
    "AttemptStarted",
    "AttemptTouched",
    "AttemptWarned",
    "Blob",
    "BudgetRaised",
    "ChangeClashed",
    "ChangeExported",
    "ChangeInspected",
    "ChangeLanded",
    "ChangeQueued",
    "ChangeReturned",
    "ChangeReverted",
    "CheckRan",
    "ContextCompacted",
    "CulpritFound",
    "DeckAnchored",
    "DeckOwned",
    "Delegated",
    "EnvironmentBuilding",
    "Event",
    "EventBase",
    "FlakeSeen",
    "GateCheckFinished",
    "GateCheckStarted",
    "GateDelayed",
    "GateOpened",
    "HandoffRefused",
    "HarnessFinished",
    "HarnessStarted",
    "IncidentOpened",
    "LandingIntended",
    "LimitReached",
    "LostWay",
    "MergeResolved",
    "MessageDelivered",
    "MessageSent",
    "ModelAnswered",
    "ModelAsked",
    "ModelErred",
    "Node",
    "NodeDelayed",
    "NodeFinished",
    "NodeStarted",
    "NoteFailed",
    "NoteRecorded",
    "NoteWritten",
    "Outcome",
    "PackKept",
    "PermissionDecided",
    "QuestionAnswered",
    "QuestionAsked",
    "RunCancelled",
    "RunCreated",
    "RunFinished",
    "RunPaused",
    "RunPlanned",
    "RunReported",
    "RunResumed",
    "RunStatus",
    "RunWaiting",
    "RunsPruned",
    "SpendNoticed",
    "Suspect",
    "TaskBlocked",
    "TaskCancelled",
    "TaskDispatched",
    "TaskEscalated",
    "TaskFailed",
    "TaskMerged",
    "TaskRetried",
    "TaskReverted",
    "TaskStatus",
    "TipFoundRed",
    "TipMended",
    "TipMoved",
    "TodoChanged",
    "ToolDone",
    "ToolFellBack",
    "ToolIntended",
    "ToolsGiven",
    "TranscriptExtended",
    "WorkHeld",
    "WorkReleased",
    "WorkspaceKept",
    "decode",
    "encode",
    "ways_in_words",
]
