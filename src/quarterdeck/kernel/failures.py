"""What can go wrong, and what is done about it. This table is the only place that decides a recovery.

Rules
- Every error of Quarterdeck is a class in this file; its docstring is the default message and its failure
  class decides the recovery.
- An error for a person says what happened, why, and the next command to type.
- Stop signals derive from BaseException, so that no `except Exception` can swallow them.
"""

import errno
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:  # the command line imports this file, and its help must not wait for pydantic
    from quarterdeck.kernel.entities import Usage


class FailureClass(StrEnum):
    """Why something failed, as far as the recovery is concerned."""

    TRANSIENT = "transient"
    """Overload, a rate limit, a cut connection or stream."""
    AUTH = "auth"
    """The key is refused."""
    QUOTA = "quota"
    """The account's limit is reached."""
    CONFIGURATION = "configuration"
    """What is set cannot work: a model that its server does not have, a server that is elsewhere or wants a key."""
    CONTEXT = "context"
    """The prompt is longer than the model's window."""
    TRUNCATED = "truncated"
    """The reply ends before it is complete."""
    REFUSED = "refused"
    """The model or its filter refuses."""
    HANDOFF = "handoff"
    """What the agent hands in does not have the form it must have."""
    TOOL = "tool"
    """A tool or check failed."""
    POLICY = "policy"
    """An action is not allowed."""
    BUDGET = "budget"
    """A reservation of money was refused."""
    INFRASTRUCTURE = "infrastructure"
    """The machine is not well: disk, database, sandbox, git."""
    BUG = "bug"
    """A mistake of ours."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What follows a failure of one class."""

    retries: int
    """How often the same call is made again at the place where it failed."""
    backoff: bool
    """Wait between retries: exponential with jitter, at least what the other side asked for."""
    failover: bool
    """When retries are used up, go on with the tier's next model."""
    ends_attempt: bool
    """When nothing above helped, this attempt is over (the task may get another one)."""
    stops_run: bool
    """Another attempt cannot help either: a person has to act."""
    says: str
    """The rule in one sentence, for documentation and reports."""


RECOVERY: Final[dict[FailureClass, Recovery]] = {
    FailureClass.TRANSIENT: Recovery(
        4, True, True, True, False, "Retried with backoff, honouring retry-after; then the tier's next model."
    ),
    FailureClass.AUTH: Recovery(
        1, False, False, True, True, "The key is read again; only a new one is tried, once. Else an incident is opened."
    ),
    FailureClass.QUOTA: Recovery(0, False, False, True, True, "Never retried; a person has to raise the limit."),
    FailureClass.CONFIGURATION: Recovery(
        0, False, True, True, True, "The tier's next model is asked; else a person has to correct what is set."
    ),
    FailureClass.CONTEXT: Recovery(1, False, False, True, False, "The context is compacted, then one retry."),
    FailureClass.TRUNCATED: Recovery(
        2, False, True, True, False, "Nothing of the reply is executed; the model is asked again, smaller."
    ),
    FailureClass.REFUSED: Recovery(0, False, True, True, False, "Recorded; the tier's next model is asked."),
    FailureClass.HANDOFF: Recovery(
        2,
        False,
        False,
        True,
        False,
        "Asked again with the schema and an example, twice; then another agent, or a person.",
    ),
    FailureClass.TOOL: Recovery(0, False, False, False, False, "A bounded, flagged result for the agent."),
    FailureClass.POLICY: Recovery(
        0, False, False, False, False, "The agent is told why, or the action waits for a person."
    ),
    FailureClass.BUDGET: Recovery(0, False, False, True, True, "Stopped; finished work is kept and reported."),
    FailureClass.INFRASTRUCTURE: Recovery(
        2, True, False, False, False, "No new work is claimed until the machine is well; nothing is blamed."
    ),
    FailureClass.BUG: Recovery(0, False, False, True, False, "This step fails with its trace; other runs go on."),
}


