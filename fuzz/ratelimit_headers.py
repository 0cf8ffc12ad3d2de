"""The rate limit headers of a response.

Rules
- Whatever they say, it is a number of seconds, not negative and not endless. Nothing is raised.
"""

import math
from collections.abc import Sequence
from typing import Final

from fuzz.shapes import Choices
from quarterdeck.models.ratelimits import hold

INSTRUMENTED = ("quarterdeck.models.ratelimits",)
WORDS = ("remaining", "reset", "6m0s", "12ms", "2026-11-01T00:00:00Z", "+02:00", "Sun, 06 Nov 1994 08:49:37 GMT", "0")

NAMES: Final = (
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
    "anthropic-ratelimit-tokens-remaining",
    "anthropic-ratelimit-tokens-reset",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
    "date",
    "retry-after",
)


def one(data: bytes) -> None:
    """Read them."""
    choices = Choices(data)
    headers = {}
    for name in NAMES:
        if choices.number() % 4:
            headers[name] = choices.chunk().decode("utf-8", "surrogateescape")
    seconds = hold(headers, 1_800_000_000.0)
    assert 0 <= seconds < math.inf, seconds


def seeds() -> Sequence[bytes]:
    """Values as the providers send them."""
    values = (b"0", b"2026-11-01T00:00:00Z", b"0", b"6m0s", b"12ms", b"Sun, 06 Nov 1994 08:49:37 GMT")
    return [b"".join(b"\1" + bytes([len(value)]) + value for value in values[at:]) for at in range(len(values))]
