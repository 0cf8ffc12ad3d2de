"""What an error of the product is over HTTP: a problem (RFC 9457), with the fix and the run. Pure.

Rules
- The class of the error decides the status; a person reads the same words as on the command line.
- A problem holds what the error says and nothing else: no trace, no path of ours that the error does not name.
"""

import re
from inspect import signature
from typing import Final

from pydantic import Field

from quarterdeck.kernel import failures
from quarterdeck.kernel.entities import Value
from quarterdeck.kernel.failures import (
    BadInput,
    BudgetExhausted,
    Conflicting,
    Exit,
    FailureClass,
    MissingPart,
    NotAllowed,
    NotFound,
    QuarterdeckError,
    StaleVersion,
    StoreUnavailable,
)

PROBLEM: Final = "application/problem+json"

_STATUS: Final[tuple[tuple[type[QuarterdeckError], int], ...]] = (
    (MissingPart, 501),
    (NotFound, 404),
    (StaleVersion, 412),
    (Conflicting, 409),
    (NotAllowed, 403),
    (BudgetExhausted, 409),
    (BadInput, 422),
    (StoreUnavailable, 503),
)
"""The first that fits decides."""
_TITLES: Final = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Not allowed",
    404: "There is nothing of that name",
    405: "This cannot be done here",
    406: "Not to be had in that form",
    408: "The request took too long",
    409: "In conflict with what is there",
    411: "The length of the body is not known",
    412: "Somebody else changed this meanwhile",
    413: "The body is too large",
    415: "The body has the wrong content type",
    421: "This server is not known by that name",
    422: "The input cannot be used",
    429: "Too many at once",
    500: "A bug in Quarterdeck",
    501: "Not built yet",
    502: "A model or server cannot be reached",
    503: "The machine is not well",
}


class Problem(Value):
    """What went wrong, as RFC 9457 has it."""

    type: str
    """`urn:quarterdeck:` and the kind of error."""
    title: str
    status: int = Field(ge=400, le=599)
    detail: str
    """What happened, and why."""
    instance: str = ""
    """The path that was asked."""
    why: str = ""
    """The part of `detail` that says why."""
    fix: str = ""
    """The next command to type, or what to change."""
    run: str | None = None


def status_of(error: QuarterdeckError) -> int:
    """The HTTP status of an error."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    if error.exit_code == Exit.USAGE:
        return 422
    if error.exit_code == Exit.UNREACHABLE:
        return 502
    return 503 if error.failure is FailureClass.INFRASTRUCTURE else 500


def of_error(error: QuarterdeckError, instance: str, run: str | None = None) -> Problem:
    """The problem that an error is."""
    status = status_of(error)
    return Problem(
        type=f"urn:quarterdeck:{_kebab(type(error).__name__)}",
        title=_TITLES.get(status, "It did not work"),
        status=status,
        detail=str(error),
        instance=instance,
        why=error.why,
        fix=error.fix,
        run=run,
    )


def error_of(problem: Problem) -> QuarterdeckError:
    """The error that a problem was made from, as far as it says."""
    kind = _KINDS.get(problem.type.rpartition(":")[2], QuarterdeckError)
    message = problem.detail.removesuffix(f": {problem.why}") if problem.why else problem.detail
    return kind(message or problem.title, why=problem.why, fix=problem.fix)


def of_status(status: int, detail: str, instance: str, fix: str = "") -> Problem:
    """A problem of the request itself, before anything of the product was asked."""
    title = _TITLES.get(status, "It did not work")
    return Problem(
        type=f"urn:quarterdeck:http-{status}", title=title, status=status, detail=detail, instance=instance, fix=fix
    )


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


_KINDS: Final = {
    _kebab(name): kind
    for name, kind in vars(failures).items()
    if isinstance(kind, type) and issubclass(kind, QuarterdeckError) and "kind" not in signature(kind).parameters
}
"""Errors by the name in a problem's type, apart from those that carry more than words."""
