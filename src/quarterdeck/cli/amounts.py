"""How amounts look to a person: money, time, tokens, bytes, counts; and how money is given. Pure.

Rules
- As many digits as a person acts on, no more. Scripts get exact numbers from `--json`.
- What a person gives is held against its bounds from inside: `nan` is neither below nor above any.
"""

from typing import Any, Final

import typer

from quarterdeck.kernel.entities import to_usd

_MOST: Final = 1_000_000_000


def money(help: str) -> Any:
    """The option by which a person gives an amount of USD."""
    return typer.Option(help=help, metavar="USD", show_default=False, callback=number)


def number(value: float | None) -> float | None:
    """An amount as a person gave it. Raises typer.BadParameter."""
    if value is not None and not 0 <= value <= _MOST:
        raise typer.BadParameter(f"{value:g} is no amount between 0 and {_MOST:,} USD")
    return value


def usd(nusd: int) -> str:
    """`$0.0421`, `$1.20`: two digits of cents, four below ten cents."""
    amount = to_usd(nusd)
    return f"${amount:.4f}" if 0 < amount < 0.1 else f"${amount:,.2f}"


def duration(seconds: float) -> str:
    """`0.4s`, `12s`, `3m 05s`, `2h 10m`, `3d 4h`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def tokens(count: int) -> str:
    """`950`, `12.3k`, `4.1M`."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 999_950 else f"{count / 1_000_000:.1f}M"


def size(count: int) -> str:
    """`512 B`, `3.4 KiB`, `1.2 MiB`."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MiB"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 task`, `3 tasks`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
