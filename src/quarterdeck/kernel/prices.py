"""What tokens cost. Pure arithmetic in nano-USD.

Rules
- An unknown price is refused by the caller, never guessed: `price_of` answers None.
- Rounded up, so that a reservation is never below what is settled.
- Where a model costs more with a long prompt, the whole call costs more, cached tokens and answer too.
- Prices change: a list that was compared with the providers' own longer ago than `OLD` days says so.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from quarterdeck.kernel.config import LongPrice, Price
from quarterdeck.kernel.entities import NUSD_PER_USD, Usage
from quarterdeck.kernel.price_list import DATED, LIST

LONG_WRITE: Final = 2.0
"""Price of a token written to a cache for an hour, as a multiple of input (Anthropic; nobody else has it)."""

_PER_TOKEN: Final = NUSD_PER_USD // 1_000_000

OLD: Final = 90
"""Days after which a list of prices is not to be relied on without a look."""


def price_of(model: str, configured: Mapping[str, Price]) -> Price | None:
    """The price of `provider:model`, or None where it is unknown."""
    return configured.get(model) or LIST.get(model)


def rates(price: Price, prompt_tokens: int) -> Price | LongPrice:
    """What a call with a prompt of so many tokens costs, cached ones counted."""
    return price.long if price.long is not None and prompt_tokens > price.long.above else price


def cost(usage: Usage, price: Price) -> int:
    """Nano-USD for `usage` of one call, rounded up."""
    return _cost(usage, rates(price, usage.prompt))


def _cost(usage: Usage, price: Price | LongPrice) -> int:
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    usd_per_million = (
        usage.input * price.input + usage.cache_read * read + usage.cache_write * write + usage.output * price.output
    )
    if usage.long_write:
        usd_per_million += usage.long_write * max(0.0, LONG_WRITE * price.input - write)
    return _nusd(usd_per_million)


def _nusd(usd_per_million: float) -> int:
    """Nano-USD of so many tokens times their USD per million, rounded up."""
    return math.ceil(round(usd_per_million * _PER_TOKEN, 3))


def worst_case(input_tokens: int, max_output: int, price: Price, *, long_write: bool = False) -> int:
    """Nano-USD that a call may cost at most: every input token at its dearest rate, all output used.

    `long_write`: it may write to a cache that is kept for an hour.
    """
    short = input_tokens if price.long is None else min(input_tokens, price.long.above)
    worst = _at_worst(short, max_output, price, long_write)
    if price.long is not None and input_tokens > short:
        worst = max(worst, _at_worst(input_tokens, max_output, price.long, long_write))
    return worst


def _at_worst(input_tokens: int, max_output: int, rate: Price | LongPrice, long_write: bool) -> int:
    dearest = max(rate.input, rate.cache_read or 0.0, rate.cache_write or 0.0)
    if long_write:
        dearest = max(dearest, LONG_WRITE * rate.input)
    return _nusd(input_tokens * dearest + max_output * rate.output)


def age(providers: Iterable[str], now: float) -> tuple[str, int]:
    """The day of the oldest list among those of `providers`, and its age in days. `now`: seconds since the epoch.

    Raises ValueError where none of them has a list.
    """
    day = min(DATED[name] for name in providers if name in DATED)
    since = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return day, max(0, int((now - since.timestamp()) / 86_400))


def outdated(models: Iterable[str], configured: Mapping[str, Price], now: float) -> str:
    """What to say about the prices of `models` (`provider:model`) where they come from an old list; empty = nothing."""
    listed = {name.partition(":")[0] for name in models if name in LIST and name not in configured}
    if not listed:
        return ""
    day, days = age(listed, now)
    if days <= OLD:
        return ""
    whose = ", ".join(sorted(listed))
    return f"the list prices of {whose} are of {day}, {days} days old: update Quarterdeck, or set [prices]"
