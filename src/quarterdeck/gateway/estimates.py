"""What a request may cost at most. Pure.

Rules
- The worst case, not the likely one: every byte of the request counts, at the dearest rate of the model's input (a
  cache write, where that is dearer), and the answer is as long as the request allows.
- What lies in it beside text (pictures, documents, sound) counts by what its vendor charges for it, not by its bytes;
  what may be text as well counts by both.
- Nothing is longer than the model's context window. Where a part of the prompt lies elsewhere, the prompt counts as
  that long. Where longer prompts are taken at a dearer price, a prompt that may be one counts as one.
- A request that does not limit its answer gets the model's own limit; the window, where that is not known.
- What a key's calls measured corrects its rate of bytes, towards more tokens only: text may be denser than assumed.
"""

from dataclasses import dataclass
from typing import Final

from quarterdeck.gateway.charges import Inline
from quarterdeck.gateway.wires import Asked
from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import NUSD_PER_USD
from quarterdeck.kernel.prices import rates, worst_case

BYTES_PER_TOKEN: Final = 2.0
"""Fewest bytes of JSON that a token stands for, until a call says otherwise: prose has five, code and JSON about three.
Long runs of digits or random letters have fewer."""

SURE: Final = 5.5
"""Most bytes of JSON that a token stands for in long prompts: what has more tokens by this rate has them for sure."""

FRAME: Final = 1_000
"""Tokens that a provider may add to a prompt by itself (tool use has a system prompt of its own)."""

LEAST: Final = 1_024
"""Tokens; an answer that may not even be so long is not worth asking for."""


NOTHING: Final = Inline()


@dataclass(frozen=True, slots=True)
class Worst:
    """The bounds of one call."""

    input: int
    """Tokens."""
    output: int
    """Tokens."""
    nusd: int


def prompt_bound(asked: Asked, window: int, bytes_per_token: float = BYTES_PER_TOKEN, inline: Inline = NOTHING) -> int:
    """Tokens that the prompt has at most. `window`: of the longest prompt that the model takes."""
    if asked.elsewhere or inline.tokens is None:
        return window
    return min(window, int((len(asked.raw) - inline.size) / bytes_per_token) + inline.tokens + FRAME)


def too_long(asked: Asked, window: int, inline: Inline = NOTHING) -> int | None:
    """Tokens that the prompt's text has at least, where that is more than the window; None = it may fit.

    A window ends where the plain price does (models/windows.py): an agent shortens its prompt rather than paying more.
    """
    tokens = int((len(asked.raw) - inline.size - inline.doubtful) / SURE)
    return tokens if tokens > window else None


def worst(
    asked: Asked, price: Price, window: int, longest: int | None, bytes_per_token: float, inline: Inline = NOTHING
) -> Worst:
    """The worst case of a request. `longest`: tokens of the longest answer of the model, where that is known."""
    entry = prompt_bound(asked, max(window, price.long.until if price.long else 0), bytes_per_token, inline)
    output = min(asked.output_limit() or (longest or window) * asked.choices(), window * asked.choices())
    return _worst(asked, entry, output, price)


def _worst(asked: Asked, entry: int, output: int, price: Price) -> Worst:
    return Worst(entry, output, worst_case(entry, output, price, long_write=asked.long_cache))


def affordable(asked: Asked, bound: Worst, price: Price, free_nusd: int) -> Worst | None:
    """The same call with a shorter answer, so that `free_nusd` covers it; None where that is not worth it."""
    each = max(price.output, rates(price, bound.input).output) * (NUSD_PER_USD // 1_000_000)
    rest = free_nusd - _worst(asked, bound.input, 0, price).nusd
    output = int(rest / each) - 1 if each > 0 else bound.output
    return _worst(asked, bound.input, output, price) if LEAST <= output < bound.output else None


def least(asked: Asked, bound: Worst, price: Price) -> Worst:
    """The same call with the shortest answer that is worth asking for."""
    return _worst(asked, bound.input, min(LEAST, bound.output), price)


def shorter(asked: Asked, refused: Worst, price: Price, free_nusd: int) -> Worst | None:
    """What to try next where a purse with `free_nusd` left refused that bound: the longest answer that it covers, else
    the shortest that is worth asking for; None = that was it."""
    smaller = affordable(asked, refused, price, free_nusd) or least(asked, refused, price)
    return smaller if smaller.output < refused.output else None


def learned(bytes_per_token: float, asked: Asked, prompt_tokens: int) -> float:
    """The rate after a request turned out to be a prompt of so many tokens. One whose prompt lies elsewhere, even in
    part, says nothing of how dense its own bytes are."""
    if prompt_tokens <= FRAME or asked.elsewhere:
        return bytes_per_token
    seen = len(asked.raw) / (prompt_tokens - FRAME)
    return max(0.5, min(bytes_per_token, seen * 0.9))
