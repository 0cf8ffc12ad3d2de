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

_PER_TOKEN: Final = NUSD_PER_USD // 1_000_000

DATED: Final = "2026-11-01"
"""The day the list below was last compared with the providers' price pages."""

LIST: Final[dict[str, Price]] = {}
"""List prices by `provider:model`; configuration adds to it and wins."""


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
    return math.ceil(round(usd_per_million * _PER_TOKEN, 3))


def worst_case(input_tokens: int, max_output: int, price: Price) -> int:
    """Nano-USD that a call may cost at most: every input token at its dearest rate, all output used."""
    dearest = max(price.input, price.cache_write or 0.0)
    return cost(Usage(input=input_tokens, output=max_output), price.model_copy(update={"input": dearest}))
