"""What follows a failed model call. Pure.

Rules
- The failure's class decides (kernel/failures.py): the same model again after a wait, the next model, or nothing.
- What cannot help is not tried: a prompt that is too long as it was, a refused key that is still the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from quarterdeck.kernel.failures import RECOVERY, FailureClass
from quarterdeck.models.retry import next_try


@dataclass(frozen=True, slots=True)
class Next:
    """What follows a failed call."""

    do: Literal["again", "other", "give up"]
    seconds: float = 0.0
    """Wait so long before."""


def after(
    errors: Sequence[tuple[str, FailureClass]],
    others: int,
    retry_after: float | None = None,
    jitter: float = 0.0,
    renewed: bool = False,
) -> Next:
    """What follows the failures of one step. Pure.

    `errors`: (model, class) in order; `others`: models left to fail over to; `renewed`: there is another key now.
    """
    model, kind = errors[-1]
    if kind is FailureClass.CONTEXT:
        return Next("give up")  # nothing but a shorter prompt helps: the loop makes it
    if kind is FailureClass.AUTH and not renewed:
        return Next("give up")  # the same key again would be a blind try
    tries = sum(1 for error in errors if error == (model, kind))
    seconds = next_try(kind, tries, retry_after, jitter)
    if seconds is not None:
        return Next("again", seconds)
    if RECOVERY[kind].failover and others > 0:
        return Next("other")
    return Next("give up")