OWN_FAULT: Final = frozenset(
    (
        FailureClass.CONTEXT,
        FailureClass.TRUNCATED,
        FailureClass.REFUSED,
        FailureClass.HANDOFF,
        FailureClass.TOOL,
        FailureClass.POLICY,
    )
)
"""What an abler model might have done better. The rest is the doing of a provider, of money, of the machine or ours."""

UNWELL: Final = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
)
"""What the machine's own trouble looks like in an OSError, wherever it meets us: delayed or explained, never blamed."""


class Exit:
    """Exit codes of the command line, as promised to scripts."""

    DONE: ClassVar[int] = 0
    """Done."""
    FAILED: ClassVar[int] = 1
    """Failed; or a part of it, for another reason than money."""
    USAGE: ClassVar[int] = 2
    """Wrong usage or bad input."""
    WAITING: ClassVar[int] = 3
    """Waits for a person."""
    DENIED: ClassVar[int] = 4
    """Denied by policy."""
    BUDGET: ClassVar[int] = 5
    """The budget is exhausted; what was finished is kept."""
    NOT_FOUND: ClassVar[int] = 6
    """There is nothing of that name."""
    STALE: ClassVar[int] = 7
    """Stale, or in conflict with what is there."""
    UNREACHABLE: ClassVar[int] = 8
    """A model, a server or the deck's database cannot be reached."""
    TIMEOUT: ClassVar[int] = 124
    """Took too long."""
    INTERRUPTED: ClassVar[int] = 130
    """Interrupted or cancelled; the state is kept and can be resumed."""


class QuarterdeckError(Exception):
    """Something in Quarterdeck went wrong. What it says can always be stored, whoever is quoted in it."""

    failure: ClassVar[FailureClass] = FailureClass.BUG
    exit_code: ClassVar[int] = Exit.FAILED

    def __init__(self, message: str = "", *, why: str = "", fix: str = "") -> None:
        doc = (type(self).__doc__ or "").strip().splitlines()
        self.message = _whole(message) or (doc[0] if doc else type(self).__name__)
        self.why = _whole(why)
        self.fix = _whole(fix)
        super().__init__(self.message)

    def __str__(self) -> str:
        return self.message if not self.why else f"{self.message.removesuffix('.')}: {self.why}"


