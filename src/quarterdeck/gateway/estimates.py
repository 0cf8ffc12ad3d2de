"""What a request may cost at most. Pure.

Rules
- The worst case, not the likely one: every byte of the request counts, at the dearest rate of the model's input (a
  cache write, where that is dearer), and the answer is as long as the request allows.
- Nothing is longer than the model's context window. Where a part of the prompt lies elsewhere, the prompt counts as
  that long.
- A request that does not limit its answer gets the model's own limit; the window, where that is not known.
- What was measured corrects the rate of bytes: never below the start, at once above it.
"""

from dataclasses import dataclass
from typing import Final

from quarterdeck.gateway.wires import Asked
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import Usage
from quarterdeck.kernel.prices import cost, worst_case

BYTES_PER_TOKEN: Final = 2.0
"""Fewest bytes of JSON that a token stands for; prose has five, code and JSON about three."""

FRAME: Final = 1_000
"""Tokens that a provider may add to a prompt by itself (tool use has a system prompt of its own)."""

LEAST: Final = 1_024
"""Tokens; an answer that may not even be so long is not worth asking for."""


@dataclass(frozen=True, slots=True)
class Worst:
    """The bounds of one call."""

    input: int
    """Tokens."""
    output: int
    """Tokens."""
    nusd: int


def prompt_bound(asked: Asked, window: int, bytes_per_token: float = BYTES_PER_TOKEN) -> int:
    """Tokens that the prompt has at most."""
    if asked.elsewhere:
        return window
    return min(window, int(len(asked.raw) / bytes_per_token) + FRAME)


def worst(asked: Asked, price: Price, window: int, longest: int | None, bytes_per_token: float) -> Worst:
    """The worst case of a request. `longest`: tokens of the longest answer of the model, where that is known."""
    entry = prompt_bound(asked, window, bytes_per_token)
    output = min(asked.output_limit() or (longest or window) * asked.choices(), window * asked.choices())
    return Worst(entry, output, worst_case(entry, output, price))


def affordable(bound: Worst, price: Price, free_nusd: int) -> Worst | None:
    """The same call with a shorter answer, so that `free_nusd` covers it; None where that is not worth it."""
    rest = free_nusd - worst_case(bound.input, 0, price)
    each = cost(Usage(output=1_000_000), price) / 1_000_000
    output = int(rest / each) if each > 0 else bound.output
    if output < LEAST or output >= bound.output:
        return None
    while output >= LEAST and worst_case(bound.input, output, price) > free_nusd:
        output -= 1  # rounding up happens once for the sum
    return Worst(bound.input, output, worst_case(bound.input, output, price)) if output >= LEAST else None


def learned(bytes_per_token: float, size: int, prompt_tokens: int) -> float:
    """The rate after a request of `size` bytes turned out to be a prompt of so many tokens."""
    if size <= 0 or prompt_tokens <= FRAME:
        return bytes_per_token
    seen = size / (prompt_tokens - FRAME)
    return max(0.5, min(bytes_per_token, seen * 0.9))
