"""Which purses a call is paid from, and what is said when one of them does not cover it. Pure.

Rules
- A chain goes from the innermost purse outwards: attempt, the attempts that delegated to it, task, run, the person's
  day, the deck's day. Attempts and tasks without a cap of their own are left out; the run and both days always stand.
- A day is one of UTC, and is the day of the reservation: `dated` before each of them, because work outlasts midnight.
- Who raises which cap: an agent's and a task's definition those of attempts and tasks; `resume --budget` a run's; the
  operator's deck.toml those of days, which also free by themselves at 00:00 UTC.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal

from quarterdeck.govern.port import Chain, Link
from quarterdeck.kernel.entities import to_nusd, to_usd

Kind = Literal["attempt", "task", "run", "user", "deck", "key"]

OWN: Final[frozenset[Kind]] = frozenset(("attempt", "task"))
"""Purses whose end is the end of an attempt or a task; any other one's is the end of the run."""
DAYS: Final[frozenset[Kind]] = frozenset(("user", "deck"))
"""Purses of one day."""
_CENT: Final = to_nusd(0.01)


@dataclass(frozen=True, slots=True)
class DayCaps:
    """What may be spent in one day, USD."""

    user: float
    """By one person's runs."""
    deck: float
    """By all runs."""


def run_purse(run: str) -> str:
    """The purse of a run; it is opened when the run is ordered."""
    return f"run/{run}"


def day_of(now: float) -> str:
    """The UTC day of a moment (seconds since the epoch), `YYYY-MM-DD`."""
    return _named(int(now // 86_400))


@lru_cache(maxsize=8)
def _named(day: int) -> str:
    """The name of a day since the epoch; asked before every call, and mostly the same."""
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def chain_of(
    *,
    run: str,
    task: str,
    attempt: str,
    user: str,
    days: DayCaps,
    now: float,
    attempt_usd: float | None = None,
    task_usd: float | None = None,
) -> Chain:
    """The chain of an attempt that the run itself started; `now`: seconds since the epoch."""
    day = day_of(now)
    links = [
        *_own(f"attempt/{attempt}", attempt_usd),
        *_own(f"task/{run}/{task}", task_usd),
        Link(run_purse(run), None, opened=True),
        Link(f"user/{user}/{day}", to_nusd(days.user)),
        Link(f"deck/{day}", to_nusd(days.deck)),
    ]
    return tuple(links)


def key_chain(key: str, usd: float, user: str, days: DayCaps, now: float) -> Chain:
    """The chain of a virtual key that belongs to no run."""
    day = day_of(now)
    return (
        Link(f"key/{key}", to_nusd(usd)),
        Link(f"user/{user}/{day}", to_nusd(days.user)),
        Link(f"deck/{day}", to_nusd(days.deck)),
    )


def delegated(parent: Chain, attempt: str, attempt_usd: float | None) -> Chain:
    """The chain of an attempt that the owner of `parent` delegated to: it spends its parent's money too."""
    return (*_own(f"attempt/{attempt}", attempt_usd), *parent)


def dated(chain: Chain, now: float) -> Chain:
    """The chain as of that moment (seconds since the epoch): what is reserved now is paid from today's purses."""
    day = day_of(now)
    return tuple(link if _day(link.purse) in (None, day) else _moved(link, day) for link in chain)


def kind_of(purse: str) -> Kind | None:
    """What a purse belongs to; None for a name that no chain here makes."""
    kind, _, _ = purse.partition("/")
    match kind:
        case "attempt" | "task" | "run" | "user" | "deck" | "key":
            return kind
        case _:
            return None


def name_of(purse: str) -> str:
    """Whose purse it is, for people: `the run r-1`, `ada on 2026-11-21`."""
    kind, _, name = purse.partition("/")
    match kind:
        case "task":
            return f"the task {name.rpartition('/')[2]}"
        case "attempt" | "run" | "key":
            return f"the {kind} {name}"
        case "user":
            user, _, day = name.rpartition("/")
            return f"{user} on {day} (UTC)"
        case "deck":
            return f"the whole deck on {name} (UTC)"
        case _:
            return purse


def refusal(purse: str, cap_nusd: int, free_nusd: int, amount_nusd: int, reserved_nusd: int = 0) -> str:
    """Why a reservation was refused; `reserved_nusd`: what others have set aside in that purse."""
    others = f", beside {to_usd(reserved_nusd):.4f} USD for calls under way" if reserved_nusd else ""
    return (
        f"the next call may cost {to_usd(amount_nusd):.4f} USD, and {to_usd(free_nusd):.4f} of "
        f"{_cap(cap_nusd)} USD are left for {name_of(purse)}{others}"
    )


def _cap(nusd: int) -> str:
    """In cents, as people set it; more exactly where somebody set less."""
    return f"{to_usd(nusd):.{4 if nusd % _CENT else 2}f}"


def remedy(purse: str, run: str) -> str:
    """What a person can do about that refusal, so that `run` goes on."""
    again = f"quarterdeck resume {run}"
    match kind_of(purse):
        case "attempt":
            return "raise `limits: {usd: …}` of its agent for the next run"
        case "task":
            return "raise its `budget_usd` in the plan of the next run"
        case "run":
            return f"{again} --budget <more USD>"
        case "key":
            return "quarterdeck gateway --budget <more USD>"
        case "user" | "deck" as kind:
            frees = f"frees at {_after(_day(purse) or '')} 00:00 UTC"
            return f"{frees}; then, or once [budget] {kind}_day in the operator's deck.toml is higher: {again} --retry"
        case _:
            return again


def run_of(chain: Chain) -> str:
    """The run that a chain belongs to."""
    return next((link.purse.removeprefix("run/") for link in chain if link.purse.startswith("run/")), "<run>")


def _own(purse: str, usd: float | None) -> Chain:
    return () if usd is None else (Link(purse, to_nusd(usd)),)


def _day(purse: str) -> str | None:
    kind, _, name = purse.partition("/")
    return name.rpartition("/")[2] if kind in DAYS else None


def _moved(link: Link, day: str) -> Link:
    return replace(link, purse=f"{link.purse.rpartition('/')[0]}/{day}")


def _after(day: str) -> str:
    try:
        return (datetime.strptime(day, "%Y-%m-%d") + timedelta(days=1)).strftime("%Y-%m-%d")
    except ValueError:
        return "the next day,"