def _whole(text: str) -> str:
    """The text with U+FFFD for half a surrogate pair: JSON can spell one, and servers repeat what they were sent."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class BadInput(QuarterdeckError):
    """The input cannot be used."""

    exit_code = Exit.USAGE


class BadPlan(BadInput):
    """The plan cannot be used."""


class BadConfiguration(BadInput):
    """The configuration cannot be used."""


class BadRepository(BadInput):
    """The repository cannot be used."""


class NotFound(QuarterdeckError):
    """There is nothing of that name."""

    exit_code = Exit.NOT_FOUND


class Conflicting(QuarterdeckError):
    """Somebody else changed this meanwhile."""

    exit_code = Exit.STALE


class StaleVersion(Conflicting):
    """It has changed since it was looked at; nothing was done."""


class NotAllowed(QuarterdeckError):
    """Whoever asks may not do this."""

    exit_code = Exit.DENIED


class Unreachable(QuarterdeckError):
    """The server of this deck cannot be reached."""

    exit_code = Exit.UNREACHABLE


class StaleClaim(Conflicting):
    """This process no longer owns the stream; a newer claim was made."""


class ModelFailed(QuarterdeckError):
    """A model call failed.

    `kind` decides the recovery; `retry_after` is the provider's wish in seconds; `billed` says whether the
    provider may have charged for the call although no usage arrived; `usage` is what it charged, as far as that is
    known or can be estimated (`estimated`). `ramp`: the provider finds that its use grew too fast. `unreached`: nobody
    was there to be asked. `renewed`: the key that was refused is no longer the one that a further call would use.
    """

    exit_code = Exit.UNREACHABLE

    def __init__(
        self,
        message: str,
        kind: FailureClass,
        *,
        retry_after: float | None = None,
        billed: bool = False,
        usage: "Usage | None" = None,
        estimated: bool = False,
        ramp: bool = False,
        unreached: bool = False,
        why: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(message, why=why, fix=fix)
        self.kind = kind
        self.retry_after = retry_after
        self.unreached = unreached
        self.billed = billed
        self.usage = usage
        self.estimated = estimated
        self.ramp = ramp
        self.renewed = False


class AgentFailed(QuarterdeckError):
    """An agent that somebody else wrote failed: it died, broke its protocol, or gave up.

    `kind` decides the recovery.
    """

    failure = FailureClass.TOOL

    def __init__(self, message: str, kind: FailureClass, *, why: str = "", fix: str = "") -> None:
        super().__init__(message, why=why, fix=fix)
        self.kind = kind


class BudgetExhausted(QuarterdeckError):
    """The reservation was refused: the budget does not cover the worst case of this call.

    `purse`: the one that refused; `cap_nusd` and `free_nusd`: what it may hold, and what of it was left. `passing`:
    there is enough but for what is set aside for calls under way, which mostly cost less; it is worth asking again.
    """

    failure = FailureClass.BUDGET
    exit_code = Exit.BUDGET

    def __init__(
        self,
        message: str = "",
        *,
        purse: str = "",
        cap_nusd: int = 0,
        free_nusd: int = 0,
        passing: bool = False,
        why: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(message, why=why, fix=fix)
        self.purse = purse
        self.cap_nusd = cap_nusd
        self.free_nusd = free_nusd
        self.passing = passing

    @property
    def told(self) -> str:
        """For people: which purse it was, and what helps."""
        return f"{self.why or self}{f' ({self.fix})' if self.fix else ''}"


class SandboxFailed(QuarterdeckError):
    """The sandbox cannot be started or has died."""

    failure = FailureClass.INFRASTRUCTURE


class SandboxDied(SandboxFailed):
    """The sandbox ended under a command, by the machine's doing or by the command's own."""


class SandboxUnavailable(SandboxFailed):
    """There is no sandbox on this machine, and agents are not run without one."""

    exit_code = Exit.USAGE


class WorkspaceOverLimit(QuarterdeckError):
    """The sandbox used more memory or disk than it may."""

    failure = FailureClass.TOOL


class ToolServerFailed(QuarterdeckError):
    """A tool server cannot be reached, or ended during a call."""

    failure = FailureClass.TRANSIENT


class OutsideFailed(QuarterdeckError):
    """A server outside refused a request, or cannot be reached.

    `kind` decides the recovery; `retry_after` is the other side's wish in seconds.
    """

    failure = FailureClass.TRANSIENT
    exit_code = Exit.UNREACHABLE

    def __init__(
        self, message: str, kind: FailureClass, *, retry_after: float | None = None, why: str = "", fix: str = ""
    ) -> None:
        super().__init__(message, why=why, fix=fix)
        self.kind = kind
        self.retry_after = retry_after


class GitFailed(QuarterdeckError):
    """A git command failed."""

    failure = FailureClass.INFRASTRUCTURE


class MissingPart(QuarterdeckError):
    """This part of Quarterdeck is not built yet."""

    exit_code = Exit.USAGE


class DemoFailed(QuarterdeckError):
    """The demo did not show what it is there to show."""


class StoreUnavailable(QuarterdeckError):
    """The database cannot be used."""

    failure = FailureClass.INFRASTRUCTURE


class StoreUnreachable(StoreUnavailable):
    """The server of the database cannot be reached."""

    exit_code = Exit.UNREACHABLE


class InDoubt(StoreUnreachable):
    """The database went away before it said whether it has stored what it was given."""


class Fenced(Conflicting):
    """This process was taken for dead; it has stopped its work."""

    failure = FailureClass.INFRASTRUCTURE


class StoreLost(StoreUnavailable):
    """The database is gone or damaged: waiting does not bring it back."""


class Stop(BaseException):
    """The process was asked to stop; state is kept and the run can be resumed."""
