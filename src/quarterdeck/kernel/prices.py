"""What tokens cost. Pure arithmetic in nano-USD.

Rules
- An unknown price is refused by the caller, never guessed: `price_of` answers None.
- Rounded up, so that a reservation is never below what is settled.
"""

import math
from collections.abc import Mapping
from typing import Final

from quarterdeck.kernel.config import Price
from quarterdeck.kernel.entities import NUSD_PER_USD, Usage

LONG_WRITE: Final = 2.0
"""Price of a token written to a cache for an hour, as a multiple of input (Anthropic; nobody else has it)."""

_PER_TOKEN: Final = NUSD_PER_USD // 1_000_000

DATED: Final = "2026-11-01"
"""The day the list below was last compared with published prices."""

LIST: Final[dict[str, Price]] = {
    "anthropic:claude-opus-5-5": Price(input=4, output=20, cache_read=0.2, cache_write=5),
    "anthropic:claude-opus-5": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-opus-4-8": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-opus-4-7": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-opus-4-6": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-opus-4-5": Price(input=5, output=25, cache_read=0.5, cache_write=6.25),
    "anthropic:claude-sonnet-5-5": Price(input=2, output=10, cache_read=0.2, cache_write=2.5),
    "anthropic:claude-sonnet-5": Price(input=2, output=10, cache_read=0.2, cache_write=2.5),
    "anthropic:claude-sonnet-4-6": Price(input=3, output=15, cache_read=0.3, cache_write=3.75),
    "anthropic:claude-sonnet-4-5": Price(input=3, output=15, cache_read=0.3, cache_write=3.75),
    "anthropic:claude-haiku-5-5": Price(input=0.1, output=0.5, cache_read=0.01, cache_write=0.125),
    "anthropic:claude-haiku-4-5": Price(input=1, output=5, cache_read=0.1, cache_write=1.25),
    "anthropic:claude-fable-5-1": Price(input=10, output=50, cache_read=1, cache_write=12.5),
    "openai:gpt-6-astra": Price(input=10, output=50, cache_read=1, cache_write=12.5),
    "openai:gpt-6.1-sol": Price(input=2, output=10, cache_read=0.1, cache_write=2.5),
    "openai:gpt-6-sol": Price(input=2, output=10, cache_read=0.2, cache_write=2.5),
    "openai:gpt-6-luna": Price(input=0.1, output=0.5, cache_read=0.01, cache_write=0.125),
    "openai:gpt-5.6-sol": Price(input=4, output=20, cache_read=0.4, cache_write=5),
    "openai:gpt-5.6-terra": Price(input=2, output=12, cache_read=0.2, cache_write=2.5),
    "openai:gpt-5.6-luna": Price(input=0.2, output=1.2, cache_read=0.02, cache_write=0.25),
    "openai:gpt-5.5": Price(input=5, output=30, cache_read=0.5),
    "openai:gpt-5.4": Price(input=2.5, output=15, cache_read=0.25),
    "openai:gpt-5.4-mini": Price(input=0.75, output=4.5, cache_read=0.075),
    "google:gemini-4-argon": Price(input=4, output=20, cache_read=0.2),
    "google:gemini-3.8-flash": Price(input=1.5, output=7.5, cache_read=0.15),
    "google:gemini-3.7-flash": Price(input=1.5, output=7.5, cache_read=0.15),
    "google:gemini-3.6-flash": Price(input=1.5, output=7.5, cache_read=0.15),
    "google:gemini-3.5-flash": Price(input=1.5, output=9, cache_read=0.15),
    "google:gemini-3.1-pro-preview": Price(input=2, output=12, cache_read=0.2),
    "google:gemini-3.1-flash-lite": Price(input=0.25, output=1.5, cache_read=0.025),
    "google:gemini-3-pro-preview": Price(input=2, output=12, cache_read=0.2),
    "google:gemini-3-flash-preview": Price(input=0.5, output=3, cache_read=0.05),
    "google:gemini-2.5-pro": Price(input=1.25, output=10, cache_read=0.125),
    "google:gemini-2.5-flash": Price(input=0.3, output=2.5, cache_read=0.03),
    "google:gemini-2.5-flash-lite": Price(input=0.1, output=0.4, cache_read=0.01),
}
"""List prices by `provider:model`, USD per million tokens; configuration adds to it and wins.

Where sources disagree the dearer price stands here, so that a reservation is never too small. Cache writes are those
that are kept for five minutes (Anthropic) or thirty (OpenAI). Some providers charge more for very long prompts: the
windows in `models/windows.py` end where these prices do."""


def price_of(model: str, configured: Mapping[str, Price]) -> Price | None:
    """The price of `provider:model`, or None where it is unknown."""
    return configured.get(model) or LIST.get(model)


def cost(usage: Usage, price: Price) -> int:
    """Nano-USD for `usage`, rounded up."""
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    usd_per_million = (
        usage.input * price.input + usage.cache_read * read + usage.cache_write * write + usage.output * price.output
    )
    if usage.long_write:
        usd_per_million += usage.long_write * max(0.0, LONG_WRITE * price.input - write)
    return math.ceil(round(usd_per_million * _PER_TOKEN, 3))


def worst_case(input_tokens: int, max_output: int, price: Price, *, long_write: bool = False) -> int:
    """Nano-USD that a call may cost at most: every input token at its dearest rate, all output used.

    `long_write`: it may write to a cache that is kept for an hour.
    """
    dearest = max(price.input, price.cache_read or 0.0, price.cache_write or 0.0)
    if long_write:
        dearest = max(dearest, LONG_WRITE * price.input)
    return cost(Usage(input=input_tokens, output=max_output), price.model_copy(update={"input": dearest}))
