"""When a failed model call is made again. Pure.

Rules
- The kernel's recovery table says how often; the wait doubles from one second and never passes a minute, half of it at
  random, so that a fleet that failed together does not come back together.
- What the provider asked for is waited out, whatever our own backoff says; a wish beyond ten minutes is not waited for.
"""

from typing import Final

from quarterdeck.kernel.failures import RECOVERY, FailureClass

FIRST: Final = 1.0
LONGEST: Final = 60.0
PATIENCE: Final = 600.0
"""Seconds; a provider that asks for more is given up on, so that the next model of the tier gets its turn."""


def next_try(failure: FailureClass, tried: int, retry_after: float | None, jitter: float) -> float | None:
    """Seconds to wait before the next try, or None = no more.

    `tried`: how often the call was made and failed, at least 1. `jitter`: a random number in [0, 1).
    """
    recovery = RECOVERY[failure]
    if tried > recovery.retries or (retry_after is not None and retry_after > PATIENCE):
        return None
    if not recovery.backoff:
        return max(0.0, retry_after or 0.0)
    ceiling = min(LONGEST, FIRST * 2.0 ** (tried - 1))
    own = ceiling * (0.5 + 0.5 * jitter)
    if retry_after is None:
        return own
    # Added, not compared: agents that heard the same wish must not all come back in the same instant.
    return retry_after + ceiling * 0.25 * jitter
