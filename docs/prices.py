"""Writes `src/quarterdeck/kernel/price_list.py` from `prices.toml` beside it; run by `make docs`.

Rules
- The file of prices is data, for people to compare and to change; the module is what the product reads, without a file.
- A price that cannot be is refused here, not where money is counted.
"""

import sys
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

from quarterdeck.kernel.config import LongPrice, Price

KERNEL: Final = Path(__file__).parent.parent / "src" / "quarterdeck" / "kernel"
DATA: Final = KERNEL / "prices.toml"
MODULE: Final = KERNEL / "price_list.py"

_HEAD: Final = '''\
"""The list prices of prices.toml, written by `make docs`. Change them there."""

from collections.abc import Mapping
from typing import Final

from quarterdeck.kernel.config import LongPrice, Price

'''


def module(text: str) -> str:
    """The module for the file of prices `text`. Raises ValueError (also for TOML and for a Price that is none)."""
    data: dict[str, Any] = tomllib.loads(text)
    dated: Mapping[str, date] = data.pop("dated")
    prices = {name: Price.model_validate(price) for name, price in data.pop("prices").items()}
    if data or set(dated) != {name.partition(":")[0] for name in prices}:
        raise ValueError(f"there are prices without a date, dates without prices, or {sorted(data)}")
    days = "".join(f'    "{provider}": "{day.isoformat()}",\n' for provider, day in dated.items())
    rows = "".join(f'    "{name}": {_row(price)},\n' for name, price in prices.items())
    return (
        f"{_HEAD}DATED: Final[Mapping[str, str]] = {{\n{days}}}\n"
        '"""By provider, the day on which its prices were last compared with what it publishes."""\n\n'
        f"LIST: Final[dict[str, Price]] = {{\n{rows}}}\n"
        '"""By `provider:model`, USD per million tokens."""\n'
    )


def _row(price: Price) -> str:
    if price.long is None:
        return f"Price({', '.join(_fields(price))})"
    lines = [*_fields(price), f"long=LongPrice({', '.join(_fields(price.long))})"]
    return "Price(\n" + "".join(f"        {line},\n" for line in lines) + "    )"


def _fields(price: Price | LongPrice) -> list[str]:
    given = price.model_dump(exclude_unset=True, exclude={"long"})
    return [f"{name}={value}" if isinstance(value, int) else f"{name}={value:g}" for name, value in given.items()]


def main() -> None:
    """Write the module where it is out of date."""
    made = module(DATA.read_text(encoding="utf-8"))
    if not MODULE.exists() or MODULE.read_text(encoding="utf-8") != made:
        MODULE.write_text(made, encoding="utf-8")
        sys.stdout.write(f"{MODULE.relative_to(KERNEL.parent.parent.parent)}\n")


if __name__ == "__main__":
    main()
